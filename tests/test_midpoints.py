"""The baselines of the paper, in benchmarks/midpoints.py: midpoints of limbs, and a tree."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from openpaf import DecodeConfig, Poses, Skeleton, encode_fields
from openpaf.decoding import Limbs, assemble_people, find_peaks, match_limbs, score_limbs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from midpoints import encode_midpoints, measured_tree, score_midpoints

BAR = Skeleton(name="bar", joints=("a", "b"), limbs=((0, 1),), oks_sigmas=(0.05, 0.05))
# Three upright bars side by side: the middle of the first's top and the third's foot is that of
# the second bar.
ROW = Poses.from_keypoints([[(x, 44, 1), (x, 140, 1)] for x in (44, 100, 156)], BAR)
SIZE_HW = (184, 200)


def candidates(n_midpoints: int) -> set[tuple[int, int]]:
    fields = encode_fields(ROW, SIZE_HW)
    peaks = find_peaks(fields)
    limbs = score_limbs(fields, peaks)
    if n_midpoints:
        maps = encode_midpoints(ROW, SIZE_HW, n_midpoints)
        limbs = score_midpoints(maps, fields, peaks, DecodeConfig())
    return {(a, b) for a, b in limbs.peaks.tolist()}


def test_gaussians_are_at_the_points_that_divide_a_limb() -> None:
    one, two = (encode_midpoints(ROW, SIZE_HW, n) for n in (1, 2))
    assert (one.shape, two.shape) == ((1, 1, 23, 25), (1, 2, 23, 25))
    (grid,) = {encode_fields(ROW, SIZE_HW).heatmap_grid}
    column, row = grid.to_cells(np.array([100.0, 92.0]))
    assert one[0, 0, round(row), round(column)] == pytest.approx(1, abs=0.1)
    third, two_thirds = (np.unravel_index(maps[:, 10:16].argmax(), (23, 6))[0] for maps in two[0])
    assert (third, two_thirds) == (9, 13)  # of 44 to 140 px: 76 and 108, in cells of 8 px


def test_a_midpoint_takes_a_limb_across_for_that_of_the_person_between() -> None:
    true = {(0, 3), (1, 4), (2, 5)}
    across = {(0, 5), (2, 3)}
    assert candidates(0) == true
    assert candidates(1) == true | across
    assert candidates(2) == true


def test_a_limb_with_a_missing_joint_has_no_midpoint() -> None:
    alone = Poses.from_keypoints([[(44, 44, 1), (0, 0, 0)]], BAR)
    assert not encode_midpoints(alone, SIZE_HW, 2).any()


@pytest.mark.parametrize("n_midpoints", [1, 2])
@pytest.mark.parametrize("matching", ["greedy", "optimal", "exact"])
def test_every_matching_finds_bars_who_stand_apart(n_midpoints: int, matching: str) -> None:
    fields, config = encode_fields(ROW, SIZE_HW), DecodeConfig(matching=matching, merge_distance=0)
    peaks = find_peaks(fields, config)
    maps = encode_midpoints(ROW, SIZE_HW, n_midpoints)
    limbs = match_limbs(score_midpoints(maps, fields, peaks, config), config, peaks)
    assert isinstance(limbs, Limbs)
    found = assemble_people(peaks, limbs, BAR, config)
    assert sorted(found.xy[:, 0, 0].round().tolist()) == [44, 100, 156]


def test_the_tree_leaves_out_what_connects_fewest_people() -> None:
    triangle = Skeleton(
        name="triangle", joints=("a", "b", "c"), limbs=((0, 1), (1, 2), (0, 2)),
        oks_sigmas=(0.05,) * 3,
    )  # fmt: skip
    whole = [(40, 40, 1), (120, 40, 1), (80, 120, 1)]
    without_b = [whole[0], (0, 0, 0), whole[2]]
    without_a = [(0, 0, 0), *whole[1:]]
    scenes = []
    for person in (whole, without_b, without_a):
        poses = Poses.from_keypoints([person], triangle)
        scenes.append((encode_fields(poses, SIZE_HW), poses))
    assert measured_tree(scenes, triangle) == (1, 2)  # a-b connects one person, the others two
