"""Trees over the joints of a skeleton, for methods that go from joint to joint."""

from __future__ import annotations

from functools import lru_cache

from openpaf.skeleton.definition import Skeleton

# The kinematic tree of PersonLab's published networks, and the order of their edges.
_COCO17_EDGES = (
    "nose left_eye, left_eye left_ear, nose right_eye, right_eye right_ear, nose left_shoulder, "
    "left_shoulder left_elbow, left_elbow left_wrist, left_shoulder left_hip, left_hip left_knee, "
    "left_knee left_ankle, nose right_shoulder, right_shoulder right_elbow, "
    "right_elbow right_wrist, right_shoulder right_hip, right_hip right_knee, "
    "right_knee right_ankle"
)


@lru_cache(maxsize=64)
def tree_of(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """Edges, parent and child, that connect the joints without a circle.

    For COCO's 17 joints those of PersonLab, from the nose; for others the limbs along which a
    breadth-first search from the joint of most limbs goes. Joints without limbs have no edge.

    Args:
        skeleton: Any.

    Returns:
        At most K - 1 pairs of joints; a tree for each group of joints that limbs connect.
    """
    if skeleton.joints == Skeleton.COCO17.joints:
        pairs = (edge.split() for edge in _COCO17_EDGES.split(", "))
        return tuple((skeleton.index(a), skeleton.index(b)) for a, b in pairs)
    neighbors: list[list[int]] = [[] for _ in skeleton.joints]
    for a, b in skeleton.limbs:
        neighbors[a].append(b)
        neighbors[b].append(a)
    edges: list[tuple[int, int]] = []
    reached: set[int] = set()
    for root in sorted(range(skeleton.n_joints), key=lambda k: -len(neighbors[k])):
        queue = [] if root in reached else [root]
        reached.add(root)
        while queue:
            parent = queue.pop(0)
            for child in neighbors[parent]:
                if child not in reached:
                    reached.add(child)
                    edges.append((parent, child))
                    queue.append(child)
    return tuple(edges)
