"""Associative embedding: grouping by tags."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

import openpaf
from openpaf import Grid, Poses, Skeleton
from openpaf.decoding.tags import COCO17_ORDER, TagConfig, group_by_tags
from openpaf.estimator.associative_embedding import linear_weights
from openpaf.fields import encode_fields

COCO = Skeleton.COCO17
K = COCO.n_joints


def reference(
    heatmaps: NDArray[np.float32], tags: NDArray[np.float32], config: TagConfig
) -> list[tuple[dict[int, tuple[int, int]], float]]:
    """A plain twin: the cell (row, column) of each joint of each person, and scores."""
    people: list[dict[int, tuple[int, int]]] = []
    for joint in COCO17_ORDER:
        heatmap = np.pad(heatmaps[joint], 1, constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(heatmap, (3, 3))
        is_peak = (heatmaps[joint] == windows.max(axis=(2, 3))) & (
            heatmaps[joint] > config.peak_threshold
        )
        peaks = sorted(zip(*np.nonzero(is_peak), strict=True), key=lambda p: -heatmaps[joint][p])
        peaks = peaks[: config.max_people]
        means = [
            np.mean([tags[:, j, r, c] for j, (r, c) in person.items()], axis=0, dtype=float)
            for person in people[: config.max_people]
        ]
        owner = {}
        if means and peaks:
            distance = np.array(
                [[np.linalg.norm(tags[:, joint, r, c] - mean) for mean in means] for r, c in peaks]
            )
            heights = np.array([heatmaps[joint][p] for p in peaks], np.float64)
            cost = np.rint(distance) * 100 - heights[:, None] + distance**2 / 1000
            surplus = max(len(peaks) - len(means), 0)
            cost = np.hstack([cost, np.full((len(peaks), surplus), 1e6)])
            for i, person in zip(*linear_sum_assignment(cost), strict=True):
                if person < len(means) and distance[i, person] < config.tag_distance:
                    owner[i] = person
        for i, peak in enumerate(peaks):
            if i in owner:
                people[owner[i]][joint] = peak
            else:
                people.append({joint: peak})
    return [
        (person, sum(heatmaps[j][p] for j, p in person.items()) / len(heatmaps))
        for person in people
    ]


@pytest.mark.parametrize("n_tags", [1, 2])
def test_the_kernel_is_its_plain_twin(n_tags: int) -> None:
    """On noise, where nearly everything is contested."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        heatmaps = rng.random((K, 12, 16)).astype(np.float32) ** 4
        tags = rng.normal(0, 2, (n_tags, K, 12, 16)).astype(np.float32)
        config = TagConfig(max_people=int(rng.integers(2, 12)), refine=False)
        people = group_by_tags(heatmaps, tags, Grid(4), COCO, config)
        expected = sorted(reference(heatmaps, tags, config), key=lambda one: -one[1])
        assert len(people) == len(expected) > 5
        np.testing.assert_allclose(people.person_scores, [s for _, s in expected], rtol=1e-5)
        cells = np.rint(Grid(4).to_cells(people.xy))
        theirs = np.full((len(expected), K, 2), np.nan)
        for i, (person, _) in enumerate(expected):
            for joint, (row, column) in person.items():
                theirs[i, joint] = column, row
        # Half-way to a neighbor rint may take either cell.
        assert np.nanmax(np.abs(Grid(4).to_cells(people.xy) - theirs)) <= 0.5
        assert (np.isnan(cells) == np.isnan(theirs)).all()


def scene(n: int, seed: int = 0, size_hw: tuple[int, int] = (256, 512)) -> Poses:
    """People side by side, each of joints at random places around its own middle."""
    rng = np.random.default_rng(seed)
    width = size_hw[1] / n
    keypoints = np.empty((n, K, 3))
    for i in range(n):
        keypoints[i, :, 0] = (i + rng.uniform(0.25, 0.75, K)) * width
        keypoints[i, :, 1] = rng.uniform(8, size_hw[0] - 9, K)
    keypoints[..., 2] = 1
    return Poses.from_keypoints(keypoints, COCO)


