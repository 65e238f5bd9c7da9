"""Networks of every family learn eight drawn images by heart: AP on these images.

    python benchmarks/by_heart.py
    python benchmarks/by_heart.py --networks cmu_coco body25

prints Markdown. The true fields of these images give AP 1, and the mean of the eight people 0.8,
so that less than 0.95 is a fault: of crops that training shifts, of a swapped channel, of targets
of which the parser makes other people, or of new weights that give the same for every image.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from openpaf import Skeleton
from openpaf.training.config import TrainConfig
from openpaf.training.loop import train
from openpaf.training.tables import as_table
from openpaf.weights import read_header

LEAST_AP = 0.95
# In px. Crops show the whole image as it is: people are in its middle, of one height.
SIZE, HEIGHT = 96, 75
MARGIN = 1.15  # by which training makes a person larger than the joints
# A person who faces the viewer, in shares of the image: COCO's 17 joints.
_POSE = np.array([
    (50, 18), (54, 14), (46, 14), (60, 17), (40, 17), (64, 34), (36, 34), (74, 48), (26, 48),
    (80, 62), (20, 62), (58, 60), (42, 60), (61, 76), (39, 76), (63, 92), (37, 92),
]) / 100  # fmt: skip


class Learner(NamedTuple):
    """How a network is made as small as it can be, and how long it learns."""

    options: dict[str, Any]
    steps: int


_NARROW = {
    "width": 32, "hidden_width": 64, "n_refinement_blocks": 2,
    "trunk_widths": [16, 16, 32, 32, 32, 32, 64, 64, 64, 64, 64, 64],
}  # fmt: skip
#: Those that learn within half a minute on a core.
QUICK = {
    "lightweight": Learner(_NARROW, 200),
    "lightweight_batch_norm": Learner(_NARROW, 250),
    "cmu_coco": Learner({"n_stages": 2, "width": 24, "trunk_width": 8}, 200),
}
NETWORKS = {
    **QUICK,
    "body25": Learner(
        {
            "n_paf_stages": 2,
            "n_heatmap_stages": 1,
            "widths": [16, 16],
            "hidden": [64, 64],
            "n_features": 32,
            "trunk_width": 8,
        },
        350,
    ),
    "lightweight_coco": Learner({"width": 32, "n_refinement_stages": 1}, 300),
    "mobilenet_v2": Learner({"width": 32}, 300),
    "open_model_zoo": Learner({}, 200),
}


def main() -> None:
    """Train every network that is asked for."""
    parser = argparse.ArgumentParser(description="Learn eight drawn images by heart.")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | steps | CPU s | AP | AP50 |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        draw_images(Path(folder))
        for name in arguments.networks:
            before = time.process_time()
            figures = learn(name, Path(folder), Path(folder) / name)
            print(
                f"| {name} | {NETWORKS[name].steps} | {time.process_time() - before:.0f} | "
                f"{figures['AP']:.3f} | {figures['AP50']:.3f} |", flush=True,
            )  # fmt: skip


def draw_images(folder: Path) -> None:
    """Eight images of a person whose joints have colors of their own, and their labels."""
    rng = np.random.default_rng(0)
    colors = rng.integers(60, 255, (17, 3)).tolist()
    images, people = [], []
    for i in range(8):
        pixels = rng.integers(0, 40, (SIZE, SIZE, 3), dtype=np.uint8)
        joints = _POSE + rng.normal(0, 0.03, (17, 2))
        joints = (joints - joints.min(axis=0)) / np.ptp(joints, axis=0) * (57, HEIGHT) + (19, 10)
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


def learn(name: str, folder: Path, output: Path) -> dict[str, float]:
    """COCO's figures of a network on the images that it learned.

    Args:
        name: One of :data:`NETWORKS`.
        folder: Of :func:`draw_images`.
        output: Gets the run.
    """
    options, steps = NETWORKS[name]
    photos = {"annotations": str(folder / "people.json"), "images": str(folder)}
    config = {
        "output": str(output),
        "data": {"sets": [photos], "validation": photos, "workers": 1},
        "network": {"name": name, "options": options},
        "optimizer": {
            "steps": steps, "batch_size": 8, "learning_rate": 5e-3, "warmup": 20, "average": 0.95,
            "precision": "float32", "checkpoint_every": 1000, "validate_every": 1000,
            "validation_size": SIZE,
        },
        "augment": {
            "crop_px": SIZE, "person_px": [MARGIN * HEIGHT, MARGIN * HEIGHT],
            "rotation_deg": 0, "shift": 0, "flip": 0, "color": 0, "gray": 0, "blur": 0,
        },
    }  # fmt: skip
    figures: dict[str, float] = read_header(train(as_table(TrainConfig, config))).metrics[
        "validation"
    ]
    return figures


if __name__ == "__main__":
    main()
