"""Top-down with two networks: the networks beside their originals, and the way to people."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import pickle
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from openpaf import PoseEstimator, Skeleton, WeightsError, read_image, weights
from openpaf.cli import main as cli
from openpaf.engines.base import Engine
from openpaf.engines.export import check_export
from openpaf.engines.load import load_source
from openpaf.engines.onnx_engine import onnx_bytes
from openpaf.estimator.boxes import check_boxes, fuse, suppress
from openpaf.estimator.calibration import calibrate
from openpaf.estimator.crops import affine_of, crop, find_joints
from openpaf.estimator.methods import Options
from openpaf.estimator.suppression import suppress_duplicates
from openpaf.estimator.top_down import TopDown
from openpaf.geometry import Grid, transform_points
from openpaf.io.extras import installed, openvino_core
from openpaf.io.files import sha256_of
from openpaf.networks import build
from openpaf.oks import oks
from openpaf.poses import Poses
from openpaf.tracking.tracker import Tracker
from openpaf.weights.catalog import model_sha256

PHOTOS = Path(__file__).resolve().parents[1] / "data" / "photos"
MODELS = ("topdown", "topdown-fast", "topdown-best")
PART_NAMES = (
    "tinypose-256x192", "tinypose-128x96", "picodet-s-320", "picodet-s-192", "rtmdet-nano",
)  # fmt: skip
COCO17 = Skeleton.COCO17


# --- The networks, beside the files that they come from


@pytest.fixture(scope="module")
def recipes(repo_root: Path) -> ModuleType:
    path = repo_root / "models" / "recipes" / "topdown.py"
    spec = importlib.util.spec_from_file_location("topdown_recipe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["topdown_recipe"] = module
    spec.loader.exec_module(module)
    return module


def original(path: Path, size_hw: tuple[int, int]) -> Any:
    """The original network, in OpenVINO and float32, for inputs of a size."""
    pytest.importorskip("openvino")
    core = openvino_core()
    model = core.read_model(str(path))
    model.reshape([1, 3, *size_hw])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(images: np.ndarray) -> list[np.ndarray]:
        result = compiled(np.ascontiguousarray(images, np.float32))
        return [result[i].copy() for i in range(len(compiled.outputs))]

    return run


def photo_input(name: str, size_hw: tuple[int, int]) -> np.ndarray:
    """A photo as (1, 3, h, w), RGB of 0 to 255."""
    image = cv2.resize(read_image(PHOTOS / name), size_hw[::-1], interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)


def normalized(images: np.ndarray) -> np.ndarray:
    """As PaddleDetection normalizes RGB of 0 to 255."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return (images / 255 - mean[:, None, None]) / std[:, None, None]


def filled(recipes: ModuleType, name: str, folder: Path) -> tuple[nn.Module, Path]:
    """A network with the float32 numbers of its original, and the original's file."""
    recipe = recipes.RECIPES[name]
    network = build(recipe.builder, COCO17).eval()
    recipes.fill(network, recipe.read(folder / recipe.file))
    return network, folder / recipe.file


@torch.inference_mode()
def run_network(network: nn.Module, images: np.ndarray) -> list[np.ndarray]:
    return [array.numpy() for array in network(torch.from_numpy(images))[-1]]


@pytest.mark.parametrize("name", ["tinypose-256x192", "tinypose-128x96"])
def test_tinypose_gives_what_its_original_gives(
    recipes: ModuleType, shared_dir: Path, name: str
) -> None:
    network, path = filled(recipes, name, shared_dir / "weights" / "topdown")
    size_hw = recipes.RECIPES[name].size_hw
    for photo in ("astronaut.jpg", "grace_hopper.jpg"):
        images = photo_input(photo, size_hw)
        (ours,) = run_network(network, images / 255)
        theirs = original(path, size_hw)(normalized(images))[0]
        assert ours.shape == theirs.shape == (1, 17, size_hw[0] // 4, size_hw[1] // 4)
        assert theirs.max() > 0.5
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("size_hw", [(320, 320), (192, 192), (352, 480), (96, 224)])
@pytest.mark.parametrize("name", ["picodet-s-320", "picodet-s-192"])
def test_picodet_gives_what_its_original_gives(
    recipes: ModuleType, shared_dir: Path, name: str, size_hw: tuple[int, int]
) -> None:
    network, path = filled(recipes, name, shared_dir / "weights" / "topdown")
    images = photo_input("pedestrians_468.jpg", size_hw)
    boxes, scores = run_network(network, images / 255)
    their_boxes, their_scores = original(path, size_hw)(normalized(images))
    np.testing.assert_allclose(scores, their_scores[:, 0], atol=1e-4)
    np.testing.assert_allclose(boxes / 64, their_boxes / 64, atol=1e-4)  # in cells


@pytest.mark.parametrize("size_hw", [(320, 320), (352, 480), (96, 224)])
def test_rtmdet_gives_what_its_original_gives(
    recipes: ModuleType, shared_dir: Path, size_hw: tuple[int, int]
) -> None:
    network, path = filled(recipes, "rtmdet-nano", shared_dir / "weights" / "topdown")
    images = np.ascontiguousarray(photo_input("pedestrians_468.jpg", size_hw)[:, ::-1])
    boxes, scores = run_network(network, images)
    mean, std = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])
    levels = original(path, size_hw)((images - mean[:, None, None]) / std[:, None, None])
    start = 0
    for stride, level in zip((8, 16, 32), levels, strict=True):
        rows, columns = np.mgrid[: level.shape[1], : level.shape[2]]
        n = rows.size
        logits, sides = level[0, ..., 0].ravel(), level[0, ..., 1:].reshape(n, 4)
        at = np.stack([columns.ravel(), rows.ravel()], 1) * stride
        expected = np.concatenate([at - sides[:, :2], at + sides[:, 2:]], 1)
        part = slice(start, start + n)
        np.testing.assert_allclose(scores[0, part], 1 / (1 + np.exp(-logits)), atol=1e-4)
        np.testing.assert_allclose(boxes[0, part] / stride, expected / stride, atol=2e-4)
        start += n
    assert start == scores.shape[1]
    assert scores.max() > 0.4


