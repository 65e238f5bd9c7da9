"""Training: data, crops, targets, losses, teachers, and runs that resume where they stopped."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from openpaf import Grid, PoseEstimator, Poses, Skeleton, encode_fields
from openpaf.cli import main
from openpaf.errors import WeightsError
from openpaf.geometry import transform_points
from openpaf.networks import LightweightNetwork
from openpaf.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from openpaf.training.config import (
    AugmentConfig,
    DistillationConfig,
    OptimizerConfig,
    TrainConfig,
)
from openpaf.training.data.augmentation import _random_affine, plan_crop
from openpaf.training.data.batches import BatchMaker
from openpaf.training.data.dataset import DatasetError, Photo, load_photo_set
from openpaf.training.data.show import show_targets
from openpaf.training.distillation import Teacher, shared_channels
from openpaf.training.loop import train
from openpaf.training.losses import fields_loss
from openpaf.training.optimizer import learning_rate
from openpaf.training.part_affinity import make_batches
from openpaf.training.tables import as_table
from openpaf.weights import load_model

S = Skeleton.COCO17
SMALL = AugmentConfig(crop_px=64, person_px=(40, 60))
SMALL_NETWORK: dict[str, Any] = {
    "n_refinement_stages": 0, "width": 16, "hidden_width": 32, "trunk_widths": [16] * 12,
}  # fmt: skip


def annotation(image_id: int, keypoints: Any, **more: Any) -> dict[str, Any]:
    values = np.asarray(keypoints, float).reshape(17, 3)
    seen = values[values[:, 2] > 0, :2]
    low, high = (seen.min(0), seen.max(0)) if len(seen) else (np.zeros(2), np.ones(2))
    return {
        "image_id": image_id, "category_id": 1, "iscrowd": 0, "area": 1000.0,
        "bbox": [*low.tolist(), *(high - low).tolist()], "num_keypoints": len(seen),
        "keypoints": values.ravel().tolist(), **more,
    }  # fmt: skip


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Eight small photos of noise, each with one labelled person and one crowd."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for i in range(8):
        pixels = rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 120, "height": 90})
        person = np.column_stack(
            [rng.uniform(20, 100, 17), rng.uniform(20, 80, 17), np.full(17, 2)]
        )
        annotations.append({"id": 2 * i + 1, **annotation(i, person)})
        crowd = {"iscrowd": 1, "bbox": [0, 0, 10, 10], "num_keypoints": 0}
        annotations.append({"id": 2 * i + 2, **annotation(i, np.zeros((17, 3)), **crowd)})
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    (tmp_path / "people.json").write_text(json.dumps(data))
    return tmp_path


def config_for(folder: Path, output: str = "run", **tables: dict[str, Any]) -> TrainConfig:
    """A small run, with changed values in some of its tables."""
    values: dict[str, dict[str, Any]] = {
        "data": {
            "sets": [
                {"annotations": str(folder / "people.json"), "images": str(folder / "images")}
            ],
            "workers": 1,
        },
        "network": {"options": SMALL_NETWORK},
        "optimizer": {
            "steps": 4, "batch_size": 2, "warmup": 2, "precision": "float32",
            "checkpoint_every": 2, "validate_every": 100,
        },
        "augment": {"crop_px": 64, "person_px": [40, 60]},
    }  # fmt: skip
    for name, table in tables.items():
        values[name] = {**values.get(name, {}), **table}
    return as_table(TrainConfig, {"output": str(folder / output), "name": "tiny", **values})


def maker_for(folder: Path, **changes: Any) -> BatchMaker:
    photos = load_photo_set(folder / "people.json", folder / "images")
    values: dict[str, Any] = {
        "batch_size": 3, "augment": SMALL, "skeleton": S, "heatmap_grid": Grid(8),
        "paf_grid": Grid(8, 0.0), "seed": 5,
    }  # fmt: skip
    return BatchMaker([photos], **{**values, **changes})


# --- data


def test_a_set_is_read_with_its_crowds_left_out(photo_folder: Path) -> None:
    photos = load_photo_set(photo_folder / "people.json", photo_folder / "images")
    assert len(photos.photos) == photos.n_people == 8
    assert photos.photos[0].ignore_boxes.tolist() == [[0, 0, 10, 10]]


def test_a_holdout_is_every_nth_photo(photo_folder: Path) -> None:
    kept = load_photo_set(photo_folder / "people.json", photo_folder / "images", holdout=(1, 2))
    assert [photo.path.stem for photo in kept.photos] == ["0", "2", "4", "6"]


def test_disagreeing_labels_and_doubtful_people(photo_folder: Path) -> None:
    file = photo_folder / "people.json"
    data = json.loads(file.read_text())
    data["annotations"][0]["agree"] = 0.2
    data["annotations"][2]["ignore"] = 1
    data["annotations"][4]["maybe"] = [[9, 30.0, 40.0]]
    file.write_text(json.dumps(data))
    photos = load_photo_set(file, photo_folder / "images", min_agreement=0.3)
    assert [photo.path.stem for photo in photos.photos] == ["2", "3", "4", "5", "6", "7"]
    assert photos.photos[0].uncertain_joints.tolist() == [[9, 30, 40]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "not JSON"),
        ("[]", "expected COCO format"),
        ('{"images": [], "annotations": []}', "no people"),
    ],
)
def test_bad_annotation_files(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "people.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(DatasetError, match=rf"people\.json.*{message}"):
        load_photo_set(file, tmp_path)


def test_a_missing_folder_and_a_wrong_skeleton(photo_folder: Path) -> None:
    file = photo_folder / "people.json"
    with pytest.raises(DatasetError, match="expected a folder"):
        load_photo_set(file, photo_folder / "nowhere")
    with pytest.raises(DatasetError, match="51 numbers in 'keypoints', expected 54"):
        load_photo_set(file, photo_folder / "images", skeleton=Skeleton.COCO18)


# --- crops


def test_joints_move_with_the_pixels() -> None:
    """A bright square at each of three joints is found again where the crop's label says."""
    image = np.zeros((200, 240, 3), np.uint8)
    points = np.array([[60, 60], [150, 80], [100, 150]])
    for channel, (x, y) in enumerate(points):
        image[y - 3 : y + 4, x - 3 : x + 4, channel] = 255
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, [0, 5, 6], :2], keypoints[0, [0, 5, 6], 2] = points, 2
    photo = Photo(
        path=Path("none"), keypoints=keypoints, boxes=np.zeros((1, 4), np.float32),
        ignore_boxes=np.zeros((0, 4), np.float32), uncertain_joints=np.zeros((0, 3), np.float32),
    )  # fmt: skip
    plain = AugmentConfig(crop_px=256, person_px=(90, 200), color=0, gray=0, blur=0, shift=0.05)
    flipped = 0
    for seed in range(20):
        plan = plan_crop(photo, plain, S, np.random.default_rng(seed))
        pixels, keypoints = plan.render(lambda _: image), plan.labels.keypoints
        swapped = keypoints[0, 5, 2] > 0 and (
            np.linalg.norm(_centre(pixels, 1) - keypoints[0, 6, :2]) < 1
        )
        flipped += swapped
        for channel, joint in enumerate((0, 6, 5) if swapped else (0, 5, 6)):
            error = _centre(pixels, channel) - keypoints[0, joint, :2]
            assert np.abs(error).max() < 0.35, (seed, joint, error)
    assert 0 < flipped < 20


