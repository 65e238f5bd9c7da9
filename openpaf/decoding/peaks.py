"""Step one of the parser: the sub-cell peaks of every joint."""

from __future__ import annotations

import logging
import math

import numpy as np

from openpaf.decoding.config import DEFAULTS, DecodeConfig
from openpaf.decoding.sorting import falling
from openpaf.decoding.splitting import N_CELLS, fit_two
from openpaf.decoding.strides import support_at, thinned
from openpaf.decoding.types import LARGEST, Peaks
from openpaf.decoding.vertex import (
    is_beside_another,
    leave_to_others,
    read_logs,
    vertex_inside,
    vertex_of,
)
from openpaf.fields import Fields
from openpaf.kernels.compile import kernel, leaf, part

_LOG = logging.getLogger(__name__)

_FIRST_CAPACITY = 512  # buffers grow by doubling
_BAND = 2  # rows that are compared with the threshold together
_NARROWEST = 0.8  # sigma of a Gaussian in cells, of which two can be told from one
_MOST_ERROR = 0.02  # two Gaussians with a smaller error are two joints
# Across the two, a peak bends as one Gaussian, but for this share; those of networks are longer in
# every direction where they are unsure.
_ACROSS = 0.15


def find_peaks(fields: Fields, config: DecodeConfig | None = None) -> Peaks:
    """Local maxima of the joints' heatmaps, refined to subpixel positions.

    A peak is a cell that none of its eight neighbors exceeds and that its direct neighbors
    support (see ``DecodeConfig.peak_support``). The logarithm of a Gaussian is a parabola, so its
    middle and height follow from the logarithms around the cell, exactly for a true Gaussian.

    A peak of ``peak_threshold`` and more that is longer than a Gaussian may be two people's: where
    two Gaussians fit well (:mod:`openpaf.decoding.splitting`), both are peaks.

    Of fields that are much finer than a Gaussian, such as enlarged ones, every n-th cell is used.

    Args:
        fields: Heatmaps and their grid; the PAFs are not used.
        config: Uses ``peak_threshold``, ``weak_peak_threshold``, ``peak_support``,
            ``split_flatness``, ``sigma_px`` and ``max_peaks``.

    Returns:
        The peaks in px of the network's input. When a joint has more than ``max_peaks``, the
        strongest are kept and a warning is logged.

    Reference:
        Cao et al., CVPR 2017, section 2.2 (confidence maps).
    """
    config = config or DEFAULTS
    fields = thinned(fields, config)
    *peaks, n_dropped = _find_peaks_alone(fields.heatmaps, *_peak_numbers(fields, config))
    _warn_of_dropped(n_dropped, config)
    return Peaks(*peaks)


def _peak_numbers(fields: Fields, config: DecodeConfig) -> tuple[float | int, ...]:
    """The scalar arguments of :func:`_find_peaks`."""
    grid = fields.heatmap_grid
    # Too few cells of a Gaussian that is narrower tell one from two.
    splits = config.sigma_px >= _NARROWEST * grid.stride
    return (
        float(grid.stride),
        grid.offset_px,
        float(config.weak_peak_threshold),
        support_at(grid.stride, config.sigma_px, config.peak_support),
        config.sigma_px / grid.stride,
        float(config.peak_threshold),
        float(config.split_flatness) if splits else 1.0,
        int(config.max_peaks),
    )


def _warn_of_dropped(n_dropped: int, config: DecodeConfig) -> None:
    if n_dropped:
        _LOG.warning(
            "max_peaks: more than %d peaks of a joint; the weakest %d of the image are dropped",
            config.max_peaks,
            n_dropped,
        )


@kernel
def _find_peaks_alone(heatmaps, *numbers):  # type: ignore[no-untyped-def]
    return _find_peaks(heatmaps, *numbers)