@pytest.mark.parametrize("name", PART_NAMES)
def test_shipped_float16_gives_nearly_the_same(
    recipes: ModuleType, shared_dir: Path, name: str
) -> None:
    exact, _ = filled(recipes, name, shared_dir / "weights" / "topdown")
    shipped, spec = weights.load_model(name)
    size_hw = spec.size_hw or (320, 416)
    images = photo_input("pedestrians_468.jpg", size_hw) / np.float32(spec.scale)
    ours, theirs = run_network(shipped, images), run_network(exact, images)
    np.testing.assert_allclose(ours[-1], theirs[-1], atol=0.01)  # heatmaps, or scores
    if len(ours) == 2:
        likely = theirs[1] > 0.3
        assert likely.any()
        assert np.abs(ours[0] - theirs[0])[likely].max() < 1.5  # px


@pytest.mark.parametrize("name", PART_NAMES)
def test_a_part_ships_with_its_card(name: str) -> None:
    source = weights.resolve(name)
    assert all(tensor.dtype == torch.float16 for tensor in load_file(source.file).values())
    row = next(row for row in weights.table() if row["name"] == name)
    assert (row["licence"], row["size"]) == ("Apache-2.0", source.file.stat().st_size)
    assert row["size"] < 3_000_000
    n = sum(parameter.numel() for parameter in weights.load_network(source).parameters())
    assert f"{n:,} parameters" in source.file.with_suffix(".md").read_text()


def test_networks_take_any_size() -> None:
    cells = 12 * 20 + 6 * 10 + 3 * 5
    for name, more in (("picodet", 2 * 3), ("rtmdet", 0)):
        network = build(name).eval()
        boxes, scores = run_network(network, np.zeros((2, 3, 96, 160), np.float32))
        assert boxes.shape == (2, cells + more, 4)
        assert scores.shape == (2, cells + more)


# --- Crops and heatmaps


@pytest.mark.parametrize("height", [50.0, 150.0, 700.0, 1500.0])
def test_pixels_of_a_crop_are_those_of_the_image_at_the_same_place(height: float) -> None:
    rows, columns = np.mgrid[:1400, :1000].astype(np.float32)
    image = np.stack([columns / 4, rows / 6, columns * 0], 2).round().astype(np.uint8)
    box = np.array([420.3, 700.6 - height / 2, 520.9, 700.6 + height / 2], np.float32)
    size_hw = (128, 96)
    affine = affine_of(box, size_hw, 1.25)
    shown = crop(image, affine, size_hw)
    y, x = np.mgrid[:128, :96]
    inverse = np.column_stack([np.eye(2) / affine[0, 0], -affine[:, 2] / affine[0, 0]])
    at = transform_points(np.stack([x, y], -1), inverse)
    inside = ((at > 2) & (at < np.array([997, 1397]))).all(-1)
    expected = np.stack([at[..., 0] / 4, at[..., 1] / 6], -1)
    # Blocks at the border of the image are filled up: a band of them is left out.
    near = ((at > 20) & (at < np.array([980, 1380]))).all(-1)
    assert near.any()
    assert np.abs(shown[near][:, :2] - expected[near]).max() < 1.1  # of rounding, twice
    outside = ((at < -12) | (at > np.array([1012, 1412]))).any(-1)
    assert (shown[outside] == 0).all()
    assert inside.any()


