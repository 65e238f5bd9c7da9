"""From centers of people, and offsets to their joints, to people (CenterNet).

Reference:
    Zhou, Wang and Krähenbühl, 2019: Objects as Points, section 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from openpaf.checks import check_number, check_numbers
from openpaf.decoding.arrays import checked_arrays
from openpaf.decoding.sorting import falling
from openpaf.geometry import Grid
from openpaf.kernels.compile import kernel, leaf, part
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

# Every person has all joints; one that its heatmap does not see has at least this score.
_LEAST_SCORE = 1e-3


@dataclass(frozen=True, kw_only=True)
class CenterConfig:
    """Thresholds of :func:`decode_centers`.

    Args:
        max_people: Of an image, and peaks of a joint, at least 1; 100 as in the paper.
        min_center: Height of a center's peak, above 0, at most 1. The paper has no threshold; lower
            ones cost time and add people of low scores.
        min_peak: Height of the peak of a joint that a person may take, above 0, at most 1; 0.1 as
            in the paper.
        reach: A person takes no peak further from the place of the joint than this share of the
            longer side of its box, at least 0; 0.3 as in the published code.

    Raises:
        ValueError: If one is out of its range.
    """

    max_people: int = 100
    min_center: float = 0.05
    min_peak: float = 0.1
    reach: float = 0.3

    def __post_init__(self) -> None:
        check_number("max_people", self.max_people, least=1, is_integer=True)
        check_numbers(self, ("min_center", "min_peak"), above=0, most=1)
        check_number("reach", self.reach, least=0)


def center_channels(skeleton: Skeleton) -> dict[str, int]:
    """Names and channels of the arrays that :func:`decode_centers` takes."""
    k = skeleton.n_joints
    return {
        "centers": 1,
        "sizes": 2,
        "center_offsets": 2,
        "joints": 2 * k,
        "heatmaps": k,
        "joint_offsets": 2,
    }


def decode_centers(
    arrays: Mapping[str, Any],
    grid: Grid,
    skeleton: Skeleton,
    config: CenterConfig | None = None,
) -> Poses:
    """The people of an image, from their centers.

    A person is a peak of the heatmap of centers. Each joint is where the offset at the center says,
    or at the closest peak of the joint's own heatmap inside of the person's box, which is more
    exact.

    Args:
        arrays: ``centers`` (1, h, w), 0 to 1; ``sizes`` (2, h, w) width and height of a person's
            box, ``center_offsets`` (2, h, w) from the cell to the box's center, and ``joints``
            (2K, h, w) from the cell to each joint, x and y in turn, in cells, at the centers;
            ``heatmaps`` (K, h, w) of the joints, 0 to 1; ``joint_offsets`` (2, h, w) from the cell
            of a peak to the joint, in cells.
        grid: Where the cells lie.
        skeleton: The K joints.
        config: Thresholds; the defaults where not given.

    Returns:
        People by falling score, the height of their center, in px of the network's input.

    Raises:
        ValueError: If an array is missing, of another shape, or not finite.
    """
    config = config or CenterConfig()
    checked = checked_arrays(arrays, center_channels(skeleton))
    xy, scores, person_scores = _decode_centers(
        tuple(checked),
        int(config.max_people),
        (float(config.min_center), float(config.min_peak), float(config.reach)),
    )
    return Poses(xy=grid.to_px(xy), scores=scores, person_scores=person_scores, skeleton=skeleton)


@kernel
def _decode_centers(arrays, limit, thresholds):  # type: ignore[no-untyped-def]
    """Arrays of :class:`Poses`, the coordinates in cells."""
    centers, sizes, center_offsets, joints, heatmaps, joint_offsets = arrays
    min_center, min_peak, reach = thresholds
    width = centers.shape[2]
    people = _strongest_maxima(centers[0], min_center, limit)
    n, n_joints = len(people), heatmaps.shape[0]
    xy = np.empty((n, n_joints, 2), np.float32)
    scores = np.empty((n, n_joints), np.float32)
    person_scores = np.empty(n, np.float32)
    for i in range(n):
        person_scores[i] = min(centers[0, people[i] // width, people[i] % width], 1.0)
    for k in range(n_joints):
        peaks = _strongest_maxima(heatmaps[k], min_peak, limit)
        for i in range(n):
            row, column = people[i] // width, people[i] % width
            box = (
                column + center_offsets[0, row, column],
                row + center_offsets[1, row, column],
                sizes[0, row, column] / 2,
                sizes[1, row, column] / 2,
            )
            x = column + joints[2 * k, row, column]
            y = row + joints[2 * k + 1, row, column]
            farthest = 2 * reach * max(box[2], box[3])
            peak = _closest_inside(peaks, joint_offsets, (x, y), box, farthest)
            if peak >= 0:
                row, column = peak // width, peak % width
                x = column + joint_offsets[0, row, column]
                y = row + joint_offsets[1, row, column]
                score = heatmaps[k, row, column]
            else:
                score = _at(heatmaps[k], x, y)
            xy[i, k, 0], xy[i, k, 1] = x, y
            scores[i, k] = min(max(score, _LEAST_SCORE), 1.0)
    return xy, scores, person_scores


@part
def _strongest_maxima(cells, threshold, limit):  # type: ignore[no-untyped-def]
    """The cells that none of their eight neighbors exceeds, by falling height, as indices."""
    height, width = cells.shape
    spots = np.empty(height * width, np.int32)
    n = 0
    for row in range(height):
        for column in range(width):
            if cells[row, column] >= threshold and _is_maximum(cells, row, column):
                spots[n] = row * width + column
                n += 1
    heights = np.empty(n, np.float32)
    for i in range(n):
        heights[i] = cells[spots[i] // width, spots[i] % width]
    order = falling(heights)
    chosen = np.empty(min(n, limit), np.int32)
    for i in range(len(chosen)):
        chosen[i] = spots[order[i]]
    return chosen


@leaf
def _is_maximum(cells, row, column):  # type: ignore[no-untyped-def]
    height, width = cells.shape
    value = cells[row, column]
    for r in range(max(row - 1, 0), min(row + 2, height)):
        for c in range(max(column - 1, 0), min(column + 2, width)):
            # Of equal cells side by side, the first in reading order is the peak.
            is_earlier = r < row or (r == row and c < column)
            if cells[r, c] > value or (is_earlier and cells[r, c] == value):
                return False
    return True


@leaf
def _closest_inside(peaks, offsets, place, box, farthest):  # type: ignore[no-untyped-def]
    """The peak closest to a place, of those inside of a box and not farther; -1 if none."""
    width = offsets.shape[2]
    best, chosen = farthest * farthest, -1
    for i in range(len(peaks)):
        row, column = peaks[i] // width, peaks[i] % width
        x, y = column + offsets[0, row, column], row + offsets[1, row, column]
        if abs(x - box[0]) > box[2] or abs(y - box[1]) > box[3]:
            continue
        squared = (x - place[0]) ** 2 + (y - place[1]) ** 2
        if squared <= best:
            best, chosen = squared, peaks[i]
    return chosen


@leaf
def _at(cells, x, y):  # type: ignore[no-untyped-def]
    """The value of the cell closest to a place; 0 outside."""
    height, width = cells.shape
    # Compared as floats, as an offset may exceed the integers.
    if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
        return np.float32(0)
    return cells[int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]
