"""The pixels of a planned crop, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from openpaf.training.data.augmentation import CropPlan
from openpaf.training.data.dataset import Photo
from openpaf.training.data.pasting import Patch

Read = Callable[[Photo], NDArray[np.uint8]]


def render(plan: CropPlan, read: Read) -> NDArray[np.uint8]:
    """The pixels of a planned crop, RGB, uint8 (S, S, 3).

    Args:
        plan: What to draw.
        read: Gives the pixels of a photo, RGB, uint8 (H, W, 3).

    Raises:
        ImageError: If ``read`` does.
    """
    image = _warp(read(plan.photo), plan.affine, (plan.size, plan.size))
    for patch in plan.patches:
        _paste(image, patch, read(patch.photo))
    return _recolor(image, plan)


def ignored_px(plan: CropPlan) -> NDArray[np.bool_]:
    """(S, S) True in ignore regions."""
    labels = plan.labels
    shapes = list(zip(labels.layers, labels.ignore, strict=True))
    ignore = _filled([shape for layer, shape in shapes if layer == 0], plan.size)
    for number, patch in enumerate(plan.patches, 1) if shapes else ():
        brought = [shape for layer, shape in shapes if layer == number]
        x0, y0, grid = _patch_grid(patch, plan.size)
        inside = patch.distance(grid) < 1
        where = np.s_[y0 : y0 + grid.shape[0], x0 : x0 + grid.shape[1]]
        # What a patch hides is ignored no more, and what it brings ends at its edge.
        ignore[where] = np.where(inside, _filled(brought, plan.size)[where], ignore[where])
    return ignore.astype(bool)


def _filled(shapes: Sequence[NDArray[np.float32]], size: int) -> NDArray[np.uint8]:
    """(S, S) 1 inside of polygons."""
    import cv2

    filled = np.zeros((size, size), np.uint8)
    for shape in shapes:
        points = np.rint(shape).astype(np.int32)
        if len(points) == 4:  # a box
            cv2.fillConvexPoly(filled, points, (1,))
        else:
            cv2.fillPoly(filled, [points], (1,))
    return filled


def _warp(
    image: NDArray[np.uint8], affine: NDArray[np.float64], size_wh: tuple[int, int]
) -> NDArray[np.uint8]:
    """The pixels of ``image`` after an affine map; outside of the photo is gray."""
    import cv2

    shrink = math.sqrt(abs(np.linalg.det(affine[:, :2])))
    if shrink < 0.6:  # area averaging first: warpAffine alone would alias
        factor = max(shrink * 1.2, 8 / min(image.shape[:2]))
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        sx, sy = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
        affine = affine @ np.array([[1 / sx, 0, 0.5 / sx - 0.5], [0, 1 / sy, 0.5 / sy - 0.5],
                                    [0, 0, 1]])  # fmt: skip
        image = np.asarray(small, np.uint8)
    warped = cv2.warpAffine(
        image, affine, size_wh, flags=cv2.INTER_LINEAR, borderValue=(128, 128, 128)
    )
    return np.asarray(warped, np.uint8)


def _patch_grid(patch: Patch, size: int) -> tuple[int, int, NDArray[np.float64]]:
    """First column and row of a patch's surroundings, and the px (h, w, 2) there."""
    reach = float(np.hypot(*patch.axes)) * 1.1 + 2  # whatever its angle and power
    low = np.clip(np.floor(patch.center - reach), 0, size).astype(int)
    high = np.clip(np.ceil(patch.center + reach) + 1, 0, size).astype(int)
    x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    return int(low[0]), int(low[1]), np.stack([x, y], axis=-1).astype(np.float64)


def _paste(image: NDArray[np.uint8], patch: Patch, source: NDArray[np.uint8]) -> None:
    x0, y0, grid = _patch_grid(patch, len(image))
    h, w = grid.shape[:2]
    if not h or not w:
        return
    affine = patch.affine.copy()
    affine[:, 2] -= (x0, y0)
    over = _warp(source, affine, (w, h)).astype(np.float32)
    share = patch.opacity(grid).astype(np.float32)[..., None]
    under = image[y0 : y0 + h, x0 : x0 + w]
    under[:] = np.rint(under + share * (over - under)).astype(np.uint8)


def _recolor(image: NDArray[np.uint8], plan: CropPlan) -> NDArray[np.uint8]:
    import cv2

    values = image.astype(np.float32)
    gray = values @ np.array([0.299, 0.587, 0.114], np.float32)
    values = gray[..., None] + (values - gray[..., None]) * np.float32(plan.saturation)
    values = (values - 128) * np.float32(plan.contrast) + (128 + plan.offset).astype(np.float32)
    out = np.clip(values, 0, 255).astype(np.uint8)
    if plan.blur:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), plan.blur), np.uint8)
    return out