def test_a_crop_has_the_middle_of_the_box_and_the_aspect_of_the_network() -> None:
    box = np.array([10.0, 20.0, 30.0, 80.0], np.float32)
    affine = affine_of(box, (256, 192), 1.25)
    assert np.allclose(transform_points(np.array([20.0, 50.0]), affine), [95.5, 127.5])
    # The height decides: 60 px times 1.25 fill 256 px.
    assert affine[0, 0] == affine[1, 1] == pytest.approx(256 / 75)
    assert affine_of(np.full(4, 7, np.float32), (256, 192), 1.25)[0, 0] == pytest.approx(192 / 1.25)


def test_thin_lines_survive_where_a_crop_is_much_smaller() -> None:
    image = np.zeros((2000, 2000, 3), np.uint8)
    image[:, ::10] = 250  # a tenth of the area
    box = np.array([100, 100, 1900, 1900], np.float32)
    shown = crop(image, affine_of(box, (128, 96), 1.0), (128, 96))
    assert 20 < shown[40:90, 20:80].mean() < 30
    assert shown[40:90, 20:80].std() < 15


def gaussian(xy: np.ndarray, size_hw: tuple[int, int], sigma: float = 2.0) -> np.ndarray:
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    squares = (x - xy[..., 0, None, None]) ** 2 + (y - xy[..., 1, None, None]) ** 2
    return np.exp(-squares / (2 * sigma**2)).astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_joints_are_found_between_the_cells(offset: float) -> None:
    rng = np.random.default_rng(0)
    cells = rng.uniform((8, 8), (40, 56), (3, 17, 2))
    affines = np.stack([affine_of(np.array([10, 20, 60 + 30 * i, 200], np.float32), (256, 192), 1.2)
                        for i in range(3)])  # fmt: skip
    xy, scores = find_joints(gaussian(cells, (64, 48)), affines, Grid(4, offset))
    in_crop = cells * 4 + offset
    for n in range(3):
        found = transform_points(xy[n], affines[n])
        assert np.abs(found - in_crop[n]).max() < 0.1
    assert ((scores > 0.8) & (scores <= 1)).all()


def test_a_peak_at_the_border_is_where_its_cell_is() -> None:
    cells = np.array([[[0.0, 0.0], [47.0, 63.0], [0.0, 30.0]]])
    maps = np.concatenate([gaussian(cells, (64, 48)), np.zeros((1, 1, 64, 48), np.float32)], 1)
    xy, scores = find_joints(maps, np.eye(2, 3)[None], Grid(4, 0.0))
    assert np.allclose(xy[0, :3], cells[0] * 4)
    assert np.isfinite(xy).all()
    assert scores[0].tolist() == [1, 1, 1, 0]


def test_heatmaps_of_no_people() -> None:
    xy, scores = find_joints(
        np.empty((0, 17, 64, 48), np.float32), np.empty((0, 2, 3)), Grid(4, 0.0)
    )
    assert xy.shape == (0, 17, 2)
    assert scores.shape == (0, 17)


# --- Boxes


def test_of_two_boxes_of_a_person_the_better_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], np.float32)
    scores = np.array([0.5, 0.9, 0.7], np.float32)
    assert suppress(boxes, scores, 0.6).tolist() == [1, 2]
    assert suppress(boxes, scores, 0.95).tolist() == [1, 2, 0]
    assert suppress(boxes[:0], scores[:0], 0.6).tolist() == []


