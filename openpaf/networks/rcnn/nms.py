"""Non-maximum suppression: of boxes that overlap, the best one stays."""

from __future__ import annotations

import torch
from torch import Tensor

from openpaf.networks.rcnn.boxes import iou

# Boxes whose overlaps are looked at together: large enough to be quick, small enough for memory.
_BLOCK = 512


def nms(boxes: Tensor, scores: Tensor, max_iou: float, groups: Tensor | None = None) -> Tensor:
    """Indices of the boxes that stay, best first.

    A box goes if a better one that stays overlaps it by more than ``max_iou``. This is the greedy
    rule, exactly, without a loop over boxes: blocks of the best boxes are settled one after
    another, and a block settles itself by repeating "a box stays unless a staying better one
    covers it" until nothing changes. The first k boxes are right after k rounds, and in practice
    a handful is enough.

    Args:
        boxes: (N, 4) in px.
        scores: (N,).
        max_iou: Largest overlap of two boxes that both stay, 0 to 1.
        groups: (N,) integers, e.g. classes; boxes of different groups do not see each other.

    Returns:
        (M,) int64.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes = boxes[order]
    groups = torch.zeros_like(order) if groups is None else groups[order]

    def covers(better: Tensor, worse: Tensor) -> Tensor:
        same = groups[better][:, None] == groups[worse][None, :]
        return (iou(boxes[better], boxes[worse]) > max_iou) & same

    stays = torch.ones_like(order, dtype=torch.bool)
    for start in range(0, len(order), _BLOCK):
        block = start + stays[start : start + _BLOCK].nonzero()[:, 0]
        block = block[_settle(covers(block, block).triu(1))]
        stays[start : start + _BLOCK] = False
        stays[block] = True
        later = start + _BLOCK + stays[start + _BLOCK :].nonzero()[:, 0]
        if len(later) and len(block):
            stays[later] = ~covers(block, later).any(dim=0)
    return order[stays]


def _settle(covers: Tensor) -> Tensor:
    """Which boxes (B,) stay, where ``covers`` (B, B) is True for a better and a worse box."""
    stays = torch.ones(len(covers), dtype=torch.bool, device=covers.device)
    while True:
        settled = ~(covers & stays[:, None]).any(dim=0)
        if torch.equal(settled, stays):
            return stays
        stays = settled
