"""Steps two and three of the parser: candidate limbs, and which of them are accepted."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.assignment import match_optimal
from openpaf.decoding.checks import (
    check_order,
    check_peaks_in_fields,
    checked_limbs,
    checked_peaks,
)
from openpaf.decoding.config import DEFAULTS, DecodeConfig
from openpaf.decoding.peaks import _FIRST_CAPACITY, _grown
from openpaf.decoding.sorting import falling
from openpaf.decoding.strides import thinned
from openpaf.decoding.types import LARGEST, Limbs, Peaks
from openpaf.fields import Fields
from openpaf.kernels.compile import inlined, kernel, leaf, part
from openpaf.skeleton import Skeleton
from openpaf.skeleton.trees import tree_limbs


def score_limbs(fields: Fields, peaks: Peaks, config: DecodeConfig | None = None) -> Limbs:
    """Candidate limbs: pairs of peaks with enough part affinity field between them.

    Args:
        fields: The PAFs, read on their own grid, bilinear, at ``limb_samples`` points.
        peaks: From :func:`find_peaks`.
        config: Uses ``graph`` and the ``limb_*`` thresholds.

    Returns:
        The candidates, limb type after limb type.

    Raises:
        ValueError: If ``graph`` is ``"full"`` and a pair of joints is not a limb, or if the peaks
            cannot be of these fields.

    Reference:
        Cao et al., CVPR 2017, equation 10.
    """
    config = config or DEFAULTS
    peaks = checked_peaks(peaks, fields.skeleton)
    fields = thinned(fields, config)
    check_peaks_in_fields(peaks, fields)
    table = _limb_table(fields.skeleton, config.graph)
    arrays = (peaks.xy, peaks.scores, peaks.starts)
    return Limbs(*_score_limbs_alone(fields.pafs, table, arrays, _limb_numbers(fields, config)))


def _limb_numbers(fields: Fields, config: DecodeConfig) -> tuple[float | int, ...]:
    """The scalar arguments of :func:`_score_limbs`."""
    return (
        float(fields.paf_grid.stride),
        fields.paf_grid.offset_px,
        int(config.limb_samples),
        float(config.limb_point_threshold),
        float(config.limb_fraction),
        float(config.limb_threshold),
    )


def match_limbs(
    candidates: Limbs, config: DecodeConfig | None = None, peaks: Peaks | None = None
) -> Limbs:
    """The accepted limbs, best first.

    Optimal matching is the assignment of the largest total weight of each limb. Greedy matching
    takes each limb's candidates by falling weight, if neither peak has a better one: where people
    stand side by side it may give a person's arm to another. After either, ``n_fallbacks`` more
    of each peak are accepted, for where the better ones contradict a whole person.

    Args:
        candidates: From :func:`score_limbs`.
        config: Uses ``matching`` and ``n_fallbacks``.
        peaks: Those between which the candidates are; needed only for ``matching="exact"``.

    Returns:
        Some of the candidates: those matched by falling weight, then the fallbacks.

    Raises:
        ValueError: If ``matching`` is ``"exact"`` and peaks are missing or the scene is too large,
            or if the candidates are not as :func:`score_limbs` returns them for these peaks.

    Reference:
        Cao et al., CVPR 2017, equations 12 to 15.
    """
    config = config or DEFAULTS
    peaks = None if peaks is None else checked_peaks(peaks)
    candidates = checked_limbs("candidates", candidates, peaks)
    if config.matching == "exact":
        from openpaf.decoding.exact import match_exactly  # scipy takes long to import

        if peaks is None:
            raise ValueError("peaks: matching 'exact' needs them")
        chosen = match_exactly(peaks, candidates)
    else:
        check_order(candidates)
        chosen = _match_alone(
            candidates.types, candidates.peaks, candidates.weights, *_match_numbers(config)
        )
    return Limbs(*_taken(*candidates, chosen))


@lru_cache(maxsize=64)
def _limb_table(skeleton: Skeleton, graph: str) -> NDArray[np.int32]:
    """(n, 3) int32: index, first joint and second joint of each limb of a graph."""
    if graph == "full" and skeleton.n_limbs < skeleton.n_joints * (skeleton.n_joints - 1) // 2:
        raise ValueError(
            f"graph: 'full' needs a limb between any two joints, and {skeleton.name!r} has "
            f"{skeleton.n_limbs} limbs for {skeleton.n_joints} joints"
        )
    limbs = tree_limbs(skeleton) if graph == "tree" else range(skeleton.n_limbs)
    return np.array([(limb, *skeleton.limbs[limb]) for limb in limbs], np.int32).reshape(-1, 3)


@kernel
def _score_limbs_alone(pafs, limbs, peaks, numbers):  # type: ignore[no-untyped-def]
    return _score_limbs(pafs, limbs, peaks, numbers)


@part
def _score_limbs(pafs, limbs, peaks, numbers):  # type: ignore[no-untyped-def]
    """Arrays of :class:`Limbs`."""
    xy, peak_scores, starts = peaks
    stride, offset, n_samples, point_threshold, fraction, threshold = numbers
    h, w = pafs.shape[2], pafs.shape[3]
    fields, cells = pafs.reshape(2 * len(pafs), h * w), np.empty((2, len(xy)), np.float32)
    _clamp_cells(xy, stride, offset, h, w, cells)
    types = np.empty(_FIRST_CAPACITY, np.int32)
    first = np.empty(_FIRST_CAPACITY, np.int32)
    second = np.empty(_FIRST_CAPACITY, np.int32)
    scores = np.empty(_FIRST_CAPACITY, np.float32)
    n_may_fail = int(n_samples * (1 - fraction) + 1e-6)
    point_threshold = np.float32(point_threshold)
    likely, middles = np.empty(len(xy) + 1, np.int32), np.empty(len(xy), np.int32)
    along = np.empty(n_samples, np.float32)
    rules = (n_samples, point_threshold, n_may_fail, threshold)
    n, row, a = 0, 0, 0
    while True:
        row, a, n = _score_limbs_while_room(
            fields, (h, w), limbs, (xy, cells, starts), rules, (likely, middles, along),
            (types, first, second, scores), (row, a, n),
        )  # fmt: skip
        if row == len(limbs):
            break
        types, scores = _grown(types), _grown(scores)
        first, second = _grown(first), _grown(second)
    pairs, weights = np.empty((n, 2), np.int32), np.empty(n, np.float32)
    for i in range(n):
        pairs[i, 0], pairs[i, 1] = first[i], second[i]
        weaker = min(peak_scores[pairs[i, 0]], peak_scores[pairs[i, 1]])
        weights[i] = min(scores[i] * math.sqrt(weaker), LARGEST)
    return types[:n].copy(), pairs, scores[:n].copy(), weights


@leaf
def _score_limbs_while_room(  # type: ignore[no-untyped-def]
    fields, size_hw, limbs, peaks, rules, room, candidates, begin
):
    """Write candidates, beginning at some row of ``limbs``, peak and number of the candidate.

    Returns the row and the peak at which the buffers were full, and the end of the candidates.
    """
    w = size_hw[1]
    xy, cells, starts = peaks
    n_samples, point_threshold, n_may_fail, threshold = rules
    likely, middles, along = room
    types, first, second, scores = candidates
    first_row, first_a, n = begin
    for row in range(first_row, len(limbs)):
        limb, start_a, end_a = limbs[row, 0], starts[limbs[row, 1]], starts[limbs[row, 1] + 1]
        start_b, end_b = starts[limbs[row, 2]], starts[limbs[row, 2] + 1]
        field_x, field_y = fields[2 * limb], fields[2 * limb + 1]
        cells_x, cells_y = cells[0, start_b:end_b], cells[1, start_b:end_b]
        for a in range(max(start_a, first_a), end_a):
            if n + len(cells_x) > len(scores):
                return row, a, n
            n_likely = _screen(
                field_x, field_y, w, cells_x, cells_y, cells[0, a], cells[1, a], likely, middles,
            )  # fmt: skip
            for i in range(n_likely):
                b = start_b + likely[i]
                score = _integral(
                    field_x, field_y, size_hw, (xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1]),
                    (cells[0, a], cells[1, a], cells[0, b], cells[1, b]), n_samples,
                    point_threshold, n_may_fail, along,
                )  # fmt: skip
                if score >= threshold and score > 0:
                    types[n], first[n], second[n] = limb, a, b
                    scores[n] = min(score, LARGEST)
                    n += 1
        first_a = 0
    return len(limbs), 0, n


@leaf
def _clamp_cells(xy, stride, offset, h, w, cells):  # type: ignore[no-untyped-def]
    """Peaks in cells of the PAFs, clamped to the field: points between two are inside, too."""
    for p in range(len(xy)):
        x, y = (xy[p, 0] - offset) / stride, (xy[p, 1] - offset) / stride
        # In this order NaN, which would be an arbitrary index, becomes 0.
        cells[0, p] = min(x, w - 1.0) if x > 0 else 0.0
        cells[1, p] = min(y, h - 1.0) if y > 0 else 0.0


@inlined
def _screen(  # type: ignore[no-untyped-def]
    field_x, field_y, width, cells_x, cells_y, ax, ay, likely, middles
):
    """Peaks b that the field points to from a, at the limb's middle and its quarters.

    Few pairs pass. There are no branches, as they would be unpredictable. ``likely`` has room for
    one more than there are peaks, as an entry is written before it is counted.
    """
    half, zero, width = np.float32(0.5), np.float32(0), np.int32(width)
    for b in range(len(cells_x)):  # a loop of its own, so that it is vectorized
        x, y = ax + half * (cells_x[b] - ax), ay + half * (cells_y[b] - ay)
        middles[b] = _nearest_cell(x, y, width)
    n = np.uint64(0)
    for b in range(len(cells_x)):
        likely[n] = b
        dx, dy, cell = cells_x[b] - ax, cells_y[b] - ay, np.uint64(np.uint32(middles[b]))
        n += np.uint64(field_x[cell] * dx + field_y[cell] * dy > zero)
    n_middle, n = n, np.uint64(0)
    for i in range(n_middle):
        b = likely[i]
        dx, dy = cells_x[b] - ax, cells_y[b] - ay
        first = _along(field_x, field_y, width, ax, ay, dx, dy, np.float32(0.25))
        last = _along(field_x, field_y, width, ax, ay, dx, dy, np.float32(0.75))
        likely[n] = b
        n += np.uint64((first > zero) & (last > zero))
    return np.int64(n)


@inlined
def _nearest_cell(x, y, width):  # type: ignore[no-untyped-def]
    """Index, in the flat field, of the cell nearest to a point inside it."""
    half = np.float32(0.5)
    # Truncation rounds to nearest, as a half is added and no coordinate is negative.
    return np.int32(np.int32(np.int32(y + half) * width) + np.int32(x + half))


@inlined
def _along(field_x, field_y, width, x, y, dx, dy, t):  # type: ignore[no-untyped-def]
    """Dot product of (dx, dy) and the field in the cell nearest to (x, y) + t (dx, dy)."""
    cell = np.uint64(np.uint32(_nearest_cell(x + t * dx, y + t * dy, width)))
    return field_x[cell] * dx + field_y[cell] * dy


@inlined
def _integral(  # type: ignore[no-untyped-def]
    field_x, field_y, size_hw, joints_px, joints_cells, n_samples, point_threshold, n_may_fail,
    along,
):  # fmt: skip
    """Mean of the field along the limb, or -1 where too few points support it.

    ``along`` is a buffer of ``n_samples`` numbers, so that the first loop is vectorized.
    """
    h, w = size_hw
    ax_px, ay_px, bx_px, by_px = joints_px
    ax, ay, bx, by = joints_cells
    one = np.float32(1)
    dx, dy = np.float64(bx_px) - ax_px, np.float64(by_px) - ay_px
    length = math.sqrt(dx * dx + dy * dy)
    if length < 1e-6:
        return -one  # no direction
    ux, uy = np.float32(dx / length), np.float32(dy / length)
    share = one / np.float32(n_samples)
    step_x, step_y = (bx - ax) * share, (by - ay) * share
    last_x, last_y, width = np.uint32(w - 1), np.uint32(h - 1), np.uint32(w)
    for i in range(n_samples):
        # The first point lies half a step from the first joint.
        at = np.float32(i) + np.float32(0.5)
        x, y = ax + at * step_x, ay + at * step_y
        column, row = np.uint32(x), np.uint32(y)
        fx, fy = x - np.float32(column), y - np.float32(row)
        right, low_row = min(column + np.uint32(1), last_x), min(row + np.uint32(1), last_y)
        nw, ne = np.uint64(row * width + column), np.uint64(row * width + right)
        sw, se = np.uint64(low_row * width + column), np.uint64(low_row * width + right)
        top = field_x[nw] * ux + field_y[nw] * uy
        top += fx * (field_x[ne] * ux + field_y[ne] * uy - top)
        low = field_x[sw] * ux + field_y[sw] * uy
        low += fx * (field_x[se] * ux + field_y[se] * uy - low)
        along[i] = top + fy * (low - top)
    total = np.float32(0)
    for i in range(n_samples):
        # Written with not, so that NaN does not count as support.
        n_may_fail -= not along[i] > point_threshold
        total += along[i]
    return total * share if n_may_fail >= 0 else -one


def _match_numbers(config: DecodeConfig) -> tuple[bool, int]:
    """The scalar arguments of :func:`_match`."""
    return config.matching == "optimal", int(config.n_fallbacks) + 1


@kernel
def _match_alone(*arguments):  # type: ignore[no-untyped-def]
    return _match(*arguments)


@part
def _match(types, pairs, weights, is_optimal, n_chances):  # type: ignore[no-untyped-def]
    if not is_optimal:
        return _match_greedy(types, pairs, weights, n_chances)
    chosen, contested = match_optimal(types, pairs, weights)
    chosen = chosen[falling(weights[chosen])]
    if n_chances == 1 or len(contested) == 0:
        return chosen
    is_chosen = np.zeros(len(types), np.bool_)
    for i in chosen:
        is_chosen[i] = True
    order = np.empty(len(types), np.int32)
    n = 0
    for i in chosen:
        order[n] = i
        n += 1
    # Peaks of uncontested candidates have no other: only contested ones can be fallbacks.
    for j in _match_greedy(types[contested], pairs[contested], weights[contested], n_chances):
        i = contested[j]
        if not is_chosen[i]:
            order[n] = i
            n += 1
    return order[:n]


@part
def _match_greedy(types, pairs, weights, n_chances):  # type: ignore[no-untyped-def]
    """Indices of the accepted candidates, by falling weight."""
    order = falling(weights)
    if len(order) == 0:
        return order
    n_types = n_peaks = 0
    for i in range(len(types)):
        n_types = max(n_types, types[i] + 1)
        n_peaks = max(n_peaks, pairs[i, 0] + 1, pairs[i, 1] + 1)
    n_taken = np.zeros((n_types, n_peaks, 2), np.uint16)
    n = 0
    for i in order:
        taken_a = n_taken[types[i], pairs[i, 0], 0]
        taken_b = n_taken[types[i], pairs[i, 1], 1]
        if taken_a < n_chances and taken_b < n_chances:
            n_taken[types[i], pairs[i, 0], 0] += 1
            n_taken[types[i], pairs[i, 1], 1] += 1
            order[n] = i
            n += 1
    return order[:n]


@kernel
def _taken(types, pairs, scores, weights, chosen):  # type: ignore[no-untyped-def]
    return types[chosen], pairs[chosen], scores[chosen], weights[chosen]