def test_boxes_of_several_runs_are_fused() -> None:
    one = (
        np.array([[0, 0, 10, 10], [50, 50, 60, 60]], np.float32),
        np.array([0.9, 0.4], np.float32),
    )
    two = (np.array([[2, 0, 12, 10]], np.float32), np.array([0.3], np.float32))
    boxes, scores = fuse([one, two], 0.6)
    np.testing.assert_allclose(boxes[0], [0.5, 0, 10.5, 10])  # a quarter of the way
    np.testing.assert_allclose(boxes[1], [50, 50, 60, 60])
    np.testing.assert_allclose(scores, [0.6, 0.2])
    nothing = (np.empty((0, 4), np.float32), np.empty(0, np.float32))
    boxes, scores = fuse([nothing, nothing], 0.6)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([1, 2, 3, 4], r"boxes: expected \(N, 4\)"),
        ([[1, 2, 3]], r"boxes: expected \(N, 4\)"),
        ([[0, 0, float("nan"), 5]], "boxes: expected numbers of at most"),
        ([[0, 0, float("inf"), 5]], "boxes: expected numbers of at most"),
        ([[10, 0, 5, 5]], "boxes: expected x0 <= x1"),
        ([["a", 0, 5, 5]], "boxes: expected an array of float32"),
    ],
)
def test_boxes_that_are_none_are_refused(boxes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_boxes(boxes)


def test_a_person_found_twice_is_left_out() -> None:
    rng = np.random.default_rng(0)
    xy = np.repeat(rng.uniform(0, 100, (1, 17, 2)), 4, axis=0).astype(np.float32)
    xy[1] += 0.5
    xy[2] += 60
    xy[3] = np.nan
    scores = np.full((4, 17), 0.9, np.float32)
    scores[3] = 0
    poses = Poses(
        xy=xy, scores=scores, person_scores=np.array([0.5, 0.8, 0.3, 0.1]), skeleton=COCO17
    )
    area = np.full(4, 5000, np.float32)
    assert suppress_duplicates(poses, area, 0.8, 0.2).tolist() == [1, 2, 3]
    assert suppress_duplicates(poses[:0], area[:0], 0.8, 0.2).tolist() == []


# --- The whole way


@pytest.fixture(scope="module")
def topdown() -> PoseEstimator:
    return PoseEstimator("topdown", engine="torch", threads=1)


@pytest.fixture(scope="module")
def fast() -> PoseEstimator:
    return PoseEstimator("topdown-fast", engine="torch", threads=1)


@pytest.mark.parametrize("name", MODELS)
def test_one_person_is_found_once(name: str) -> None:
    poses = PoseEstimator(name, engine="torch", threads=1)(PHOTOS / "astronaut.jpg")
    sure = poses[poses.person_scores > 0.2]
    assert len(sure) == 1
    nose, left, right = (sure.xy[0, COCO17.index(j)] for j in ("nose", "left_eye", "right_eye"))
    assert np.abs(nose - [227, 134]).max() < 18
    assert right[0] < nose[0] < left[0]
    assert (poses.scores <= 1).all()


def test_a_batch_gives_what_single_images_give(fast: PoseEstimator) -> None:
    names = ["astronaut.jpg", "basketball.png", "pedestrians_468.jpg"]
    images = [read_image(PHOTOS / name) for name in names]
    together, alone = fast.batch(images), [fast(image) for image in images]
    for a, b in zip(together, alone, strict=True):
        assert len(a) == len(b)
        np.testing.assert_allclose(a.person_scores, b.person_scores, atol=1e-3)
        sure = (b.scores > 0.3)[..., None]
        np.testing.assert_allclose(np.where(sure, a.xy, 0), np.where(sure, b.xy, 0), atol=0.5)
    assert fast.batch([]) == []


def test_given_boxes_are_taken_in_place_of_the_detector(topdown: PoseEstimator) -> None:
    image = read_image(PHOTOS / "basketball.png")
    everyone = topdown(image)
    chosen = everyone[1]
    low, high = np.nanmin(chosen.xy[0], 0) - 5, np.nanmax(chosen.xy[0], 0) + 5
    poses = topdown(image, boxes=np.array([[*low, *high]]))
    assert len(poses) == 1
    near = np.abs(poses.xy[0] - chosen.xy[0])[chosen.scores[0] > 0.5]
    assert np.median(near) < 8
    assert len(topdown(image, boxes=np.empty((0, 4)))) == 0
    assert [len(p) for p in topdown.batch([image, image], boxes=[[], [[*low, *high]]])] == [0, 1]


def test_boxes_anywhere_and_of_any_size(fast: PoseEstimator) -> None:
    image = read_image(PHOTOS / "basketball.png")
    height, width = image.shape[:2]
    strange = np.array([
        [5, 5, 5, 5],                                    # one pixel
        [-1000, -1000, -900, -900],                      # outside
        [width + 10, 0, width + 50, 90],                 # outside
        [-300, -300, width + 300, height + 300],         # around the image
        [width - 3, height - 3, width - 1, height - 1],  # the last corner
        [0, 100, width, 101],                            # a line
        [-5e5, -5e5, 5e5, 5e5],
    ])  # fmt: skip
    poses = fast(image, boxes=strange)
    assert 1 <= len(poses) <= len(strange)
    assert np.isfinite(poses.xy[poses.scores > 0]).all()
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, (width - 40, height - 40), (120, 2))
    poses = fast(image, boxes=np.concatenate([corner, corner + rng.uniform(8, 40, (120, 2))], 1))
    assert 20 < len(poses) <= 120
    assert (np.diff(poses.person_scores) <= 0).all()


def test_boxes_are_refused_where_they_cannot_be_taken(fast: PoseEstimator) -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    bottom_up = PoseEstimator("fast", engine="torch", threads=1)
    with pytest.raises(ValueError, match="'fast-coco17' finds people without boxes; only top-down"):
        bottom_up(image, boxes=[[0, 0, 5, 5]])
    with pytest.raises(ValueError, match="expected an array for each of 1 images, got 2"):
        fast.batch([image], boxes=[[], []])
    with pytest.raises(ValueError, match="boxes: expected x0 <= x1"):
        fast(image, boxes=[[9, 0, 5, 5]])


