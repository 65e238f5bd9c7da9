"""The angles at joints: between which three joints they are, and in degrees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openpaf.skeleton.definition import Skeleton

_SIDE = {
    "elbow": ("shoulder", "elbow", "wrist"),
    "shoulder": ("elbow", "shoulder", "hip"),
    "hip": ("shoulder", "hip", "knee"),
    "knee": ("hip", "knee", "ankle"),
    "ankle": ("knee", "ankle", "big_toe"),
}
#: The angle at the second joint between the first and the third, by the second one's name.
ANGLES: dict[str, tuple[str, str, str]] = {
    f"{side}_{name}": (f"{side}_{a}", f"{side}_{b}", f"{side}_{c}")
    for name, (a, b, c) in _SIDE.items()
    for side in ("left", "right")
}


def angle_names(skeleton: Skeleton) -> tuple[str, ...]:
    """The names of :data:`ANGLES` whose three joints a skeleton has."""
    return tuple(name for name, joints in ANGLES.items() if set(joints) <= set(skeleton.joints))


def angle_joints(skeleton: Skeleton, name: str) -> tuple[int, int, int]:
    """Indices of the three joints of an angle, the middle one where it is.

    Args:
        skeleton: The joints.
        name: One of :func:`angle_names`, or any three joints, e.g. ``"left_hip-nose-right_hip"``.

    Raises:
        ValueError: If it is neither; the message lists the names.
    """
    joints = ANGLES.get(name) or tuple(name.split("-"))
    if len(joints) != 3 or not set(joints) <= set(skeleton.joints) or len(set(joints)) != 3:
        known = ", ".join(angle_names(skeleton)) or "none by name"
        raise ValueError(
            f"angle {name!r}: {skeleton.name!r} has {known}, and any three of its joints as A-B-C"
        )
    a, b, c = (skeleton.index(joint) for joint in joints)
    return a, b, c


def angles_at(xy: NDArray[np.float32], a: int, b: int, c: int) -> NDArray[np.float32]:
    """The angle at joint b between a and c of each person.

    Args:
        xy: (N, K, 2) px, NaN where a joint is missing.
        a: Index of a joint, as are the others.
        b: The joint in the middle.
        c: The third joint.

    Returns:
        (N,) degrees, 0 to 180; NaN where a joint is missing, or two are in one place.
    """
    joints = xy.astype(np.float64)
    one, other = joints[:, a] - joints[:, b], joints[:, c] - joints[:, b]
    cross = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    degrees = np.degrees(np.arctan2(np.abs(cross), (one * other).sum(axis=1)))
    has_direction = one.any(axis=1) & other.any(axis=1)
    return np.where(has_direction, degrees, np.nan).astype(np.float32)
