"""Whether labels fit what they are used for: the category that people have, the image's size."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from openpaf.skeleton import Skeleton

_PEOPLE = ("person", "persons", "people", "human", "pedestrian")


def person_category(
    categories: Sequence[Mapping[str, Any]], skeleton: Skeleton = Skeleton.COCO17
) -> int:
    """The id of the one category that people have, whatever number that is.

    Args:
        categories: The ``categories`` of a COCO file, each with ``id`` and ``name``, and
            ``keypoints`` where the joints are known.
        skeleton: The joints that people must have, in this order; upper case, spaces and hyphens
            in names do not count.

    Raises:
        ValueError: If not exactly one category is named ``person`` (or human, people, pedestrian),
            it says that it has other joints, or the list is not as it should be.
    """
    rows = categories if isinstance(categories, (list, tuple)) else ()
    if not all(isinstance(row, Mapping) for row in rows):
        raise ValueError("categories: expected dictionaries with 'id' and 'name'")
    people = [row for row in rows if _plain(row.get("name")) in _PEOPLE]
    if len(people) != 1:
        names = ", ".join(repr(row.get("name")) for row in rows[:5]) or "none"
        raise ValueError(f"categories: expected one 'person', got {names}")
    category, listed = people[0].get("id"), people[0].get("keypoints") or []
    if type(category) is not int:
        raise ValueError(f"categories: id of 'person': expected a whole number, got {category!r}")
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ValueError("categories: keypoints of 'person': expected a list of names")
    joints = tuple(map(_plain, listed))
    if joints and joints != tuple(map(_plain, skeleton.joints)):
        raise ValueError(
            f"categories: expected {skeleton.name}'s {skeleton.n_joints} keypoints of "
            f"{people[0]['name']!r}, {_difference(joints, skeleton)}"
        )
    return category


def check_image_size(
    path: str | os.PathLike[str], image_hw: tuple[int, ...], entry: Mapping[str, Any]
) -> None:
    """See that an image has the size that its labels were made on.

    Labels on a resized copy, or on an image that is turned by its EXIF orientation now and was not
    when it was labelled, lie in wrong places.

    Args:
        path: The image's file, for the message.
        image_hw: Its height and width in px, as read, upright; further numbers do not count.
        entry: Its entry in the annotations. Where ``width`` or ``height`` is missing, null or 0,
            the size is not known and anything fits.

    Raises:
        ValueError: If the sizes differ, or the entry's is no number; the message names the file
            and both sizes.
    """
    labelled = entry.get("width"), entry.get("height")
    if not all(labelled):
        return
    size = f"its labels are for {labelled[0]!r} x {labelled[1]!r} px"
    found = f"{os.fspath(path)}: the image is {image_hw[1]} x {image_hw[0]} px, {size}"
    if not all(type(n) in (int, float) and 0 < n < math.inf for n in labelled):  # type: ignore[operator]
        raise ValueError(f"{found}, which is no size")
    if labelled != (image_hw[1], image_hw[0]):
        turned = labelled == (image_hw[0], image_hw[1])
        hint = "turned by its EXIF orientation?" if turned else "a resized copy?"
        raise ValueError(f"{found} ({hint})")


def _plain(name: Any) -> str:
    return str(name).strip().casefold().replace(" ", "_").replace("-", "_")


def _difference(joints: tuple[str, ...], skeleton: Skeleton) -> str:
    """The first of another layout's joints that differ from the skeleton's."""
    if len(joints) != skeleton.n_joints:
        more = ", ..." if len(joints) > 3 else ""
        return f"got {len(joints)}: {', '.join(joints[:3])}{more}"
    pairs = zip(joints, skeleton.joints, strict=True)
    return "; ".join(f"got {a!r} for {b!r}" for a, b in [p for p in pairs if p[0] != p[1]][:3])