@pytest.mark.parametrize("size_hw", [(480, 640), (1, 1), (3, 900), (900, 3)])
def test_no_people(fast: PoseEstimator, size_hw: tuple[int, int]) -> None:
    poses = fast(np.full((*size_hw, 3), 128, np.uint8))
    assert (poses.person_scores < 0.1).all()


def test_only_so_many_people(fast: PoseEstimator) -> None:
    image = PHOTOS / "pedestrians_468.jpg"
    everyone = fast(image)
    two = PoseEstimator("topdown-fast", engine="torch", threads=1, max_people=2)(image)
    assert len(everyone) > 5
    assert len(two) == 2
    np.testing.assert_allclose(two.person_scores, everyone.person_scores[:2], atol=1e-4)
    bottom_up = PoseEstimator("fast", engine="torch", threads=1, size=256, max_people=2)
    assert len(bottom_up(image)) == 2
    for number in (0, -1, 1.5):
        with pytest.raises(ValueError, match="max_people: expected a whole number"):
            PoseEstimator("topdown-fast", max_people=number)  # type: ignore[arg-type]


@pytest.mark.parametrize("photo", ["basketball.png", "pedestrians_468.jpg", "astronaut.jpg"])
def test_a_least_score_skips_boxes_and_loses_no_person(fast: PoseEstimator, photo: str) -> None:
    image = read_image(PHOTOS / photo)
    size_hw = image.shape[:2]
    inferred = fast.infer(image)
    everyone = fast.postprocess(inferred, size_hw)
    for min_score in (0.1, 0.6, 0.99):
        sure = PoseEstimator("topdown-fast", engine="torch", threads=1, min_score=min_score)
        own = sure.infer(image)
        expected = everyone[everyone.person_scores >= min_score]
        found = sure.postprocess(own, size_hw)
        assert len(found) == len(expected)
        np.testing.assert_allclose(found.person_scores, expected.person_scores, atol=1e-4)
        assert len(own.boxes) <= len(inferred.boxes)


def test_fewer_boxes_are_run_for_a_higher_least_score() -> None:
    """A box that cannot reach the score is not run; without a least score all from 0.1 on are."""
    spec = weights.resolve("topdown").spec
    pose = weights.resolve("tinypose-256x192").spec
    engine = Engine("own", lambda batch: {})
    least = [
        TopDown([], engine, pose, spec, Options(min_score=score))._least_box()
        for score in (0.0, 0.1, 0.6, 0.9, 0.999, 1.0)
    ]
    assert least[:2] == [0.1, 0.1]
    assert least == sorted(least)
    assert 0.15 < least[2] < 0.25
    # With perfect joints, a person in a box of the least score has the score that was asked for.
    perfect = Poses(
        xy=np.zeros((1, 17, 2)),
        scores=np.ones((1, 17)),
        person_scores=np.array([least[4] ** 0.75]),
        skeleton=COCO17,
    )
    assert calibrate(perfect, spec).person_scores[0] == pytest.approx(0.999, abs=1e-5)


def test_there_are_no_fields(fast: PoseEstimator) -> None:
    with pytest.raises(ValueError, match="'topdown-fast' gives no part affinity fields"):
        fast.fields(PHOTOS / "astronaut.jpg")
    with pytest.raises(ValueError, match="scales: a top-down pair says its sizes"):
        PoseEstimator("topdown-fast", scales=(0.5, 1))
    with pytest.raises(ValueError, match="image_hw: boxes of an image of"):
        fast.postprocess(fast.infer(PHOTOS / "astronaut.jpg"), (10, 10))


def test_the_browser_demo_takes_a_pair(
    fast: PoseEstimator,
) -> None:
    pytest.importorskip("aiohttp")
    server = importlib.import_module("openpaf.demos.browser").Server(fast)
    photo = b"\1" + (PHOTOS / "astronaut.jpg").read_bytes()
    answer = server._find(photo, Tracker())
    sure = [person for person in answer["people"] if person["score"] > 0.6]
    assert (len(sure), len(answer["joints"])) == (1, 17)
    frame = server._find(b"\0" + photo[1:], Tracker())
    assert frame["people"][0]["id"] is not None


def test_it_pickles(fast: PoseEstimator) -> None:
    copy = pickle.loads(pickle.dumps(fast))
    assert copy.spec == fast.spec
    assert copy.engine == "torch"


