"""The parser on scenes with known answers, and on fields that nobody would make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openpaf import DecodeConfig, Fields, Grid, Poses, Skeleton, decode, encode_fields
from openpaf.decoding import (
    assemble_people,
    decode_batch,
    find_peaks,
    match_limbs,
    score_limbs,
)

S = Skeleton.COCO17
STANDING = np.array(
    [(50, 10), (53, 7), (47, 7), (57, 9), (43, 9), (63, 25), (37, 25), (70, 42), (30, 42), (73, 58),
     (27, 58), (58, 55), (42, 55), (60, 75), (40, 75), (61, 95), (39, 95)], np.float32,
)  # fmt: skip


def people(*places: tuple[float, float, float]) -> Poses:
    """Standing people of a height in px, each with the top left of its box at x, y."""
    xy = np.stack([STANDING * height / 100 + (x, y) for x, y, height in places])
    return Poses.from_keypoints(np.concatenate([xy, np.ones((*xy.shape[:2], 1))], axis=2), S)


def errors(found: Poses, truth: Poses) -> np.ndarray:
    """(N,) largest distance in px of each true person's joints to the nearest found person's."""
    distance = np.linalg.norm(found.xy[None] - truth.xy[:, None], axis=3)  # (N, M, K)
    return np.nan_to_num(distance, nan=1e9).max(axis=2).min(axis=1)


@pytest.mark.parametrize("paf_offset", [3.5, 0.0])
@pytest.mark.parametrize("height", [120, 250, 1000])
def test_one_person_comes_back(height: float, paf_offset: float) -> None:
    truth = people((20, 20, height))
    size = (int(height * 1.1) + 60, int(height) + 60)
    found = decode(encode_fields(truth, size, paf_grid=Grid(8, paf_offset)))
    assert len(found) == 1
    assert errors(found, truth).max() < 0.3


def test_two_people_side_by_side_stay_two() -> None:
    truth = people((0, 20, 200), (140, 30, 180))
    found = decode(encode_fields(truth, (256, 400)))
    assert len(found) == 2
    assert errors(found, truth).max() < 2


def test_crossing_arms_stay_with_their_owners() -> None:
    truth = people((0, 20, 200), (90, 20, 200))  # the left arm of one lies over the other's right
    xy = truth.xy.copy()
    xy[0, S.index("left_wrist")] = (200, 90)
    xy[1, S.index("right_wrist")] = (110, 150)
    truth = truth.replace(xy=xy)
    found = decode(encode_fields(truth, (256, 400)))
    assert len(found) == 2
    assert errors(found, truth).max() < 3


def test_a_small_person_inside_a_large_ones_box() -> None:
    truth = people((0, 0, 400), (250, 300, 90))
    found = decode(encode_fields(truth, (440, 440)))
    assert len(found) == 2
    assert errors(found, truth)[0] < 2


def test_hidden_joints_do_not_split_a_person() -> None:
    truth = people((40, 20, 250))
    xy, scores = truth.xy.copy(), truth.scores.copy()
    for joint in ("left_elbow", "right_knee", "left_hip"):
        xy[:, S.index(joint)], scores[:, S.index(joint)] = np.nan, 0
    found = decode(encode_fields(truth.replace(xy=xy, scores=scores), (320, 320)))
    assert len(found) == 1
    assert (found.scores > 0).sum() == 14


def test_joints_at_the_border() -> None:
    truth = people((0, 0, 200))
    moved = truth.replace(xy=truth.xy - truth.xy.min(axis=1, keepdims=True))  # touch x=0 and y=0
    found = decode(encode_fields(moved, (200, 120)))
    assert len(found) == 1
    assert errors(found, moved).max() < 1.5


def test_nobody() -> None:
    found = decode(encode_fields(Poses.empty(S), (100, 100)))
    assert len(found) == 0
    assert found.xy.shape == (0, 17, 2)


def test_decode_is_its_four_steps_and_batches_and_repeats_are_the_same() -> None:
    config = DecodeConfig()
    scenes = [encode_fields(people((9 * i, 20, 150 + i)), (256, 300)) for i in range(6)]
    for fields in scenes:
        peaks = find_peaks(fields, config)
        limbs = match_limbs(score_limbs(fields, peaks, config), config)
        assert assemble_people(peaks, limbs, fields.skeleton, config) == decode(fields)
    assert decode_batch(scenes, n_threads=4) == [decode(fields) for fields in scenes]


@pytest.mark.parametrize(
    "change",
    [
        {"matching": "optimal"},
        {"graph": "tree"},
        {"association": "one_midpoint"},
        {"association": "two_midpoints"},
    ],
    ids=str,
)
def test_the_papers_alternatives_find_people_apart(change: dict) -> None:
    truth = people((0, 20, 200), (220, 30, 180))
    found = decode(encode_fields(truth, (256, 400)), DecodeConfig(**change))
    assert len(found) == 2
    assert errors(found, truth).max() < 2


def test_greedy_and_optimal_differ_where_they_should() -> None:
    """Weights 5, 4, 4 and nothing: greedy takes the 5 alone, the optimum both 4s."""
    from openpaf.decoding import Limbs

    weights = np.array([5, 4, 4], np.float32)
    pairs = np.array([[0, 2], [0, 3], [1, 2]], np.int32)
    candidates = Limbs(np.zeros(3, np.int32), pairs, weights, weights)
    greedy = match_limbs(candidates, DecodeConfig(runners_up=0))
    optimal = match_limbs(candidates, DecodeConfig(matching="optimal"))
    assert greedy[1].tolist() == [[0, 2]]
    assert sorted(map(tuple, optimal[1].tolist())) == [(0, 3), (1, 2)]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["noise", "constant", "all peaks", "huge", "negative"]),
    h=st.integers(1, 24),
    w=st.integers(1, 24),
)
def test_any_finite_fields_give_valid_poses(seed: int, kind: str, h: int, w: int) -> None:
    rng = np.random.default_rng(seed)
    heatmaps = rng.uniform(-0.2, 1, (18, h, w)).astype(np.float32)
    pafs = rng.uniform(-1, 1, (S.n_limbs, 2, h, w)).astype(np.float32)
    if kind == "constant":
        heatmaps[:], pafs[:] = 0.7, 0.5
    elif kind == "all peaks":
        heatmaps[:] = (np.indices((h, w)).sum(axis=0) % 2)[None]
    elif kind == "huge":
        heatmaps, pafs = heatmaps * np.float32(1e30), pafs * np.float32(1e30)
    elif kind == "negative":
        heatmaps = -np.abs(heatmaps)
    grid = Grid(8)
    fields = Fields(heatmaps=heatmaps, pafs=pafs, heatmap_grid=grid, paf_grid=grid, skeleton=S)
    found = decode(fields)
    assert found == decode(fields)
    inside = found.xy[found.scores > 0]
    assert (inside >= -8).all()
    assert (inside <= (8 * w + 8, 8 * h + 8)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_fields_that_are_not_finite_are_refused(value: float) -> None:
    fields = encode_fields(people((0, 0, 90)), (96, 96))
    bad = fields.heatmaps.copy()
    bad[3, 2, 1] = value
    with pytest.raises(ValueError, match=r"heatmaps: expected finite numbers, 1 of"):
        Fields(
            heatmaps=bad,
            pafs=fields.pafs,
            heatmap_grid=fields.heatmap_grid,
            paf_grid=fields.paf_grid,
            skeleton=S,
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peak_threshold": 0}, "peak_threshold: expected a number > 0, got 0"),
        ({"matching": "best"}, "matching: expected one of greedy, optimal, got 'best'"),
        ({"limb_samples": 1}, "limb_samples: expected a whole number >= 2"),
        ({"graph": "star"}, "graph: expected one of tree"),
        ({"join_distance": float("nan")}, "join_distance: expected a number >= 0"),
    ],
    ids=str,
)
def test_bad_configurations(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecodeConfig(**change)
