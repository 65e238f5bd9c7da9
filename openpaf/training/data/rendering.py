"""Pixels of a training crop, and outlines of its ignore regions, by OpenCV on the CPU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.io.coco_objects import decode_mask


def warp(
    image: NDArray[np.uint8], affine: NDArray[np.float64], size_wh: tuple[int, int]
) -> NDArray[np.uint8]:
    """The pixels of an image (H, W, 3) after an affine map; outside of the image is gray."""
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


def recolor(
    image: NDArray[np.uint8],
    saturation: float,
    contrast: float,
    offset: NDArray[np.float64],
    blur: float,
) -> NDArray[np.uint8]:
    """An image (H, W, 3) in other colors, and blurred; arguments as of ``CropPlan``."""
    import cv2

    values = image.astype(np.float32)
    gray = values @ np.array([0.299, 0.587, 0.114], np.float32)
    values = gray[..., None] + (values - gray[..., None]) * np.float32(saturation)
    values = (values - 128) * np.float32(contrast) + (128 + offset).astype(np.float32)
    out = np.clip(values, 0, 255).astype(np.uint8)
    if blur:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), blur), np.uint8)
    return out


def outlines(segmentation: Any, box: Sequence[float]) -> list[NDArray[np.float32]]:
    """The outlines of an ignore region: of its segmentation, or of its box.

    Args:
        segmentation: COCO's polygons, or a run-length mask, as crowds have; None takes the box.
        box: x0, y0, x1, y1 in px.

    Returns:
        (P, 2) points in px, for each polygon or part of the mask.
    """
    import cv2

    parts: Any = segmentation or ()
    if isinstance(segmentation, Mapping):
        pixels = np.ascontiguousarray(decode_mask(segmentation))
        parts, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    x0, y0, x1, y1 = box
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32)
    shapes = [np.asarray(part, np.float32).reshape(-1, 2) for part in parts]
    return [shape for shape in shapes if len(shape) > 2] or [corners]


def fill(shapes: Sequence[NDArray[np.float32]], size: int) -> NDArray[np.bool_]:
    """(S, S) True inside of polygons (P, 2) in px."""
    import cv2

    filled = np.zeros((size, size), np.uint8)
    for shape in shapes:
        points = np.rint(shape).astype(np.int32)
        if len(points) == 4:  # a box
            cv2.fillConvexPoly(filled, points, (1,))
        else:
            cv2.fillPoly(filled, [points], (1,))
    return filled.astype(bool)
