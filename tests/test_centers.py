"""CenterNet's grouping: scenes with known answers, and the kernel beside its plain twin."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import reference_groupings

from openpaf import Grid, Poses, Skeleton
from openpaf.decoding.center_targets import encode_centers, gaussian_sigma
from openpaf.decoding.centers import CenterConfig, center_channels, decode_centers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import scenes

GRID, SIZE_HW = Grid(4), (368, 656)
BAR = Skeleton(name="bar", joints=("a", "b"), limbs=((0, 1),), oks_sigmas=(0.05, 0.05))


def arrays_of(poses: Poses, size_hw: tuple[int, int] = SIZE_HW, grid: Grid = GRID) -> dict:
    return {k: np.nan_to_num(v) for k, v in encode_centers(poses, size_hw, grid).items()}


def bar(*places: tuple[float, float]) -> Poses:
    keypoints = np.array([[[*place, 1] for place in places]], np.float32)
    return Poses.from_keypoints(keypoints.reshape(-1, 2, 3), BAR)


@pytest.mark.parametrize("grid", [Grid(4), Grid(4, 0.0), Grid(8)])
@pytest.mark.parametrize("n", [1, 5, 12])
def test_people_come_back(n: int, grid: Grid) -> None:
    truth = scenes.random_people(n, SIZE_HW, np.random.default_rng(n))
    people = decode_centers(arrays_of(truth, grid=grid), grid, truth.skeleton)
    assert len(people) == len(truth)
    assert people.person_scores.min() == 1
    far = np.linalg.norm(people.xy[:, None] - truth.xy[None], axis=3)
    far = np.where(truth.scores[None] > 0, far, np.nan)
    nearest = np.nanmean(far, axis=2).argmin(axis=0)
    assert len(set(nearest)) == len(truth)
    best = far[nearest, np.arange(len(truth))]
    # The offsets of peaks are shared by all joints: where two lie in a cell, one is a cell off.
    assert np.nanmax(best) <= 1.5 * grid.stride
    assert np.nanmedian(best) < 0.01


def test_a_joint_snaps_to_the_closest_peak_inside_of_the_box() -> None:
    truth = bar((40, 40), (80, 100))
    arrays = arrays_of(truth, (160, 160))
    row, column = np.argwhere(arrays["centers"][0] == 1)[0]
    arrays["joints"][:2, row, column] += 2  # cells: the regression is 11 px off
    people = decode_centers(arrays, GRID, BAR)
    np.testing.assert_allclose(people.xy[0], truth.xy[0], atol=1e-4)
    assert people.scores[0].tolist() == [1, 1]
    # Too far away, too weak, or outside of the box: the regression stays.
    for config in (CenterConfig(reach=0.1), CenterConfig(min_peak=1.0)):
        if config.min_peak == 1:
            arrays["heatmaps"][0] *= 0.9
        people = decode_centers(arrays, GRID, BAR, config)
        np.testing.assert_allclose(people.xy[0, 0], (48, 48), atol=1e-4)
    arrays["sizes"][:, row, column] = 10  # of the joints neither is inside
    people = decode_centers(arrays, GRID, BAR)
    np.testing.assert_allclose(people.xy[0, 0], (48, 48), atol=1e-4)
    assert 0 < people.scores[0, 0] < 1


def test_a_joint_without_a_label_is_not_asked_for() -> None:
    keypoints = np.array([[[40, 40, 1], [0, 0, 0]]], np.float32)
    arrays = encode_centers(Poses.from_keypoints(keypoints, BAR), (80, 80), GRID)
    assert arrays["heatmaps"][1].max() == 0
    row, column = np.argwhere(arrays["centers"][0] == 1)[0]
    assert np.isfinite(arrays["joints"][:, row, column]).tolist() == [True, True, False, False]
    assert np.isnan(arrays["sizes"]).sum() == 2 * (20 * 20 - 1)


def test_boxes_say_where_centers_are() -> None:
    arrays = encode_centers(
        bar((40, 40), (44, 60)), (80, 80), GRID, np.array([[10, 20, 70, 60]], np.float32)
    )
    row, column = np.argwhere(arrays["centers"][0] == 1)[0]
    offset = arrays["center_offsets"][:, row, column]
    assert GRID.to_px(np.array([column, row]) + offset).tolist() == [40, 40]
    assert arrays["sizes"][:, row, column].tolist() == [15, 10]
    outside = encode_centers(
        bar((40, 40), (44, 60)), (80, 80), GRID, np.array([[-90, 0, 0, 60]], np.float32)
    )
    assert outside["centers"].max() == 0
    assert outside["heatmaps"].max() == 1
    with pytest.raises(ValueError, match=r"boxes: expected shape \(1, 4\), got \(1, 3\)"):
        encode_centers(bar((1, 1), (2, 2)), (80, 80), GRID, np.zeros((1, 3), np.float32))


def test_the_gaussian_of_a_box_by_hand() -> None:
    # Of a square of 10: 100 = 0.7 (10 + 2 x)^2, x = 0.976; 2.8 x = 2.73, rounded down 2.
    assert gaussian_sigma(10, 10) == pytest.approx(5 / 6)
    assert gaussian_sigma(60, 25) == pytest.approx(19 / 6)  # 9.78, rounded down
    assert gaussian_sigma(1e-3, 1e-3) == pytest.approx(1 / 6)


@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_is_its_plain_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(0, 3, (n, 14, 19)).astype(np.float32)
        for name, n in center_channels(BAR).items()
    }
    for name in ("centers", "heatmaps"):
        arrays[name] = rng.uniform(0, 1, arrays[name].shape).astype(np.float32).round(1)  # ties
    arrays["sizes"] = np.abs(arrays["sizes"]) * 4
    config = CenterConfig(max_people=12, min_center=0.4, min_peak=0.5, reach=0.4)
    people = decode_centers(arrays, Grid(1), BAR, config)
    xy, scores, person_scores = reference_groupings.decode_centers(arrays, config)
    assert len(people) == 12
    np.testing.assert_allclose(people.person_scores, person_scores, rtol=1e-6)
    np.testing.assert_allclose(people.xy, xy, atol=1e-4)
    np.testing.assert_allclose(people.scores, scores, rtol=1e-6)


def test_noise_and_huge_numbers_are_no_trouble() -> None:
    truth = scenes.random_people(4, SIZE_HW, np.random.default_rng(3))
    arrays = arrays_of(truth)
    arrays["joints"] *= 1e30
    people = decode_centers(arrays, GRID, truth.skeleton)
    assert np.isfinite(people.xy).all()
    empty = {name: 0 * array for name, array in arrays.items()}
    assert len(decode_centers(empty, GRID, truth.skeleton)) == 0


def test_bad_input_gets_one_clear_error() -> None:
    arrays = arrays_of(bar((40, 40), (60, 60)), (80, 80))
    cases = {
        r"arrays: expected centers, .*, sizes not given": {"sizes": None},
        r"joints: expected shape \(4, h, w\), got \(3, 20, 20\)": {"joints": arrays["joints"][:3]},
        r"sizes: expected \(20, 20\) cells as the first array has, got \(20, 9\)": {
            "sizes": arrays["sizes"][:, :, :9]
        },
        r"heatmaps: expected finite numbers, 800 of 800 are not": {
            "heatmaps": arrays["heatmaps"] * np.nan
        },
    }
    for message, change in cases.items():
        given = {k: v for k, v in {**arrays, **change}.items() if v is not None}
        with pytest.raises(ValueError, match=message):
            decode_centers(given, GRID, BAR)
    for name, value in {"max_people": 0, "min_center": 0, "min_peak": 2, "reach": -1}.items():
        with pytest.raises(ValueError, match=f"{name}: expected"):
            CenterConfig(**{name: value})
