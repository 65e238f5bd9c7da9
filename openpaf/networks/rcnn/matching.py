"""Which labelled object an anchor or a proposal stands for, and which of them a loss looks at."""

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
    """The labelled object of each box.

    Args:
        objects: (G, 4) boxes of labelled objects in px; may be none.
        boxes: (N, 4) anchors or proposals in px.
        foreground_iou: From this overlap on, a box stands for the object it overlaps most.
        background_iou: Below this overlap with all objects, a box is background.
        rescue: Whether the boxes that overlap an object best of all stand for it however little
            that is, so that no object is without a box.
        ignore: (M, 4) regions in px whose content is unknown: what lies inside by more than half
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
    """Boxes that a loss looks at, drawn at random.

    Args:
        matched: (N,) as :func:`match` gives them.
        n: How many to draw.
        positive_share: At most this share of them are objects; background fills up.

    Returns:
        Indices of the drawn objects, and of the drawn background.
    """
    positive = (matched >= 0).nonzero()[:, 0]
    negative = (matched == BACKGROUND).nonzero()[:, 0]
    n_positive = min(len(positive), int(n * positive_share))
    n_negative = min(len(negative), n - n_positive)
    chosen = torch.randperm(len(positive), device=matched.device)[:n_positive]
    others = torch.randperm(len(negative), device=matched.device)[:n_negative]
    return positive[chosen], negative[others]
