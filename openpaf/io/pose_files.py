"""Poses in JSON files: COCO's list of results, and OpenPose's list of people; others are read too.

What a file keeps: coordinates to 0.001 px, scores to 6 digits, ids, which joints are missing, their
names, and the order of the people. What it does not: in COCO's list a picture without people leaves
no trace; in either format, joints that are left out on demand (see ``skeleton`` of
:func:`write_poses`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from openpaf.io.json_files import read_json_or_lines, write_json
from openpaf.io.pose_entries import BUILT_IN, poses_by_image, poses_of
from openpaf.io.pose_layouts import (
    LAYOUTS,
    ImageId,
    Picture,
    Pictures,
    people_by_image,
    pictures_in,
)
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

FORMATS = ("coco", "openpose")
_OPENPOSE_SKELETONS = (Skeleton.BODY25, Skeleton.COCO18, Skeleton.MPI15)


def write_poses(
    poses: Poses | Mapping[ImageId, Poses],
    path: str | os.PathLike[str],
    format: str = "coco",
    *,
    image_id: ImageId = 0,
    skeleton: Skeleton | None = None,
) -> None:
    """Write people to a JSON file, whole or not at all.

    Args:
        poses: The people of one picture; for COCO also a dictionary from image ids to the people
            of each, which goes into one file.
        path: The file; its folder must exist. An existing file is replaced.
        format: ``"coco"``, the list of results that COCO's evaluation takes; or ``"openpose"``,
            one picture's ``people`` with ``pose_keypoints_2d``.
        image_id: COCO's id of the picture, where ``poses`` is not a dictionary.
        skeleton: The joints to write. Where not given: for COCO, COCO's 17 if the poses have them
            all by name, otherwise their own; for OpenPose, their own if that is one of its
            layouts (BODY_25, COCO 18, MPI 15), otherwise BODY_25, if that has all of theirs.

    Raises:
        ValueError: If the format is unknown, a dictionary is given for OpenPose, OpenPose's
            layouts lack a joint of the poses and no skeleton is given, or a skeleton is given
            that has none of their joints.
        OSError: If the path is a folder, its folder is missing, or it cannot be written; the
            message names the path.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> import openpaf
        >>> keypoints = np.full((2, 17, 3), 0.5)  # x, y and score of each joint
        >>> poses = openpaf.Poses.from_keypoints(keypoints, openpaf.Skeleton.COCO17)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     openpaf.write_poses(poses, f"{folder}/people.json", format="coco")
        ...     openpaf.read_poses(f"{folder}/people.json") == poses
        True
    """
    if format not in FORMATS:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    data: Any
    if format == "coco":
        pictures = {image_id: poses} if isinstance(poses, Poses) else poses
        if not isinstance(pictures, Mapping):
            raise ValueError(
                "poses: expected Poses, or a dictionary from image ids to Poses, "
                f"got {type(poses).__name__}"
            )
        data = [
            entry
            for key, people in pictures.items()
            for entry in poses_to_coco(people, key, skeleton=skeleton)
        ]
    elif isinstance(poses, Poses):
        data = poses_to_openpose(poses, skeleton=skeleton)
    else:
        raise ValueError(
            "poses: a file of OpenPose holds one picture; expected Poses, "
            f"got {type(poses).__name__}"
        )
    write_json(data, path)


def read_poses(
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    skeleton: Skeleton | None = None,
    image_id: ImageId | None = None,
) -> Poses:
    """The people of one picture from a JSON file.

    Args:
        path: A file of ours, ``.json`` or a video's ``.jsonl``; or of OpenPose, AlphaPose,
            openpifpaf or mmpose; or of COCO results by whomever.
        format: One of :data:`openpaf.io.pose_layouts.LAYOUTS`; told from the contents where not
            given.
        skeleton: The joints of the file. Needed only where the file does not say which they are
            and their number does not tell.
        image_id: Which picture, where a file has several: COCO's id, a file's name, or the number
            of a frame.

    Returns:
        The people, with the joints of the file. A person without a score of its own gets the mean
        of its joints'. COCO's empty list gives nobody.

    Raises:
        ValueError: If the file is not JSON or of another format, a row has the wrong number of
            joints or values, the skeleton cannot be told or is another one than ``skeleton``, or
            the file has several pictures and ``image_id`` is not given or not among them; the
            message names the file.
        OSError: If the file cannot be read.

    Example:
        >>> import tempfile
        >>> import openpaf
        >>> nobody = openpaf.Poses.empty(openpaf.Skeleton.BODY25)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     openpaf.write_poses(nobody, f"{folder}/people.json", format="openpose")
        ...     len(openpaf.read_poses(f"{folder}/people.json", skeleton=nobody.skeleton))
        0
    """
    pictures = _read(path, format)
    with _naming(path):
        if image_id is None and len(pictures) > 1:
            raise ValueError(
                f"image_id: has {len(pictures)} pictures; name one, or use read_poses_by_image"
            )
        if image_id is None or list(pictures) == [None]:
            nobody = Picture(people=[], skeleton=skeleton)
            return poses_of(next(iter(pictures.values()), nobody), skeleton)
        if image_id not in pictures:
            some = ", ".join(repr(key) for key in list(pictures)[:5])
            raise ValueError(f"image_id: no people of {image_id!r}; has {some or 'none'}")
        return poses_of(pictures[image_id], skeleton)


def read_poses_by_image(
    path: str | os.PathLike[str], *, skeleton: Skeleton | None = None
) -> dict[ImageId, Poses]:
    """The people of every picture of a file, by image id.

    Args:
        path: A file of several pictures, as for :func:`read_poses`: COCO results, AlphaPose's, or
            the frames of a video, whose ids are their numbers.
        skeleton: As for :func:`read_poses`.

    Raises:
        ValueError: As for :func:`read_poses`, and if the file is of one picture and does not say
            which.
        OSError: If the file cannot be read.
    """
    pictures = _read(path, None)
    with _naming(path):
        if None in pictures:
            raise ValueError("a file of one picture without an id; use read_poses")
        return poses_by_image(pictures, skeleton)


def _read(path: str | os.PathLike[str], format: str | None) -> Pictures:
    if format is not None and format not in LAYOUTS:
        raise ValueError(f"format: expected one of {', '.join(LAYOUTS)}, got {format!r}")
    data = read_json_or_lines(path)
    with _naming(path):
        layout, pictures = pictures_in(data)
        if format not in (None, layout) and data != []:
            raise ValueError(f"expected format {format!r}, but it looks like {layout!r}")
    return pictures


def poses_to_coco(
    poses: Poses, image_id: ImageId, *, skeleton: Skeleton | None = None
) -> list[dict[str, Any]]:
    """The people of a picture as entries of COCO's list of results.

    Args:
        poses: The people.
        image_id: COCO's id of the picture.
        skeleton: As for :func:`write_poses`.

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
    poses = _with_joints_of(poses, skeleton)
    boxes = np.nan_to_num(poses.boxes().astype(np.float64), nan=0.0)
    boxes[:, 2:] -= boxes[:, :2]
    entries = []
    for n, row in enumerate(_rows(poses)):
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": 1,
            "keypoints": row,
            "score": _score(poses.person_scores[n]),
            "bbox": [round(float(value), 3) for value in boxes[n]],
        }
        if poses.ids is not None:
            entry["track_id"] = int(poses.ids[n])
        if skeleton != Skeleton.COCO17:
            entry["skeleton"] = _skeleton_entry(skeleton)
        entries.append(entry)
    return entries


