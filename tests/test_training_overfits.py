"""Every network of fields learns eight images by heart: nothing between labels and AP is off.

A wrong grid, a swapped channel, a loss that misses a stage, or targets of which the parser makes
other people than those that are labeled would all show here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from openpaf import Skeleton
from openpaf.training.config import TrainConfig
from openpaf.training.loop import train
from openpaf.training.tables import as_table
from openpaf.weights import read_header

SIZE = 96  # px
NETWORKS: dict[str, dict[str, Any]] = {
    "lightweight": {
        "width": 32, "hidden_width": 64, "n_refinement_blocks": 2,
        "trunk_widths": [16, 16, 32, 32, 32, 32, 64, 64, 64, 64, 64, 64],
    },
    "lightweight_coco": {"width": 32, "n_refinement_stages": 1},
    "cmu_coco": {"n_stages": 2, "width": 32, "trunk_width": 16},
    "body25": {
        "n_paf_stages": 1, "n_heatmap_stages": 1, "widths": [16, 16], "hidden": [64, 64],
        "n_features": 32, "trunk_width": 16,
    },
}  # fmt: skip
# A person who faces the viewer, in shares of the image: COCO's 17 joints.
POSE = np.array([
    (50, 18), (54, 14), (46, 14), (60, 17), (40, 17), (64, 34), (36, 34), (74, 48), (26, 48),
    (80, 62), (20, 62), (58, 60), (42, 60), (61, 76), (39, 76), (63, 92), (37, 92),
]) / 100  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of a person whose joints have colors of their own."""
    folder, rng = tmp_path_factory.mktemp("people"), np.random.default_rng(0)
    colors = rng.integers(60, 255, (17, 3)).tolist()
    images, people = [], []
    for i in range(8):
        pixels = rng.integers(0, 40, (SIZE, SIZE, 3), dtype=np.uint8)
        joints = POSE * SIZE + rng.normal(0, 2.5, (17, 2))
        for a, b in Skeleton.COCO17.limbs[:16]:
            cv2.line(pixels, *joints[[a, b]].round().astype(int).tolist(), (90, 90, 90), 2)
        for xy, color in zip(joints.round().astype(int).tolist(), colors, strict=True):
            cv2.circle(pixels, xy, 3, color, -1)
        cv2.imwrite(str(folder / f"{i}.png"), pixels)
        images.append({"id": i, "file_name": f"{i}.png", "width": SIZE, "height": SIZE})
        people.append({
            "id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
            "bbox": [7.5, 5.5, 80, 84], "area": 80 * 84,
            "keypoints": np.column_stack([joints, np.full(17, 2)]).ravel().tolist(),
        })  # fmt: skip
    data = {"images": images, "annotations": people, "categories": [{"id": 1}]}
    (folder / "people.json").write_text(json.dumps(data))
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_learns_eight_images_by_heart(folder: Path, tmp_path: Path, name: str) -> None:
    photos = {"annotations": str(folder / "people.json"), "images": str(folder)}
    config = {
        "output": str(tmp_path),
        "data": {"sets": [photos], "validation": photos, "workers": 1},
        "network": {"name": name, "options": NETWORKS[name]},
        "targets": {"heatmap_weight": 10},
        "optimizer": {
            "steps": 450, "batch_size": 8, "learning_rate": 6e-3, "warmup": 20, "average": 0.9,
            "precision": "float32", "checkpoint_every": 1000, "validate_every": 1000,
            "validation_size": SIZE,
        },
        "augment": {
            "crop_px": SIZE, "person_px": [84, 84], "rotation_deg": 0, "shift": 0, "flip": 0,
            "color": 0, "gray": 0, "blur": 0,
        },
    }  # fmt: skip
    spec = read_header(train(as_table(TrainConfig, config)))
    assert spec.metrics["validation"]["AP"] >= 0.95