def _centre(image: np.ndarray, channel: int) -> np.ndarray:
    others = np.delete(image, channel, axis=2).max(axis=2)  # the grey border has all three
    weight = np.clip(image[..., channel].astype(float) - others, 0, None)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def test_scale_stays_in_its_range(photo_folder: Path) -> None:
    photo = load_photo_set(photo_folder / "people.json", photo_folder / "images").photos[0]
    config = AugmentConfig(crop_px=64, person_px=(40, 60), rotation_deg=30)
    for seed in range(50):
        affine, _ = _random_affine(photo, config, np.random.default_rng(seed))
        scale = math.sqrt(abs(np.linalg.det(affine[:, :2])))
        joints = photo.keypoints[0, :, :2]
        extent = np.ptp(joints, axis=0).max() * 1.15
        assert 40 / extent - 1e-6 <= scale <= 60 / extent + 1e-6
        middle = transform_points((joints.min(0) + joints.max(0)) / 2, affine)
        assert np.abs(middle - 31.5).max() <= config.shift * 64 * math.sqrt(2) + 1e-3


def test_ignored_and_unsure_places_do_not_count(photo_folder: Path) -> None:
    file = photo_folder / "people.json"
    data = json.loads(file.read_text())
    for row in data["annotations"]:
        if row["iscrowd"]:
            row["bbox"] = [0, 0, 120, 90]
    file.write_text(json.dumps(data))
    batch = maker_for(photo_folder).batch(0)
    assert (batch.heatmap_weights == 0).any()
    assert (batch.paf_weights == 0).any()
    inside = batch.heatmap_weights[0, 0] == 0
    assert (batch.heatmap_weights[0, :, inside] == 0).all()


