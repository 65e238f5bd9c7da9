"""Images of noise with a person each, to train from where nothing need be learned."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def write_noise(folder: Path, ids: Iterable[int], category_id: int) -> Path:
    """Write ``images`` and ``people.json``; the folder is returned.

    Args:
        folder: Gets them.
        ids: Of the images, and of the person in each; file names are ``ID.png``.
        category_id: Of people.
    """
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    images, annotations = [], []
    for i in ids:
        pixels = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 50, "height": 40})
        joints = np.column_stack([rng.uniform(5, 45, 17), rng.uniform(5, 35, 17), np.full(17, 2)])
        annotations.append(
            {"id": i, "image_id": i, "category_id": category_id, "iscrowd": 0,
             "bbox": [5, 5, 40, 30], "num_keypoints": 17, "keypoints": joints.ravel().tolist(),
             "area": 900.0, "segmentation": [[5, 5, 45, 5, 45, 35]]}
        )  # fmt: skip
    categories = [{"id": category_id, "name": "person"}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "people.json").write_text(json.dumps(data))
    return folder
