"""Grouping by offsets, and joints by votes: known answers, and the kernels beside their twins."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import reference_groupings

from openpaf import Grid, Poses, Skeleton
from openpaf.decoding.hough import find_voted_joints
from openpaf.decoding.offset_targets import encode_disks
from openpaf.decoding.person_lab import (
    PersonLabConfig,
    decode_person_lab,
    person_lab_channels,
)
from openpaf.estimator.mirroring import mirrored_edges, mirrored_pairs
from openpaf.estimator.offset_head import find_joints_by_votes
from openpaf.skeleton.trees import tree_of
from openpaf.weights import ModelSpec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import scenes

GRID, SIZE_HW, RADIUS = Grid(8), (368, 656), 14.0
COCO17 = Skeleton.COCO17
CHAIN = Skeleton(
    name="chain", joints=("a", "b", "c"), limbs=((1, 0), (1, 2)), oks_sigmas=(0.05, 0.05, 0.05)
)


def arrays_of(
    poses: Poses, size_hw: tuple[int, int] = SIZE_HW, grid: Grid = GRID, radius_px: float = RADIUS
) -> dict:
    encoded = encode_disks(poses, size_hw, grid, radius_px, tree_of(poses.skeleton))
    return {name: np.nan_to_num(array) for name, array in encoded.items()}


def chain(*people: list[tuple[float, float]]) -> Poses:
    keypoints = np.array([[(x, y, 1) for x, y in person] for person in people], np.float32)
    return Poses.from_keypoints(keypoints, CHAIN)


def random_people(n: int, seed: int) -> Poses:
    """People of whom every joint is inside of the image."""
    rng = np.random.default_rng(seed)
    while True:
        poses = scenes.random_people(n, SIZE_HW, rng, height_px=(60, 110))
        if len(poses) == n and (poses.scores > 0).all():
            return poses


# --- PersonLab


@pytest.mark.parametrize("hough", [True, False])
@pytest.mark.parametrize("grid", [Grid(8), Grid(4, 0.0), Grid(12)])
@pytest.mark.parametrize("n", [1, 4])
def test_people_come_back(n: int, grid: Grid, hough: bool) -> None:
    truth = random_people(n, seed=n)
    arrays = arrays_of(truth, grid=grid)
    config = PersonLabConfig(hough=hough)
    people = decode_person_lab(arrays, grid, COCO17, RADIUS, config)
    assert len(people) == n
    far = np.linalg.norm(people.xy[:, None] - truth.xy[None], axis=3).max(axis=2)
    assert (far.min(axis=0) < 0.01).all()
    assert people.person_scores.min() > 0.99
    assert people.scores.min() > 0.99


def test_a_tree_of_joints() -> None:
    edges = tree_of(COCO17)
    assert len(edges) == 16
    assert edges[0] == (0, 1)
    assert {b for _, b in edges} == set(range(1, 17))  # each has one parent, the nose has none
    assert tree_of(CHAIN) == ((1, 0), (1, 2))
    apart = Skeleton(name="two", joints=("a", "b", "c"), limbs=((0, 1),), oks_sigmas=(1, 1, 1))
    assert tree_of(apart) == ((0, 1),)


def test_joints_that_no_edge_reaches_are_people_of_their_own() -> None:
    apart = Skeleton(name="two", joints=("a", "b", "c"), limbs=((0, 1),), oks_sigmas=(1, 1, 1))
    keypoints = np.array([[[40, 40, 1], [60, 40, 1], [50, 80, 1]]], np.float32)
    arrays = arrays_of(Poses.from_keypoints(keypoints, apart), (120, 120))
    people = decode_person_lab(arrays, GRID, apart, RADIUS)
    assert [(row > 0).tolist() for row in people.scores] == [
        [True, True, False], [False, False, True]
    ]  # fmt: skip
    np.testing.assert_allclose(people.person_scores, [2 / 3, 1 / 3], atol=1e-3)


def test_a_short_range_offset_refines_where_a_mid_range_one_points_to() -> None:
    truth = chain([(20, 60), (60, 60), (100, 60)])
    arrays = arrays_of(truth, (120, 120))
    for name in ("forward", "backward"):
        arrays[name] += 0.9  # cells: more than 7 px off, but inside of the disk
    rough = PersonLabConfig(n_refinements=0, hough=False)
    xy = decode_person_lab(arrays, GRID, CHAIN, RADIUS, rough).xy[0]
    assert np.nanmax(np.abs(xy - truth.xy[0])) > 7
    xy = decode_person_lab(arrays, GRID, CHAIN, RADIUS, PersonLabConfig(n_refinements=1)).xy
    np.testing.assert_allclose(xy, truth.xy, atol=1e-3)


def test_a_joint_that_a_better_person_has_counts_once() -> None:
    # Two people whose joint c is the same: the worse one has it not, by its score.
    truth = chain([(20, 20), (60, 60), (100, 60)], [(20, 100), (60, 100), (100, 60)])
    arrays = arrays_of(truth, (120, 120))
    people = decode_person_lab(arrays, GRID, CHAIN, RADIUS)
    assert len(people) == 2
    np.testing.assert_allclose(people.person_scores, [1, 2 / 3], atol=1e-3)
    none = PersonLabConfig(min_person=0.7)
    assert len(decode_person_lab(arrays, GRID, CHAIN, RADIUS, none)) == 1
    assert len(decode_person_lab(arrays, GRID, CHAIN, RADIUS, PersonLabConfig(max_people=1))) == 1


def test_the_score_of_a_joint_is_the_similarity_to_expect() -> None:
    truth = chain([(20, 60), (60, 60), (100, 80)])
    arrays = arrays_of(truth, (120, 120))
    arrays["heatmaps"] *= 0.5
    sure = decode_person_lab(arrays, GRID, CHAIN, RADIUS)
    np.testing.assert_allclose(sure.scores, 0.5, atol=1e-3)
    rng = np.random.default_rng(0)
    arrays["offsets"] += rng.normal(0, 0.4, arrays["offsets"].shape).astype(np.float32)
    unsure = decode_person_lab(arrays, GRID, CHAIN, RADIUS)
    assert (unsure.scores[0] < 0.45).all()


@pytest.mark.parametrize("hough", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_the_kernel_is_its_plain_twin(seed: int, hough: bool) -> None:
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(0, 1.5, (n, 12, 15)).astype(np.float32)
        for name, n in person_lab_channels(CHAIN).items()
    }
    arrays["heatmaps"] = rng.uniform(0, 1, arrays["heatmaps"].shape).astype(np.float32)
    config = PersonLabConfig(
        hough=hough, min_peak=0.3 if hough else 0.8, same_joint_px=1.5, max_people=9, min_person=0
    )
    people = decode_person_lab(arrays, Grid(1), CHAIN, 2.5, config)
    xy, scores, person_scores = reference_groupings.person_lab(arrays, CHAIN, 2.5, 1.5, config)
    n = int((person_scores > 1e-9).sum())
    assert len(people) == n > 3
    np.testing.assert_allclose(people.person_scores, person_scores[:n], rtol=1e-4)
    present = people.scores > 0
    np.testing.assert_allclose(people.xy[present], xy[:n][present], atol=1e-3)
    np.testing.assert_allclose(people.scores, np.where(present, scores[:n], 0), atol=1e-4)


def test_where_disks_overlap_the_closest_joint_counts() -> None:
    truth = chain([(40, 60), (60, 20), (80, 20)], [(52, 60), (60, 100), (80, 100)])
    arrays = encode_disks(truth, (120, 120), Grid(4), 16, ((0, 1),))
    x, y = np.meshgrid(Grid(4).to_px(np.arange(30)), Grid(4).to_px(np.arange(30)))
    near = np.hypot(x - 40, y - 60), np.hypot(x - 52, y - 60)
    assert (arrays["heatmaps"][0] == (np.minimum(*near) <= 16)).all()
    first = (near[0] < near[1]) & (near[0] <= 16)
    np.testing.assert_allclose(x[first] + 4 * arrays["offsets"][0][first], 40, atol=1e-4)
    np.testing.assert_allclose(y[first] + 4 * arrays["forward"][1][first], 20, atol=1e-4)
    assert np.isnan(arrays["offsets"][0][np.minimum(*near) > 16]).all()
    with pytest.raises(ValueError, match="radius_px: expected a number of px >= 4, got 3"):
        encode_disks(truth, (120, 120), Grid(4), 3)


def test_bad_input_gets_one_clear_error() -> None:
    arrays = arrays_of(chain([(20, 60), (60, 60), (100, 60)]), (120, 120))
    with pytest.raises(ValueError, match=r"forward: expected shape \(4, h, w\), got \(3, 15, 15\)"):
        decode_person_lab({**arrays, "forward": arrays["forward"][1:]}, GRID, CHAIN, RADIUS)
    with pytest.raises(ValueError, match="radius_px: expected a number of px > 0, got 0"):
        decode_person_lab(arrays, GRID, CHAIN, 0)
    for name, value in {
        "min_peak": 0, "same_joint_px": -1, "n_refinements": 0.5, "max_people": 0, "min_person": 2
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"{name}: expected"):
            PersonLabConfig(**{name: value})
    huge = {name: array * 1e30 for name, array in arrays.items()}
    assert np.isfinite(decode_person_lab(huge, GRID, CHAIN, RADIUS).person_scores).all()


# --- Joints of one person by votes (G-RMI)


def crops(truth: Poses, grid: Grid, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [encode_disks(person, size_hw, grid, RADIUS) for person in truth]
    maps = [np.stack([np.nan_to_num(one[name]) for one in encoded])
            for name in ("heatmaps", "offsets")]  # fmt: skip
    return maps[0], maps[1]


def one_person_crops(n: int) -> Poses:
    xy = np.random.default_rng(0).uniform((20, 20), (170, 230), (n, 17, 2))
    return Poses.from_keypoints(np.concatenate([xy, np.ones((n, 17, 1))], axis=2), COCO17)


@pytest.mark.parametrize("grid", [Grid(8), Grid(4, 0.0)])
def test_votes_find_joints_exactly(grid: Grid) -> None:
    truth = one_person_crops(3)
    heatmaps, offsets = crops(truth, grid, (256, 192))
    cells, scores = find_voted_joints(heatmaps, offsets, RADIUS / grid.stride)
    np.testing.assert_allclose(grid.to_px(cells), truth.xy, atol=0.01)
    np.testing.assert_allclose(scores, 1, atol=0.2)  # a disk of cells is not quite pi r^2
    none, no_scores = find_voted_joints(heatmaps[:0], offsets[:0], 2)
    assert none.shape == (0, 17, 2)
    assert no_scores.shape == (0, 17)


def test_votes_are_their_plain_twin() -> None:
    rng = np.random.default_rng(1)
    heatmaps = rng.uniform(0, 1, (2, 3, 9, 11)).astype(np.float32)
    offsets = rng.normal(0, 2, (2, 6, 9, 11)).astype(np.float32)
    cells, scores = find_voted_joints(heatmaps, offsets, 2.0)
    for i in range(2):
        for k in range(3):
            total = reference_groupings.votes(heatmaps[i, k], offsets[i, 2 * k : 2 * k + 2], 2.0)
            masses = reference_groupings.masses(total)
            row, column = np.unravel_index(masses.argmax(), masses.shape)
            at = reference_groupings.middle(total, int(row), int(column))
            np.testing.assert_allclose(cells[i, k], at, atol=1e-4)
            assert scores[i, k] == pytest.approx(min(masses.max(), 1), rel=1e-5)


def test_votes_average_noise_away() -> None:
    truth = one_person_crops(2)
    heatmaps, offsets = crops(truth, Grid(4), (256, 192))
    offsets += np.random.default_rng(0).normal(0, 0.5, offsets.shape).astype(np.float32)
    cells, _ = find_voted_joints(heatmaps, offsets, RADIUS / 4)
    far = np.linalg.norm(Grid(4).to_px(cells) - truth.xy, axis=2)
    assert far.mean() < 1.0  # px; a single offset is 2.5 px off


def test_joints_of_crops_in_px_of_the_image() -> None:
    truth = one_person_crops(1)
    heatmaps, offsets = crops(truth, GRID, (256, 192))
    affines = np.array([[[0.5, 0, 10], [0, 0.5, -20]]])
    spec = ModelSpec(
        name="x", builder="lightweight_offsets", options={}, skeleton=COCO17, heatmap_grid=GRID,
        paf_grid=GRID, mean=0.0, scale=1.0, licence="", metrics={}, sigma_px=RADIUS / 2,
    )  # fmt: skip
    xy, _ = find_joints_by_votes(heatmaps, offsets, affines, spec)
    np.testing.assert_allclose(xy, (truth.xy - (10, -20)) / 0.5, atol=0.05)


@pytest.mark.parametrize("offset", [1.5, 0.0])
def test_offsets_of_mirrored_crops_point_to_the_same_joints(offset: float) -> None:
    truth, grid, width = one_person_crops(2), Grid(4, offset), 192
    swap = list(COCO17.flip_permutation)
    flipped = truth.xy[:, swap].copy()
    flipped[..., 0] = width - 1 - flipped[..., 0]
    offsets, others = (
        np.stack([encode_disks(one, (256, width), grid, RADIUS)["offsets"] for one in people])
        for people in (truth, truth.replace(xy=flipped))
    )
    back = mirrored_pairs(others, swap, 0, (3 - 2 * offset) / 4)
    both = np.isfinite(offsets) & np.isfinite(back)
    assert both.mean() > 0.005
    np.testing.assert_allclose(back[both], offsets[both], atol=1e-4)


def test_edges_of_the_mirror_image() -> None:
    edges = tree_of(COCO17)
    mirrored = mirrored_edges(COCO17, edges)
    assert mirrored[0] == (2, False)  # nose to left eye: nose to right eye
    assert [mirrored[i][0] for i, _ in mirrored] == list(range(16))
    pair = Skeleton(
        name="pair", joints=("left_a", "right_a"), limbs=((0, 1),), flip_pairs=((0, 1),),
        oks_sigmas=(1, 1),
    )  # fmt: skip
    assert mirrored_edges(pair, ((0, 1),)) == ((0, True),)
    with pytest.raises(ValueError, match="flip: the mirror image of nose-left_eye is no edge"):
        mirrored_edges(COCO17, edges[:1])
