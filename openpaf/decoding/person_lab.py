"""From heatmaps, short-range and mid-range offsets to people (PersonLab).

Reference:
    Papandreou et al., ECCV 2018: PersonLab: Person Pose Estimation and Instance Segmentation with
    a Bottom-Up, Part-Based, Geometric Embedding Model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import check_number
from openpaf.decoding.arrays import checked_arrays
from openpaf.decoding.centers import _is_maximum
from openpaf.decoding.hough import _mass, _middle, _vote
from openpaf.decoding.sorting import falling
from openpaf.geometry import Grid
from openpaf.kernels.compile import kernel, leaf, part
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.skeleton.trees import tree_of

_LEAST_SCORE = 1e-3  # a joint of a lower one is missing
_NOWHERE = -1e6  # coordinates of a joint that cannot be reached, in cells


@dataclass(frozen=True, kw_only=True)
class PersonLabConfig:
    """Thresholds of :func:`decode_person_lab`.

    Args:
        hough: Whether people start at peaks of votes, as in the paper; else at peaks of the
            heatmaps, moved by the offset there, as in the published PoseNet, which is faster.
        min_peak: Height of a peak that a person may start from, above 0, at most 1; 0.01 as in the
            paper.
        same_joint_px: Joints of one kind of two people who are closer are one, in px, at least 0;
            10 as in the paper.
        n_refinements: How often a joint that a mid-range offset points to is moved by the
            short-range offset there, at least 0; 2 as in the paper.
        max_people: Of an image, at least 1.
        min_person: People of lower scores are left out, from 0 to 1.

    Raises:
        ValueError: If one is out of its range.
    """

    hough: bool = True
    min_peak: float = 0.01
    same_joint_px: float = 10.0
    n_refinements: int = 2
    max_people: int = 100
    min_person: float = 0.05

    def __post_init__(self) -> None:
        check_number("min_peak", self.min_peak, above=0, most=1)
        check_number("same_joint_px", self.same_joint_px, least=0, unit="px")
        check_number("n_refinements", self.n_refinements, least=0, most=100, is_integer=True)
        check_number("max_people", self.max_people, least=1, is_integer=True)
        check_number("min_person", self.min_person, least=0, most=1)


def person_lab_channels(skeleton: Skeleton) -> dict[str, int]:
    """Names and channels of the arrays that :func:`decode_person_lab` takes."""
    k, n_edges = skeleton.n_joints, len(tree_of(skeleton))
    return {"heatmaps": k, "offsets": 2 * k, "forward": 2 * n_edges, "backward": 2 * n_edges}


def decode_person_lab(
    arrays: Mapping[str, Any],
    grid: Grid,
    skeleton: Skeleton,
    radius_px: float,
    config: PersonLabConfig | None = None,
) -> Poses:
    """The people of an image, each grown along a tree of joints from its surest one.

    Peaks wait in a queue, the highest first. One that is at a joint of a person that is already
    there is dropped; from another a person grows along the tree, by mid-range offsets that
    short-range ones refine. A joint's score is the similarity to the truth that is to be expected;
    a person's is the mean over the joints that no better person has.

    Args:
        arrays: ``heatmaps`` (K, h, w), 0 to 1, 1 in a disk about each joint; ``offsets`` (2K, h, w)
            from the cell to the joint, x and y in turn, in cells; ``forward`` and ``backward``
            (2E, h, w), from the cell at the first joint of each edge of :func:`tree_of` to the
            second, and the reverse.
        grid: Where the cells lie.
        skeleton: The K joints.
        radius_px: Of the disks, in px, above 0.
        config: Thresholds; the defaults where not given.

    Returns:
        People by falling score, in px of the network's input.

    Raises:
        ValueError: If an array is missing, of another shape, or not finite, or the radius is not
            above 0.

    Reference:
        Sections 3.1 (equations 1 and 2, Hough votes; refinement), 3.1.3 (decoding) and 3.1.4
        (Expected-OKS and soft suppression).
    """
    check_number("radius_px", radius_px, above=0, unit="px")
    config = config or PersonLabConfig()
    checked = checked_arrays(arrays, person_lab_channels(skeleton))
    xy, scores = _grow_people(
        tuple(checked),
        np.array(tree_of(skeleton), np.int64).reshape(-1, 2),
        2 * np.array(skeleton.oks_sigmas, np.float64),
        (bool(config.hough), int(config.n_refinements), int(config.max_people)),
        (float(config.min_peak), config.same_joint_px / grid.stride, radius_px / grid.stride),
    )
    order, person_scores = _suppress(xy, scores, config.same_joint_px / grid.stride)
    keep = order[person_scores >= max(config.min_person, 1e-30)]
    is_missing = scores[keep] < _LEAST_SCORE
    return Poses(
        xy=np.where(is_missing[..., None], np.nan, grid.to_px(xy[keep])),
        scores=np.where(is_missing, 0, scores[keep]),
        person_scores=person_scores[: len(keep)],
        skeleton=skeleton,
    )


def _suppress(
    xy: NDArray[np.float32], scores: NDArray[np.float32], same_joint: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """People by falling score, and the scores: the mean over joints that no better person has."""
    first = np.argsort(-scores.mean(axis=1), kind="stable")
    final = np.zeros(len(xy), np.float32)
    for i, person in enumerate(first):
        better = xy[first[:i]]
        squared = ((better - xy[person]) ** 2).sum(axis=2)  # (i, K)
        is_taken = (squared <= same_joint**2).any(axis=0)
        final[person] = np.where(is_taken, 0, scores[person]).mean()
    order = np.argsort(-final, kind="stable")
    return order, final[order]


@kernel
def _grow_people(arrays, edges, kappas, counts, lengths):  # type: ignore[no-untyped-def]
    """Places (N, K, 2) in cells and scores (N, K) of the joints of people."""
    heatmaps, offsets, forward, backward = arrays
    hough, n_refinements, max_people = counts
    min_peak, same_joint, radius = lengths
    n_joints, n = heatmaps.shape[0], 0
    joints, places, heights = _find_seeds(heatmaps, offsets, hough, min_peak, radius)
    xy = np.zeros((max_people, n_joints, 2), np.float32)
    for seed in falling(heights):
        k = joints[seed]
        if n == max_people:
            break
        if _is_taken(xy, n, k, places[seed], same_joint):
            continue
        xy[n, k] = places[seed]
        _grow(xy[n], k, (offsets, forward, backward), edges, n_refinements)
        n += 1
    scores = np.empty((n, n_joints), np.float32)
    for i in range(n):
        area = _box_area(xy[i])
        for k in range(n_joints):
            row, column = _cell(heatmaps[k], xy[i, k, 0], xy[i, k, 1])
            score = heatmaps[k, row, column]
            if xy[i, k, 0] <= _NOWHERE:
                score = 0.0
            elif hough:
                unit = 2 * area * kappas[k] ** 2
                score *= _expected_similarity(heatmaps, offsets, k, xy[i, k], radius, unit)
            scores[i, k] = min(max(score, 0.0), 1.0)
    return xy[:n].copy(), scores


@part
def _find_seeds(heatmaps, offsets, hough, min_peak, radius):  # type: ignore[no-untyped-def]
    """Joint, place in cells and height of each peak that a person may start from."""
    n_joints, height, width = heatmaps.shape
    joints = np.empty(heatmaps.size, np.int32)
    places = np.empty((heatmaps.size, 2), np.float32)
    heights = np.empty(heatmaps.size, np.float32)
    masses = np.empty((height, width), np.float32)
    n = 0
    for k in range(n_joints):
        votes, cells = heatmaps[k], heatmaps[k]
        if hough:
            votes, cells = _vote(heatmaps[k], offsets[2 * k], offsets[2 * k + 1], radius), masses
            for row in range(height):
                for column in range(width):
                    masses[row, column] = _mass(votes, row, column)
        for row in range(height):
            for column in range(width):
                if cells[row, column] < min_peak or not _is_maximum(cells, row, column):
                    continue
                if hough:
                    places[n, 0], places[n, 1] = _middle(votes, row, column)
                else:
                    places[n, 0] = column + offsets[2 * k, row, column]
                    places[n, 1] = row + offsets[2 * k + 1, row, column]
                joints[n], heights[n] = k, cells[row, column]
                n += 1
    return joints[:n], places[:n], heights[:n].copy()


@leaf
def _is_taken(xy, n, k, place, same_joint):  # type: ignore[no-untyped-def]
    """Whether one of the first people has its joint k at a place."""
    for i in range(n):
        squared = (xy[i, k, 0] - place[0]) ** 2 + (xy[i, k, 1] - place[1]) ** 2
        if squared <= same_joint * same_joint:
            return True
    return False


@part
def _grow(person, start, arrays, edges, n_refinements):  # type: ignore[no-untyped-def]
    """Write the places of the joints of a person that are connected with its first one."""
    offsets, forward, backward = arrays
    is_known = np.zeros(len(person), np.bool_)
    is_known[start] = True
    has_grown = True
    while has_grown:
        has_grown = False
        for e in range(len(edges)):
            a, b = edges[e, 0], edges[e, 1]
            if is_known[a] == is_known[b]:
                continue
            has_grown = True
            if is_known[a]:
                _step(person, a, b, forward[2 * e : 2 * e + 2], offsets, n_refinements)
                is_known[b] = True
            else:
                _step(person, b, a, backward[2 * e : 2 * e + 2], offsets, n_refinements)
                is_known[a] = True
    for k in range(len(person)):
        if not is_known[k]:  # of another tree
            person[k] = _NOWHERE


@leaf
def _step(person, a, b, displacement, offsets, n_refinements):  # type: ignore[no-untyped-def]
    """Write the place of joint b, which a mid-range offset at joint a points to."""
    row, column = _cell(displacement[0], person[a, 0], person[a, 1])
    x, y = column + displacement[0, row, column], row + displacement[1, row, column]
    for _ in range(n_refinements):
        row, column = _cell(displacement[0], x, y)
        x = column + offsets[2 * b, row, column]
        y = row + offsets[2 * b + 1, row, column]
    person[b, 0], person[b, 1] = x, y


@leaf
def _cell(cells, x, y):  # type: ignore[no-untyped-def]
    """Row and column of the cell closest to a place."""
    # Clipped as floats, as an offset may exceed the integers.
    row = math.floor(min(max(y, 0.0), cells.shape[0] - 1.0) + 0.5)
    column = math.floor(min(max(x, 0.0), cells.shape[1] - 1.0) + 0.5)
    return row, column


@leaf
def _box_area(person):  # type: ignore[no-untyped-def]
    """Area of the box around the joints, in square cells; at least 1."""
    left, right, top, bottom = 1e6, -1e6, 1e6, -1e6
    for k in range(len(person)):
        if person[k, 0] > _NOWHERE:
            left, right = min(left, person[k, 0]), max(right, person[k, 0])
            top, bottom = min(top, person[k, 1]), max(bottom, person[k, 1])
    return max((right - left) * (bottom - top), 1.0)


@leaf
def _expected_similarity(heatmaps, offsets, k, place, radius, unit):  # type: ignore[no-untyped-def]
    """The mean similarity of a place to what the cells of the disk about it vote for."""
    height, width = heatmaps.shape[1], heatmaps.shape[2]
    x, y = place[0], place[1]
    if not (-radius <= x <= width - 1 + radius and -radius <= y <= height - 1 + radius):
        return 0.0
    total, similar = 0.0, 0.0
    for row in range(max(int(y - radius), 0), min(int(y + radius) + 2, height)):
        for column in range(max(int(x - radius), 0), min(int(x + radius) + 2, width)):
            dx = column + offsets[2 * k, row, column] - x
            dy = row + offsets[2 * k + 1, row, column] - y
            squared = dx * dx + dy * dy
            if squared <= radius * radius:
                total += heatmaps[k, row, column]
                similar += heatmaps[k, row, column] * math.exp(-squared / unit)
    return similar / total if total > 0 else 0.0
