"""The people of a pose file, once its layout is known, as poses: every number and name checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from openpaf.io.json_files import is_number
from openpaf.io.pose_layouts import ImageEntries, ImageEntry, ImageId
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

#: Skeletons that a file may call by their names alone.
BUILT_IN = (
    Skeleton.COCO17, Skeleton.COCO18, Skeleton.COCO18_REDUNDANT, Skeleton.BODY25, Skeleton.MPI15,
)  # fmt: skip


def poses_by_image(images: ImageEntries, skeleton: Skeleton | None) -> dict[ImageId, Poses]:
    """The people of every image that has an id; see :func:`poses_of`."""
    return {key: poses_of(image, skeleton) for key, image in images.items() if key is not None}


def poses_of(image: ImageEntry, skeleton: Skeleton | None) -> Poses:
    """The people of one image of a file, checked.

    Args:
        image: As :func:`openpaf.io.pose_layouts.entries_in` gives it.
        skeleton: The joints of the file; what it says itself, or what their number tells, if None.

    Raises:
        ValueError: If a person has the wrong number of joints or values, the skeleton is not known
            or is another one, or people of one image have different ones.
    """
    people = image.people
    skeleton = _skeleton_of(image, skeleton)
    if not people:
        return Poses.empty(skeleton)
    for n, person in enumerate(people):
        if not isinstance(person.values, list) or len(person.values) != 3 * skeleton.n_joints:
            count = len(person.values) if isinstance(person.values, list) else 0
            raise ValueError(
                f"person {n}: expected {3 * skeleton.n_joints} values, 3 for each of the "
                f"{skeleton.n_joints} joints of {skeleton.name!r}, got {count}"
            )
        if not all(map(_is_number, person.values)):
            raise ValueError(f"person {n}: expected finite numbers")
    array = np.array([p.values for p in people], np.float64).reshape(len(people), -1, 3)
    scores = np.maximum(array[..., 2], 0).astype(np.float32)
    present = scores > 0
    means = scores.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    person_scores = [
        mean if person.score is None else person.score
        for person, mean in zip(people, means, strict=True)
    ]
    if not all(map(_is_number, person_scores)):
        raise ValueError("score: expected a finite number for each person")
    return Poses(
        xy=np.where(present[..., None], array[..., :2], np.nan),
        scores=scores,
        person_scores=np.array(person_scores, np.float32),
        skeleton=skeleton,
        ids=_ids_of(image),
    )


def _ids_of(image: ImageEntry) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    """The people's ids over time; None unless each has one that is a number."""
    ids = [person.id for person in image.people]
    if not all(type(i) is int for i in ids):
        return None
    if not all(-(2**63) <= i < 2**63 for i in ids):
        raise ValueError("ids: expected whole numbers of at most 64 bits")
    return np.array(ids, np.int64)


def _skeleton_of(image: ImageEntry, skeleton: Skeleton | None) -> Skeleton:
    """The joints of an image's people: what the file says, or what their number tells.

    Raises:
        ValueError: If neither tells, or the file says others than ``skeleton``.
    """
    named_skeletons = [person.skeleton or image.skeleton for person in image.people]
    first = named_skeletons[0] if named_skeletons else image.skeleton
    if any(other != first for other in named_skeletons):
        raise ValueError("skeleton: people of one image have different ones")
    named = _named_skeleton(first, skeleton)
    if skeleton is not None and named is not None and named.joints != skeleton.joints:
        raise ValueError(f"skeleton: the file has {named.name!r}, not {skeleton.name!r}")
    if skeleton is not None or named is not None or not image.people:
        return skeleton or named or Skeleton.COCO17
    values, layouts = image.people[0].values, image.people[0].layouts
    count = len(values) if isinstance(values, list) else 0
    for layout in layouts:
        if 3 * layout.n_joints == count:
            return layout
    known = " or ".join(f"{3 * s.n_joints} ({s.name})" for s in layouts)
    raise ValueError(f"person 0: expected {known} values, got {count}; or give skeleton=")


def _named_skeleton(named: Any, skeleton: Skeleton | None) -> Skeleton | None:
    """The skeleton that a file names; None if it names none, or one that the caller knows.

    Raises:
        ValueError: If it is not built in, not described, and not known to the caller either.
    """
    if named is None or isinstance(named, Skeleton):
        return named
    if isinstance(named, Mapping):
        try:
            if not all(isinstance(name, str) for name in (named["name"], *named["joints"])):
                raise ValueError("expected names of joints")
            return Skeleton.from_dict(named)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"skeleton: not as Skeleton.to_dict gives it: {error}") from error
    built_in = next((known for known in BUILT_IN if known.name == named), None)
    if built_in is None and skeleton is None:
        raise ValueError(f"skeleton: the file has {named!r}, which is not built in; give skeleton=")
    return built_in


def _is_number(value: Any) -> bool:
    return is_number(float(value) if isinstance(value, np.floating) else value)
