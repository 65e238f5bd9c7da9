"""Two joints in one peak: people whose joints are less than two sigmas apart."""

from __future__ import annotations

import math

from openpaf.decoding.vertex import leave_to_others
from openpaf.kernels.compile import leaf

_SIDE = 2  # cells beside the peak that are read, in each direction
_WIDTH = 2 * _SIDE + 1
N_CELLS = _WIDTH * _WIDTH
_FLOOR = 0.08  # lower cells, relative to the peak, are noise
_NEAREST, _FARTHEST = 0.57, 2.86  # how far apart the two are, in sigmas
_LEAST_SHARE = 0.1  # of the weights, in the cells of either
_LOWEST, _HIGHEST = 0.4, 1.4  # their heights, relative to the peak
_MOST_STEPS = 4


@leaf
def fit_two(cells, size_hw, spots, n_spots, i, height, variance, room, out):  # type: ignore[no-untyped-def]
    """Fit two Gaussians to the cells around a peak; returns the error, infinite where none fit.

    A heatmap is the larger one of the Gaussians of both. The logarithm of a Gaussian of known
    width, plus half the squared distance from the peak over its variance, is a plane. So that of
    both is the larger one of two planes: each is fitted to the cells where it is the larger one, in
    turns, by weighted least squares.

    Args:
        cells: Those of the joint.
        size_hw: Their number in each direction.
        spots: The cells of all peaks of the joint. Cells that are another's are not used.
        n_spots: Their number.
        i: Which one of them.
        height: Of the peak.
        variance: Of a Gaussian, in cells^2.
        room: (4, ``N_CELLS``) buffer.
        out: (2, 3) for x and y from the peak's cell, in cells, and height of both.

    Returns:
        The error's weighted root mean square, of the logarithm.

    Reference:
        Magnani and Boyd, Convex piecewise-linear fitting, 2009.
    """
    values, weights, sums, part = room[0], room[1], room[2], room[3]
    _read(cells, size_hw, spots[i], variance, values, weights)
    leave_to_others(weights, _SIDE, 0.0, cells, size_hw[1], spots, n_spots, i, variance)
    x, y, least = _first_line(values, weights)
    _add_up(values, weights, 0.0, 0.0, -1.0, sums)
    ax = ay = a = bx = by = b = 0.0
    for _ in range(_MOST_STEPS):
        _add_up(values, weights, x, y, least, part)
        ax, ay, a = _plane(part)
        for at in range(9):
            part[at] = sums[at] - part[at]
        bx, by, b = _plane(part)
        if math.isnan(a) or math.isnan(b):
            return math.inf
        if x == ax - bx and y == ay - by and least == b - a:
            break
        x, y, least = ax - bx, ay - by, b - a
    _write(out[0], ax, ay, a, cells[spots[i]], variance)
    _write(out[1], bx, by, b, cells[spots[i]], variance)
    if min(part[0], sums[0] - part[0]) < _LEAST_SHARE * sums[0]:
        return math.inf
    if not _are_likely(out, height, variance) or not _have_cells(weights, out):
        return math.inf
    return _error(values, weights, (ax, ay, a), (bx, by, b))


@leaf
def _read(cells, size_hw, spot, variance, values, weights):  # type: ignore[no-untyped-def]
    """Write the logarithms, relative to the peak, without a Gaussian's bend; and their weights."""
    h, w = size_hw
    row, column = spot // w, spot % w
    scale, bend, at = 1 / cells[spot], 0.5 / variance, 0
    for r in range(-_SIDE, _SIDE + 1):
        for c in range(-_SIDE, _SIDE + 1):
            values[at] = weights[at] = 0
            if 0 <= row + r < h and 0 <= column + c < w:
                share = cells[spot + r * w + c] * scale
                if share > _FLOOR:
                    values[at] = math.log(share) + (r * r + c * c) * bend
                    weights[at] = share * share
            at += 1


