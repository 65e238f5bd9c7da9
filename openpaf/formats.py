"""Poses in JSON files: COCO's list of results, and OpenPose's list of people.

What a file keeps: coordinates to 0.001 px, scores to 6 digits, ids, which joints are missing, and
the order of the people. What it does not: in COCO's list a picture without people leaves no trace;
in either format, joints that the layout lacks (see ``skeleton`` of :func:`write_poses`).
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from openpaf.json_files import read_json, write_json
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

ImageId = int | str

FORMATS = ("coco", "openpose")
_SKELETONS = (Skeleton.COCO17, Skeleton.COCO18, Skeleton.BODY25, Skeleton.MPI15)
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
            layouts (BODY_25, COCO 18, MPI 15), otherwise BODY_25.

    Raises:
        ValueError: If the format is unknown, or a dictionary is given for OpenPose.
        OSError: If the path is a folder, its folder is missing, or it cannot be written; the
            message names the path.
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
        path: A file of COCO results or of OpenPose, ours or others'.
        format: ``"coco"`` or ``"openpose"``; told from the contents where not given.
        skeleton: The joints of the file. Needed only for a skeleton that is not built in;
            otherwise the file's ``skeleton`` entry or the number of joints tells.
        image_id: Which picture, where a COCO file has several.

    Returns:
        The people, with the joints of the file. A person without a score of its own gets the mean
        of its joints'. COCO's empty list gives nobody.

    Raises:
        ValueError: If the file is not JSON or of another format, a row has the wrong number of
            joints or values, the skeleton cannot be told, or the file has several pictures and
            ``image_id`` is not given or not among them; the message names the file.
        OSError: If the file cannot be read.
    """
    data = read_json(path)
    with _naming(path):
        if _check_format(data, format) == "openpose":
            return _poses_from_openpose(data, skeleton)
        pictures = poses_from_coco(data, skeleton=skeleton)
        if image_id is None and len(pictures) > 1:
            raise ValueError(
                f"image_id: has {len(pictures)} pictures; name one, or use read_poses_by_image"
            )
        if image_id is None:
            nobody = Poses.empty(skeleton or Skeleton.COCO17)
            return next(iter(pictures.values()), nobody)
        if image_id not in pictures:
            some = ", ".join(repr(key) for key in list(pictures)[:5])
            raise ValueError(f"image_id: no people of {image_id!r}; has {some or 'none'}")
        return pictures[image_id]