@part
def _find_peaks(  # type: ignore[no-untyped-def]
    heatmaps, stride, offset, threshold, support, sigma, strong, flatness, max_peaks
):
    """Arrays of :class:`Peaks`, and the number of peaks beyond ``max_peaks``."""
    n_joints, h, w = heatmaps.shape[0] - 1, heatmaps.shape[1], heatmaps.shape[2]
    threshold = max(np.float32(threshold), np.float32(1e-30))  # a smaller one has no reciprocal
    starts = np.zeros(n_joints + 1, np.int32)
    x, y = np.empty(_FIRST_CAPACITY, np.float32), np.empty(_FIRST_CAPACITY, np.float32)
    scores = np.empty(_FIRST_CAPACITY, np.float32)
    n, n_dropped = 0, 0
    planes = heatmaps.reshape(n_joints + 1, h * w)
    marks, spots = np.zeros((h * w + 7) // 8 * 8, np.bool_), np.empty(h * w + 1, np.int32)
    room = (np.empty(9, np.float32), np.empty((4, N_CELLS)), np.empty((2, 3)))
    numbers = (stride, offset, sigma, strong, flatness)
    # Floats that are not negative are ordered as their bits are, taken as integers.
    lowest = np.array([threshold]).view(np.int32)[0]
    for k in range(n_joints):
        cells = planes[k]
        n_spots = _find_spots(cells, h, w, threshold, lowest, support, marks, spots)
        while n + 2 * n_spots > len(scores):
            x, y, scores = _grown(x), _grown(y), _grown(scores)
        n = _refine(cells, (h, w), spots, n_spots, numbers, room, (x, y, scores), n)
        if n - starts[k] > max_peaks:
            kept = _keep_strongest(x, y, scores, starts[k], n, max_peaks)
            n_dropped += n - kept
            n = kept
        starts[k + 1] = n
    xy = np.empty((n, 2), np.float32)
    for i in range(n):
        xy[i, 0], xy[i, 1] = x[i], y[i]
    return xy, scores[:n].copy(), starts, n_dropped


@part
def _grown(array):  # type: ignore[no-untyped-def]
    """The array, with twice the capacity."""
    bigger = np.empty((2 * array.shape[0],) + array.shape[1:], array.dtype)  # noqa: RUF005
    for i in range(array.shape[0]):  # an assignment of slices takes numba seconds to compile
        bigger[i] = array[i]
    return bigger


@leaf
def _find_spots(cells, h, w, threshold, lowest, support, marks, spots):  # type: ignore[no-untyped-def]
    """Write the cells of a joint's peaks in reading order; returns their number.

    ``lowest`` is the threshold's bits. ``marks`` is a buffer of one flag a cell, all False before
    and after.
    """
    bits = cells.view(np.int32)
    top, bottom = 0, h
    while top < bottom and not _reaches(bits[top * w : min(top + _BAND, h) * w], lowest):
        top += _BAND
    while bottom > top and not _reaches(bits[max(bottom - _BAND, 0) * w : bottom * w], lowest):
        bottom -= _BAND
    if bottom <= top:
        return 0
    _mark(marks, cells, h, w, top, bottom, threshold)
    n_marked = _take_marks(marks, ((bottom - top) * w + 7) // 8, spots)
    n = 0
    for i in range(n_marked):
        cell = top * w + spots[i]
        row, column = cell // w, cell % w
        if 0 < row < h - 1 and 0 < column < w - 1:
            is_peak = _is_peak_inside(cells, w, cell, support)
        else:
            is_peak = _is_peak(cells, h, w, row, column, support)
        if is_peak:
            spots[n] = cell
            n += 1
    return n


@leaf
def _take_marks(marks, n_eights, marked):  # type: ignore[no-untyped-def]
    """Write the indices of the marks and clear them; returns their number."""
    eights = marks.view(np.uint64)  # most hold no mark
    n = np.uint64(0)
    for eight in range(n_eights):
        if eights[eight] != 0:
            for mark in range(8 * eight, 8 * eight + 8):
                marked[n] = mark
                n += np.uint64(marks[mark])
            eights[eight] = 0
    return np.int64(n)


@leaf
def _refine(  # type: ignore[no-untyped-def]
    cells, size_hw, spots, n_spots, numbers, room, peaks, n
):
    """Write, from index n on, the positions of a joint's peaks in px and their heights.

    Second joints in one peak come last. Returns the end of the peaks. ``room`` is three buffers.
    """
    h, w = size_hw
    stride, offset, sigma, strong, flatness = numbers
    x, y, scores = peaks
    logs, two = room[0], room[2]
    # The rise of a Gaussian whose center is at the corner of its cell, and something for the
    # narrower peaks of networks; noise beside cells below zero would rise without end.
    most = (0.5 / sigma) ** 2 + 0.3
    least, across = (flatness - 1) / (sigma * sigma), (_ACROSS - 1) / (sigma * sigma)
    end = n + n_spots
    for i in range(n_spots):
        row, column = spots[i] // w, spots[i] % w
        is_inside = 0 < row < h - 1 and 0 < column < w - 1
        # Weak peaks are too many to compare, and too unsure to gain.
        is_strong = cells[spots[i]] >= strong
        is_beside = is_strong and is_beside_another(cells, w, spots, n_spots, i)
        flattest = roundest = -np.inf
        if is_inside:
            dx, dy, rise, flattest, roundest = vertex_inside(cells, w, spots[i])
        if is_beside or not is_inside:
            read_logs(cells, h, w, row, column, logs)
            if is_beside:
                leave_to_others(logs, 1, np.nan, cells, w, spots, n_spots, i, sigma * sigma)
            dx, dy, rise = vertex_of(logs, sigma)
        x[n + i], y[n + i] = (column + dx) * stride + offset, (row + dy) * stride + offset
        scores[n + i] = min(cells[spots[i]] * math.exp(min(rise, most)), LARGEST)
        if flattest <= least or roundest > across or scores[n + i] < strong:
            continue
        error = fit_two(
            cells, size_hw, spots, n_spots, i, scores[n + i], sigma * sigma, room[1], two
        )  # fmt: skip
        if error < _MOST_ERROR:
            for which in range(2):
                at = end if which else n + i
                x[at] = (column + two[which, 0]) * stride + offset
                y[at] = (row + two[which, 1]) * stride + offset
                scores[at] = min(two[which, 2], LARGEST)
            end += 1
    return end


@leaf
def _is_peak(cells, h, w, row, column, support):  # type: ignore[no-untyped-def]
    """Whether no neighbor is higher, and the four direct ones are high enough on average."""
    value = cells[row * w + column]
    total, n_direct = 0.0, 0
    for r in range(max(row - 1, 0), min(row + 2, h)):
        for c in range(max(column - 1, 0), min(column + 2, w)):
            other = cells[r * w + c]
            # Of equal cells side by side, the first in reading order is the peak.
            earlier = r < row or (r == row and c < column)
            if other > value or (other == value and earlier):
                return False
            if (r == row) != (c == column):
                total += other
                n_direct += 1
    if n_direct == 2:  # in a corner, only the neighbors on the falling side are left
        support *= 0.5
    return total >= support * value * n_direct


@leaf
def _reaches(bits, lowest):  # type: ignore[no-untyped-def]
    """Whether any cell is at least ``lowest``, both as bits of floats. NaN may pass, too."""
    highest = np.int32(0)
    for i in range(len(bits)):  # integers: the maximum of floats is not vectorized
        highest = max(highest, bits[i])
    return highest >= lowest


@leaf
def _mark(marks, cells, h, w, top, bottom, threshold):  # type: ignore[no-untyped-def]
    """Mark the cells of a band of rows that may be peaks.

    Inside, cells no lower than the threshold and their four direct neighbors, in a vectorized
    loop. At the border, cells no lower than the threshold.
    """
    base, first, end = top * w, max(top, 1) * w, min(bottom, h - 1) * w
    if end > first:  # the border's columns are included here, and corrected below
        here, inside = cells[first:end], marks[first - base : end - base]
        west, east = cells[first - 1 : end - 1], cells[first + 1 : end + 1]
        north, south = cells[first - w : end - w], cells[first + w : end + w]
        for i in range(len(inside)):
            # Maxima and one comparison: five comparisons would take twice as long.
            highest = west[i] if west[i] > east[i] else east[i]
            highest = north[i] if north[i] > highest else highest
            highest = south[i] if south[i] > highest else highest
            highest = threshold if threshold > highest else highest
            inside[i] = here[i] >= highest
    for row in range(top, bottom):
        step = 1 if row in (0, h - 1) else max(w - 1, 1)
        for cell in range(row * w, row * w + w, step):
            marks[cell - base] = cells[cell] >= threshold


@leaf
def _is_peak_inside(cells, w, cell, support):  # type: ignore[no-untyped-def]
    """:func:`_is_peak` of a marked cell with eight neighbors: four of them are not higher."""
    value = cells[cell]
    if (
        (cells[cell - 1] == value)
        | (cells[cell - w] == value)
        | (cells[cell - w - 1] >= value)
        | (cells[cell - w + 1] >= value)
        | (cells[cell + w - 1] > value)
        | (cells[cell + w + 1] > value)
    ):
        return False
    total = np.float64(cells[cell - w]) + cells[cell - 1]
    total += np.float64(cells[cell + 1]) + cells[cell + w]
    return total >= support * value * 4


@part
def _keep_strongest(x, y, scores, start, end, n_keep):  # type: ignore[no-untyped-def]
    """Move the strongest peaks of start to end to the front, in order; returns their end."""
    is_kept = np.zeros(end - start, np.bool_)
    for i in falling(scores[start:end])[:n_keep]:
        is_kept[i] = True
    n = start
    for i in range(start, end):
        if is_kept[i - start]:
            x[n], y[n], scores[n] = x[i], y[i], scores[i]
            n += 1
    return start + n_keep
