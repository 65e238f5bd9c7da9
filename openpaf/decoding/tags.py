"""Associative embedding: peaks that have about the same tag are one person.

Reference:
    Newell, Huang and Deng, NeurIPS 2017: Associative Embedding: End-to-End Learning for Joint
    Detection and Grouping, section 3.3; the refinement of missing joints as in HigherHRNet, Cheng
    et al., CVPR 2020, section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import check_numbers
from openpaf.decoding.assignment import _hungarian
from openpaf.decoding.sorting import falling
from openpaf.geometry import Grid
from openpaf.kernels.compile import kernel, leaf, part
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

#: Head and torso first, as these are found best: shoulders and hips before elbows and knees.
COCO17_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
# A tag's distance counts in whole steps of this weight, a peak's height decides which of several
# gets a person, and the distance's square breaks the ties that are left: there are many.
_STEP, _TIE = 100.0, 1e-3
_NO_PERSON = 1e6  # cost of a peak that begins a person where there are more peaks than people


@dataclass(frozen=True, kw_only=True)
class TagConfig:
    """The thresholds of grouping by tags; defaults are the published ones of HigherHRNet.

    Args:
        peak_threshold: Smallest heatmap value of a joint, above 0.
        tag_distance: A peak whose tag is farther from a person's mean tag begins a new person;
            above 0.
        max_people: At most so many peaks of a joint are used, the highest, and new peaks are
            offered to so many people.
        refine: Whether a person's missing joints are looked for where heatmap less tag distance
            is highest.
        quarter_offset: Whether a peak lies a quarter of a cell towards its higher neighbor, as
            published, and not at the vertex of a parabola through the logarithms around it, which
            is exact for a Gaussian.
    """

    peak_threshold: float = 0.1
    tag_distance: float = 1.0
    max_people: int = 30
    refine: bool = True
    quarter_offset: bool = False

    def __post_init__(self) -> None:
        check_numbers(self, ("peak_threshold", "tag_distance"), above=0)
        check_numbers(self, ("max_people",), least=1, most=1000, is_integer=True)


def group_by_tags(
    heatmaps: NDArray[np.float32],
    tags: NDArray[np.float32],
    grid: Grid,
    skeleton: Skeleton,
    config: TagConfig | None = None,
) -> Poses:
    """The people of an image, from heatmaps and tags.

    Args:
        heatmaps: (K, h, w) of the joints, without background.
        tags: (T, K, h, w): T numbers for each cell of each joint, on the grid of the heatmaps; two
            where the mirrored image was seen, too.
        grid: Where the cells lie.
        skeleton: The joints.
        config: Thresholds; the defaults where not given.

    Returns:
        People by falling score, in px of the network's input. A person's score is the mean height
        of its peaks, over all joints, before missing ones were looked for.

    Raises:
        ValueError: If shapes do not fit, or numbers are NaN or infinite.

    Reference:
        Newell et al., NeurIPS 2017, section 3.3.

    Example:
        >>> import numpy as np
        >>> import openpaf
        >>> heatmaps, tags = np.zeros((17, 8, 8), np.float32), np.zeros((1, 17, 8, 8), np.float32)
        >>> heatmaps[:2, 2, 2] = heatmaps[:2, 5, 5] = 1  # noses and left eyes of two people
        >>> tags[:, :, 5, 5] = 4
        >>> people = group_by_tags(heatmaps, tags, openpaf.Grid(4), openpaf.Skeleton.COCO17)
        >>> people.xy[:, :2].tolist()
        [[[9.5, 9.5], [9.5, 9.5]], [[21.5, 21.5], [21.5, 21.5]]]
    """
    config = config or TagConfig()
    _check_maps(heatmaps, tags, skeleton.n_joints)
    is_coco = skeleton.joints == Skeleton.COCO17.joints
    order = np.array(COCO17_ORDER if is_coco else range(skeleton.n_joints), np.int64)
    cells, scores, person_scores = _group(
        np.ascontiguousarray(heatmaps, np.float32),
        np.ascontiguousarray(tags, np.float32),
        order,
        (float(config.peak_threshold), float(config.tag_distance), int(config.max_people)),
        (bool(config.refine), bool(config.quarter_offset)),
    )
    best = np.argsort(-person_scores, kind="stable")
    xy = np.where((scores > 0)[..., None], grid.to_px(cells), np.nan)
    return Poses(
        xy=xy[best].astype(np.float32),
        scores=scores[best],
        person_scores=person_scores[best],
        skeleton=skeleton,
    )


def _check_maps(heatmaps: NDArray[np.float32], tags: NDArray[np.float32], k: int) -> None:
    if heatmaps.ndim != 3 or len(heatmaps) != k or 0 in heatmaps.shape:
        raise ValueError(f"heatmaps: expected shape ({k}, h, w), got {heatmaps.shape}")
    if tags.ndim != 4 or tags.shape[1:] != heatmaps.shape or not len(tags):
        raise ValueError(f"tags: expected shape (T, {k}, h, w), got {tags.shape}")
    if not (np.isfinite(heatmaps).all() and np.isfinite(tags).all()):
        raise ValueError("heatmaps, tags: expected finite numbers, got NaN or infinity")


@kernel
def _group(heatmaps, tags, order, numbers, switches):  # type: ignore[no-untyped-def]
    """Cells (N, K, 2) as x and y, scores (N, K), and person scores (N,)."""
    refine, quarter_offset = switches
    places, means = _form_people(heatmaps, tags, order, numbers)
    n, k = places.shape
    w = heatmaps.shape[2]
    cells, scores = np.zeros((n, k, 2), np.float32), np.zeros((n, k), np.float32)
    person_scores = np.zeros(n, np.float32)
    for person in range(n):
        total = 0.0
        for joint in range(k):
            spot = places[person, joint]
            if spot >= 0:
                total += heatmaps[joint, spot // w, spot % w]
            elif refine:
                spot = _best_cell(heatmaps[joint], tags[:, joint], means[person])
            if spot < 0 or heatmaps[joint, spot // w, spot % w] <= 0:
                continue
            row, column = spot // w, spot % w
            dx, dy = _offset(heatmaps[joint], row, column, quarter_offset)
            cells[person, joint, 0], cells[person, joint, 1] = column + dx, row + dy
            scores[person, joint] = heatmaps[joint, row, column]
        person_scores[person] = total / k
    return cells, scores, person_scores


@part
def _form_people(heatmaps, tags, order, numbers):  # type: ignore[no-untyped-def]
    """Of each person the cell of each joint (N, K), -1 where missing, and the mean tag (N, T)."""
    threshold, tag_distance, max_people = numbers
    n_tags, k, _, w = tags.shape
    spots, starts = _find_all_peaks(heatmaps, threshold, max_people)
    places = np.full((len(spots), k), np.int32(-1))
    means, sizes = np.zeros((len(spots), n_tags)), np.zeros(len(spots), np.int32)
    n = 0
    for joint in order:
        peaks = spots[starts[joint] : starts[joint + 1]]
        n_offered = min(n, max_people)
        owners = _assign_peaks(heatmaps, tags, joint, peaks, means, n_offered, tag_distance)
        for i, spot in enumerate(peaks):
            person = owners[i]
            if person < 0:
                person = n
                n += 1
            places[person, joint] = spot
            sizes[person] += 1
            for t in range(n_tags):
                tag = np.float64(tags[t, joint, spot // w, spot % w])
                means[person, t] += (tag - means[person, t]) / sizes[person]
    return places[:n], means[:n]


@part
def _find_all_peaks(heatmaps, threshold, max_people):  # type: ignore[no-untyped-def]
    """Cells of the highest peaks of each joint, by falling height, and where each joint begins."""
    k, h, w = heatmaps.shape
    spots, starts = np.empty(k * max_people, np.int32), np.zeros(k + 1, np.int32)
    here, heights = np.empty(h * w, np.int32), np.empty(h * w, np.float32)
    n = 0
    for joint in range(k):
        n_here = 0
        for row in range(h):
            for column in range(w):
                if _is_highest(heatmaps[joint], row, column, threshold):
                    here[n_here], heights[n_here] = row * w + column, heatmaps[joint, row, column]
                    n_here += 1
        for i in falling(heights[:n_here])[:max_people]:
            spots[n] = here[i]
            n += 1
        starts[joint + 1] = n
    return spots[:n], starts


@leaf
def _is_highest(heatmap, row, column, threshold):  # type: ignore[no-untyped-def]
    """Whether no neighbor is higher; of equal cells side by side, the first is the peak."""
    value = heatmap[row, column]
    if not value > threshold:
        return False
    h, w = heatmap.shape
    for r in range(max(row - 1, 0), min(row + 2, h)):
        for c in range(max(column - 1, 0), min(column + 2, w)):
            other = heatmap[r, c]
            earlier = r < row or (r == row and c < column)
            if other > value or (other == value and earlier):
                return False
    return True


@part
def _assign_peaks(heatmaps, tags, joint, peaks, means, n_grouped, tag_distance):  # type: ignore[no-untyped-def]
    """The person of each peak of a joint; -1 for those that begin one."""
    w = heatmaps.shape[2]
    owners = np.full(len(peaks), -1, np.int64)
    if n_grouped == 0 or len(peaks) == 0:
        return owners
    # Columns beyond the people, so that there are no more rows than columns.
    cost = np.full((len(peaks), max(n_grouped, len(peaks))), _NO_PERSON)
    distance = np.empty((len(peaks), n_grouped))
    for i, spot in enumerate(peaks):
        row, column = spot // w, spot % w
        for person in range(n_grouped):
            total = 0.0
            for t in range(len(tags)):
                difference = tags[t, joint, row, column] - means[person, t]
                total += difference * difference
            distance[i, person] = np.sqrt(total)
            steps = np.rint(distance[i, person])
            height = np.float64(heatmaps[joint, row, column])
            cost[i, person] = _STEP * steps - height + _TIE * total
    for i, person in enumerate(_hungarian(cost)):
        if person < n_grouped and distance[i, person] < tag_distance:
            owners[i] = person
    return owners


@leaf
def _best_cell(heatmap, tags, mean):  # type: ignore[no-untyped-def]
    """The cell where heatmap (h, w) less distance of tags (T, h, w), in whole steps, is highest."""
    h, w = heatmap.shape
    best, spot = -np.inf, np.int32(-1)
    for row in range(h):
        for column in range(w):
            if heatmap[row, column] <= best:
                continue  # no distance is negative
            total = 0.0
            for t in range(len(tags)):
                difference = tags[t, row, column] - mean[t]
                total += difference * difference
            value = heatmap[row, column] - np.rint(np.sqrt(total))
            if value > best:
                best, spot = value, np.int32(row * w + column)
    return spot


@leaf
def _offset(heatmap, row, column, quarter_offset):  # type: ignore[no-untyped-def]
    """From a cell to its peak along x and y, in cells."""
    h, w = heatmap.shape
    left, right = heatmap[row, max(column - 1, 0)], heatmap[row, min(column + 1, w - 1)]
    up, down = heatmap[max(row - 1, 0), column], heatmap[min(row + 1, h - 1), column]
    if quarter_offset:
        return (0.25 if right > left else -0.25), (0.25 if down > up else -0.25)
    middle = heatmap[row, column]
    dx = _vertex(left, middle, right) if 0 < column < w - 1 else 0.0
    dy = _vertex(up, middle, down) if 0 < row < h - 1 else 0.0
    return dx, dy


@leaf
def _vertex(before, middle, after):  # type: ignore[no-untyped-def]
    """Where the parabola through the logarithms of three cells is highest, in cells."""
    least = np.float32(1e-6)
    a, b, c = np.log(max(before, least)), np.log(max(middle, least)), np.log(max(after, least))
    curvature = 2 * b - a - c
    if curvature < 1e-6:
        return 0.0  # a plateau
    return min(max(0.5 * (c - a) / curvature, -0.5), 0.5)
