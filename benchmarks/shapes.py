"""Synthetic images of overlapping shapes, with boxes and masks: a set that two cores can learn."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CLASSES = ("ellipse", "rectangle", "triangle", "star", "cross")
SIDE_PX = 128
_LEAST_VISIBLE = 0.35  # of an object's area; what is hidden further is not labeled


def make_image(seed: int) -> tuple[NDArray[np.uint8], dict[str, NDArray[Any]]]:
    """An image and its objects.

    Args:
        seed: Fixes the image.

    Returns:
        RGB uint8 (128, 128, 3); ``boxes`` (N, 4) float32, x0, y0, x1, y1 in px from the edge of the
        first pixel, ``labels`` (N,) int64 from 1 on, and ``masks`` (N, H, W) uint8 of 0 and 1.
    """
    rng = np.random.default_rng((seed, 41))
    image = _texture(rng)
    whole, masks, labels = [], [], []
    for _ in range(rng.integers(3, 7)):
        label = int(rng.integers(len(CLASSES)))
        mask = _shape(label, rng)
        for other in masks:  # what is drawn later hides what was drawn before
            other &= ~mask
        # Inside of the shape is a texture of its own, so that color alone does not tell.
        image = np.where(mask[..., None], _texture(rng), image)
        whole.append(int(mask.sum()))
        masks.append(mask)
        labels.append(label + 1)
    shown = [n for n, mask in enumerate(masks) if mask.sum() >= _LEAST_VISIBLE * whole[n]]
    noisy = image + rng.normal(0, 10, image.shape)
    kept = np.array([masks[n] for n in shown])
    return noisy.clip(0, 255).astype(np.uint8), {
        "boxes": np.array([_box(mask) for mask in kept], np.float32).reshape(-1, 4),
        "labels": np.array([labels[n] for n in shown], np.int64),
        "masks": kept.reshape(-1, SIDE_PX, SIDE_PX).astype(np.uint8),
    }


def as_coco(seeds: range) -> dict[str, Any]:
    """The labels of images in COCO format, their masks as run lengths; the ids are the seeds."""
    from openpaf.io.coco_objects import encode_mask

    annotations = []
    for seed in seeds:
        _, objects = make_image(seed)
        for box, label, mask in zip(*objects.values(), strict=True):
            x0, y0, x1, y1 = box.tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": seed,
                    "category_id": int(label),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": encode_mask(mask.astype(bool)),
                }
            )
    size = {"width": SIDE_PX, "height": SIDE_PX}
    return {
        "images": [{"id": seed, "file_name": f"{seed}.png", **size} for seed in seeds],
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES, 1)],
    }


def _texture(rng: np.random.Generator) -> NDArray[np.float64]:
    """A color that changes over the image, with stripes."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX
    slope = rng.uniform(-40, 40, (2, 3))
    wave = np.sin(rng.uniform(5, 40) * x + rng.uniform(5, 40) * y + rng.uniform(0, 6))
    color = rng.uniform(40, 215, 3) + x[..., None] * slope[0] + y[..., None] * slope[1]
    return color + wave[..., None] * rng.uniform(0, 25, 3)


def _shape(label: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    size = float(np.exp(rng.uniform(np.log(10), np.log(34))))  # half of its length
    center = rng.uniform(0.1 * SIDE_PX, 0.9 * SIDE_PX, 2)
    corners = _corners(label) * (size * np.array([1.0, rng.uniform(0.55, 1.0)]))
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = 16 * (corners @ rotation.T + center)  # in sixteenths of a px
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], (1,), shift=4)
    return mask.astype(bool)


def _corners(label: int) -> NDArray[np.float64]:
    """The outline of a class, within the unit circle."""
    if CLASSES[label] == "rectangle":
        return np.array([(-0.8, -0.6), (0.8, -0.6), (0.8, 0.6), (-0.8, 0.6)])
    if CLASSES[label] == "cross":
        arm = 0.32
        corner = np.array([(1, -arm), (1, arm), (arm, arm)])
        turn = np.array([[0, -1], [1, 0]])
        return np.concatenate([corner @ np.linalg.matrix_power(turn, n).T for n in range(4)])
    n, depth = {"ellipse": (48, 1.0), "triangle": (3, 1.0), "star": (10, 0.45)}[CLASSES[label]]
    angles = np.arange(n) * 2 * np.pi / n
    radii = np.where(np.arange(n) % 2 == 0, 1.0, depth)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    x, y = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(x[0]), int(y[0]), int(x[-1]) + 1, int(y[-1]) + 1
