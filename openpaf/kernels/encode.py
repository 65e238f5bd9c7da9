"""Heatmaps and part affinity fields of labeled people, compiled."""

from __future__ import annotations

import math

import numpy as np

from openpaf.kernels.compile import kernel

_CUT = math.log(100.0)  # a heatmap has nothing below 0.01


@kernel
def encode_heatmaps(heatmaps, xy, scores, sigma):  # type: ignore[no-untyped-def]
    """Gaussians combined by maximum, then the background; all lengths in cells.

    Args:
        heatmaps: float32 (K+1, h, w), zeros; receives the result.
        xy: (N, K, 2) cells, NaN where a joint is missing.
        scores: (N, K), 0 where a joint is missing.
        sigma: Standard deviation of the Gaussians.
    """
    n_people, n_joints = scores.shape
    h, w = heatmaps.shape[1], heatmaps.shape[2]
    reach = sigma * math.sqrt(2 * _CUT)
    for person in range(n_people):
        for k in range(n_joints):
            if scores[person, k] <= 0:
                continue
            x, y = xy[person, k, 0], xy[person, k, 1]
            # Clipped as floats, as a label far outside of the image may exceed the integers.
            y0 = int(min(max(math.ceil(y - reach), 0.0), float(h)))
            y1 = int(min(max(math.floor(y + reach), -1.0), float(h - 1)))
            x0 = int(min(max(math.ceil(x - reach), 0.0), float(w)))
            x1 = int(min(max(math.floor(x + reach), -1.0), float(w - 1)))
            for row in range(y0, y1 + 1):
                for column in range(x0, x1 + 1):
                    exponent = ((row - y) ** 2 + (column - x) ** 2) / (2 * sigma * sigma)
                    if exponent <= _CUT:
                        value = math.exp(-exponent)
                        if value > heatmaps[k, row, column]:
                            heatmaps[k, row, column] = value
    background = heatmaps[n_joints]
    background[:] = 1
    for k in range(n_joints):
        for row in range(h):
            for column in range(w):
                rest = 1 - heatmaps[k, row, column]
                if rest < background[row, column]:
                    background[row, column] = rest


@kernel
def encode_pafs(pafs, xy, scores, limbs, half_width):  # type: ignore[no-untyped-def]
    """Unit vectors along each limb, averaged where people overlap; all lengths in cells.

    Args:
        pafs: float32 (L, 2, h, w), zeros; receives the result.
        xy: (N, K, 2) cells, NaN where a joint is missing.
        scores: (N, K), 0 where a joint is missing.
        limbs: int64 (L, 2), the joints of each limb.
        half_width: Reach of a limb to either side and beyond both joints.
    """
    n_people = scores.shape[0]
    h, w = pafs.shape[2], pafs.shape[3]
    count = np.zeros((h, w), np.int32)
    for limb in range(limbs.shape[0]):
        a, b = limbs[limb, 0], limbs[limb, 1]
        covered = 0
        for person in range(n_people):
            if scores[person, a] <= 0 or scores[person, b] <= 0:
                continue
            ax, ay = xy[person, a, 0], xy[person, a, 1]
            bx, by = xy[person, b, 0], xy[person, b, 1]
            length = math.sqrt((bx - ax) ** 2 + (by - ay) ** 2)
            if length < 1e-6:
                continue  # no direction
            ux, uy = (bx - ax) / length, (by - ay) / length
            # The corners of a slanted strip reach further than its half-width.
            reach = half_width * (abs(ux) + abs(uy))
            y0 = int(min(max(math.ceil(min(ay, by) - reach), 0.0), float(h)))
            y1 = int(min(max(math.floor(max(ay, by) + reach), -1.0), float(h - 1)))
            x0 = int(min(max(math.ceil(min(ax, bx) - reach), 0.0), float(w)))
            x1 = int(min(max(math.floor(max(ax, bx) + reach), -1.0), float(w - 1)))
            for row in range(y0, y1 + 1):
                for column in range(x0, x1 + 1):
                    across = abs(ux * (row - ay) - uy * (column - ax))
                    along = ux * (column - ax) + uy * (row - ay)
                    if across <= half_width and -half_width <= along <= length + half_width:
                        pafs[limb, 0, row, column] += ux
                        pafs[limb, 1, row, column] += uy
                        count[row, column] += 1
                        covered += 1
        if covered == 0:
            continue
        for row in range(h):
            for column in range(w):
                if count[row, column] > 1:
                    pafs[limb, 0, row, column] /= count[row, column]
                    pafs[limb, 1, row, column] /= count[row, column]
                count[row, column] = 0
