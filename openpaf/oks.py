"""Object keypoint similarity: how alike two people are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.poses import Poses
from openpaf.skeleton import Skeleton


def oks(truth: Poses, people: Poses, areas: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Object keypoint similarity of true and other people.

    Args:
        truth: The N true people; joints that they lack do not count.
        people: The M people to compare; joints that they lack do not fit.
        areas: (N,) areas of the true people in px^2; of the boxes around their joints if None.

    Returns:
        (N, M), 0 to 1.

    Reference:
        cocodataset.org/#keypoints-eval.
    """
    if areas is None:
        boxes = truth.boxes().astype(np.float64)
        areas = np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 16)
    squared = ((truth.xy[:, None].astype(np.float64) - people.xy[None]) ** 2).sum(axis=3)
    similarity = joint_similarity(squared, joint_variance(truth.skeleton, areas)[:, None])
    labelled = (truth.scores > 0).sum(axis=1)
    return np.asarray(similarity.sum(axis=2) / np.maximum(labelled, 1)[:, None])


def joint_variance(skeleton: Skeleton, areas: NDArray[Any]) -> NDArray[np.float64]:
    """(N, K) px^2: how far off a joint of each person may be; of areas (N,) in px^2.

    The square of twice the joint's OKS sigma times the person's size.
    """
    return np.asarray(areas[:, None] * (2 * np.array(skeleton.oks_sigmas)) ** 2)


def joint_similarity(
    squared_px: NDArray[np.float64], variance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``exp(-d^2 / (2 variance))`` of squared distances in px^2; 0 where a distance is NaN.

    The mean over a person's joints is the object keypoint similarity. The parser's kernel that
    drops duplicates repeats the formula.
    """
    is_known = np.isfinite(squared_px)
    similarity = np.exp(-np.where(is_known, squared_px, 0) / (2 * variance))
    return np.asarray(np.where(is_known, similarity, 0.0))