def test_batches_are_a_function_of_seed_and_step(photo_folder: Path) -> None:
    first, second = maker_for(photo_folder), maker_for(photo_folder)
    straight = [first.batch(step) for step in range(3)]
    for batch, again in zip(straight, second.stream(0, 3, workers=3), strict=True):
        assert torch.equal(batch.images, again.images)
        assert torch.equal(batch.pafs, again.pafs)
    assert not torch.equal(straight[0].images, straight[1].images)
    other = maker_for(photo_folder, seed=6).batch(0)
    assert not torch.equal(straight[0].images, other.images)


def test_a_corrupt_photo_is_replaced_and_named_and_many_stop_the_run(photo_folder: Path) -> None:
    (photo_folder / "images" / "3.png").write_bytes(b"not a picture")
    maker = maker_for(photo_folder, batch_size=16)
    maker.batch(0)
    assert [Path(name).name for name in maker.photos.bad_files] == ["3.png"]
    for i in range(8):
        (photo_folder / "images" / f"{i}.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="of 8 photos cannot be read"):
        maker.batch(1)


# --- loss and distillation


def test_the_loss_counts_what_it_is_told_to(photo_folder: Path) -> None:
    batch = maker_for(photo_folder).batch(0)
    loss, _ = fields_loss([(batch.heatmaps, batch.pafs)], batch)
    assert float(loss) == 0
    wrong = [(batch.heatmaps + 1, batch.pafs.clone()) for _ in range(2)]
    loss, parts = fields_loss(wrong, batch)
    share = float(batch.heatmap_weights.mean()) * 18
    assert float(parts["heatmaps_1"]) == float(parts["heatmaps_2"])
    assert float(parts["heatmaps_1"]) == pytest.approx(share, rel=1e-5)
    nothing = replace(batch, heatmap_weights=torch.zeros_like(batch.heatmap_weights))
    assert float(fields_loss([(batch.heatmaps + 1, batch.pafs)], nothing)[0]) == 0


class _Everywhere(torch.nn.Module):
    """A teacher that sees every joint everywhere, and limbs of (0.5, 0.25)."""

    def forward(self, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        b, _, height, width = images.shape
        heatmaps = torch.full((b, 19, height // 8, width // 8), 0.6)
        heatmaps[:, -1] = 0.4
        pafs = torch.tensor([0.5, 0.25]).repeat(19)[None, :, None, None]
        return [(heatmaps, pafs.expand(b, 38, height // 8, width // 8))]


def test_a_teacher_fills_only_what_is_not_fully_annotated(photo_folder: Path) -> None:
    batch = maker_for(photo_folder).batch(0)
    teacher = Teacher(_Everywhere(), S, Skeleton.COCO18, DistillationConfig())
    assert torch.equal(teacher.fill(batch).pafs, batch.pafs)
    doubtful = replace(batch, fully_annotated=torch.zeros(3, dtype=torch.bool))
    filled = teacher.fill(doubtful)
    joints = batch.heatmaps[:, :-1]
    assert torch.equal(filled.heatmaps[:, :-1][joints > 0], joints[joints > 0])
    assert (filled.heatmaps[:, :-1][joints == 0] == 0.6).all()
    torch.testing.assert_close(filled.heatmaps[:, -1], 1 - filled.heatmaps[:, :-1].amax(1))
    channels = shared_channels(S, Skeleton.COCO18)[1]
    new = [ours for ours, theirs in enumerate(channels) if theirs < 0]
    assert len(new) == 28
    silent = (batch.pafs.view(3, -1, 2, 8, 8) == 0).all(dim=2).repeat_interleave(2, 1)
    assert (filled.paf_weights[:, new][silent[:, new]] == 0).all()
    ear = S.limbs.index((S.index("left_ear"), S.index("left_shoulder")))  # the teacher's reversed
    taught = filled.pafs[:, 2 * ear][silent[:, 2 * ear]]
    assert len(taught)
    assert (taught == -0.5).all()


def test_a_network_of_our_own_teaches_every_channel(photo_folder: Path) -> None:
    batch = maker_for(photo_folder).batch(0)
    network = LightweightNetwork(S, **SMALL_NETWORK).eval()
    teacher = Teacher(network, S, S, DistillationConfig())
    filled = teacher.fill(replace(batch, fully_annotated=torch.zeros(3, dtype=torch.bool)))
    with torch.no_grad():
        heatmaps, pafs = network((batch.images - 128) / 255)[-1]
    silent = batch.heatmaps[:, :-1] == 0
    taught = heatmaps[:, :-1].clamp(0, 1)
    torch.testing.assert_close(filled.heatmaps[:, :-1][silent], taught[silent])
    covered = (batch.pafs.view(3, -1, 2, 8, 8) != 0).any(dim=2).repeat_interleave(2, 1)
    torch.testing.assert_close(filled.pafs[~covered], pafs[~covered])
    assert torch.equal(filled.pafs[covered], batch.pafs[covered])
    assert torch.equal(filled.paf_weights, batch.paf_weights)  # there is no limb it does not know


def test_a_share_of_the_teacher_is_mixed_into_labels(photo_folder: Path) -> None:
    batch = maker_for(photo_folder).batch(0)
    network = LightweightNetwork(S, **SMALL_NETWORK).eval()
    filled = Teacher(network, S, S, DistillationConfig(teacher="t", weight=0.25)).fill(batch)
    with torch.no_grad():
        heatmaps, pafs = network((batch.images - 128) / 255)[-1]
    torch.testing.assert_close(filled.pafs, 0.75 * batch.pafs + 0.25 * pafs)
    wanted = 0.75 * batch.heatmaps[:, :-1] + 0.25 * heatmaps[:, :-1].clamp(0, 1)
    torch.testing.assert_close(filled.heatmaps[:, :-1], wanted)
    for what in ({"weight": 0.5}, {"inside_ignore_regions": True}):
        with pytest.raises(ValueError, match="a teacher of every limb"):
            Teacher(_Everywhere(), S, Skeleton.COCO18, DistillationConfig(teacher="t", **what))


def test_a_teacher_fills_ignore_regions_where_asked_to(photo_folder: Path) -> None:
    batch = maker_for(photo_folder).batch(0)
    network = LightweightNetwork(S, **SMALL_NETWORK).eval()
    with torch.no_grad():
        heatmaps, pafs = network((batch.images - 128) / 255)[-1]
    heatmap_weights, paf_weights = batch.heatmap_weights.clone(), batch.paf_weights.clone()
    heatmap_weights[:, :3, 2:5], paf_weights[:, :, :, 4:] = 0, 0
    masked = replace(batch, heatmap_weights=heatmap_weights, paf_weights=paf_weights)
    config = DistillationConfig(teacher="t", weight=0.25, inside_ignore_regions=True)
    teacher = Teacher(network, S, S, config)
    filled = teacher.fill(masked)
    assert (filled.heatmap_weights == 1).all()
    assert (filled.paf_weights == 1).all()
    taught = heatmaps.clamp(0, 1)
    torch.testing.assert_close(filled.heatmaps[:, :3, 2:5], taught[:, :3, 2:5])
    torch.testing.assert_close(filled.pafs[..., 4:], pafs[..., 4:])
    wanted = 0.75 * batch.heatmaps[:, 3:-1] + 0.25 * taught[:, 3:-1]
    labelled = batch.heatmap_weights[:, 3:-1] > 0
    torch.testing.assert_close(filled.heatmaps[:, 3:-1][labelled], wanted[labelled])
    torch.testing.assert_close(filled.heatmaps[:, -1], 1 - filled.heatmaps[:, :-1].amax(1))


def states_of_two_runs(folder: Path, **tables: Any) -> list[dict[str, torch.Tensor]]:
    """Weights of one run twice: made at a stretch, and stopped after a step and resumed."""
    straight, stopped = (config_for(folder, name, **tables) for name in ("straight", "stopped"))
    train(stopped, max_minutes=0.0)
    return [load_model(train(config))[0].state_dict() for config in (straight, stopped)]


def assert_equal(states: list[dict[str, torch.Tensor]]) -> None:
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.fixture
def teacher(photo_folder: Path) -> str:
    """Weights of a run of one step."""
    return str(train(config_for(photo_folder, "teacher", optimizer={"steps": 1})))


def test_a_teacher_resumes_bit_exactly(photo_folder: Path, teacher: str) -> None:
    table = {"teacher": teacher, "weight": 0.5, "inside_ignore_regions": True}
    assert_equal(states_of_two_runs(photo_folder, optimizer={"steps": 3}, distillation=table))


def test_teachers_that_do_not_fit(photo_folder: Path, teacher: str) -> None:
    config = config_for(
        photo_folder, targets={"grid_offsets": [3.5, 0]}, distillation={"teacher": teacher}
    )
    with pytest.raises(WeightsError, match="a teacher's grids must be those of the targets"):
        train(config)


def test_labels_of_17_joints_train_a_network_of_18(photo_folder: Path) -> None:
    redundant = Skeleton.COCO18_REDUNDANT
    ours, theirs = (maker_for(photo_folder, skeleton=s).batch(0) for s in (S, redundant))
    nose, neck = redundant.index("nose"), redundant.index("neck")
    assert torch.equal(ours.heatmaps[:, S.index("nose")], theirs.heatmaps[:, nose])
    assert theirs.heatmaps[:, neck].max() > 0.5
    arm = S.limbs.index((S.index("left_shoulder"), S.index("left_elbow")))
    other = redundant.limbs.index((redundant.index("left_shoulder"), redundant.index("left_elbow")))
    assert torch.equal(
        ours.pafs[:, 2 * arm : 2 * arm + 2], theirs.pafs[:, 2 * other : 2 * other + 2]
    )
    config = config_for(photo_folder, data={"skeleton": "coco18_redundant"}, optimizer={"steps": 1})
    network, row = load_model(train(config))
    assert (row.skeleton, row.result) == (redundant, S)
    assert network(torch.zeros(1, 3, 64, 64))[-1][1].shape[1] == 2 * redundant.n_limbs
    estimator = PoseEstimator(train(config), size=64)
    assert estimator.skeleton == S
    assert estimator.fields(np.zeros((64, 64, 3), np.uint8)).skeleton == redundant
    assert estimator(np.zeros((64, 64, 3), np.uint8)).xy.shape[1] == 17


def test_only_a_teacher_tells_what_labels_miss(photo_folder: Path) -> None:
    assert not make_batches(config_for(photo_folder)).is_taught
    taught = config_for(photo_folder, distillation={"teacher": "any.safetensors"})
    assert make_batches(taught).is_taught


def test_targets_are_shown_over_their_crops(photo_folder: Path, tmp_path: Path) -> None:
    config = config_for(photo_folder)
    assert show_targets(config, tmp_path / "targets", 3) == 3
    files = sorted((tmp_path / "targets").iterdir())
    assert [file.name for file in files] == ["0000.png", "0001.png", "0002.png"]
    picture = np.asarray(Image.open(files[0])).astype(int)
    assert picture.shape == (64, 192, 3)
    batch = make_batches(config).batch(0)
    # The strongest heatmap is yellow where its grid says.
    joints = batch.heatmaps[0, :-1].amax(dim=0) * batch.heatmap_weights[0].amin(dim=0)
    row, column = np.unravel_index(int(joints.argmax()), joints.shape)
    y, x = (round(8 * cell + 3.5) for cell in (row, column))
    red, _, blue = picture[y, 64 + x]
    assert red - blue > 60


def test_the_command_shows_targets(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = photo_folder / "run.toml"
    config.write_text(
        'output = "run"\n[optimizer]\nbatch_size = 2\n[augment]\ncrop_px = 64\n'
        '[[data.sets]]\nannotations = "people.json"\nimages = "images"\n'
    )
    folder = tmp_path / "targets"
    assert main(["train", str(config), "--show-targets", str(folder), "--samples", "2"]) == 0
    assert len(list(folder.iterdir())) == 2
    assert "2 crops with their targets" in capsys.readouterr().out
    assert not (photo_folder / "run").exists()
    assert main(["train", str(config), "--show-targets", str(folder), "--samples", "0"]) == 2
    assert "--samples: expected at least 1, got 0" in capsys.readouterr().err


# --- runs


def test_a_run_that_stops_resumes_bit_exactly(photo_folder: Path) -> None:
    whole = config_for(photo_folder, "whole")
    train(whole)
    halves = config_for(photo_folder, "halves")
    for _ in range(4):  # no time at all: each call makes one step and a checkpoint
        train(halves, max_minutes=0)
    one, two = (load_checkpoint(Path(c.output) / "checkpoint.pt") for c in (whole, halves))
    assert one["step"] == two["step"] == 4
    for part in ("network", "average"):
        for key in one[part]:
            assert torch.equal(one[part][key], two[part][key]), key


def test_a_run_learns_and_leaves_weights_and_a_log(photo_folder: Path) -> None:
    table = {"steps": 40, "learning_rate": 2e-3, "average": 0.9}
    config = config_for(photo_folder, optimizer=table)
    file = train(config)
    rows = [json.loads(line) for line in (file.parent / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40]
    assert all(math.isfinite(row["loss"]) for row in rows)
    trained, row = load_model(file)
    assert row.metrics["step"] == 40
    torch.manual_seed(config.seed)
    fresh = LightweightNetwork(S, **SMALL_NETWORK)
    batch = maker_for(photo_folder).batch(0)
    images = (batch.images - row.mean) / row.scale
    with torch.no_grad():
        before, after = (float(fields_loss(net(images), batch)[0]) for net in (fresh, trained))
    assert after < 0.95 * before


def test_a_run_with_another_configuration_is_refused(photo_folder: Path) -> None:
    train(config_for(photo_folder), max_minutes=0)
    with pytest.raises(CheckpointError, match=r"optimizer.learning_rate: 0.0001 -> 0.5"):
        train(config_for(photo_folder, optimizer={"learning_rate": 0.5}))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint({"step": 1}, path)

    (tmp_path / "checkpoint.pt.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device.*the one before it is kept"):
        save_checkpoint({"step": 2}, path)
    assert load_checkpoint(path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"PK nothing")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: not a checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_the_rate_rises_and_falls() -> None:
    config = OptimizerConfig(steps=100, warmup=10, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[-1] == pytest.approx(0.05, abs=0.01)
    assert sorted(rates[10:], reverse=True) == rates[10:]


def test_targets_decode_to_the_labels() -> None:
    """The training targets with a PAF grid of their own still are the decoder's fields."""
    from openpaf import decode

    rng = np.random.default_rng(2)
    keypoints = np.ones((1, 17, 3), np.float32)
    keypoints[0, :, :2] = rng.uniform(20, 200, (17, 2))
    poses = Poses.from_keypoints(keypoints, S)
    found = decode(encode_fields(poses, (224, 224), paf_grid=Grid(8, 0.0)))
    best = np.nanmax(
        [
            (np.linalg.norm(person.xy[0] - keypoints[0, :, :2], axis=1) < 1).mean()
            for person in found
        ]
    )
    assert best > 0.7
