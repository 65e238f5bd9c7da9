"""Outlines of ignore regions: crowds, and people without joints."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def outlines(
    person: Mapping[str, Any], box: Sequence[float], size_hw: tuple[int, int] | None
) -> list[NDArray[np.float32]]:
    """The outlines of an annotation's segmentation, or its box.

    Args:
        person: An annotation in COCO format: ``segmentation`` as polygons, or as a run-length
            mask, compressed or not, which crowds have.
        box: x0, y0, x1, y1 in px, which is taken where there is no segmentation.
        size_hw: Of the image in px; None takes the box.

    Returns:
        (P, 2) float32 points in px, for each polygon or part of the mask.
    """
    segmentation = person.get("segmentation")
    shapes: list[NDArray[np.float32]] = []
    if size_hw is not None and isinstance(segmentation, list):
        shapes = [np.asarray(part, np.float32).reshape(-1, 2) for part in segmentation]
    if size_hw is not None and isinstance(segmentation, Mapping):
        shapes = _of_mask(segmentation, size_hw)
    x0, y0, x1, y1 = box
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32)
    return [shape for shape in shapes if len(shape) > 2] or [corners]


def _of_mask(mask: Mapping[str, Any], size_hw: tuple[int, int]) -> list[NDArray[np.float32]]:
    import cv2
    from pycocotools import mask as coco

    if isinstance(mask["counts"], list):
        mask = coco.frPyObjects(mask, *size_hw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, of NumPy 2
        pixels = np.ascontiguousarray(coco.decode(mask))
    contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [np.asarray(contour, np.float32).reshape(-1, 2) for contour in contours]
