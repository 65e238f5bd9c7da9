"""Outlines of ignore regions: crowds, and people without joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.io.coco_objects import decode_mask


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
        import cv2

        pixels = np.ascontiguousarray(decode_mask(segmentation))
        contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        shapes = [np.asarray(contour, np.float32).reshape(-1, 2) for contour in contours]
    x0, y0, x1, y1 = box
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32)
    return [shape for shape in shapes if len(shape) > 2] or [corners]
