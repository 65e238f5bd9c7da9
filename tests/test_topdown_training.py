"""Training of detectors, and people found with them."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image

import openpaf
from openpaf import weights
from openpaf.cli import main
from openpaf.errors import WeightsError
from openpaf.geometry import Grid
from openpaf.io.toml_files import toml_rows
from openpaf.networks.rcnn.mask_rcnn import BUILDERS
from openpaf.skeleton import Skeleton
from openpaf.training.checkpoints import CheckpointError, load_checkpoint
from openpaf.training.config import AugmentConfig, TrainConfig
from openpaf.training.data.augmentation import CropPlan, plan_crop
from openpaf.training.data.dataset import DatasetError, Photo, load_photo_set
from openpaf.training.loop import train
from openpaf.training.rcnn.targets import DetectionBatchMaker, make_target
from openpaf.training.tables import as_table, plain

S = Skeleton.COCO17
AUGMENT = AugmentConfig(crop_px=64, person_px=(30, 60), rotation_deg=5)
OPTIONS: dict[str, Any] = {
    "fpn_channels": 8, "box_channels": 8, "keypoint_channels": [8], "mask_channels": [8],
    "rpn_pre_nms_top_n_train": 20, "rpn_post_nms_top_n_train": 10, "rpn_pre_nms_top_n_test": 20,
    "rpn_post_nms_top_n_test": 10, "box_batch_size_per_image": 16, "box_score_thresh": 0.0,
    "box_detections_per_img": 5,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six small photos of noise, each with a person: some with a box, some with a mask."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for i in range(6):
        pixels = rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 120, "height": 90})
        joints = np.column_stack([rng.uniform(30, 90, 17), rng.uniform(20, 70, 17), np.full(17, 2)])
        row = {
            "id": 2 * i + 1, "image_id": i, "category_id": 1, "iscrowd": 0, "area": 3000.0,
            "num_keypoints": 17, "keypoints": joints.ravel().tolist(), "bbox": [25, 15, 70, 60],
        }  # fmt: skip
        if i == 0:
            row["segmentation"] = [[40, 20, 80, 20, 80, 60, 40, 60]]
        annotations.append(row)
        crowd = {"iscrowd": 1, "num_keypoints": 0, "keypoints": [0] * 51, "bbox": [0, 0, 20, 12]}
        annotations.append({**row, "id": 2 * i + 2, **crowd})
    write(tmp_path, images, annotations)
    return tmp_path


def write(folder: Path, images: Any, annotations: Any) -> None:
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    (folder / "people.json").write_text(json.dumps(data))


def edit(folder: Path, change: Any) -> None:
    data = json.loads((folder / "people.json").read_text())
    for row in data["annotations"]:
        change(row)
    write(folder, data["images"], data["annotations"])


def config_for(folder: Path, output: str = "run", **tables: dict[str, Any]) -> TrainConfig:
    values: dict[str, dict[str, Any]] = {
        "data": {
            "sets": [
                {"annotations": str(folder / "people.json"), "images": str(folder / "images")}
            ],
            "workers": 1,
        },
        "network": {"name": "keypointrcnn_mobilenet_v2_fpn", "options": OPTIONS},
        "optimizer": {
            "steps": 4, "batch_size": 2, "warmup": 1, "checkpoint_every": 2,
            "validation_size": 64, "learning_rate": 1e-3, "trunk_rate": 0.3,
        },
        "augment": {"crop_px": 64, "person_px": [30, 60], "rotation_deg": 5},
    }  # fmt: skip
    for name, table in tables.items():
        values[name] = {**values.get(name, {}), **table}
    head = {"output": str(folder / output), "name": "tiny"}
    return as_table(TrainConfig, {**head, **values})


# --- targets


def plan_of(photo: Photo, config: AugmentConfig, seed: int) -> CropPlan:
    return plan_crop(photo, config, Skeleton.COCO17, np.random.default_rng(seed))


def test_targets_move_with_the_crop(folder: Path) -> None:
    photos = load_photo_set(folder / "people.json", folder / "images").photos
    photo = photos[0]
    image = np.zeros((90, 120, 3), np.uint8)
    image[20:60, 40:80] = 255  # what the outline of the mask encloses
    for seed in range(6):
        flat = AugmentConfig(
            crop_px=64, person_px=(40, 50), rotation_deg=0, color=0, blur=0, gray=0
        )
        plan = plan_of(photo, flat, seed)
        row = make_target(plan, masks=True)
        seen = torch.from_numpy((plan.render(lambda _: image)[..., 0] > 128).astype(np.uint8))
        if len(row["boxes"]) == 0:
            continue
        assert row["masks_labeled"].tolist() == [True]
        assert (row["masks"][0] != seen).sum() <= 0.08 * seen.sum()
        box = row["boxes"][0]
        assert (box >= 0).all()
        assert (box <= 64).all()
        joints = row["keypoints"][0]
        labelled = joints[joints[:, 2] > 0, :2]
        assert ((labelled >= box[:2] - 1) & (labelled <= box[2:] + 1)).all()


def test_joints_are_counted_from_the_corner_of_a_px(folder: Path) -> None:
    photo = load_photo_set(folder / "people.json", folder / "images").photos[0]
    plan = plan_of(photo, AUGMENT, 1)
    joints = make_target(plan)["keypoints"][0]
    kept = joints[:, 2] > 0
    expected = torch.from_numpy(plan.labels.keypoints[0, :, :2]) + 0.5
    torch.testing.assert_close(joints[kept, :2], expected[kept])


def test_people_outside_the_crop_are_neither_person_nor_background(folder: Path) -> None:
    photo = load_photo_set(folder / "people.json", folder / "images").photos[0]
    photo = dataclasses.replace(photo, ignore_boxes=photo.ignore_boxes[:0])
    plan = plan_of(photo, AUGMENT, 1)
    x0, _, x1, _ = make_target(plan)["boxes"][0].tolist()
    for share, n_ignored in ((0.2, 1), (-0.1, 0)):  # of the box that is left in the crop
        shift = 64 - x0 - share * (x1 - x0)
        joints = plan.labels.keypoints + np.array([shift, 0, 0], np.float32)
        moved = dataclasses.replace(
            plan,
            labels=dataclasses.replace(plan.labels, keypoints=joints),
            affine=plan.affine + np.array([[0, 0, shift], [0, 0, 0]]),
        )
        row = make_target(moved)
        assert len(row["boxes"]) == len(row["labels"]) == len(row["keypoints"]) == 0
        assert len(row["ignore_boxes"]) == n_ignored


def test_a_box_is_made_from_joints_where_there_is_none(folder: Path) -> None:
    edit(folder, lambda row: row.pop("bbox"))
    photo = load_photo_set(folder / "people.json", folder / "images").photos[0]
    low, high = photo.keypoints[0, :, :2].min(axis=0), photo.keypoints[0, :, :2].max(axis=0)
    assert (photo.boxes[0, :2] < low).all()
    assert (photo.boxes[0, 2:] > high).all()
    assert np.abs(photo.boxes[0] - [*low, *high]).max() < 0.15 * (high - low).max()


def test_batches_follow_from_the_seed_and_the_step(folder: Path) -> None:
    photos = load_photo_set(folder / "people.json", folder / "images")
    makers = [
        DetectionBatchMaker([photos], batch_size=2, augment=AUGMENT, masks=True, seed=3)
        for _ in range(2)
    ]
    streamed = list(makers[0].stream(5, 8))
    again = makers[1].batch(6)
    assert torch.equal(streamed[1].images, again.images)
    assert torch.equal(streamed[1].targets[1]["boxes"], again.targets[1]["boxes"])
    assert again.images.shape == (2, 3, 64, 64)
    assert 0 <= again.images.min() <= again.images.max() <= 1
    with pytest.raises(ValueError, match="sets: expected at least one"):
        DetectionBatchMaker([], batch_size=1, augment=AUGMENT)


def test_unreadable_photos_are_replaced_until_there_are_too_many(folder: Path) -> None:
    photos = load_photo_set(folder / "people.json", folder / "images")
    maker = DetectionBatchMaker([photos], batch_size=20, augment=AUGMENT)
    (folder / "images" / "3.png").write_bytes(b"no picture")
    assert maker.batch(0).images.shape[0] == 20
    assert [Path(name).name for name in maker.photos.bad_files] == ["3.png"]
    (folder / "images" / "4.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="2 of 6 photos cannot be read"):
        maker.batch(1)


# --- the run


def test_a_stopped_run_resumes(folder: Path) -> None:
    whole = train(config_for(folder))
    parts = config_for(folder, "parts")
    train(parts, max_minutes=0)  # stops after one step
    assert load_checkpoint(folder / "parts" / "checkpoint.pt")["step"] == 1
    resumed = train(parts)
    one, two = (load_checkpoint(f.parent / "checkpoint.pt") for f in (whole, resumed))
    for key, value in one["network"].items():
        torch.testing.assert_close(two["network"][key], value, atol=1e-6, rtol=1e-5)
    with pytest.raises(CheckpointError, match=r"another configuration \(optimizer.clip: 10.0 -> 3"):
        train(config_for(folder, optimizer={"clip": 3.0}))
    with pytest.raises(
        CheckpointError, match=r"is at step 4 already; optimizer.steps: expected no"
    ):
        train(config_for(folder, optimizer={"steps": 3}))
    train(config_for(folder, optimizer={"steps": 5, "batch_size": 1}))  # longer, smaller batches
    assert load_checkpoint(whole.parent / "checkpoint.pt")["step"] == 5


def test_people_of_a_single_joint(tmp_path: Path) -> None:
    """Most crops around the joint show too little of the box to learn anything of it."""
    inputs = Path(__file__).with_name("inputs")
    (tmp_path / "images").mkdir()
    shutil.copy(inputs / "1.jpg", tmp_path / "images")
    shutil.copy(inputs / "topdown-one-joint.json", tmp_path / "people.json")
    options = {**OPTIONS, "rpn_score_thresh": 0.9}
    table = {"batch_size": 1}
    whole = train(config_for(tmp_path, network={"options": options}, optimizer=table))
    state = load_checkpoint(whole.parent / "checkpoint.pt")
    assert state["step"] == 4
    assert all(torch.isfinite(value).all() for value in state["network"].values())


def test_training_learns_to_find_one_person(folder: Path) -> None:
    table = {"steps": 40, "batch_size": 1, "learning_rate": 3e-3, "warmup": 5}
    train(config_for(folder, optimizer=table))
    rows = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    first, last = rows[0], rows[-1]
    assert [row["step"] for row in rows] == [20, 40]
    assert last["loss_objectness"] < first["loss_objectness"]
    assert last["loss_keypoint"] < np.log(56 * 56)  # better than chance
    assert {"loss_classifier", "loss_box_reg", "loss_rpn_box_reg", "images_per_s"} <= set(last)


def test_the_command_trains_validates_and_predicts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_for(folder, optimizer={"steps": 2})
    people = config.data.sets[0]
    data = replace(config.data, validation=replace(people, holdout=(1, 3)))
    path = folder / "run.toml"
    path.write_text("".join(toml_rows(plain(replace(config, data=data)))))
    assert main(["train", str(path)]) == 0
    assert "tiny.safetensors" in capsys.readouterr().out
    log = (folder / "run" / "log.jsonl").read_text()
    assert '"val_AP"' in log
    model, photo = str(folder / "run" / "tiny.safetensors"), str(folder / "images" / "0.png")
    arguments = ["predict", photo, "--output", str(folder / "out"), "--model", model]
    assert main([*arguments, "--size", "64", "--format", "coco,image"]) == 0
    assert (folder / "out" / "0.json").is_file()
    assert main([*arguments, "--engine", "openvino"]) == 2
    assert "a detector runs in 'torch' only" in capsys.readouterr().err
    assert main(["train", str(path), "--show-targets", str(folder / "t")]) == 2
    assert "--show-targets: not for detectors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "values", "message"),
    [
        ("targets", {"sigma_px": 9}, "targets.sigma_px: not for a detector"),
        ("data", {"skeleton": "coco17"}, "data.skeleton: not for a detector"),
        ("distillation", {"teacher": "t"}, "distillation: not for a detector"),
        ("augment", {"crop_px": 40}, "augment.crop_px: expected a multiple of 32, got 40"),
        ("optimizer", {"precision": "float16"},
         "optimizer.precision: expected float32 for a detector, got 'float16'"),
    ],
)  # fmt: skip
def test_keys_that_are_not_for_detectors(
    folder: Path, table: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train(config_for(folder, **{table: values}))


def test_the_trunk_can_be_frozen(folder: Path) -> None:
    start = config_for(folder, "start", optimizer={"steps": 1})
    table = {"trunk_rate": 0, "steps": 1, "average": 0.0}
    frozen = config_for(folder, network={"weights": str(train(start))}, optimizer=table)
    states = [weights.load_model(train(config))[0].state_dict() for config in (start, frozen)]
    moved = {key for key in states[0] if not torch.equal(states[0][key], states[1][key])}
    assert moved
    assert not any(key.startswith("backbone.body.") for key in moved)


# --- the estimator


def save_model(path: Path, builder: str = "keypointrcnn_mobilenet_v2_fpn", **options: Any) -> Path:
    torch.manual_seed(0)
    values = {**OPTIONS, **options}
    grid = Grid(1, -0.5)
    row = weights.ModelSpec(
        name=path.stem, builder=builder, options=values, skeleton=S, heatmap_grid=grid,
        paf_grid=grid, mean=0.0, scale=255.0, licence="none", metrics={},
    )  # fmt: skip
    weights.save(BUILDERS[builder](S, **values).state_dict(), path, row)
    return path


def test_the_estimator_gives_poses(tmp_path: Path) -> None:
    model = save_model(tmp_path / "mask-rcnn-test.safetensors")
    estimator = openpaf.PoseEstimator(model, size=64, device="cpu")
    assert estimator.spec.method == "mask_rcnn"
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (h, w, 3), dtype=np.uint8) for h, w in ((80, 100), (90, 50))]
    one, other = estimator(pictures[0]), estimator(pictures[1])
    assert one.skeleton == estimator.skeleton == S
    assert 0 < len(one) <= 5
    assert (np.diff(one.person_scores) <= 0).all()
    assert ((one.scores >= 0) & (one.scores <= 1)).all()
    inside = np.nan_to_num(one.xy, nan=0)
    assert (inside >= -1).all()
    assert (inside <= [101, 81]).all()
    for poses, wanted in zip(
        estimator.batch([*pictures, pictures[0]]), (one, other, one), strict=True
    ):
        np.testing.assert_allclose(poses.xy, wanted.xy, atol=1e-3)
        np.testing.assert_allclose(poses.person_scores, wanted.person_scores, atol=1e-5)
    with pytest.raises(ValueError, match=r"'mask-rcnn-test' gives no part affinity fields"):
        estimator.fields(pictures[0])


def test_estimators_refuse_what_they_cannot_do(tmp_path: Path) -> None:
    model = save_model(tmp_path / "boxes.safetensors", "fasterrcnn_mobilenet_v2_fpn")
    with pytest.raises(WeightsError, match=r"boxes: finds objects and no joints"):
        openpaf.PoseEstimator(model)
    model = save_model(tmp_path / "joints.safetensors")
    with pytest.raises(ValueError, match="device: 'nowhere' cannot be used"):
        openpaf.PoseEstimator(model, device="nowhere")
    with pytest.raises(ValueError, match="size: expected a whole number"):
        openpaf.PoseEstimator(model, size=3)
    with pytest.raises(WeightsError, match="neither a file, nor a shipped model"):
        openpaf.PoseEstimator("mask-rcnn-none")


def test_other_models_are_estimated_as_ever() -> None:
    estimator = openpaf.PoseEstimator("lightweight-coco17", size=64)
    assert type(estimator) is openpaf.PoseEstimator
