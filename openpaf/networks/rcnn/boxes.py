"""Boxes: x0, y0, x1, y1 in px, corners of a region (not centers of its first and last pixel)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Largest log of a box's size relative to its anchor, so that exp() of an untrained network's output
# stays finite.
_MAX_LOG_GROWTH = math.log(1000 / 16)


def area(boxes: Tensor) -> Tensor:
    """Areas (...,) of boxes (..., 4) in square px."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Area (N, M) that each box of ``a`` (N, 4) shares with each of ``b`` (M, 4)."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])  # (N, M, 2)
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    return (high - low).clamp(min=0).prod(dim=2)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (N, M) of each box of ``a`` (N, 4) with each of ``b`` (M, 4)."""
    shared = intersection(a, b)
    return shared / (area(a)[:, None] + area(b)[None, :] - shared)


def clip(boxes: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) clipped to an image of ``size_hw`` px."""
    height, width = size_hw
    x = boxes[..., 0::2].clamp(0, width)
    y = boxes[..., 1::2].clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)


def at_least(boxes: Tensor, side: float) -> Tensor:
    """Which boxes (N, 4) have both sides of at least ``side`` px: bool (N,)."""
    return (boxes[:, 2:] - boxes[:, :2] >= side).all(dim=1)


def encode(boxes: Tensor, anchors: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Deltas from anchors to boxes, the targets of a network.

    Args:
        boxes: (N, 4) in px.
        anchors: (N, 4) in px.
        weights: Factors on the four numbers, which bring them to similar scales.

    Returns:
        (N, 4): shift of the center in units of the anchor's size, and log of the size ratio.

    Reference:
        Girshick et al., Rich feature hierarchies, CVPR 2014, appendix C.
    """
    size, anchor_size = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    middle, anchor_middle = boxes[:, :2] + 0.5 * size, anchors[:, :2] + 0.5 * anchor_size
    deltas = torch.cat([(middle - anchor_middle) / anchor_size, (size / anchor_size).log()], dim=1)
    return deltas * deltas.new_tensor(weights)


def decode(deltas: Tensor, anchors: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Boxes (..., 4) from deltas (..., 4) and anchors; the inverse of :func:`encode`."""
    deltas = deltas / deltas.new_tensor(weights)
    anchor_size = anchors[..., 2:] - anchors[..., :2]
    middle = deltas[..., :2] * anchor_size + anchors[..., :2] + 0.5 * anchor_size
    size = deltas[..., 2:].clamp(max=_MAX_LOG_GROWTH).exp() * anchor_size
    return torch.cat([middle - 0.5 * size, middle + 0.5 * size], dim=-1)


def resize(boxes: Tensor, old_hw: tuple[int, int], new_hw: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) in an image that is resized from ``old_hw`` to ``new_hw`` px."""
    ratio_y, ratio_x = (
        boxes.new_tensor(float(new)) / float(old) for new, old in zip(new_hw, old_hw, strict=True)
    )
    return boxes * torch.stack([ratio_x, ratio_y, ratio_x, ratio_y])
