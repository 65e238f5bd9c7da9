"""Boxes of people: suppression of the same person's, and fusion of what several runs found.

A box is x0, y0, x1, y1 in px of the image, in pixel coordinates: the first pixel's middle is at 0,
so a box of the whole image reaches from -0.5 to its width - 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import as_array

#: Most boxes that a run of a detector gives: what is quadratic in their number stays quick.
MAX_CANDIDATES = 1000
_MAX_PX = 1e6


def areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Areas (N,) of boxes (N, 4) in square px."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    area: NDArray[np.float32] = sides[:, 0] * sides[:, 1]
    return area


def overlaps(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union (N,) of a box (4,) and boxes (N, 4)."""
    low = np.maximum(box[:2], boxes[:, :2])
    sides = np.maximum(np.minimum(box[2:], boxes[:, 2:]) - low, 0)
    common = sides[:, 0] * sides[:, 1]
    union = areas(box[None]) + areas(boxes) - common
    overlap: NDArray[np.float32] = common / np.maximum(union, 1e-9)
    return overlap


def suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], max_overlap: float
) -> NDArray[np.int64]:
    """Which boxes stay: of two that overlap by more than that, the one of the higher score.

    Args:
        boxes: (N, 4).
        scores: (N,).
        max_overlap: Intersection over union.

    Returns:
        Their indices, best first.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    chosen = []
    while len(order):
        best, order = order[0], order[1:]
        chosen.append(best)
        order = order[overlaps(boxes[best], boxes[order]) <= max_overlap]
    return np.array(chosen, np.int64)


def fuse(
    runs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]], min_overlap: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The boxes that several runs of detectors found, one for each person.

    The boxes of a person become their mean, weighted by their scores; its score is the sum of
    theirs over the number of runs, so that what one run alone has found counts less.

    Args:
        runs: Boxes (N, 4) and scores (N,) of each run, at most one box a person in each.
        min_overlap: Intersection over union from which on two boxes are of the same person.

    Returns:
        Boxes (M, 4) and scores (M,), best first.

    Reference:
        Solovyev et al., 2021: Weighted boxes fusion, section 3.
    """
    boxes = np.concatenate([boxes for boxes, _ in runs])
    scores = np.concatenate([scores for _, scores in runs])
    sources = np.repeat(np.arange(len(runs)), [len(scores) for _, scores in runs])
    order = np.argsort(-scores, kind="stable")
    boxes, scores, sources = boxes[order], scores[order], sources[order]
    free = np.ones(len(scores), bool)
    fused: list[NDArray[np.float32]] = []
    sums: list[float] = []
    for best in range(len(scores)):
        if not free[best]:
            continue
        same = np.flatnonzero(free & (overlaps(boxes[best], boxes) >= min_overlap))
        same = np.union1d(same, [best])  # a box without area overlaps not even itself
        free[same] = False
        # Of each run its best: the first, as they are sorted.
        members = same[np.unique(sources[same], return_index=True)[1]]
        weights = np.maximum(scores[members], 1e-9)
        fused.append(np.average(boxes[members], axis=0, weights=weights))
        sums.append(float(scores[members].sum()) / len(runs))
    order = np.argsort(-np.array(sums), kind="stable")
    return (
        np.array(fused, np.float32).reshape(-1, 4)[order],
        np.array(sums, np.float32)[order],
    )


def check_boxes(value: Any) -> NDArray[np.float32]:
    """Boxes that a user gives, as float32 (N, 4).

    Raises:
        ValueError: If they are not (N, 4), not finite, or a box ends before it begins.
    """
    boxes = as_array("boxes", value, np.float32)
    if boxes.size == 0:
        return np.empty((0, 4), np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: expected (N, 4), x0 y0 x1 y1 in px, got {boxes.shape}")
    if not (np.abs(boxes) <= _MAX_PX).all():
        raise ValueError(f"boxes: expected numbers of at most {_MAX_PX:g} px, got others")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise ValueError("boxes: expected x0 <= x1 and y0 <= y1, got the other way round")
    return boxes
