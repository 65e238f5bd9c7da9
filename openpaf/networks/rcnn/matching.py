"""Assignment of anchors and proposals to labeled objects, and sampling for the losses."""

from __future__ import annotations

import torch
from torch import Tensor

from openpaf.networks.rcnn.boxes import area, intersection, iou

BACKGROUND = -1
UNDECIDED = -2


def match(
    objects: Tensor,
    boxes: Tensor,
    *,
    foreground_iou: float,
    background_iou: float,
    rescue: bool = False,
    ignore: Tensor | None = None,
) -> Tensor:
    """The labeled object of each box.

    Args:
        objects: (G, 4) boxes of labeled objects in px; may be none.
        boxes: (N, 4) anchors or proposals in px.
        foreground_iou: A box with at least this IoU is assigned to the object of largest IoU.
        background_iou: A box with a lower IoU with all objects is background.
        rescue: Whether the boxes of largest IoU with an object are assigned to it at any IoU, so
            that every object has a box.
        ignore: (M, 4) regions in px with unknown content: a box that is inside by more than half
            is not background.

    Returns:
        (N,) int64: index of the object, ``BACKGROUND`` or ``UNDECIDED``.

    Reference:
        Ren et al., Faster R-CNN, NeurIPS 2015, section 3.1.2.
    """
    if len(objects):
        overlap = iou(objects, boxes)  # (G, N)
        best, nearest = overlap.max(dim=0)
        matched = nearest.clone()
        matched[best < background_iou] = BACKGROUND
        matched[(best >= background_iou) & (best < foreground_iou)] = UNDECIDED
        if rescue:
            rescued = (overlap == overlap.max(dim=1, keepdim=True).values).any(dim=0)
            matched[rescued] = nearest[rescued]
    else:
        matched = torch.full((len(boxes),), BACKGROUND, device=boxes.device)
    if ignore is not None and len(ignore):
        inside = (intersection(boxes, ignore) > 0.5 * area(boxes)[:, None]).any(dim=1)
        matched[inside & (matched == BACKGROUND)] = UNDECIDED
    return matched


def sample(matched: Tensor, n: int, positive_share: float) -> tuple[Tensor, Tensor]:
    """Random boxes for a loss.

    Args:
        matched: (N,) from :func:`match`.
        n: Number of boxes.
        positive_share: Largest share of objects among them; the rest are background.

    Returns:
        Indices of the sampled objects, and of the sampled background.
    """
    positive = (matched >= 0).nonzero()[:, 0]
    negative = (matched == BACKGROUND).nonzero()[:, 0]
    n_positive = min(len(positive), int(n * positive_share))
    n_negative = min(len(negative), n - n_positive)
    chosen = torch.randperm(len(positive), device=matched.device)[:n_positive]
    others = torch.randperm(len(negative), device=matched.device)[:n_negative]
    return positive[chosen], negative[others]
