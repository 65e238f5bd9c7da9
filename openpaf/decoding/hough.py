"""Votes of heatmaps and offsets for where a joint is, and their peaks (G-RMI, PersonLab).

Each cell of a joint's heatmap votes for the place that its offset points to. All cells of the disk
about a joint vote for the same place, so that the joint is found more exactly than a cell.

Reference:
    Papandreou et al., CVPR 2017: Towards Accurate Multi-person Pose Estimation in the Wild,
    section 3.2.2, equation 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from openpaf.kernels.compile import kernel, leaf, part


def find_voted_joints(
    heatmaps: NDArray[np.float32], offsets: NDArray[np.float32], radius_cells: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The place of each joint of one person a crop, by a vote of all cells.

    Args:
        heatmaps: (N, K, h, w), 0 to 1, contiguous; 1 in the disk about a joint.
        offsets: (N, 2K, h, w), from the cell to each joint, x and y in turn, in cells, contiguous.
        radius_cells: Of the disks, in cells.

    Returns:
        (N, K, 2) cells and (N, K) scores, 0 to 1: the share of a full disk that votes for it.
    """
    n, k = heatmaps.shape[:2]
    xy, scores = np.zeros((n, k, 2), np.float32), np.zeros((n, k), np.float32)
    if heatmaps.size:
        _find_in_crops(heatmaps, offsets, float(radius_cells), xy, scores)
    return xy, scores


@kernel
def _find_in_crops(heatmaps, offsets, radius, xy, scores):  # type: ignore[no-untyped-def]
    height, width = heatmaps.shape[2], heatmaps.shape[3]
    for i in range(heatmaps.shape[0]):
        for k in range(heatmaps.shape[1]):
            votes = _vote(heatmaps[i, k], offsets[i, 2 * k], offsets[i, 2 * k + 1], radius)
            best, row, column = np.float32(-1), 0, 0
            for r in range(height):
                for c in range(width):
                    mass = _mass(votes, r, c)
                    if mass > best:
                        best, row, column = mass, r, c
            xy[i, k, 0], xy[i, k, 1] = _middle(votes, row, column)
            scores[i, k] = min(best, np.float32(1))


@part
def _vote(heatmap, dx, dy, radius):  # type: ignore[no-untyped-def]
    """What the cells (h, w) of a joint vote for; the votes of a full disk sum to 1.

    A vote between cells is shared by the four around it in the shares of a bilinear interpolation,
    so that the middle of all votes is exact.
    """
    height, width = heatmap.shape
    votes = np.zeros((height, width), np.float32)
    share = np.float32(1 / (math.pi * radius * radius))
    for row in range(height):
        for column in range(width):
            weight = heatmap[row, column] * share
            x, y = column + dx[row, column], row + dy[row, column]
            # Compared as floats, as an offset may exceed the integers.
            if weight <= 0 or not (-1 < x < width and -1 < y < height):
                continue
            left, top = math.floor(x), math.floor(y)
            for r in range(max(top, 0), min(top + 2, height)):
                for c in range(max(left, 0), min(left + 2, width)):
                    votes[r, c] += weight * (1 - abs(x - c)) * (1 - abs(y - r))
    return votes


@leaf
def _mass(votes, row, column):  # type: ignore[no-untyped-def]
    """The votes for a cell and its eight neighbors."""
    total = np.float32(0)
    for r in range(max(row - 1, 0), min(row + 2, votes.shape[0])):
        for c in range(max(column - 1, 0), min(column + 2, votes.shape[1])):
            total += votes[r, c]
    return total


@leaf
def _middle(votes, row, column):  # type: ignore[no-untyped-def]
    """The middle (x, y) of the votes for a cell and its eight neighbors."""
    total, x, y = 0.0, 0.0, 0.0
    for r in range(max(row - 1, 0), min(row + 2, votes.shape[0])):
        for c in range(max(column - 1, 0), min(column + 2, votes.shape[1])):
            total += votes[r, c]
            x += c * votes[r, c]
            y += r * votes[r, c]
    if total <= 0:
        return np.float32(column), np.float32(row)
    return np.float32(x / total), np.float32(y / total)
