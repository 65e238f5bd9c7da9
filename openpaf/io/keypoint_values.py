"""Joints as pose files hold them: x, y and score of each, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from openpaf.io.pose_entries import BUILT_IN
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton


def keypoint_values(poses: Poses) -> list[list[float]]:
    """x and y in px, to 0.001, and score of every joint of every person; 0, 0, 0 where missing."""
    xy = np.nan_to_num(poses.xy.astype(np.float64), nan=0.0)
    return [
        [
            number
            for (x, y), score in zip(xy[n].tolist(), poses.scores[n].tolist(), strict=True)
            for number in (round(x, 3), round(y, 3), rounded_score(score))
        ]
        for n in range(len(poses))
    ]


def rounded_score(value: float) -> float:
    """A score to 6 digits."""
    # Significant digits, not decimals: a weak joint must not become 0, which means missing.
    return float(f"{float(value):.6g}")


def with_joints_of(poses: Poses, skeleton: Skeleton) -> Poses:
    """The people with the joints of a skeleton.

    Raises:
        ValueError: If it has none of theirs.
    """
    if poses.skeleton == skeleton:
        return poses
    if not set(skeleton.joints) & set(poses.skeleton.joints):
        raise ValueError(
            f"skeleton: {skeleton.name!r} has none of the joints of {poses.skeleton.name!r}"
        )
    return poses.to(skeleton)


def skeleton_value(skeleton: Skeleton) -> str | dict[str, Any]:
    """What tells a reader of a file which joints it has: a name, or a whole description."""
    return skeleton.name if skeleton in BUILT_IN else skeleton.to_dict()