def read_poses_by_image(
    path: str | os.PathLike[str], *, skeleton: Skeleton | None = None
) -> dict[ImageId, Poses]:
    """The people of every picture of a file of COCO results, by image id.

    Args:
        path: A file of COCO results.
        skeleton: As for :func:`read_poses`.

    Raises:
        ValueError: As for :func:`read_poses`.
        OSError: If the file cannot be read.
    """
    data = read_json(path)
    with _naming(path):
        _check_format(data, "coco")
        return poses_from_coco(data, skeleton=skeleton)


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
        COCO's.

    Raises:
        ValueError: If the image id is neither a whole number nor text.
    """
    if isinstance(image_id, np.integer):
        image_id = int(image_id)
    if not isinstance(image_id, (int, str)):
        raise ValueError(f"image_id: expected a whole number or text, got {image_id!r}")
    if skeleton is None:
        whole = set(Skeleton.COCO17.joints) <= set(poses.skeleton.joints)
        skeleton = Skeleton.COCO17 if whole else poses.skeleton
    poses = poses if poses.skeleton == skeleton else poses.to(skeleton)
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
            entry["skeleton"] = skeleton.name
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
    by_image: dict[ImageId, list[Mapping[str, Any]]] = {}
    for n, entry in enumerate(entries):
        missing = {"image_id", "keypoints"} - (set(entry) if isinstance(entry, Mapping) else set())
        if missing:
            raise ValueError(f"entry {n}: expected a COCO result, {sorted(missing)} missing")
        if not isinstance(entry["image_id"], (int, str)):
            raise ValueError(f"entry {n}: image_id: expected a number or text")
        by_image.setdefault(entry["image_id"], []).append(entry)
    return {
        key: _poses_from_people(
            people,
            rows=[person["keypoints"] for person in people],
            ids=[person.get("track_id") for person in people],
            skeleton=skeleton or _named_skeleton(people[0].get("skeleton")),
            layouts=(Skeleton.COCO17,),
        )
        for key, people in by_image.items()
    }


def poses_to_openpose(poses: Poses, *, skeleton: Skeleton | None = None) -> dict[str, Any]:
    """The people of a picture as OpenPose writes them.

    Args:
        poses: The people.
        skeleton: As for :func:`write_poses`.

    Returns:
        ``{"version": 1.3, "people": [...]}``, each with ``person_id`` (-1 without ids),
        ``pose_keypoints_2d`` (x, y and score of every joint in px; 0, 0, 0 where missing), the
        empty lists of face and hands that OpenPose has, and ``score``, which is ours.
    """
    if skeleton is None:
        own = poses.skeleton in _OPENPOSE_SKELETONS
        skeleton = poses.skeleton if own else Skeleton.BODY25
    poses = poses if poses.skeleton == skeleton else poses.to(skeleton)
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
    return {"version": 1.3, "skeleton": skeleton.name, "people": people}


def _poses_from_openpose(data: Mapping[str, Any], skeleton: Skeleton | None) -> Poses:
    people = data["people"]
    for n, person in enumerate(people):
        if not isinstance(person, Mapping) or "pose_keypoints_2d" not in person:
            raise ValueError(f"person {n}: 'pose_keypoints_2d' missing")
    ids = [person.get("person_id") for person in people]
    ids = [i[0] if isinstance(i, list) and len(i) == 1 else i for i in ids]
    return _poses_from_people(
        people,
        rows=[person["pose_keypoints_2d"] for person in people],
        ids=[None if i == -1 else i for i in ids],
        skeleton=skeleton or _named_skeleton(data.get("skeleton")),
        layouts=_OPENPOSE_SKELETONS,
    )


def _poses_from_people(
    people: Sequence[Mapping[str, Any]],
    *,
    rows: Sequence[Any],
    ids: Sequence[Any],
    skeleton: Skeleton | None,
    layouts: Sequence[Skeleton],
) -> Poses:
    """Poses of rows of x, y, score; the number of joints tells the layout if nothing else does."""
    if skeleton is None and rows:
        count = len(rows[0]) if isinstance(rows[0], list) else 0
        skeleton = next((s for s in layouts if 3 * s.n_joints == count), None)
        if skeleton is None:
            known = " or ".join(f"{3 * s.n_joints} ({s.name})" for s in layouts)
            raise ValueError(f"person 0: expected {known} values, got {count}; or give skeleton=")
    skeleton = skeleton or layouts[0]
    if not rows:
        return Poses.empty(skeleton)
    for n, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 3 * skeleton.n_joints:
            found = len(row) if isinstance(row, list) else 0
            raise ValueError(
                f"person {n}: expected {3 * skeleton.n_joints} values, 3 for each of the "
                f"{skeleton.n_joints} joints of {skeleton.name!r}, got {found}"
            )
        if not all(_is_number(value) for value in row):
            raise ValueError(f"person {n}: expected finite numbers")
    array = np.array(rows, np.float64).reshape(len(rows), skeleton.n_joints, 3)
    scores = np.maximum(array[..., 2], 0).astype(np.float32)
    present = scores > 0
    means = scores.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    person_scores = [person.get("score", mean) for person, mean in zip(people, means, strict=True)]
    if not all(_is_number(score) for score in person_scores):
        raise ValueError("score: expected a finite number for each person")
    known_ids = [i for i in ids if isinstance(i, int)]
    return Poses(
        xy=np.where(present[..., None], array[..., :2], np.nan),
        scores=scores,
        person_scores=np.array(person_scores, np.float32),
        skeleton=skeleton,
        ids=np.array(known_ids, np.int64) if len(known_ids) == len(rows) else None,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating)) and math.isfinite(value)


def _named_skeleton(name: Any) -> Skeleton | None:
    """The built-in skeleton of that name; a name of another's is left to the number of joints."""
    return next((skeleton for skeleton in _SKELETONS if skeleton.name == name), None)


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


def _check_format(data: Any, format: str | None) -> str:
    if format is not None and format not in FORMATS:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    if isinstance(data, list):
        found = "coco"
    elif isinstance(data, dict) and isinstance(data.get("people"), list):
        found = "openpose"
    elif isinstance(data, dict) and "annotations" in data:
        raise ValueError("a file of COCO annotations; expected a list of results")
    else:
        raise ValueError("neither COCO's list of results nor OpenPose's 'people'")
    if format is not None and format != found:
        raise ValueError(f"expected format {format!r}, but it looks like {found!r}")
    return found


@contextlib.contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the name of a file before the messages of errors about its contents."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
