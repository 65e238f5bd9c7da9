"""Outlines of ignore regions: crowds, and people without joints."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def box_outline(bbox: Any) -> NDArray[np.float32]:
    """(4, 2) corners of COCO's box x, y, width, height."""
    x, y, width, height = bbox
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return np.array(corners, np.float32)


def outlines(person: Mapping[str, Any], size_hw: tuple[int, int]) -> list[NDArray[np.float32]]:
    """The outlines of an annotation's segmentation, or its box where it has none.

    Args:
        person: An annotation in COCO format: ``segmentation`` as polygons, or as a run-length
            mask, compressed or not, which crowds have.
        size_hw: Of the photo in px.

    Returns:
        (P, 2) float32 points in px, for each polygon or part of the mask.
    """
    segmentation = person.get("segmentation")
    if isinstance(segmentation, list):
        shapes = [np.asarray(part, np.float32).reshape(-1, 2) for part in segmentation]
    elif isinstance(segmentation, Mapping):
        shapes = _of_mask(segmentation, size_hw)
    else:
        shapes = []
    shapes = [shape for shape in shapes if len(shape) > 2]
    return shapes or [box_outline(person["bbox"])]


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
