"""Step one of the parser: the sub-cell peaks of every joint."""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.config import DecodeConfig
from openpaf.fields import Fields
from openpaf.kernels import kernel

_LOG = logging.getLogger(__name__)
_LARGEST = 1e30  # scores are kept below this, so that no sum of them is infinite
_FIRST_CAPACITY = 512  # buffers grow by doubling


class Peaks(NamedTuple):
    """Peaks of the joints' heatmaps, joint after joint and each in reading order.

    Attributes:
        xy: (P, 2) float32, px of the network's input.
        scores: (P,) float32, above 0: the height of the heatmap at the peak.
        starts: (K+1,) int32: the peaks of joint k are ``starts[k]`` to ``starts[k + 1] - 1``.
    """

    xy: NDArray[np.float32]
    scores: NDArray[np.float32]
    starts: NDArray[np.int32]


def find_peaks(fields: Fields, config: DecodeConfig | None = None) -> Peaks:
    """Local maxima of the joints' heatmaps, refined below the cell.

    A peak is a cell that none of its eight neighbours exceeds and that its direct neighbours
    support (see ``DecodeConfig.peak_support``). The logarithm of a Gaussian is a parabola, so its
    middle and height follow from the logarithms around the cell, exactly for a true Gaussian.

    Args:
        fields: Heatmaps and their grid; the PAFs are not looked at.
        config: Uses ``weak_peak_threshold``, ``peak_support``, ``sigma_px`` and ``max_peaks``.

    Returns:
        The peaks in px of the network's input. When a joint has more than ``max_peaks``, the
        strongest are kept and a warning is logged.

    Reference:
        Cao et al., CVPR 2017, section 2.2 (confidence maps).
    """
    config = config or DecodeConfig()
    grid = fields.heatmap_grid
    xy, scores, starts, n_dropped = _find_peaks(
        fields.heatmaps,
        float(grid.stride),
        grid.offset_px,
        float(config.weak_peak_threshold),
        float(config.peak_support),
        config.sigma_px / grid.stride,
        int(config.max_peaks),
    )
    if n_dropped:
        _LOG.warning(
            "max_peaks: more than %d peaks of a joint; the weakest %d of the picture are dropped",
            config.max_peaks,
            n_dropped,
        )
    return Peaks(xy, scores, starts)


@kernel
def _find_peaks(heatmaps, stride, offset, threshold, support, sigma, max_peaks):  # type: ignore[no-untyped-def]
    """Arrays of :class:`Peaks`, and how many peaks were beyond the limit."""
    n_joints, h, w = heatmaps.shape[0] - 1, heatmaps.shape[1], heatmaps.shape[2]
    threshold = np.float32(threshold)
    starts = np.zeros(n_joints + 1, np.int32)
    xy = np.empty((_FIRST_CAPACITY, 2), np.float32)
    scores = np.empty(_FIRST_CAPACITY, np.float32)
    n, n_dropped = 0, 0
    for k in range(n_joints):
        plane = heatmaps[k]
        for row in range(h):
            # Most rows hold nothing; counting them is vectorised, unlike the search for peaks.
            line = plane[row]
            n_above = np.int32(0)
            for column in range(w):
                n_above += np.int32(line[column] > threshold)
            if n_above == 0:
                continue
            for column in range(w):
                if line[column] <= threshold or not _is_peak(plane, row, column, support):
                    continue
                if n == len(scores):
                    xy, scores = _grown(xy), _grown(scores)
                dx, rise_x = _vertex(plane, row, column, sigma)
                dy, rise_y = _vertex(plane.T, column, row, sigma)
                xy[n, 0] = (column + dx) * stride + offset
                xy[n, 1] = (row + dy) * stride + offset
                scores[n] = min(line[column] * math.exp(rise_x + rise_y), _LARGEST)
                n += 1
        if n - starts[k] > max_peaks:
            kept = _keep_strongest(xy, scores, starts[k], n, max_peaks)
            n_dropped += n - kept
            n = kept
        starts[k + 1] = n
    return xy[:n].copy(), scores[:n].copy(), starts, n_dropped


@kernel
def _grown(array):  # type: ignore[no-untyped-def]
    """The array, with room for twice as many."""
    bigger = np.empty((2 * array.shape[0],) + array.shape[1:], array.dtype)  # noqa: RUF005
    bigger[: array.shape[0]] = array
    return bigger


@kernel
def _is_peak(plane, row, column, support):  # type: ignore[no-untyped-def]
    """Whether no neighbour is higher, and the four direct ones are high enough on average."""
    h, w = plane.shape
    value = plane[row, column]
    total, n_direct = 0.0, 0
    for r in range(max(row - 1, 0), min(row + 2, h)):
        for c in range(max(column - 1, 0), min(column + 2, w)):
            other = plane[r, c]
            # Of equal cells side by side, the first in reading order is the peak.
            earlier = r < row or (r == row and c < column)
            if other > value or (other == value and earlier):
                return False
            if (r == row) != (c == column):
                total += other
                n_direct += 1
    return total >= support * value * n_direct


@kernel
def _vertex(plane, row, column, sigma):  # type: ignore[no-untyped-def]
    """Where the Gaussian's middle lies along a row: (offset in cells, log of its rise)."""
    h, w = plane.shape
    value = plane[row, column]
    if column == 0 or column == w - 1:
        if w == 1:
            return 0.0, 0.0
        inner = plane[row, 1 if column == 0 else w - 2]
        slope = math.log(max(inner, 1e-3 * value) / value) + 0.5 / (sigma * sigma)
        curvature = 1 / (sigma * sigma)
        if column > 0:
            slope = -slope
    else:
        # The rows beside help against noise; weighted by their height, as far as they can be
        # trusted, and the peak's own double.
        slope, curvature, total = 0.0, 0.0, 0.0
        for r in range(max(row - 1, 0), min(row + 2, h)):
            middle = plane[r, column]
            if middle <= 1e-3 * value:
                continue
            weight = (middle / value) ** 2 * (2.0 if r == row else 1.0)
            floor = 1e-3 * middle
            left = math.log(max(plane[r, column - 1], floor) / middle)
            right = math.log(max(plane[r, column + 1], floor) / middle)
            slope += weight * 0.5 * (right - left)
            curvature -= weight * (left + right)
            total += weight
        slope, curvature = slope / total, curvature / total
    if curvature < 1e-6:
        return 0.0, 0.0  # a plateau
    shift = min(max(slope / curvature, -0.75), 0.75)
    return shift, max(shift * (slope - 0.5 * curvature * shift), 0.0)


@kernel
def _keep_strongest(xy, scores, start, end, n_keep):  # type: ignore[no-untyped-def]
    """Moves the strongest peaks of start to end to the front, in order; returns their end."""
    order = np.argsort(-scores[start:end], kind="mergesort")[:n_keep]
    order.sort()
    for i in range(n_keep):
        xy[start + i] = xy[start + order[i]]
        scores[start + i] = scores[start + order[i]]
    return start + n_keep
