"""Steps two and three of the parser: candidate limbs, and which of them to believe."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.config import ASSOCIATIONS, DecodeConfig
from openpaf.decoding.peaks import _FIRST_CAPACITY, _LARGEST, Peaks, _grown
from openpaf.fields import Fields
from openpaf.kernels import kernel
from openpaf.skeleton import Skeleton


class Limbs(NamedTuple):
    """Limbs between peaks: candidates, or those chosen among them.

    Attributes:
        types: (M,) int32, which limb of the skeleton.
        peaks: (M, 2) int32, indices of the peaks where it begins and ends.
        scores: (M,) float32, the mean field along it.
        weights: (M,) float32, the order in which to believe them: the score times the square
            root of the weaker peak's height.
    """

    types: NDArray[np.int32]
    peaks: NDArray[np.int32]
    scores: NDArray[np.float32]
    weights: NDArray[np.float32]


def score_limbs(fields: Fields, peaks: Peaks, config: DecodeConfig | None = None) -> Limbs:
    """Candidate limbs: pairs of peaks with enough part affinity field between them.

    Args:
        fields: The PAFs, read on their own grid, bilinear, at ``limb_samples`` points.
        peaks: From :func:`find_peaks`.
        config: Uses ``graph``, ``association`` and the ``limb_*`` thresholds.

    Returns:
        The candidates, limb type after limb type.

    Raises:
        ValueError: If ``graph`` is ``"full"`` and a pair of joints is not a limb.

    Reference:
        Cao et al., CVPR 2017, equation 10.
    """
    config = config or DecodeConfig()
    return Limbs(
        *_score_limbs(
            fields.pafs,
            _limb_table(fields.skeleton, config.graph),
            peaks.xy,
            peaks.scores,
            peaks.starts,
            float(fields.paf_grid.stride),
            fields.paf_grid.offset_px,
            ASSOCIATIONS.index(config.association),
            int(config.limb_samples),
            float(config.limb_point_threshold),
            float(config.limb_fraction),
            float(config.limb_threshold),
        )
    )


def match_limbs(candidates: Limbs, config: DecodeConfig | None = None) -> Limbs:
    """The limbs to believe, in the order in which to believe them.

    Greedy matching takes each limb's candidates by falling weight, as long as neither peak has a
    better one; ``runners_up`` more of each peak are kept, for where the better ones turn out to
    contradict a whole person.

    Args:
        candidates: From :func:`score_limbs`.
        config: Uses ``matching`` and ``runners_up``.

    Returns:
        Some of the candidates, by falling weight.

    Raises:
        ValueError: If ``matching`` is ``"exact"`` and the scene is too large for it.

    Reference:
        Cao et al., CVPR 2017, equations 12 to 15.
    """
    config = config or DecodeConfig()
    if config.matching == "greedy":
        chosen = _match_greedy(*candidates, int(config.runners_up) + 1)
    else:
        from openpaf.decoding.optimal import match_exact, match_optimal

        match = match_optimal if config.matching == "optimal" else match_exact
        chosen = match(candidates)
    return Limbs(*_taken(*candidates, chosen))


@lru_cache(maxsize=64)
def _limb_table(skeleton: Skeleton, graph: str) -> NDArray[np.int32]:
    """(n, 3) int32 rows: limb, its first and its second joint, of the limbs to use."""
    if graph == "full" and skeleton.n_limbs < skeleton.n_joints * (skeleton.n_joints - 1) // 2:
        raise ValueError(
            f"graph: 'full' needs a limb between any two joints, and {skeleton.name!r} has "
            f"{skeleton.n_limbs} limbs for {skeleton.n_joints} joints"
        )
    tree = list(range(skeleton.n_joints))  # the tree that each joint is in
    rows = []
    for limb, (a, b) in enumerate(skeleton.limbs):
        if graph == "tree":
            if tree[a] == tree[b]:
                continue
            tree = [tree[a] if root == tree[b] else root for root in tree]
        rows.append((limb, a, b))
    return np.array(rows, np.int32).reshape(-1, 3)


@kernel
def _score_limbs(
    pafs, limbs, xy, peak_scores, starts, stride, offset, association, n_samples,
    point_threshold, fraction, threshold,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Arrays of :class:`Limbs`."""
    h, w = pafs.shape[2], pafs.shape[3]
    cells = _clamped_cells(xy, stride, offset, h, w)
    types = np.empty(_FIRST_CAPACITY, np.int32)
    pairs = np.empty((_FIRST_CAPACITY, 2), np.int32)
    scores = np.empty(_FIRST_CAPACITY, np.float32)
    likely = np.empty(max(len(xy), 1), np.int32)
    n = 0
    for i in range(len(limbs)):
        field, ja, jb = pafs[limbs[i, 0]], limbs[i, 1], limbs[i, 2]
        for a in range(starts[ja], starts[ja + 1]):
            if association == 0:
                n_likely = _screen(field, cells, a, starts[jb], starts[jb + 1], likely)
            else:
                n_likely = starts[jb + 1] - starts[jb]
                likely[:n_likely] = np.arange(starts[jb], starts[jb + 1])
            for b in likely[:n_likely]:
                if association == 0:
                    score = _integral(field, xy, cells, a, b, n_samples, point_threshold, fraction)
                else:
                    score = _presence(field, cells, a, b, association)
                if score >= threshold and score > 0:
                    if n == len(types):
                        types, pairs, scores = _grown(types), _grown(pairs), _grown(scores)
                    types[n], pairs[n, 0], pairs[n, 1] = limbs[i, 0], a, b
                    scores[n] = min(score, _LARGEST)
                    n += 1
    weights = np.empty(n, np.float32)
    for i in range(n):
        weaker = min(peak_scores[pairs[i, 0]], peak_scores[pairs[i, 1]])
        weights[i] = min(scores[i] * math.sqrt(weaker), _LARGEST)
    return types[:n].copy(), pairs[:n].copy(), scores[:n].copy(), weights


