"""Non-maximum suppression: of overlapping boxes, the best one is kept."""

from __future__ import annotations

import torch
from torch import Tensor

from openpaf.networks.rcnn.boxes import iou

# Boxes whose overlaps are computed together, for speed and memory.
_BLOCK = 512


def nms(boxes: Tensor, scores: Tensor, max_iou: float, groups: Tensor | None = None) -> Tensor:
    """Indices of the boxes that are kept, best first.

    A box is dropped if a better one that is kept overlaps it by more than ``max_iou``. This is
    exactly greedy suppression, without a loop over boxes: blocks of boxes are processed one after
    another, best first, and within a block the rule is repeated until nothing changes. The first
    k boxes are correct after k rounds, and in practice a few rounds are enough.

    Args:
        boxes: (N, 4) in px.
        scores: (N,).
        max_iou: Largest IoU of two boxes that are both kept, 0 to 1.
        groups: (N,) integers, e.g. classes; only boxes of the same group suppress each other.

    Returns:
        (M,) int64.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes = boxes[order]
    groups = torch.zeros_like(order) if groups is None else groups[order]

    def covers(better: Tensor, worse: Tensor) -> Tensor:
        same = groups[better][:, None] == groups[worse][None, :]
        return (iou(boxes[better], boxes[worse]) > max_iou) & same

    is_kept = torch.ones_like(order, dtype=torch.bool)
    for start in range(0, len(order), _BLOCK):
        block = start + is_kept[start : start + _BLOCK].nonzero()[:, 0]
        block = block[_settle(covers(block, block).triu(1))]
        is_kept[start : start + _BLOCK] = False
        is_kept[block] = True
        later = start + _BLOCK + is_kept[start + _BLOCK :].nonzero()[:, 0]
        if len(later) and len(block):
            is_kept[later] = ~covers(block, later).any(dim=0)
    return order[is_kept]


def _settle(covers: Tensor) -> Tensor:
    """Which boxes (B,) are kept, where ``covers`` (B, B) is True for a better and a worse box."""
    is_kept = torch.ones(len(covers), dtype=torch.bool, device=covers.device)
    while True:
        settled = ~(covers & is_kept[:, None]).any(dim=0)
        if torch.equal(settled, is_kept):
            return is_kept
        is_kept = settled