def poses_from_coco(
    entries: Sequence[Mapping[str, Any]], *, skeleton: Skeleton | None = None
) -> dict[ImageId, Poses]:
    """The inverse of :func:`poses_to_coco`, for any number of pictures.

    Raises:
        ValueError: If an entry lacks ``image_id`` or ``keypoints``, or has the wrong number of
            values, or the skeleton cannot be told.
    """
    return poses_by_image(people_by_image(entries), skeleton)


def poses_to_openpose(poses: Poses, *, skeleton: Skeleton | None = None) -> dict[str, Any]:
    """The people of a picture as OpenPose writes them.

    Args:
        poses: The people.
        skeleton: As for :func:`write_poses`.

    Returns:
        ``{"version": 1.3, "people": [...]}``, each with ``person_id`` (-1 without ids),
        ``pose_keypoints_2d`` (x, y and score of every joint in px; 0, 0, 0 where missing), the
        empty lists of face and hands that OpenPose has, and ``score`` and ``skeleton``, which are
        ours.

    Raises:
        ValueError: As for :func:`write_poses`.
    """
    if skeleton is None:
        own = poses.skeleton in _OPENPOSE_SKELETONS
        skeleton = poses.skeleton if own else Skeleton.BODY25
        lost = [name for name in poses.skeleton.joints if name not in skeleton.joints]
        if lost:
            raise ValueError(
                f"skeleton: OpenPose's layouts have no {', '.join(lost[:3])}"
                f"{' ...' if len(lost) > 3 else ''} as {poses.skeleton.name!r} has; give skeleton= "
                "to write its own joints, or only those of another one"
            )
    poses = _with_joints_of(poses, skeleton)
    people = [
        {
            "person_id": [-1 if poses.ids is None else int(poses.ids[n])],
            "pose_keypoints_2d": row,
            "face_keypoints_2d": [],
            "hand_left_keypoints_2d": [],
            "hand_right_keypoints_2d": [],
            "score": _score(poses.person_scores[n]),
        }
        for n, row in enumerate(_rows(poses))
    ]
    return {"version": 1.3, "skeleton": _skeleton_entry(skeleton), "people": people}


def _with_joints_of(poses: Poses, skeleton: Skeleton) -> Poses:
    if poses.skeleton == skeleton:
        return poses
    if not set(skeleton.joints) & set(poses.skeleton.joints):
        raise ValueError(
            f"skeleton: {skeleton.name!r} has none of the joints of {poses.skeleton.name!r}"
        )
    return poses.to(skeleton)


def _skeleton_entry(skeleton: Skeleton) -> str | dict[str, Any]:
    """What tells a reader of a file which joints it has."""
    return skeleton.name if skeleton in BUILT_IN else skeleton.to_dict()


def _rows(poses: Poses) -> list[list[float]]:
    """x, y and score of every joint of every person; 0, 0, 0 where missing."""
    xy = np.nan_to_num(poses.xy.astype(np.float64), nan=0.0)
    return [
        [
            number
            for (x, y), score in zip(xy[n].tolist(), poses.scores[n].tolist(), strict=True)
            for number in (round(x, 3), round(y, 3), _score(score))
        ]
        for n in range(len(poses))
    ]


def _score(value: float) -> float:
    # Significant digits, not decimals: a weak joint must not become 0, which means missing.
    return float(f"{float(value):.6g}")


@contextlib.contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the name of a file before the messages of errors about its contents."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