@leaf
def _first_line(values, weights):  # type: ignore[no-untyped-def]
    """The line (x, y, least) across the direction in which the peak is the longest."""
    middle = N_CELLS // 2
    x, y, most = 1.0, 0.0, values[middle - 1] + values[middle + 1]
    for dx, dy in ((0, 1), (1, 1), (1, -1)):
        step = dy * _WIDTH + dx
        bend = (values[middle - step] + values[middle + step]) / (dx * dx + dy * dy)
        if bend > most:
            x, y, most = float(dx), float(dy), bend
    total = along = 0.0
    for at in range(N_CELLS):
        total += weights[at]
        along += weights[at] * (x * (at % _WIDTH - _SIDE) + y * (at // _WIDTH - _SIDE))
    return x, y, along / total


@leaf
def _add_up(values, weights, x, y, least, sums):  # type: ignore[no-untyped-def]
    """Weighted sums, over the cells beyond a line, of what :func:`_plane` needs."""
    n = sx = sy = sv = xx = xy = yy = xv = yv = 0.0
    at = 0
    for r in range(-_SIDE, _SIDE + 1):
        for c in range(-_SIDE, _SIDE + 1):
            weight = weights[at] if x * c + y * r > least else 0.0
            wx, wy, wv = weight * c, weight * r, weight * values[at]
            n += weight
            sx += wx
            sy += wy
            sv += wv
            xx += wx * c
            xy += wx * r
            yy += wy * r
            xv += wv * c
            yv += wv * r
            at += 1
    sums[0], sums[1], sums[2], sums[3], sums[4] = n, sx, sy, sv, xx
    sums[5], sums[6], sums[7], sums[8] = xy, yy, xv, yv


@leaf
def _plane(sums):  # type: ignore[no-untyped-def]
    """The plane (x, y, constant) of least squares; NaN where there are too few cells."""
    n = sums[0]
    if n < 1e-6:
        return math.nan, math.nan, math.nan
    mx, my, mv = sums[1] / n, sums[2] / n, sums[3] / n
    xx, xy, yy = sums[4] / n - mx * mx, sums[5] / n - mx * my, sums[6] / n - my * my
    xv, yv = sums[7] / n - mx * mv, sums[8] / n - my * mv
    det = xx * yy - xy * xy
    if det < 1e-5:
        return math.nan, math.nan, math.nan
    x, y = (xv * yy - yv * xy) / det, (yv * xx - xv * xy) / det
    return x, y, mv - x * mx - y * my


@leaf
def _write(out, x, y, constant, value, variance):  # type: ignore[no-untyped-def]
    """The Gaussian of a plane."""
    out[0], out[1] = x * variance, y * variance
    rise = constant + (x * x + y * y) * variance / 2
    out[2] = value * math.exp(min(rise, 5.0))


@leaf
def _are_likely(out, height, variance):  # type: ignore[no-untyped-def]
    apart = ((out[0, 0] - out[1, 0]) ** 2 + (out[0, 1] - out[1, 1]) ** 2) / variance
    farthest = max(abs(out[0, 0]), abs(out[0, 1]), abs(out[1, 0]), abs(out[1, 1]))
    low, high = min(out[0, 2], out[1, 2]), max(out[0, 2], out[1, 2])
    return (
        _NEAREST**2 <= apart <= _FARTHEST**2
        and farthest < _SIDE + 0.2
        and _LOWEST * height <= low
        and high <= _HIGHEST * height
    )


@leaf
def _have_cells(weights, out):  # type: ignore[no-untyped-def]
    """Whether the cell of each is one of those that were used: inside the field, of no other."""
    for i in range(2):
        column, row = math.floor(out[i, 0] + 0.5), math.floor(out[i, 1] + 0.5)
        if max(abs(column), abs(row)) > _SIDE:
            return False
        if weights[(row + _SIDE) * _WIDTH + column + _SIDE] == 0:
            return False
    return True


@leaf
def _error(values, weights, one, other):  # type: ignore[no-untyped-def]
    total = n = 0.0
    for at in range(N_CELLS):
        r, c = at // _WIDTH - _SIDE, at % _WIDTH - _SIDE
        plane = max(one[0] * c + one[1] * r + one[2], other[0] * c + other[1] * r + other[2])
        n += weights[at]
        total += weights[at] * (plane - values[at]) ** 2
    return math.sqrt(total / n)
