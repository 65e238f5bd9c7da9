"""Labels as pycocotools holds them, and whether they fit: category of people, size of images."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openpaf.io.json_files import read_json
from openpaf.skeleton import Skeleton

#: A labelled person, as COCO's JSON has one.
Annotation = dict[str, Any]
#: A person as found, in COCO's submission format.
Detection = dict[str, Any]

_PEOPLE = ("person", "persons", "people", "human", "pedestrian")


def load_annotations(path: str | Path) -> Any:
    """A COCO annotation file as pycocotools holds it, without its prints or most checks.

    Raises:
        ValueError: If the file is not JSON, or has no lists of images and annotations.
        OSError: If it cannot be read.
    """
    data = read_json(path)
    lists = ("images", "annotations")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in lists):
        raise ValueError(f"{path}: expected COCO annotations, with lists of images and annotations")
    return index_annotations(data)


def index_annotations(data: dict[str, Any]) -> Any:
    """Annotations as pycocotools holds them: ``dataset``, ``anns``, ``imgs`` and ``imgToAnns``."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO()
        annotations.dataset = data
        annotations.createIndex()
    return annotations


def category_of_people(annotations: Any) -> int | None:
    """The id of the category that people have; None where the file lists no categories.

    Raises:
        ValueError: As :func:`person_category`.
    """
    categories = annotations.dataset.get("categories")
    return person_category(categories) if categories else None


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
            it says that it has other joints, or it is no list of dictionaries.
    """
    if not isinstance(categories, (list, tuple)):
        categories = ()
    if not all(isinstance(entry, Mapping) for entry in categories):
        raise ValueError("categories: expected dictionaries with 'id' and 'name'")
    people = [entry for entry in categories if _plain(entry.get("name")) in _PEOPLE]
    if len(people) != 1:
        names = ", ".join(repr(entry.get("name")) for entry in categories[:5]) or "none"
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
    sizes = f"{os.fspath(path)}: the image is {image_hw[1]} x {image_hw[0]} px, {size}"
    if not all(type(n) in (int, float) and 0 < n < math.inf for n in labelled):  # type: ignore[operator]
        raise ValueError(f"{sizes}, which is no size")
    if labelled != (image_hw[1], image_hw[0]):
        turned = labelled == (image_hw[0], image_hw[1])
        hint = "turned by its EXIF orientation?" if turned else "a resized copy?"
        raise ValueError(f"{sizes} ({hint})")


def _plain(name: Any) -> str:
    return str(name).strip().casefold().replace(" ", "_").replace("-", "_")


def _difference(joints: tuple[str, ...], skeleton: Skeleton) -> str:
    """The first of another layout's joints that differ from the skeleton's."""
    if len(joints) != skeleton.n_joints:
        more = ", ..." if len(joints) > 3 else ""
        return f"got {len(joints)}: {', '.join(joints[:3])}{more}"
    pairs = zip(joints, skeleton.joints, strict=True)
    return "; ".join(f"got {a!r} for {b!r}" for a, b in [p for p in pairs if p[0] != p[1]][:3])
