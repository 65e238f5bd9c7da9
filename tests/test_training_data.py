"""Training data: how crops are drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from openpaf import Grid, Skeleton
from openpaf.training.config import AugmentConfig
from openpaf.training.data.augmentation import Labels, plan_crop
from openpaf.training.data.batches import BatchMaker
from openpaf.training.data.dataset import Photo, load_photo_set

S = Skeleton.COCO17
CONFIG = """\
output = "run"
name = "tiny"
[optimizer]
steps = 2
batch_size = 2
precision = "float32"
validation_size = 64
[augment]
crop_px = 64
person_px = [30, 60]
[network]
{network}
[network.options]
n_refinement_stages = 0
width = 8
trunk_widths = [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]
[data]
workers = 1
[[data.sets]]
annotations = "people.json"
images = "images"
holdout = [1, 4]
[data.validation]
annotations = "people.json"
images = "images"
holdout = [1, 4]
{more}
"""


def write_config(folder: Path, *, network: str = "", more: str = "") -> Path:
    path = folder / "run.toml"
    path.write_text(CONFIG.format(network=network, more=more))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six smooth photos with two people, an ignored box, and unsure joints each."""
    rng = np.random.default_rng(1)
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for i in range(1, 7):
        noise = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        pixels = cv2.resize(noise, (160, 120 + i), interpolation=cv2.INTER_CUBIC)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 160, "height": 120 + i})
        for person in range(2):
            low = rng.uniform(5, 70, 2)
            joints = np.column_stack([low + rng.uniform(0, 45, (17, 2)), rng.integers(0, 3, 17)])
            joints[:3, 2] = 2
            annotations.append(
                {"id": 10 * i + person, "image_id": i, "category_id": 1, "iscrowd": 0,
                 "bbox": [*low, 45, 45], "keypoints": joints.ravel().tolist(), "area": 2000,
                 "num_keypoints": 17, "maybe": [[4, *rng.uniform(10, 110, 2)]]}
            )  # fmt: skip
        annotations.append(
            {"id": 10 * i + 9, "image_id": i, "category_id": 1, "iscrowd": 1,
             "bbox": [100, 60, 30, 30], "num_keypoints": 0, "area": 900}
        )  # fmt: skip
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    (tmp_path / "people.json").write_text(json.dumps(data))
    return tmp_path


def maker_for(folder: Path, augment: AugmentConfig, skeleton: Skeleton = S) -> BatchMaker:
    photos = load_photo_set(folder / "people.json", folder / "images")
    return BatchMaker(
        [photos], batch_size=6, augment=augment, skeleton=skeleton, heatmap_grid=Grid(8),
        paf_grid=Grid(8, 0.0), seed=3,
    )  # fmt: skip


BUSY = AugmentConfig(crop_px=96, person_px=(20, 120), blur=0.5)


# --- how crops are drawn


def photo_with(points: Any, **more: Any) -> Photo:
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, : len(points), :2], keypoints[0, : len(points), 2] = points, 2
    values: dict[str, Any] = {
        "path": Path("none"), "keypoints": keypoints, "boxes": np.array([[20, 20, 60, 80]], "f4"),
        "ignore_boxes": np.zeros((0, 4), np.float32), "size_hw": (200, 200),
        "uncertain_joints": np.zeros((0, 3), np.float32),
    }  # fmt: skip
    return Photo(**{**values, **more})


@pytest.mark.parametrize("compressed", [None, False, True])
def test_segments_are_masked_instead_of_boxes(folder: Path, compressed: bool | None) -> None:
    """A crowd in the shape of an L: as a polygon, and as a mask, compressed or not."""
    from pycocotools import mask as coco

    corner = [100, 60, 105, 60, 105, 85, 130, 85, 130, 90, 100, 90]
    segmentation: Any = [corner]
    data = json.loads((folder / "people.json").read_text())
    if compressed is not None:
        mask = np.zeros((121, 160), np.uint8)
        mask[60:91, 100:106] = mask[85:91, 100:131] = 1
        if compressed:
            segmentation = coco.encode(np.asfortranarray(mask))
            segmentation["counts"] = segmentation["counts"].decode()
        else:
            runs = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [0]])))
            counts = np.diff(np.concatenate([[0], runs, [mask.size]])).tolist()
            segmentation = {"size": [121, 160], "counts": counts}
    for row in data["annotations"]:
        if row["iscrowd"]:
            row["segmentation"] = segmentation
    (folder / "people.json").write_text(json.dumps(data))

    def ignored(masks: str) -> np.ndarray:
        photos = load_photo_set(folder / "people.json", folder / "images", masks=masks)
        photo = photos.photos[0]
        labels = Labels.of(photo, np.eye(2, 3), None)
        plan = replace(plan_crop(photo, BUSY, S, np.random.default_rng(0)), labels=labels, size=160)
        return plan.ignored_px()

    boxes, segments = ignored("boxes"), ignored("segments")
    assert boxes[60:91, 100:131].all()
    assert boxes.sum() == 31 * 31
    assert segments[60:91, 100:106].all()
    assert segments[85:91, 100:131].all()
    assert segments.sum() == 31 * 6 + 6 * 25


def test_a_photo_covers_its_share_of_a_crop() -> None:
    """A person of 90 px who is to be 20 px: the photo of 120 px is not shrunk to 27 px."""
    points = np.stack([np.full(17, 50.0), np.linspace(5, 90, 17)], axis=1)
    photo = photo_with(points, size_hw=(90, 120))
    rng = np.random.default_rng(0)
    for cover, factor in ((0.0, 20 / (85 * 1.15)), (0.5, 64 / 120), (1.0, 128 / 120)):
        config = AugmentConfig(crop_px=128, person_px=(20, 20), min_cover=cover)
        plan = plan_crop(photo, config, S, rng)
        assert abs(np.linalg.det(plan.affine[:, :2])) ** 0.5 == pytest.approx(factor)


def test_sizes_come_from_the_annotations(folder: Path) -> None:
    photos = load_photo_set(folder / "people.json", folder / "images").photos
    assert photos[0].size_hw == (121, 160)
    assert replace(photos[0], size_hw=None).size_hw is None
