"""Where between the cells a peak is: the middle of the Gaussian around its highest cell."""

from __future__ import annotations

import math

import numpy as np

from openpaf.kernels.compile import leaf

_OWN_ROW = 2.0  # weight of a peak's own row, relative to those beside it
_BESIDE = 3  # peaks farther apart than this, in cells, have no neighbors in common
_NEAR = 4  # and farther apart than this, no cells of the 5 x 5
_LOWEST = 0.3  # lower peaks, relative to this one, change none of its neighbors
# Squared distance in cells by which a cell must be nearer to its own peak than to another: peaks
# lie up to half a cell beside their cells, so both may be the higher one in those between.
_BETWEEN = 1.5


@leaf
def is_beside_another(cells, w, spots, n_spots, i):  # type: ignore[no-untyped-def]
    """Whether peak i has another, no much lower one so near that its neighbors may be of that one.

    Args:
        cells: Those of the joint.
        w: Cells in a row.
        spots: The cells of all peaks of the joint, in reading order.
        n_spots: Their number.
        i: Which one of them.
    """
    least = np.float32(_LOWEST) * cells[spots[i]]
    row, column = spots[i] // w, spots[i] % w
    for step in (-1, 1):
        j = i + step
        while 0 <= j < n_spots and abs(spots[j] // w - row) <= _BESIDE:
            if abs(spots[j] % w - column) <= _BESIDE and cells[spots[j]] > least:
                return True
            j += step
    return False


@leaf
def leave_to_others(values, side, empty, cells, w, spots, n_spots, i, variance):  # type: ignore[no-untyped-def]
    """Empty the cells around peak i that another peak may have, as far as its height reaches.

    Args:
        values: ((2 side + 1) ** 2,) of the cells around the peak, which are changed.
        side: How many cells beside the peak they reach.
        empty: What is written.
        cells: As the rest, those of :func:`is_beside_another`.
        variance: Of a Gaussian, in cells^2.
    """
    row, column = spots[i] // w, spots[i] % w
    for step in (-1, 1):
        j = i + step
        while 0 <= j < n_spots and abs(spots[j] // w - row) <= _NEAR:
            rows, columns = spots[j] // w - row, spots[j] % w - column
            share = cells[spots[j]] / cells[spots[i]]
            j += step
            if abs(columns) > _NEAR or share <= _LOWEST:
                continue
            ahead = 2 * variance * math.log(share)
            at = 0
            for r in range(-side, side + 1):
                for c in range(-side, side + 1):
                    gap = (r - rows) ** 2 + (c - columns) ** 2 - (r * r + c * c)
                    if gap < ahead + _BETWEEN:
                        values[at] = empty
                    at += 1


@leaf
def vertex_inside(cells, w, cell):  # type: ignore[no-untyped-def]
    """:func:`vertex_of` a cell with eight neighbors, written out: most peaks are such.

    Returns also how the logarithm bends in the direction where it does so the least, and where it
    does the most. It is -1 / sigma**2 for a Gaussian.
    """
    least, scale = np.float32(1e-4), np.float32(1) / cells[cell]
    # Named by the compass: north is the row above.
    north, south = max(cells[cell - w] * scale, least), max(cells[cell + w] * scale, least)
    west, east = max(cells[cell - 1] * scale, least), max(cells[cell + 1] * scale, least)
    ln, ls, lw, le = math.log(north), math.log(south), math.log(west), math.log(east)
    nw = math.log(max(cells[cell - w - 1] * scale, least))
    ne = math.log(max(cells[cell - w + 1] * scale, least))
    sw = math.log(max(cells[cell + w - 1] * scale, least))
    se = math.log(max(cells[cell + w + 1] * scale, least))
    dx, rise_x = _weighted_parabola(lw, le, nw, ln, ne, sw, ls, se, north * north, south * south)
    dy, rise_y = _weighted_parabola(ln, ls, nw, lw, sw, ne, le, se, west * west, east * east)
    bend_x, bend_y, falling_bend, rising_bend = lw + le, ln + ls, 0.5 * (nw + se), 0.5 * (ne + sw)
    flattest = max(bend_x, bend_y, falling_bend, rising_bend)
    roundest = min(bend_x, bend_y, falling_bend, rising_bend)
    return dx, dy, rise_x + rise_y, flattest, roundest


@leaf
def read_logs(cells, h, w, row, column, logs):  # type: ignore[no-untyped-def]
    """Write the (9,) logarithms of a cell and its neighbors, relative to it; NaN outside."""
    value = cells[row * w + column]
    at = 0
    for r in range(row - 1, row + 2):
        for c in range(column - 1, column + 2):
            if 0 <= r < h and 0 <= c < w:
                logs[at] = math.log(max(cells[r * w + c] / value, np.float32(1e-4)))
            else:
                logs[at] = np.nan
            at += 1


@leaf
def vertex_of(logs, sigma):  # type: ignore[no-untyped-def]
    """The Gaussian's center: (offset in x, offset in y, both in cells, log of its rise).

    ``logs`` are the (9,) logarithms of :func:`read_logs`; NaN where they are unknown.
    """
    nw, north, ne, west = logs[0], logs[1], logs[2], logs[3]
    east, sw, south, se = logs[5], logs[6], logs[7], logs[8]
    dx, rise_x = _parabola(west, east, nw, north, ne, sw, south, se, sigma)
    dy, rise_y = _parabola(north, south, nw, west, sw, ne, east, se, sigma)
    return dx, dy, rise_x + rise_y


@leaf
def _parabola(before, after, a0, a1, a2, b0, b1, b2, sigma):  # type: ignore[no-untyped-def]
    """Vertex along a row (before, 0, after) between two others, a and b: (offset, log of rise)."""
    if math.isnan(before) and math.isnan(after):
        return 0.0, 0.0
    if math.isnan(before) or math.isnan(after):  # the curvature is unknown
        curvature = min(1 / (sigma * sigma), 1e6)
        slope = -before - 0.5 * curvature if math.isnan(after) else after + 0.5 * curvature
    else:
        weight_a = 0.0 if math.isnan(a0 + a1 + a2) else math.exp(2 * a1)
        weight_b = 0.0 if math.isnan(b0 + b1 + b2) else math.exp(2 * b1)
        if weight_a == 0:
            a0 = a1 = a2 = np.float32(0)  # nothing times NaN would be NaN
        if weight_b == 0:
            b0 = b1 = b2 = np.float32(0)
        return _weighted_parabola(before, after, a0, a1, a2, b0, b1, b2, weight_a, weight_b)
    return _peak_of_parabola(slope, curvature)


@leaf
def _weighted_parabola(before, after, a0, a1, a2, b0, b1, b2, weight_a, weight_b):  # type: ignore[no-untyped-def]
    """Vertex along a row, averaged with the two rows beside it against noise.

    They are weighted by the square of their height, and the peak's own row doubly.
    """
    slope = _OWN_ROW * (after - before) + weight_a * (a2 - a0) + weight_b * (b2 - b0)
    curvature = (
        weight_a * (2 * a1 - a0 - a2) + weight_b * (2 * b1 - b0 - b2) - _OWN_ROW * (before + after)
    )
    total = _OWN_ROW + weight_a + weight_b
    return _peak_of_parabola(0.5 * slope / total, curvature / total)


@leaf
def _peak_of_parabola(slope, curvature):  # type: ignore[no-untyped-def]
    if curvature < 1e-6:
        return 0.0, 0.0  # a plateau
    shift = min(max(slope / curvature, -0.75), 0.75)
    return shift, max(shift * (slope - 0.5 * curvature * shift), 0.0)