@kernel
def _clamped_cells(xy, stride, offset, h, w):  # type: ignore[no-untyped-def]
    """Peaks in cells of the PAFs, inside the field: so is every point between two of them."""
    cells = np.empty((2, len(xy)), np.float32)
    for p in range(len(xy)):
        cells[0, p] = min(max((xy[p, 0] - offset) / stride, 0.0), w - 1.0)
        cells[1, p] = min(max((xy[p, 1] - offset) / stride, 0.0), h - 1.0)
    return cells


@kernel
def _screen(field, cells, a, start, end, likely):  # type: ignore[no-untyped-def]
    """Peaks b to which the field at the limb's middle points from a; most pairs end here."""
    n = 0
    half = np.float32(0.5)
    ax, ay = cells[0, a], cells[1, a]
    for b in range(start, end):
        bx, by = cells[0, b], cells[1, b]
        # Truncation rounds, as the half is added and nothing is negative.
        column, row = np.int32((ax + bx) * half + half), np.int32((ay + by) * half + half)
        along = field[0, row, column] * (bx - ax) + field[1, row, column] * (by - ay)
        likely[n] = b
        n += along > 0
    return n


@kernel
def _integral(field, xy, cells, a, b, n_samples, point_threshold, fraction):  # type: ignore[no-untyped-def]
    """Mean of the field along the limb, or -1 where too few points speak for it."""
    h, w = field.shape[1], field.shape[2]
    dx, dy = np.float64(xy[b, 0]) - xy[a, 0], np.float64(xy[b, 1]) - xy[a, 1]
    length = math.sqrt(dx * dx + dy * dy)
    if length < 1e-6:
        return -1.0  # no direction
    ux, uy = dx / length, dy / length
    n_may_fail = int(n_samples * (1 - fraction) + 1e-6)
    x, y = np.float64(cells[0, a]), np.float64(cells[1, a])
    step_x = (cells[0, b] - x) / n_samples
    step_y = (cells[1, b] - y) / n_samples
    x += 0.5 * step_x
    y += 0.5 * step_y
    total = 0.0
    for _ in range(n_samples):
        column, row = int(x), int(y)
        right, below = min(column + 1, w - 1), min(row + 1, h - 1)
        fx, fy = x - column, y - row
        top_x = field[0, row, column] * (1 - fx) + field[0, row, right] * fx
        top_y = field[1, row, column] * (1 - fx) + field[1, row, right] * fx
        low_x = field[0, below, column] * (1 - fx) + field[0, below, right] * fx
        low_y = field[1, below, column] * (1 - fx) + field[1, below, right] * fx
        along = (top_x * (1 - fy) + low_x * fy) * ux + (top_y * (1 - fy) + low_y * fy) * uy
        if along <= point_threshold:
            n_may_fail -= 1
            if n_may_fail < 0:
                return -1.0
        total += along
        x += step_x
        y += step_y
    return total / n_samples


@kernel
def _presence(field, cells, a, b, n_midpoints):  # type: ignore[no-untyped-def]
    """Mean length of the field at the limb's midpoints, whatever its direction."""
    total = 0.0
    for i in range(n_midpoints):
        t = (i + 1) / (n_midpoints + 1)
        column = int(cells[0, a] * (1 - t) + cells[0, b] * t + 0.5)
        row = int(cells[1, a] * (1 - t) + cells[1, b] * t + 0.5)
        total += math.sqrt(
            np.float64(field[0, row, column]) ** 2 + np.float64(field[1, row, column]) ** 2
        )
    return total / n_midpoints


@kernel
def _match_greedy(types, pairs, scores, weights, n_chances):  # type: ignore[no-untyped-def]
    """Indices of the candidates to keep, by falling weight."""
    order = _falling(weights)
    if len(order) == 0:
        return order
    n_peaks = pairs.max() + 1
    n_taken = np.zeros((types.max() + 1, n_peaks, 2), np.uint16)
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
def _falling(values):  # type: ignore[no-untyped-def]
    """Indices by falling value, equal ones in order: a radix sort of floats that are >= 0."""
    n = len(values)
    order = np.arange(n).astype(np.int32)
    if n < 48:
        for i in range(1, n):
            item, j = order[i], i
            while j > 0 and values[order[j - 1]] < values[item]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = item
        return order
    # The bits of a float that is not negative, read as an integer, sort as the float does.
    keys = values.view(np.uint32)
    other = np.empty(n, np.int32)
    for shift in (0, 11, 22):
        starts = np.zeros(2049, np.int32)
        for i in range(n):
            starts[2048 - ((keys[i] >> np.uint32(shift)) & np.uint32(2047))] += 1
        for digit in range(1, 2049):
            starts[digit] += starts[digit - 1]
        for i in order:
            digit = 2047 - ((keys[i] >> np.uint32(shift)) & np.uint32(2047))
            other[starts[digit]] = i
            starts[digit] += 1
        order, other = other, order
    return order


@kernel
def _taken(types, pairs, scores, weights, chosen):  # type: ignore[no-untyped-def]
    return types[chosen], pairs[chosen], scores[chosen], weights[chosen]
