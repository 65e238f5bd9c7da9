"""The tree of a skeleton: as few limbs as connect its joints."""

from __future__ import annotations

from functools import lru_cache

from openpaf.skeleton.definition import Skeleton
from openpaf.skeleton.tables import COCO17_TREE


def tree_limbs(skeleton: Skeleton) -> tuple[int, ...]:
    """Indices of limbs that connect all joints that limbs connect, without a cycle; rising.

    Of COCO's 17 joints they are those of the tree that connects most labeled people
    (``benchmarks/association.py`` measures it), where the skeleton has them. Of other joints, and
    where it lacks one, the first limbs that close no cycle.

    Reference:
        Kruskal, On the shortest spanning subtree of a graph, 1956.
    """
    measured = COCO17_TREE if skeleton.joints == Skeleton.COCO17.joints else ()
    order = sorted(range(skeleton.n_limbs), key=lambda limb: skeleton.limbs[limb] not in measured)
    part = list(range(skeleton.n_joints))  # the tree that each joint is in
    chosen = []
    for limb in order:
        new, old = (part[k] for k in skeleton.limbs[limb])
        if new != old:
            part = [new if p == old else p for p in part]
            chosen.append(limb)
    return tuple(sorted(chosen))


# The tree of PersonLab's published networks, in the order of their channels.
_COCO17_EDGES = (
    "nose left_eye, left_eye left_ear, nose right_eye, right_eye right_ear, nose left_shoulder, "
    "left_shoulder left_elbow, left_elbow left_wrist, left_shoulder left_hip, left_hip left_knee, "
    "left_knee left_ankle, nose right_shoulder, right_shoulder right_elbow, "
    "right_elbow right_wrist, right_shoulder right_hip, right_hip right_knee, "
    "right_knee right_ankle"
)


@lru_cache(maxsize=64)
def tree_of(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """Edges along which a method goes from joint to joint, at most K - 1.

    For COCO's 17 joints they are those of PersonLab, from the nose, which need not be limbs; for
    others the limbs of :func:`tree_limbs`.

    Reference:
        Papandreou et al., ECCV 2018: PersonLab.
    """
    if skeleton.joints == Skeleton.COCO17.joints:
        pairs = (edge.split() for edge in _COCO17_EDGES.split(", "))
        return tuple((skeleton.index(a), skeleton.index(b)) for a, b in pairs)
    return tuple(skeleton.limbs[limb] for limb in tree_limbs(skeleton))
