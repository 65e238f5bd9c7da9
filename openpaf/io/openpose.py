"""OpenPose's list of people, of one image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from openpaf.io.keypoint_values import (
    keypoint_values,
    rounded_score,
    skeleton_value,
    with_joints_of,
)
from openpaf.io.pose_formats import FrameInfo, PoseFormat
from openpaf.io.pose_layouts import OPENPOSE_SKELETONS, ImageId
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton


def poses_to_openpose(poses: Poses, *, skeleton: Skeleton | None = None) -> dict[str, Any]:
    """The people of an image as OpenPose writes them.

    Args:
        poses: The people.
        skeleton: The joints to write; if None their own where that is one of OpenPose's layouts
            (BODY_25, COCO 18, MPI 15), and BODY_25 where not, if that has all of theirs.

    Returns:
        ``{"version": 1.3, "people": [...]}``, each with ``person_id`` (-1 without ids),
        ``pose_keypoints_2d`` (x, y and score of every joint in px; 0, 0, 0 where missing), the
        empty lists of face and hands that OpenPose has, and ``score`` and ``skeleton``, which are
        ours.

    Raises:
        ValueError: If OpenPose's layouts lack a joint and no skeleton is given, or a skeleton is
            given that has none of their joints.
    """
    if skeleton is None:
        own = poses.skeleton in OPENPOSE_SKELETONS
        skeleton = poses.skeleton if own else Skeleton.BODY25
        lost = [name for name in poses.skeleton.joints if name not in skeleton.joints]
        if lost:
            raise ValueError(
                f"skeleton: OpenPose's layouts have no {', '.join(lost[:3])}"
                f"{' ...' if len(lost) > 3 else ''} as {poses.skeleton.name!r} has; give skeleton= "
                "to write its own joints, or only those of another one"
            )
    poses = with_joints_of(poses, skeleton)
    people = [
        {
            "person_id": [-1 if poses.ids is None else int(poses.ids[n])],
            "pose_keypoints_2d": values,
            "face_keypoints_2d": [],
            "hand_left_keypoints_2d": [],
            "hand_right_keypoints_2d": [],
            "score": rounded_score(poses.person_scores[n]),
        }
        for n, values in enumerate(keypoint_values(poses))
    ]
    return {"version": 1.3, "skeleton": skeleton_value(skeleton), "people": people}


def _text(images: Mapping[ImageId, Poses], skeleton: Skeleton | None) -> str:
    (poses,) = images.values()
    return json.dumps(poses_to_openpose(poses, skeleton=skeleton), allow_nan=False) + "\n"


def _line(poses: Poses, frame: FrameInfo) -> str:
    return json.dumps({**frame.to_dict(), **poses_to_openpose(poses)})


OPENPOSE = PoseFormat(
    description="OpenPose's list of people",
    suffix="_keypoints.json",
    video_suffix="_keypoints.jsonl",
    text=_text,
    line=_line,
)
