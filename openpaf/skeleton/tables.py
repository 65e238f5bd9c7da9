"""The joints and limbs of well-known skeletons, as plain tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openpaf.skeleton.names import flip_pairs_of


def _named(joints: Sequence[str], pairs: str) -> tuple[tuple[int, int], ...]:
    """Pairs of indices from text like ``nose-neck neck-left_hip``."""
    return tuple(
        (joints.index(a), joints.index(b)) for a, b in (pair.split("-") for pair in pairs.split())
    )


_COCO17_JOINTS = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
    "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle"
).split()
_COCO17_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
    0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
_COCO18_JOINTS = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye "
    "right_ear left_ear"
).split()
_BODY25_JOINTS = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "mid_hip right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye "
    "right_ear left_ear left_big_toe left_small_toe left_heel right_big_toe right_small_toe "
    "right_heel"
).split()
_MPI15_JOINTS = (
    "head neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle chest"
).split()


def _sigmas(joints: Sequence[str]) -> tuple[float, ...]:
    """COCO's constants by joint name; joints that COCO lacks get those of their neighbors."""
    known = dict(zip(_COCO17_JOINTS, _COCO17_SIGMAS, strict=True))
    # Neck and chest lie between the shoulders and the mid hip between the hips; feet as ankles.
    known.update(neck=0.079, mid_hip=0.107, head=0.079, chest=0.107)
    return tuple(known.get(name, 0.089) for name in joints)


COCO17: dict[str, Any] = {
    "name": "coco17",
    "joints": tuple(_COCO17_JOINTS),
    # The first 19 are COCO's own limbs. The rest are redundant: they connect a person where a joint
    # in between is hidden, as an eye, an elbow or a knee.
    "limbs": _named(
        _COCO17_JOINTS,
        "left_shoulder-left_elbow left_elbow-left_wrist right_shoulder-right_elbow "
        "right_elbow-right_wrist left_hip-left_knee left_knee-left_ankle right_hip-right_knee "
        "right_knee-right_ankle nose-left_eye nose-right_eye left_eye-left_ear "
        "right_eye-right_ear left_ear-left_shoulder right_ear-right_shoulder "
        "left_shoulder-right_shoulder left_hip-right_hip left_shoulder-left_hip "
        "right_shoulder-right_hip left_eye-right_eye "
        "nose-left_shoulder nose-right_shoulder left_wrist-left_hip right_wrist-right_hip "
        "left_knee-right_knee left_shoulder-left_wrist right_shoulder-right_wrist "
        "left_hip-left_ankle right_hip-right_ankle",
    ),
    "flip_pairs": flip_pairs_of(_COCO17_JOINTS),
    "oks_sigmas": _COCO17_SIGMAS,
}
# The maximum spanning tree of these limbs by how many labeled people each connects rightly.
COCO17_TREE = _named(
    _COCO17_JOINTS,
    "left_shoulder-left_elbow left_elbow-left_wrist right_shoulder-right_elbow "
    "right_elbow-right_wrist left_hip-left_knee left_knee-left_ankle right_hip-right_knee "
    "right_knee-right_ankle nose-left_eye nose-right_eye left_ear-left_shoulder "
    "right_ear-right_shoulder left_shoulder-right_shoulder left_hip-right_hip "
    "left_shoulder-left_hip nose-right_shoulder",
)
# The 19 limbs of the 2017 network, in the order of OpenPose's table; the permutation of its PAF
# channels belongs to each checkpoint, not to the skeleton.
COCO18: dict[str, Any] = {
    "name": "coco18",
    "joints": tuple(_COCO18_JOINTS),
    "limbs": (
        (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11),
        (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (2, 16), (5, 17),
    ),
    "flip_pairs": flip_pairs_of(_COCO18_JOINTS),
    "oks_sigmas": _sigmas(_COCO18_JOINTS),
}  # fmt: skip
# The same, and redundant limbs that connect a person where a joint in between is hidden.
COCO18_REDUNDANT: dict[str, Any] = {
    "name": "coco18_redundant",
    "joints": tuple(_COCO18_JOINTS),
    "limbs": COCO18["limbs"]
    + _named(
        _COCO18_JOINTS,
        "right_shoulder-left_shoulder right_hip-left_hip right_shoulder-right_hip "
        "left_shoulder-left_hip right_eye-left_eye right_wrist-right_hip left_wrist-left_hip "
        "right_knee-left_knee right_shoulder-right_wrist left_shoulder-left_wrist "
        "right_hip-right_ankle left_hip-left_ankle",
    ),
    "flip_pairs": flip_pairs_of(_COCO18_JOINTS),
    "oks_sigmas": _sigmas(_COCO18_JOINTS),
}
BODY25: dict[str, Any] = {
    "name": "body25",
    "joints": tuple(_BODY25_JOINTS),
    "limbs": _named(
        _BODY25_JOINTS,
        "neck-mid_hip neck-right_shoulder neck-left_shoulder right_shoulder-right_elbow "
        "right_elbow-right_wrist left_shoulder-left_elbow left_elbow-left_wrist "
        "mid_hip-right_hip right_hip-right_knee right_knee-right_ankle mid_hip-left_hip "
        "left_hip-left_knee left_knee-left_ankle neck-nose nose-right_eye right_eye-right_ear "
        "nose-left_eye left_eye-left_ear right_shoulder-right_ear left_shoulder-left_ear "
        "left_ankle-left_big_toe left_big_toe-left_small_toe left_ankle-left_heel "
        "right_ankle-right_big_toe right_big_toe-right_small_toe right_ankle-right_heel",
    ),
    "flip_pairs": flip_pairs_of(_BODY25_JOINTS),
    "oks_sigmas": _sigmas(_BODY25_JOINTS),
}
MPI15: dict[str, Any] = {
    "name": "mpi15",
    "joints": tuple(_MPI15_JOINTS),
    "limbs": _named(
        _MPI15_JOINTS,
        "head-neck neck-right_shoulder right_shoulder-right_elbow right_elbow-right_wrist "
        "neck-left_shoulder left_shoulder-left_elbow left_elbow-left_wrist neck-chest "
        "chest-right_hip right_hip-right_knee right_knee-right_ankle chest-left_hip "
        "left_hip-left_knee left_knee-left_ankle",
    ),
    "flip_pairs": flip_pairs_of(_MPI15_JOINTS),
    "oks_sigmas": _sigmas(_MPI15_JOINTS),
}