def perfect_maps(
    poses: Poses, grid: Grid, size_hw: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """True heatmaps (K, h, w), and tags (K, h, w): twice the number of the nearest person."""
    heatmaps = encode_fields(poses, size_hw, heatmap_grid=grid).heatmaps[:-1]
    h, w = heatmaps.shape[1:]
    places = np.stack(np.meshgrid(grid.to_px(np.arange(w)), grid.to_px(np.arange(h))), axis=-1)
    distance = np.linalg.norm(places - poses.xy[:, :, None, None], axis=-1)  # (N, K, h, w)
    return heatmaps, 2 * distance.argmin(axis=0).astype(np.float32)


def same_people(found: Poses, true: Poses, px: float) -> bool:
    """Whether they are the same, joint for joint, in whatever order."""
    distance = np.linalg.norm(found.xy[:, None] - true.xy[None], axis=-1).max(axis=2)
    return len(found) == len(true) and bool((distance.min(axis=0) < px).all())


@pytest.mark.parametrize("n", [1, 3, 8])
def test_perfect_maps_give_the_true_people(n: int) -> None:
    true, grid = scene(n), Grid(4)
    heatmaps, tags = perfect_maps(true, grid, (256, 512))
    assert same_people(group_by_tags(heatmaps, tags[None], grid, COCO), true, 0.5)
    # A quarter of a cell is 1 px: never farther off than that, but for the other quarter.
    quarter = TagConfig(quarter_offset=True)
    assert same_people(group_by_tags(heatmaps, tags[None], grid, COCO, quarter), true, 2.0)


def test_without_tags_all_joints_are_one_person_less() -> None:
    """What tells people apart are the tags: with one tag for all, the highest peaks mix."""
    true, grid = scene(4), Grid(4)
    heatmaps, tags = perfect_maps(true, grid, (256, 512))
    people = group_by_tags(heatmaps, 0 * tags[None], grid, COCO)
    assert len(people) == 4
    assert not same_people(people, true, 4)


def test_a_missing_joint_is_filled_where_its_tag_fits() -> None:
    true, grid = scene(2), Grid(4)
    heatmaps, tags = perfect_maps(true, grid, (256, 512))
    heatmaps[9] *= 0.08  # below the threshold: no peak of a left wrist
    unfilled = group_by_tags(heatmaps, tags[None], grid, COCO, TagConfig(refine=False))
    assert np.isnan(unfilled.xy[:, 9]).all()
    people = group_by_tags(heatmaps, tags[None], grid, COCO)
    assert same_people(people, true, 0.5)
    np.testing.assert_allclose(people.scores[:, 9], 0.08, atol=0.02)
    # What was filled in does not count in the person's score.
    np.testing.assert_array_equal(people.person_scores, unfilled.person_scores)


def test_a_far_tag_begins_a_person_and_scores_break_ties() -> None:
    heatmaps, tags = np.zeros((K, 8, 24), np.float32), np.zeros((1, K, 8, 24), np.float32)
    heatmaps[0, 4, 4] = 0.9  # a nose
    heatmaps[1, 4, 5], heatmaps[1, 4, 20] = 0.5, 0.8  # left eyes, with about the nose's tag
    tags[0, 1, 4, 5], tags[0, 1, 4, 20] = 0.1, 0.3
    people = group_by_tags(heatmaps, tags, Grid(1), COCO, TagConfig(refine=False))
    assert np.isnan(people.xy).any()
    assert people.scores[0, :2].tolist() == pytest.approx([0.9, 0.8])  # the higher peak
    assert people.scores[1, :2].tolist() == pytest.approx([0, 0.5])
    tags[0, 1, 4, 20] = 1.2  # too far for the nose
    people = group_by_tags(heatmaps, tags, Grid(1), COCO, TagConfig(refine=False))
    assert people.scores[0, :2].tolist() == pytest.approx([0.9, 0.5])
    assert people.person_scores.tolist() == pytest.approx([1.4 / K, 0.8 / K])


def test_no_peaks_are_no_people_and_wrong_arrays_are_refused() -> None:
    empty = np.zeros((K, 4, 4), np.float32)
    assert len(group_by_tags(empty, empty[None], Grid(4), COCO)) == 0
    with pytest.raises(ValueError, match=r"heatmaps: expected shape \(17, h, w\)"):
        group_by_tags(empty[1:], empty[None], Grid(4), COCO)
    with pytest.raises(ValueError, match=r"tags: expected shape \(T, 17, h, w\)"):
        group_by_tags(empty, empty, Grid(4), COCO)
    with pytest.raises(ValueError, match="expected finite numbers"):
        group_by_tags(empty, empty[None] * np.nan, Grid(4), COCO)
    with pytest.raises(ValueError, match="tag_distance"):
        TagConfig(tag_distance=0)


def test_other_joints_are_visited_in_their_own_order() -> None:
    skeleton = openpaf.Skeleton(
        name="two", joints=("a", "b"), limbs=((0, 1),), oks_sigmas=(0.1, 0.1)
    )
    heatmaps, tags = np.zeros((2, 8, 8), np.float32), np.zeros((1, 2, 8, 8), np.float32)
    heatmaps[:, 3, 3] = 1
    people = group_by_tags(heatmaps, tags, Grid(8), skeleton)
    assert people.xy.tolist() == [[[27.5, 27.5], [27.5, 27.5]]]


def test_linear_weights_are_between_the_cells() -> None:
    values = np.array([0.0, 1.0, 4.0], np.float32)
    places = np.array([-1.0, 0.0, 0.5, 1.75, 2.0, 9.0])
    assert (linear_weights(places, 3) @ values).tolist() == [0, 0, 0.5, 3.25, 4, 4]
    assert linear_weights(np.array([0.3]), 1).tolist() == [[1]]
