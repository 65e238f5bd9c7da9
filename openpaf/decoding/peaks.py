"""Step one of the parser: the sub-cell peaks of every joint."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.config import DecodeConfig
from openpaf.fields import Fields
from openpaf.kernels import kernel


class Peaks(NamedTuple):
    """Peaks of the joints' heatmaps, joint after joint.

    Attributes:
        xy: (P, 2) float32, px of the network's input.
        scores: (P,) float32, above 0: the height of the heatmap at the peak.
        starts: (K+1,) int32: the peaks of joint k are ``starts[k]`` to ``starts[k + 1] - 1``.
    """

    xy: NDArray[np.float32]
    scores: NDArray[np.float32]
    starts: NDArray[np.int32]


def find_peaks(fields: Fields, config: DecodeConfig | None = None) -> Peaks:
    """Local maxima of the joints' heatmaps, refined below the cell."""
    config = config or DecodeConfig()
    grid = fields.heatmap_grid
    xy, scores, starts = _find_peaks(
        fields.heatmaps,
        grid.stride,
        grid.offset_px,
        config.peak_threshold,
        config.sigma_px / grid.stride,
        config.max_peaks,
        config.variant,
    )
    return Peaks(xy, scores, starts)


@kernel
def _find_peaks(heatmaps, stride, offset, threshold, sigma, max_peaks, variant):  # type: ignore[no-untyped-def]
    n_joints, h, w = heatmaps.shape[0] - 1, heatmaps.shape[1], heatmaps.shape[2]
    threshold = np.float32(threshold)
    starts = np.zeros(n_joints + 1, np.int32)
    xy = np.empty((512, 2), np.float32)
    scores = np.empty(512, np.float32)
    n = 0
    for k in range(n_joints):
        plane = heatmaps[k]
        for row in range(h):
            line = plane[row]
            above = np.int32(0)
            for column in range(w):
                above += np.int32(line[column] > threshold)
            if above == 0:
                continue
            for column in range(w):
                value = line[column]
                if value <= threshold or not _is_peak(plane, row, column, value):
                    continue
                if n == len(scores):
                    xy, scores = _grown(xy, n), _grown(scores, n)
                dx, gain_x = _vertex(
                    line[column - 1] if column > 0 else np.float32(-1),
                    value,
                    line[column + 1] if column < w - 1 else np.float32(-1),
                    sigma, variant,
                )
                dy, gain_y = _vertex(
                    plane[row - 1, column] if row > 0 else np.float32(-1),
                    value,
                    plane[row + 1, column] if row < h - 1 else np.float32(-1),
                    sigma, variant,
                )
                xy[n, 0] = (column + dx) * stride + offset
                xy[n, 1] = (row + dy) * stride + offset
                scores[n] = value * math.exp(gain_x + gain_y)
                n += 1
        starts[k + 1] = n
    return xy[:n], scores[:n], starts


@kernel
def _grown(array, n):  # type: ignore[no-untyped-def]
    bigger = np.empty((2 * array.shape[0],) + array.shape[1:], array.dtype)
    bigger[:n] = array[:n]
    return bigger


@kernel
def _is_peak(plane, row, column, value):  # type: ignore[no-untyped-def]
    h, w = plane.shape
    for dr in range(-1, 2):
        for dc in range(-1, 2):
            r, c = row + dr, column + dc
            if (dr == 0 and dc == 0) or r < 0 or r >= h or c < 0 or c >= w:
                continue
            other = plane[r, c]
            # Of a plateau, the first cell in reading order is the peak.
            if other > value or (other == value and (dr < 0 or (dr == 0 and dc < 0))):
                return False
    return True


@kernel
def _vertex(before, value, after, sigma, variant):  # type: ignore[no-untyped-def]
    """Vertex of the parabola through three logarithms: (offset in cells, log of the rise)."""
    curvature = 1.0 / (sigma * sigma)
    floor = 1e-3 * value
    has_before, has_after = before > -1, after > -1
    centre = math.log(value)
    left = math.log(max(before, floor)) - centre
    right = math.log(max(after, floor)) - centre
    if has_before and has_after:
        c = -(left + right)
        slope = 0.5 * (right - left)
        if variant & 1 and c < curvature * 0.9:
            # one neighbour raised by another
            if left < right:
                slope = -left - 0.5 * curvature
            else:
                slope = right + 0.5 * curvature
            c = curvature
        if c < 1e-6:
            return 0.0, 0.0
        curvature = c
    elif has_after:
        slope = right + 0.5 * curvature
    elif has_before:
        slope = -left - 0.5 * curvature
    else:
        return 0.0, 0.0
    d = min(max(slope / curvature, -0.75), 0.75)
    return d, max(slope * d - 0.5 * curvature * d * d, 0.0)