def test_mirrored_crops_are_averaged_in_place() -> None:
    """A network that blurs its crop into cells gives the same for it and for its mirror image."""

    def blur(batch: np.ndarray) -> dict[str, np.ndarray]:
        n, _, height, width = batch.shape
        cells = batch[:, 0].reshape(n, height // 4, 4, width // 4, 4).mean((2, 4))
        return {"heatmaps": np.repeat(cells[:, None], 17, 1) / 255}

    spec = weights.resolve("tinypose-128x96").spec
    image = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    results = []
    for flip in (False, True):
        of_cells = dataclasses.replace(spec, heatmap_grid=Grid(4))
        pair = weights.resolve("topdown-fast").spec
        method = TopDown([], Engine("own", blur), of_cells, pair, Options(flip=flip))
        results.append(method.infer_in_boxes([image], [[[20, 20, 100, 180]]])[0].heatmaps)
    np.testing.assert_allclose(*results, atol=1e-6)


# --- Engines


@pytest.mark.parametrize("name", ["topdown-fast", "topdown-best"])
def test_openvino_gives_what_torch_gives(name: str) -> None:
    pytest.importorskip("openvino")
    image = read_image(PHOTOS / "basketball.png")
    ours = PoseEstimator(name, engine="torch", threads=1)(image)
    theirs = PoseEstimator(name, engine="openvino", threads=1)(image)
    # Of near equal people or peaks the engines may take another.
    ours, theirs = (poses[poses.person_scores > 0.1] for poses in (ours, theirs))
    assert len(ours) == len(theirs) >= 2
    np.testing.assert_allclose(ours.person_scores, theirs.person_scores, atol=0.01)
    sure = (ours.scores > 0.3)[..., None]
    np.testing.assert_allclose(np.where(sure, ours.xy, 0), np.where(sure, theirs.xy, 0), atol=0.5)


@pytest.mark.parametrize("name", ["topdown", "topdown-best", "topdown-fast"])
def test_eight_bits_find_the_same_people(name: str) -> None:
    pytest.importorskip("openvino")
    image = read_image(PHOTOS / "pedestrians_468.jpg")
    ours = PoseEstimator(name, engine="openvino", threads=1, min_score=0.6)(image)
    theirs = PoseEstimator(name, engine="openvino-int8", threads=1, min_score=0.3)(image)
    assert len(ours) >= 3
    assert (oks(ours, theirs).max(axis=1) > 0.8).all()


def test_a_pair_without_eight_bits_says_what_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pair = own_pair(tmp_path, detectors=["picodet-s-192"])
    with pytest.raises(ValueError, match=r"needs picodet-s-192-int8\.xml and \.bin beside"):
        PoseEstimator(pair, engine="openvino-int8")


def test_detectors_take_any_size_in_openvino() -> None:
    pytest.importorskip("openvino")
    source = weights.resolve("rtmdet-nano")
    engines = [load_source(source, name, "cpu", threads=1) for name in ("torch", "openvino")]
    for size_hw in ((96, 224), (320, 320)):
        images = photo_input("pedestrians_468.jpg", size_hw)
        ours, theirs = (engine(images) for engine in engines)
        np.testing.assert_allclose(ours["boxes"], theirs["boxes"], atol=0.05)
        np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-3)


def test_one_engine_is_chosen_for_all_of_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    from openpaf.engines import auto
    from openpaf.engines.load import choose_engine

    for module in ("onnxruntime", "onnxscript", "openvino"):
        pytest.importorskip(module)
    times = {
        "picodet-s-320": {"torch": 0.010, "openvino": 0.002},
        "tinypose-128x96": {"torch": 0.001, "openvino": 0.006, "onnx": 0.0001},
    }
    monkeypatch.delenv("OPENPAF_ENGINE", raising=False)
    monkeypatch.setattr(auto, "_gpu_is_there", lambda: False)
    monkeypatch.setattr(auto, "write_note", lambda *_: None)
    monkeypatch.setattr(auto, "read_note", lambda *_: None)
    asked = []

    def measure(source: Any, names: list[str], *_: Any, **__: Any) -> Any:
        asked.append(names)
        return times[source.spec.name], False

    monkeypatch.setattr(auto, "measure", measure)
    choice = auto.fastest_engine(weights.resolve("topdown-fast"))
    assert choice.engine == "openvino"
    assert choice.seconds == pytest.approx({"torch": 0.011, "openvino": 0.008})
    assert choose_engine(weights.resolve("topdown-fast"), "auto") == "openvino"
    assert {"torch", "onnx", "openvino"} <= set.intersection(*map(set, asked))


# --- Files


def own_pair(folder: Path, **changes: Any) -> Path:
    """A pair of files in a folder of their own."""
    for name in ("tinypose-128x96", "picodet-s-192", "rtmdet-nano"):
        shutil.copy(weights.resolve(name).file, folder / f"my-{name}.safetensors")
    values = {
        "name": "mine",
        "detectors": ["my-picodet-s-192.safetensors"],
        "pose": "my-tinypose-128x96.safetensors",
    }
    path = folder / "mine.json"
    path.write_text(json.dumps({**values, **changes}))
    return path


def test_a_pair_of_your_own(tmp_path: Path) -> None:
    path = own_pair(tmp_path, detectors=["my-rtmdet-nano.safetensors@320", "picodet-s-192"])
    estimator = PoseEstimator(path, engine="torch", threads=1)
    assert estimator.spec.name == "mine"
    assert len(estimator(PHOTOS / "astronaut.jpg")) >= 1


