"""Crops of people: from a box to a network's input, and from its heatmaps back to the image."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from openpaf.geometry import Grid, crop_affine

# Half a side of the square of cells around a peak that the fit sees, beside the peak's own.
_REACH = 2
_KERNEL, _SIGMA_CELLS = 11, 2.0


def affine_of(
    box: NDArray[np.float32], size_hw: tuple[int, int], padding: float
) -> NDArray[np.float64]:
    """The map (2, 3) from pixel coordinates of the image to those of a box's crop.

    The crop has the box's middle, and the network's aspect: the smaller side of the box grows.

    Args:
        box: (4,) x0, y0, x1, y1 in px.
        size_hw: Of the crop in px.
        padding: Size of the crop as a multiple of the box, so that limbs that reach out of it are
            seen.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    # A box of one pixel, or a line, has a size, too.
    scale = min(size_hw[1] / max(x1 - x0, 1.0), size_hw[0] / max(y1 - y0, 1.0)) / padding
    return crop_affine(((x0 + x1) / 2, (y0 + y1) / 2), scale, 0.0, False, size_hw)


def crop(
    image: NDArray[np.uint8], affine: NDArray[np.float64], size_hw: tuple[int, int]
) -> NDArray[np.uint8]:
    """The part of an image that a map shows, uint8 (h, w, 3); black where the image ends.

    Where the crop is smaller than its part of the image, whole blocks of pixels are averaged
    first: sampling alone would skip thin limbs.

    Args:
        image: RGB uint8 (H, W, 3).
        affine: As :func:`affine_of` gives it: scale and shift alone.
        size_hw: Of the crop in px.
    """
    scale, shift = affine[0, 0], affine[:, 2]
    block = max(1, math.floor(1 / scale))
    # The pixels that the crop needs, with a margin for the interpolation.
    low = np.floor(-shift / scale).astype(int) - 2 * block
    high = np.ceil((np.array(size_hw[::-1]) - shift) / scale).astype(int) + 2 * block
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high, image.shape[1::-1])
    if right <= left or bottom <= top:
        return np.zeros((*size_hw, 3), np.uint8)
    part: NDArray[Any] = image[top:bottom, left:right]
    if block > 1:
        # Blocks must be whole; the image's own border is repeated to fill the last.
        rows, columns = -part.shape[0] % block, -part.shape[1] % block
        part = cv2.copyMakeBorder(part, 0, rows, 0, columns, cv2.BORDER_REPLICATE)
        small = (part.shape[1] // block, part.shape[0] // block)
        part = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
    # From the part: its pixel p is the image's at p * block + (block - 1) / 2 + corner.
    corner = np.array([left, top]) + (block - 1) / 2
    to_crop = np.column_stack([np.eye(2) * scale * block, scale * corner + shift])
    return np.asarray(cv2.warpAffine(part, to_crop, size_hw[::-1], flags=cv2.INTER_LINEAR))


def find_joints(
    heatmaps: NDArray[np.float32], affines: NDArray[np.float64], grid: Grid
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where in the image the joints of crops are.

    The highest cell of a heatmap is refined by a parabola through the logarithm of the smoothed
    map: about a joint a heatmap is a Gaussian, of which that gives the middle.

    Args:
        heatmaps: (N, K, h, w).
        affines: (N, 2, 3), from the image to the crops.
        grid: Where the cells of the heatmaps lie in the crop.

    Returns:
        (N, K, 2) px of the image and (N, K) scores, the heights of the peaks, 0 to 1.

    Reference:
        Zhang et al., CVPR 2020: Distribution-Aware Coordinate Representation, equations 7 to 9.
    """
    n, k, height, width = heatmaps.shape
    if n == 0:
        return np.empty((0, k, 2), np.float32), np.empty((0, k), np.float32)
    flat = heatmaps.reshape(n * k, height, width)
    best = flat.reshape(n * k, -1).argmax(axis=1)
    cells = np.stack([best % width, best // width], axis=1)
    scores = np.take_along_axis(flat.reshape(n * k, -1), best[:, None], axis=1)
    refined = cells + _offsets(flat, cells)
    in_crop = grid.to_px(refined).reshape(n, k, 2)
    # The maps scale alike along x and y and do not turn.
    xy = (in_crop - affines[:, None, :, 2]) / affines[:, None, :1, 0]
    return xy.astype(np.float32), np.clip(scores.reshape(n, k), 0, 1).astype(np.float32)


def _offsets(maps: NDArray[np.float32], cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """From the highest cell (x, y) of each map to the middle of its Gaussian, in cells (M, 2)."""
    height, width = maps.shape[1:]
    inside = ((cells >= _REACH) & (cells < np.array([width, height]) - _REACH)).all(axis=1)
    smooth = np.stack(
        [
            cv2.GaussianBlur(one, (_KERNEL, _KERNEL), _SIGMA_CELLS, borderType=cv2.BORDER_CONSTANT)
            for one in maps
        ]
    )
    log = np.log(np.maximum(smooth, 1e-10)).astype(np.float64)
    x, y = np.clip(cells, _REACH, np.array([width, height]) - _REACH - 1).T
    m = np.arange(len(maps))

    def at(dx: int, dy: int) -> NDArray[np.float64]:
        values: NDArray[np.float64] = log[m, y + dy, x + dx]
        return values

    gradient = 0.5 * np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], axis=1)
    xx = 0.25 * (at(2, 0) - 2 * at(0, 0) + at(-2, 0))
    yy = 0.25 * (at(0, 2) - 2 * at(0, 0) + at(0, -2))
    xy = 0.25 * (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1))
    determinant = xx * yy - xy * xy
    curved = inside & (determinant > 1e-9) & (xx < 0)
    safe = np.where(curved, determinant, 1.0)
    offset = -np.stack(
        [yy * gradient[:, 0] - xy * gradient[:, 1], xx * gradient[:, 1] - xy * gradient[:, 0]],
        axis=1,
    ) / safe[:, None]  # fmt: skip
    near = curved & (np.abs(offset) < _REACH).all(axis=1)
    return np.where(near[:, None], offset, 0.0)
