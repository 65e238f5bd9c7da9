"""COCO's list of results: an entry a person, of any number of images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from openpaf.io.keypoint_values import (
    keypoint_values,
    rounded_score,
    skeleton_value,
    with_joints_of,
)
from openpaf.io.pose_entries import poses_by_image
from openpaf.io.pose_formats import FrameInfo, PoseFormat
from openpaf.io.pose_layouts import ImageId, people_by_image
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton


def poses_to_coco(
    poses: Poses, image_id: ImageId, *, skeleton: Skeleton | None = None
) -> list[dict[str, Any]]:
    """The people of an image as entries of COCO's list of results.

    Args:
        poses: The people.
        image_id: COCO's id of the image.
        skeleton: The joints to write; if None COCO's 17 where the poses have them all by name, and
            their own where not.

    Returns:
        A dictionary a person: ``image_id``, ``category_id`` 1, ``keypoints`` (x, y and score of
        every joint in px; 0, 0, 0 where missing), ``score``, ``bbox`` (x, y, width, height in px
        around the joints), ``track_id`` where the poses have ids, and ``skeleton`` where it is not
        COCO's: a name, or :meth:`openpaf.Skeleton.to_dict` of one that is not built in.

    Raises:
        ValueError: If the image id is neither a whole number nor text, or a skeleton is given that
            has none of the joints.
    """
    if isinstance(image_id, np.integer):
        image_id = int(image_id)
    if not isinstance(image_id, (int, str)):
        raise ValueError(f"image_id: expected a whole number or text, got {image_id!r}")
    if skeleton is None:
        whole = set(Skeleton.COCO17.joints) <= set(poses.skeleton.joints)
        skeleton = Skeleton.COCO17 if whole else poses.skeleton
    poses = with_joints_of(poses, skeleton)
    boxes = np.nan_to_num(poses.boxes().astype(np.float64), nan=0.0)
    boxes[:, 2:] -= boxes[:, :2]
    entries = []
    for n, values in enumerate(keypoint_values(poses)):
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": 1,
            "keypoints": values,
            "score": rounded_score(poses.person_scores[n]),
            "bbox": [round(float(value), 3) for value in boxes[n]],
        }
        if poses.ids is not None:
            entry["track_id"] = int(poses.ids[n])
        if skeleton != Skeleton.COCO17:
            entry["skeleton"] = skeleton_value(skeleton)
        entries.append(entry)
    return entries


def poses_from_coco(
    entries: Sequence[Mapping[str, Any]], *, skeleton: Skeleton | None = None
) -> dict[ImageId, Poses]:
    """The inverse of :func:`poses_to_coco`, for any number of images.

    Raises:
        ValueError: If an entry lacks ``image_id`` or ``keypoints``, or has the wrong number of
            values, or the skeleton cannot be told.
    """
    return poses_by_image(people_by_image(entries), skeleton)


def _text(images: Mapping[ImageId, Poses], skeleton: Skeleton | None) -> str:
    entries = [
        entry
        for image_id, poses in images.items()
        for entry in poses_to_coco(poses, image_id, skeleton=skeleton)
    ]
    return json.dumps(entries, allow_nan=False) + "\n"


def _line(poses: Poses, frame: FrameInfo) -> str:
    return json.dumps({**frame.to_dict(), "people": poses_to_coco(poses, frame.index)})


COCO = PoseFormat(
    description="COCO's list of results",
    suffix=".json",
    video_suffix=".jsonl",
    text=_text,
    line=_line,
    holds_many=True,
)