def test_another_network_makes_another_pair_of_it(tmp_path: Path) -> None:
    """So that an interrupted run does not go on with results of the network before."""
    path = own_pair(tmp_path)
    before = weights.resolve(path)
    network = tmp_path / "my-tinypose-128x96.safetensors"
    content = bytearray(network.read_bytes())
    content[-1] ^= 1
    own = model_sha256(before)
    network.write_bytes(content)
    assert model_sha256(weights.resolve(path)) != own
    alone = weights.resolve("fast")
    assert model_sha256(alone) == sha256_of(alone.file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pose": "my-picodet-s-192.safetensors"},
            "pose: expected a network of one person, but .* is a detector of people",
        ),
        (
            {"detectors": ["my-tinypose-128x96.safetensors"]},
            "detectors: expected a detector of people, but .* is a network of one person",
        ),
        ({"pose": "fast-coco17"}, "'fast-coco17' is a model of method 'part_affinity'"),
        ({"pose": "topdown"}, "'topdown' is a model of method 'top_down'"),
        ({"pose": "none.safetensors"}, "none.safetensors"),
        ({"detectors": []}, "detectors: expected a list of 1 to 16 names"),
        ({"detectors": ["my-rtmdet-nano.safetensors"]}, "takes any size, so it needs one"),
        ({"detectors": ["rtmdet-nano@9999"]}, "expected a long side of 32 to 4096 px after @"),
        ({"detectors": ["rtmdet-nano@64x9"]}, "expected a long side of 32 to 4096 px after @"),
        ({"detectors": ["rtmdet-nano@64x"]}, "expected a long side of 32 to 4096 px after @"),
        ({"detectors": ["rtmdet-nano@64x90"]}, "expected multiples of 32 px after @"),
        ({"detectors": ["fast.onnx"]}, "fast.onnx: no such file"),
        ({"detectors": ["other.json"]}, "expected a network, found 'other.json'"),
        ({"padding": 0}, "padding: expected a number from 0.5 to 4"),
        ({"flip": "yes"}, "flip: expected true or false"),
        ({"size": 3}, "expected a dictionary with detectors, name, pose"),
    ],
)
def test_a_pair_that_is_none(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = own_pair(tmp_path, **changes)
    with pytest.raises(WeightsError, match=message):
        weights.resolve(path)


def test_a_detector_sees_the_size_that_the_pair_says(tmp_path: Path) -> None:
    names = ["picodet-s-192", "picodet-s-192@96x128", "picodet-s-192@224"]
    estimator = PoseEstimator(own_pair(tmp_path, detectors=names), engine="torch", threads=1)
    assert isinstance(estimator.method, TopDown)
    seen: list[tuple[int, ...]] = []

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(images.shape)
        return {"boxes": np.zeros((1, 0, 4), np.float32), "scores": np.zeros((1, 0), np.float32)}

    estimator.method.detectors = tuple(
        dataclasses.replace(detector, engine=Engine("own", run))
        for detector in estimator.method.detectors
    )
    assert len(estimator(np.zeros((300, 600, 3), np.uint8))) == 0
    assert seen == [(1, 3, 192, 192), (1, 3, 96, 128), (1, 3, 128, 224)]


@pytest.mark.parametrize(("to", "suffix"), [("onnx", ".onnx"), ("openvino", ".xml")])
def test_an_exported_pair_finds_the_same_people(
    tmp_path: Path, fast: PoseEstimator, to: str, suffix: str
) -> None:
    for module in ("onnxruntime", "onnxscript") if to == "onnx" else ("openvino",):
        pytest.importorskip(module)
    path, photo = tmp_path / "mine.json", PHOTOS / "basketball.png"
    command = ["export", "topdown-fast", "--to", to, "--output", str(path)]
    assert cli([*command, "--photos", str(PHOTOS / "astronaut.jpg")]) == 0
    assert {file.suffix for file in tmp_path.iterdir()} >= {".json", suffix}
    exported = PoseEstimator(path, threads=1)
    assert exported.engine == to
    ours, theirs = fast(photo), exported(photo)
    ours, theirs = (poses[poses.person_scores > 0.1] for poses in (ours, theirs))
    assert len(ours) == len(theirs) >= 2
    np.testing.assert_allclose(ours.person_scores, theirs.person_scores, atol=1e-3)
    sure = (ours.scores > 0.3)[..., None]
    np.testing.assert_allclose(np.where(sure, ours.xy, 0), np.where(sure, theirs.xy, 0), atol=0.1)
    with pytest.raises(ValueError, match="runs with"):
        PoseEstimator(path, engine="torch")


def test_an_export_of_a_pair_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for module in ("openvino", "onnxruntime", "onnxscript"):
        pytest.importorskip(module)
    photos = ["--photos", str(PHOTOS / "astronaut.jpg")]
    int8 = "int8 needs photos to learn ranges of values from"
    for more, message in (
        (["--output", str(tmp_path / "mine.xml")], "expected a name that ends in .json"),
        (["--fixed-size", "256x256"], "a top-down pair says its sizes itself"),
        (["--precision", "int8"], int8 if installed("nncf") else "'nncf' is not installed"),
        (
            # The last --to counts; files for ONNX Runtime are made sooner.
            ["--output", str(tmp_path / "mine.json"), "--tolerance", "0", "--to", "onnx"],
            "more than the tolerance",
        ),
    ):
        assert cli(["export", "topdown-fast", "--to", "openvino", *photos, *more]) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    path = tmp_path / "mine.json"
    with pytest.raises(ValueError, match="one of float32 for onnx of a top-down pair, got 'int8'"):
        check_export(path, "onnx", "int8", [PHOTOS], [PHOTOS], ".json")


def test_networks_of_a_pair_are_of_one_kind(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    onnx = onnx_bytes(weights.resolve("picodet-s-192"))
    (tmp_path / "mine.onnx").write_bytes(onnx)
    path = own_pair(tmp_path, detectors=["mine.onnx"])
    with pytest.raises(WeightsError, match="expected networks of one kind, found onnx and weights"):
        weights.resolve(path)


def test_a_pair_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    for text in ("{", "[]", '"a"', "{}"):
        path.write_text(text)
        with pytest.raises(WeightsError, match=r"mine\.json: its description of the pair"):
            weights.resolve(path)
    with pytest.raises(WeightsError, match="neither a file"):
        weights.resolve(tmp_path / "other.json")


@pytest.mark.parametrize("name", ["tinypose-128x96", "picodet-s-192"])
def test_weights_that_are_not_finite(tmp_path: Path, name: str) -> None:
    path = own_pair(tmp_path)
    part = weights.resolve(name)
    state = load_file(part.file)
    key = sorted(state)[3]
    state[key].view(-1)[0] = torch.nan
    weights.save(state, tmp_path / f"my-{name}.safetensors", part.spec)
    with pytest.raises(WeightsError, match="expected finite numbers, found NaN"):
        PoseEstimator(path, engine="torch")


def test_what_a_network_gives_must_be_finite() -> None:
    def nan(batch: np.ndarray) -> dict[str, np.ndarray]:
        return {"heatmaps": np.full((len(batch), 17, 32, 24), np.nan, np.float32)}

    spec = weights.resolve("tinypose-128x96").spec
    pair = weights.resolve("topdown-fast").spec
    method = TopDown([], Engine("own", nan), spec, pair, Options())
    image = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(WeightsError, match="tinypose-128x96: gives heatmaps that are not finite"):
        method.infer_in_boxes([image], [[[0, 0, 9, 9]]])


@pytest.mark.parametrize("name", ["tinypose-128x96", "picodet-s-192"])
def test_a_part_is_no_model(name: str) -> None:
    with pytest.raises(WeightsError, match=f"{name}: a .* no model alone"):
        PoseEstimator(name)


def test_a_pair_is_no_single_network(tmp_path: Path) -> None:
    source = weights.resolve("topdown-fast")
    with pytest.raises(WeightsError, match="names several networks"):
        weights.load_network(source)
    with pytest.raises(ValueError, match="weights: topdown-fast names its own"):
        weights.resolve("topdown-fast", tmp_path / "other.pth")
    with pytest.raises(ValueError, match="a pair of networks, which a file names"):
        PoseEstimator.from_network(nn.Identity(), source.spec)


@pytest.mark.parametrize("name", MODELS)
def test_pairs_are_in_the_table(name: str) -> None:
    row = next(row for row in weights.table() if row["name"] == name)
    source = weights.resolve(name)
    assert row["method"] == "top_down"
    assert row["skeleton"] == "coco17"
    assert row["size"] > 4_000_000
    assert row["sha256"] in source.file.with_suffix(".md").read_text()
    assert f"{row['AP']:.3f}" in source.file.with_suffix(".md").read_text()
    assert weights.verify(name) == "sha256, that of its card"


def test_a_changed_part_of_a_shipped_pair_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("topdown-fast", "tinypose-128x96", "picodet-s-320")
    shipped = [weights.resolve(name).file for name in names]
    copies = []
    for file in shipped:
        copies.append(Path(shutil.copy(file, tmp_path)))
        shutil.copy(file.with_suffix(".md"), tmp_path)
    monkeypatch.setattr("openpaf.weights.catalog._shipped", lambda: copies)
    weights.resolve("topdown-fast")
    content = copies[1].read_bytes()
    copies[1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"tinypose-128x96\.safetensors: its sha256 .* card"):
        PoseEstimator("topdown-fast")
