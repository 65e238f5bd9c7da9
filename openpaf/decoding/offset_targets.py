"""The ideal disks and offsets of labeled people, for PersonLab and G-RMI."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import as_size, check_number
from openpaf.geometry import Grid
from openpaf.poses import Poses

Edges = tuple[tuple[int, int], ...]


def encode_disks(
    poses: Poses, size_hw: tuple[int, int], grid: Grid, radius_px: float, edges: Edges = ()
) -> dict[str, NDArray[np.float32]]:
    """A disk about each joint, and in it the offsets to it and to the next joints.

    Args:
        poses: Labeled people in px of the image; a joint counts where its score is above 0.
        size_hw: Height and width of the image in px.
        grid: Where the cells lie.
        radius_px: Of the disks in px; at least the stride, so that each has a cell.
        edges: Pairs of joints with offsets from one to the other.

    Returns:
        ``heatmaps`` (K, h, w), 1 in the disks and 0 elsewhere; ``offsets`` (2K, h, w) from the cell
        to the joint, x and y in turn, in cells; with edges ``forward`` (2E, h, w), in the disk of
        the first joint from the cell to the second, and ``backward`` the reverse. Offsets are NaN
        where there is none. Where disks overlap, the closest joint counts.

    Raises:
        ValueError: If a size is below 1, or the radius below the stride.

    Reference:
        Papandreou et al., ECCV 2018: PersonLab, sections 3.1.1 and 3.1.2.
    """
    height, width = grid.size_cells(as_size("size_hw", size_hw))
    check_number("radius_px", radius_px, least=grid.stride, unit="px")
    n_joints, radius = poses.skeleton.n_joints, radius_px / grid.stride
    cells = np.asarray(grid.to_cells(poses.xy.astype(np.float64)))
    arrays = {
        "heatmaps": np.zeros((n_joints, height, width), np.float32),
        "offsets": np.full((2 * n_joints, height, width), np.nan, np.float32),
    }
    if edges:
        for name in ("forward", "backward"):
            arrays[name] = np.full((2 * len(edges), height, width), np.nan, np.float32)
    nearest = np.full((n_joints, height, width), np.inf)
    for person in cells:
        for k in np.flatnonzero(np.isfinite(person).all(axis=1)).tolist():
            disk = _disk(person[k], radius, nearest[k])
            if disk is None:
                continue
            rows, columns = disk
            arrays["heatmaps"][k, rows, columns] = 1
            targets = [("offsets", k, k)]
            targets += [("forward", e, b) for e, (a, b) in enumerate(edges) if a == k]
            targets += [("backward", e, a) for e, (a, b) in enumerate(edges) if b == k]
            for name, channel, joint in targets:
                arrays[name][2 * channel, rows, columns] = person[joint, 0] - columns
                arrays[name][2 * channel + 1, rows, columns] = person[joint, 1] - rows
    return arrays


def _disk(
    middle: NDArray[np.float64], radius: float, nearest: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Rows and columns of the cells of a disk to which no other joint was closer, now noted."""
    height, width = nearest.shape
    x, y = middle
    if not (-radius <= x <= width - 1 + radius and -radius <= y <= height - 1 + radius):
        return None
    top, left = max(math.ceil(y - radius), 0), max(math.ceil(x - radius), 0)
    rows = np.arange(top, min(math.floor(y + radius) + 1, height))
    columns = np.arange(left, min(math.floor(x + radius) + 1, width))
    squared = (rows[:, None] - y) ** 2 + (columns[None] - x) ** 2
    window = nearest[top : top + len(rows), left : left + len(columns)]
    inside = (squared <= radius**2) & (squared < window)
    window[inside] = squared[inside]
    found = np.nonzero(inside)
    return rows[found[0]], columns[found[1]]
