"""The tree of a skeleton: as few limbs as connect its joints."""

from __future__ import annotations

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
