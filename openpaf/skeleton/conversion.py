"""Joints of one skeleton as those of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openpaf.skeleton.definition import Skeleton

#: Joints that are put in the middle of two others where they are not given.
_MIDDLES = {
    "neck": ("left_shoulder", "right_shoulder"),
    "mid_hip": ("left_hip", "right_hip"),
}


def converted_joints(
    xy: NDArray[np.float32], scores: NDArray[np.float32], own: Skeleton, other: Skeleton
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coordinates and scores by the joints of another skeleton, matched by name.

    Args:
        xy: (N, K, 2) px, NaN where a joint is missing.
        scores: (N, K), 0 where a joint is missing.
        own: The K joints.
        other: The M joints to have; a neck and a ``mid_hip`` may be midpoints.

    Returns:
        (N, M, 2) and (N, M); joints that ``own`` lacks are missing.
    """
    sources = {name: k for k, name in enumerate(own.joints)}
    new_xy = np.full((len(xy), other.n_joints, 2), np.nan, np.float32)
    new_scores = np.zeros((len(xy), other.n_joints), np.float32)
    for k, name in enumerate(other.joints):
        pair = _MIDDLES.get(name, ())
        if name in sources:
            new_xy[:, k], new_scores[:, k] = xy[:, sources[name]], scores[:, sources[name]]
        elif pair and all(side in sources for side in pair):
            a, b = (sources[side] for side in pair)
            new_xy[:, k] = (xy[:, a] + xy[:, b]) / 2  # NaN where either is missing
            new_scores[:, k] = np.minimum(scores[:, a], scores[:, b])
    return new_xy, new_scores
