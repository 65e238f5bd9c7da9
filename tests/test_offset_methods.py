"""CenterNet and PersonLab as methods, on an engine that knows the answer."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from openpaf import Grid, Poses, Skeleton
from openpaf.decoding.center_targets import encode_centers
from openpaf.decoding.offset_targets import encode_disks
from openpaf.engines.base import Arrays, Engine
from openpaf.errors import WeightsError
from openpaf.estimator.center_net import CenterNet
from openpaf.estimator.methods import Options
from openpaf.estimator.mirroring import lag_of
from openpaf.estimator.person_lab import PersonLab
from openpaf.skeleton.trees import tree_of
from openpaf.weights import ModelSpec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import scenes

COCO17 = Skeleton.COCO17
METHODS = {"center_net": CenterNet, "person_lab": PersonLab}


def spec_of(method: str, grid: Grid) -> ModelSpec:
    return ModelSpec(
        name="made", builder=f"lightweight_{method}", options={}, skeleton=COCO17,
        heatmap_grid=grid, paf_grid=grid, mean=0.0, scale=1.0, licence="", metrics={}, sigma_px=7.0,
    )  # fmt: skip


def encoded(method: str, poses: Poses, size_hw: tuple[int, int], grid: Grid) -> Arrays:
    if method == "center_net":
        arrays = encode_centers(poses, size_hw, grid)
    else:
        arrays = encode_disks(poses, size_hw, grid, 14.0, tree_of(COCO17))
    return {name: np.nan_to_num(array)[None] for name, array in arrays.items()}


def engine_for(method: str, truth: Poses, grid: Grid) -> Engine:
    """What a perfect network gives for an image that grows brighter to the right."""

    def run(images: np.ndarray) -> Arrays:
        size_hw = images.shape[2], images.shape[3]
        xy = truth.xy
        if images[0, 0, 0, 0] > images[0, 0, 0, 40]:  # mirrored
            xy = xy[:, list(COCO17.flip_permutation)].copy()
            xy[..., 0] = size_hw[1] - 1 - xy[..., 0]
        return encoded(method, truth.replace(xy=xy), size_hw, grid)

    return Engine("torch", run)


@pytest.mark.parametrize("grid", [Grid(8), Grid(4, 0.0), Grid(12, 0.0)])
@pytest.mark.parametrize("method", METHODS)
def test_mirrored_images_are_averaged_in_place(method: str, grid: Grid) -> None:
    rng = np.random.default_rng(2)
    while True:
        truth = scenes.random_people(2, (200, 328), rng, height_px=(90, 120))
        if len(truth) == 2 and (truth.scores > 0).all():
            break
    image = np.zeros((200, 328, 3), np.uint8)
    image += np.arange(328)[None, :, None].astype(np.uint8) // 2
    engine = engine_for(method, truth, grid)
    plain = METHODS[method](engine, spec_of(method, grid), Options(size=200))
    people = plain.postprocess(plain.infer([image])[0], (200, 328))
    assert len(people) == 2
    run = METHODS[method](engine, spec_of(method, grid), Options(size=200, flip=True))
    (inferred,) = run.infer([image])
    averaged = run._averaged(inferred)
    shift, rest = lag_of(grid, averaged["heatmaps"].shape[2], 328)
    if grid == Grid(8):  # cells of both lie in the same places
        assert (shift, rest) == (0, 0)
        assert run.postprocess(inferred, (200, 328)).xy == pytest.approx(people.xy, abs=0.01)
    for name in {"offsets", "forward", "backward", "joints"} & set(averaged):
        ours = inferred.arrays[name]
        theirs = 2 * averaged[name] - ours
        # Nothing, mirrored, is 0 along y and what the cells lie apart along x.
        both = (ours != 0) & (np.abs(theirs) > 1e-3) & (np.abs(theirs - rest) > 1e-3)
        assert both.sum() >= 20
        np.testing.assert_allclose(theirs[both], ours[both], atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_network_of_other_arrays_is_told(method: str) -> None:
    other = {"center_net": "person_lab", "person_lab": "center_net"}[method]
    poses = Poses.empty(COCO17)
    engine = Engine("torch", lambda images: encoded(other, poses, (64, 64), Grid(8)))
    run = METHODS[method](engine, spec_of(method, Grid(8)), Options(size=64))
    (inferred,) = run.infer([np.zeros((64, 64, 3), np.uint8)])
    with pytest.raises(WeightsError, match=r"made: arrays: expected .* not given"):
        run.postprocess(inferred, (64, 64))
