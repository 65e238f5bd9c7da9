"""Training of detectors of objects: sets with boxes and masks, targets, whole runs."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from msgspec.structs import replace

import openpaf
from openpaf.cli import main
from openpaf.geometry import crop_affine
from openpaf.io.coco_objects import encode_mask, mask_polygons
from openpaf.training.config import DataConfig, NetworkConfig, SetConfig
from openpaf.training.config_files import read_config
from openpaf.training.data.augmentation import CropPlan, Labels
from openpaf.training.data.dataset import DatasetError
from openpaf.training.distributed import Processes
from openpaf.training.loop import train
from openpaf.training.rcnn.detection import DetectionTask
from openpaf.training.rcnn.object_sets import ObjectPhoto, load_object_sets
from openpaf.training.rcnn.targets import make_target

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from shapes import CLASSES, as_coco, make_image

CONFIG = """\
output = "{output}"
name = "shapes"
[data]
workers = 1
[[data.sets]]
annotations = "shapes.json"
images = "images"
holdout = [1, 2]
[data.validation]
annotations = "shapes.json"
images = "images"
holdout = [1, 2]
[network]
name = "{name}"
[network.options]
fpn_channels = 8
box_channels = 8
mask_channels = [8]
min_size = 64
max_size = 128
rpn_pre_nms_top_n_train = 20
rpn_post_nms_top_n_train = 10
rpn_pre_nms_top_n_test = 20
rpn_post_nms_top_n_test = 10
box_batch_size_per_image = 8
{options}
[optimizer]
steps = 3
batch_size = 2
warmup = 1
validation_size = 64
[augment]
crop_px = 96
person_px = [30, 60]
rotation_deg = 10
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of shapes, two of them held out, and their labels."""
    folder = tmp_path_factory.mktemp("shapes")
    (folder / "images").mkdir()
    for seed in range(4):
        cv2.imwrite(str(folder / "images" / f"{seed}.png"), make_image(seed)[0][..., ::-1])
    (folder / "shapes.json").write_text(json.dumps(as_coco(range(4))))
    return folder


def run_of(
    folder: Path, output: str, name: str = "maskrcnn_mobilenet_v2_fpn", more: str = ""
) -> Any:
    path = folder / f"{output}.toml"
    path.write_text(CONFIG.format(output=output, name=name, options=more))
    return read_config(path)


def sets_of(folder: Path, **changes: Any) -> DataConfig:
    entry = {"annotations": str(folder / "shapes.json"), "images": str(folder / "images")}
    return DataConfig(sets=(SetConfig(**{**entry, **changes}),))


def plan_of(photo: ObjectPhoto, rotation: float = 0, flip: bool = False) -> CropPlan:
    affine = crop_affine((63.5, 63.5), 1.0, rotation, flip, (128, 128))
    return CropPlan(
        photo=photo, affine=affine, size=128, labels=Labels.of(photo, affine, None),
        unlabeled=frozenset(), fully_annotated=True,
        saturation=1, contrast=1, offset=np.zeros(3), blur=0,
    )  # fmt: skip


def test_run_lengths_become_polygons_of_the_same_pixels() -> None:
    mask = np.zeros((20, 30), bool)
    mask[3:9, 4:15] = True
    mask[12:18, 2:5] = True
    polygons = mask_polygons(encode_mask(mask))
    assert len(polygons) == 2
    bounds = sorted((min(p[0::2]), min(p[1::2]), max(p[0::2]), max(p[1::2])) for p in polygons)
    assert np.allclose(bounds, [(2, 12, 5, 18), (4, 3, 15, 9)], atol=0.13)
    uncompressed = {"size": [2, 2], "counts": [1, 2, 1]}  # column by column
    assert len(mask_polygons(uncompressed)) == 1
    assert mask_polygons([[0, 0, 1, 0, 1, 1]]) == [[0, 0, 1, 0, 1, 1]]


def test_targets_are_the_labels_of_a_crop_that_is_the_image(folder: Path) -> None:
    [photo_set], classes = load_object_sets(sets_of(folder))
    assert classes == CLASSES
    for seed, photo in enumerate(photo_set.photos):
        assert isinstance(photo, ObjectPhoto)
        truth = make_image(seed)[1]
        target = make_target(plan_of(photo), masks=True)
        assert np.array_equal(target["labels"].numpy(), truth["labels"])
        assert np.allclose(target["boxes"].numpy(), truth["boxes"], atol=0.2)
        masks = target["masks"].numpy()
        both = (masks & truth["masks"]).sum(axis=(1, 2))
        iou = both / (masks | truth["masks"]).sum(axis=(1, 2))
        assert iou.min() > 0.95  # holes, of which outlines have none, and a px here and there
        assert target["masks_labeled"].all()


@pytest.mark.parametrize(("rotation", "flip"), [(0, True), (33, False), (-120, True)])
def test_boxes_stay_around_masks_that_are_moved(folder: Path, rotation: float, flip: bool) -> None:
    [photo_set], _ = load_object_sets(sets_of(folder))
    photo = photo_set.photos[0]
    assert isinstance(photo, ObjectPhoto)
    target = make_target(plan_of(photo, rotation, flip), masks=True)
    assert len(target["boxes"]) >= 1
    for box, mask in zip(target["boxes"].numpy(), target["masks"].numpy(), strict=True):
        y, x = np.nonzero(mask)
        around = (x.min(), y.min(), x.max() + 1, y.max() + 1)
        assert np.abs(box - around).max() < 1.5


def test_crowds_are_ignored_and_masks_may_be_missing(folder: Path, tmp_path: Path) -> None:
    data = as_coco(range(1))
    data["annotations"][0]["iscrowd"] = 1
    del data["annotations"][1]["segmentation"]
    (tmp_path / "crowd.json").write_text(json.dumps(data))
    [photo_set], _ = load_object_sets(sets_of(folder, annotations=str(tmp_path / "crowd.json")))
    [photo] = photo_set.photos
    assert isinstance(photo, ObjectPhoto)
    target = make_target(plan_of(photo), masks=True)
    assert len(target["ignore_boxes"]) == 1
    assert target["masks_labeled"].tolist() == [False, *[True] * (len(photo.boxes) - 1)]


def test_crops_are_drawn_around_boxes(folder: Path) -> None:
    [photo_set], _ = load_object_sets(sets_of(folder))
    for photo in photo_set.photos:
        marks = photo.keypoints
        assert ((marks[..., 2] > 0).sum(axis=1) == 8).all()
        xy = np.where(marks[..., 2:] > 0, marks[..., :2], np.nan)
        extent = (np.nanmax(xy, axis=1) - np.nanmin(xy, axis=1)).max(axis=1)
        sides = (photo.boxes[:, 2:] - photo.boxes[:, :2]).max(axis=1)
        assert np.allclose(1.15 * extent, sides, rtol=1e-4)  # the factor of crops


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": []}, "categories: expected names that differ"),
        ({"annotations": []}, "no objects in it"),
        ({"bbox": [1, 2, 0, 4]}, r"annotation 1, bbox: expected a box"),
        ({"category_id": 9}, "no 9"),
    ],
)
def test_wrong_sets_are_told(
    folder: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    data = as_coco(range(1))
    for key, value in change.items():
        where = data if key in data else data["annotations"][0]
        where[key] = value
    (tmp_path / "bad.json").write_text(json.dumps(data))
    with pytest.raises(DatasetError, match=rf"bad\.json: .*{message}"):
        load_object_sets(sets_of(folder, annotations=str(tmp_path / "bad.json")))


def test_sets_of_other_categories_are_told(folder: Path, tmp_path: Path) -> None:
    data = as_coco(range(1))
    data["categories"][0]["name"] = "egg"
    (tmp_path / "eggs.json").write_text(json.dumps(data))
    first = SetConfig(annotations=str(folder / "shapes.json"), images=str(folder / "images"))
    second = SetConfig(annotations=str(tmp_path / "eggs.json"), images=str(folder / "images"))
    with pytest.raises(DatasetError, match=r"eggs\.json: .* expected ellipse, .* got egg, rect"):
        load_object_sets(DataConfig(sets=(first, second)))


def test_a_run_leaves_a_detector_with_its_classes(folder: Path) -> None:
    weights = train(run_of(folder, "masks"))
    detector = openpaf.ObjectDetector(weights)
    assert detector.classes == CLASSES
    objects = detector(folder / "images" / "0.png")
    assert objects.masks is not None
    spec = openpaf.weights.load_model(weights)[1]
    assert set(spec.metrics["validation"]) == {"AP", "box_AP", "mask_AP"}
    lines = (folder / "masks" / "log.jsonl").read_text().splitlines()
    assert any("loss_mask" in line for line in lines)
    boxes = openpaf.ObjectDetector(train(run_of(folder, "boxes", "fasterrcnn_mobilenet_v2_fpn")))
    assert boxes(folder / "images" / "0.png").masks is None


def test_another_number_of_classes_is_told(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"num_classes: expected 6, background and ellipse, .* 3"):
        train(run_of(folder, "wrong", more="num_classes = 3"))


def test_a_category_is_not_for_objects(folder: Path) -> None:
    config = run_of(folder, "wrong")
    chosen = replace(config, data=replace(config.data, category="star"))
    with pytest.raises(ValueError, match=r"data\.category: not for a detector of objects"):
        train(chosen)


def test_the_license_of_the_start_is_kept(folder: Path) -> None:
    network, spec = openpaf.weights.load_model(train(run_of(folder, "start")))
    free = folder / "free.safetensors"
    openpaf.weights.save(
        network.state_dict(), free, dataclasses.replace(spec, licence="for research")
    )
    config = run_of(folder, "heir")
    heir = replace(config, network=NetworkConfig(weights=str(free)))
    assert openpaf.weights.read_header(train(heir)).licence == "for research"


def test_other_classes_take_all_layers_but_those_that_know_them(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the flags of the command, which teaches what is new faster than what is given."""
    start = train(run_of(folder, "five"))
    data = as_coco(range(4))
    data["categories"] = data["categories"][3:]
    ids = {category["id"] for category in data["categories"]}
    data["annotations"] = [one for one in data["annotations"] if one["category_id"] in ids]
    (tmp_path / "two.json").write_text(json.dumps(data))
    caplog.set_level("INFO")
    arguments = ["--data", str(tmp_path / "two.json"), "--images", str(folder / "images"),
                 "--output", str(tmp_path / "run"), "--max-minutes", "0"]  # fmt: skip
    assert main(["train", "--from", str(start), *arguments]) == 0
    assert "is a model of other classes: new for star, cross: roi_heads.box_pred" in caplog.text
    of_classes = ("cls_score", "bbox_pred", "mask_fcn_logits")
    config = read_config(tmp_path / "run" / "run.toml")
    assert (config.optimizer.learning_rate, config.optimizer.trunk_rate) == (1e-3, 0.1)
    spec = openpaf.weights.read_header(tmp_path / "run" / "model.safetensors")
    assert spec.classes == ("star", "cross")
    task = DetectionTask(config, Processes(device=torch.device("cpu")))
    task.load_start()
    theirs = openpaf.weights.load_model(start)[0].state_dict()
    for key, value in task.network.state_dict().items():
        is_same = value.shape == theirs[key].shape and torch.equal(value, theirs[key])
        knows = key.startswith("roi_heads") and any(f".{name}." in key for name in of_classes)
        assert is_same != knows, key


def test_a_detector_learns_masks(folder: Path) -> None:
    """The loss of a fixed batch falls: every part of the path from labels to gradients works."""
    from openpaf.networks import build

    [photo_set], classes = load_object_sets(sets_of(folder))
    photos = [photo for photo in photo_set.photos[:2] if isinstance(photo, ObjectPhoto)]
    targets = [make_target(plan_of(photo), masks=True) for photo in photos]
    images = [
        torch.from_numpy(openpaf.read_image(photo.path)).permute(2, 0, 1) / 255 for photo in photos
    ]
    torch.manual_seed(0)
    network = build(
        "maskrcnn_mobilenet_v2_fpn", num_classes=len(classes) + 1, fpn_channels=16,
        box_channels=16, mask_channels=(16,), rpn_post_nms_top_n_train=10,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.roi_heads.parameters(), 1e-2)
    history = []
    for _ in range(12):
        torch.manual_seed(1)
        losses = network.losses(images, targets, resize=False)
        history.append(float(losses["loss_mask"].detach()))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    assert history[-1] < 0.66  # 0.69 without knowledge
