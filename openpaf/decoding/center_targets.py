"""The ideal arrays of labeled people for CenterNet, the inverse of :func:`decode_centers`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import as_array, as_size
from openpaf.decoding.centers import center_channels
from openpaf.geometry import Grid
from openpaf.poses import Poses

# A center may lie so far off that the box still has this intersection over union.
_OVERLAP = 0.7
_MARGIN = 0.15  # of the box around the joints that stands in for an unlabeled box


def encode_centers(
    poses: Poses, size_hw: tuple[int, int], grid: Grid, boxes: NDArray[np.float32] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Centers, sizes, offsets and heatmaps of labeled people.

    Args:
        poses: Labeled people in px of the image; a joint counts where its score is above 0.
        size_hw: Height and width of the image in px.
        grid: Where the cells lie.
        boxes: (N, 4) x0, y0, x1, y1 in px around each person; around the joints, and 15 % more to
            each side, where not given.

    Returns:
        The arrays of :func:`openpaf.decoding.centers.decode_centers` by name; NaN where nothing is
        asked for. Gaussians are combined by maximum and are 1 in the cells of centers and joints.

    Raises:
        ValueError: If a size is below 1, or the boxes are no (N, 4).

    Reference:
        Zhou et al., 2019, section 3; the width of the Gaussians follows Law and Deng, ECCV 2018:
        CornerNet, section 3.2.
    """
    height, width = grid.size_cells(as_size("size_hw", size_hw))
    arrays = {
        name: np.full((n, height, width), np.nan, np.float32)
        for name, n in center_channels(poses.skeleton).items()
    }
    arrays["centers"][:], arrays["heatmaps"][:] = 0, 0
    joints = np.asarray(grid.to_cells(poses.xy.astype(np.float64)))
    for person, box in enumerate(_boxes(poses, boxes)):
        cells = grid.to_cells(box.reshape(2, 2).astype(np.float64))
        size = np.maximum(cells[1] - cells[0], 1e-3)
        center = cells.mean(axis=0)
        is_labeled = poses.scores[person] > 0
        sigma = gaussian_sigma(size[1], size[0])
        for k in np.flatnonzero(is_labeled).tolist():
            _put_joint(arrays, k, joints[person, k], sigma)
        if not is_labeled.any() or not _is_inside(center, (height, width)):
            continue
        x, y = np.rint(center).astype(int)
        draw_gaussian(arrays["centers"][0], (x, y), sigma)
        arrays["sizes"][:, y, x] = size
        arrays["center_offsets"][:, y, x] = center - (x, y)
        arrays["joints"][:, y, x] = (joints[person] - (x, y)).ravel()  # NaN where unlabeled
    return arrays


def _boxes(poses: Poses, boxes: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if boxes is None:
        around = poses.boxes()
        margin = _MARGIN * (around[:, 2:] - around[:, :2])
        return np.concatenate([around[:, :2] - margin, around[:, 2:] + margin], axis=1)
    given: NDArray[np.float32] = as_array("boxes", boxes, np.float32)
    if given.shape != (len(poses), 4):
        raise ValueError(f"boxes: expected shape ({len(poses)}, 4), got {given.shape}")
    return given


def _put_joint(
    arrays: dict[str, NDArray[np.float32]], k: int, place: NDArray[np.float64], sigma: float
) -> None:
    """The heatmap of a joint, and the offset to it at its cell."""
    if not _is_inside(place, arrays["heatmaps"].shape[1:]):
        return
    x, y = np.rint(place).astype(int)
    draw_gaussian(arrays["heatmaps"][k], (x, y), sigma)
    arrays["joint_offsets"][:, y, x] = place - (x, y)


def _is_inside(place: NDArray[np.float64], size_hw: tuple[int, ...]) -> bool:
    """Whether the cell of a place is one of the array's; false for NaN."""
    return bool(((place >= -0.5) & (place < np.array(size_hw[::-1]) - 0.5)).all())


def gaussian_sigma(height: float, width: float) -> float:
    """Standard deviation of the Gaussian about a center or joint in cells, by the person's box.

    As in the published code: its radius is ``4 t`` times how far both corners of the box may move
    outwards while the intersection over union stays t = 0.7, rounded down.

    Args:
        height: Of the box in cells.
        width: Of the box in cells.
    """
    total, area, t = height + width, height * width, _OVERLAP
    radius = math.sqrt((t * total) ** 2 + 4 * t * (1 - t) * area) - t * total
    return (2 * math.floor(radius) + 1) / 6


def draw_gaussian(cells: NDArray[np.float32], center: tuple[int, int], sigma: float) -> None:
    """Raise cells (h, w) to a Gaussian about one of them, which is cut at three deviations.

    Args:
        cells: Changed in place.
        center: Column and row of the cell that becomes 1.
        sigma: In cells.
    """
    reach, (x, y) = math.ceil(3 * sigma), center
    top, left = max(y - reach, 0), max(x - reach, 0)
    part = cells[top : y + reach + 1, left : x + reach + 1]
    rows, columns = np.arange(part.shape[0]) + top - y, np.arange(part.shape[1]) + left - x
    squared = rows[:, None] ** 2 + columns[None] ** 2
    blob = np.where(squared <= (3 * sigma) ** 2, np.exp(-squared / (2 * sigma**2)), 0)
    np.maximum(part, blob.astype(np.float32), out=part)
