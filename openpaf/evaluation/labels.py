"""Whether labels fit what they are used for: who is a person, which joints, the image's size."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.skeleton import Skeleton

_PEOPLE = frozenset({"person", "persons", "people", "human", "humans", "pedestrian"})


@dataclass(frozen=True, kw_only=True)
class PersonLayout:
    """How a file labels people.

    Args:
        category: The id of people; any label.
        is_only: Whether it is the file's only category, which annotations need not name.
        columns: For each of our joints the place in the file's list, None where it has no such.
        n_joints: Joints in the file's list.
        skeleton: Our joints.
    """

    category: Any
    is_only: bool
    columns: tuple[int | None, ...]
    n_joints: int
    skeleton: Skeleton

    @property
    def unlabeled(self) -> tuple[int, ...]:
        """Those of our joints that the file labels in no person."""
        return tuple(k for k, column in enumerate(self.columns) if column is None)

    def is_person(self, annotation: Mapping[str, Any]) -> bool:
        """Whether an annotation is of a person, and not of a dog.

        Raises:
            KeyError: If it has no ``category_id``, and the file has several categories.
        """
        if self.is_only and "category_id" not in annotation:
            return True
        return bool(annotation["category_id"] == self.category)

    def keypoints(self, annotation: Mapping[str, Any]) -> NDArray[np.float64]:
        """(K, 3) x, y in px and v of our joints, all 0 where the file lacks them.

        Raises:
            ValueError: If there are too few or too many numbers; the message names the annotation.
        """
        ours = np.zeros((self.skeleton.n_joints, 3))
        values = np.asarray(annotation.get("keypoints", ()), np.float64)
        name = f"annotation {annotation.get('id')}"
        if values.ndim != 1:
            raise ValueError(f"{name}: keypoints: expected a list of numbers")
        if not values.size or not (values[2::3] > 0).any():
            return ours
        if values.size != 3 * self.n_joints:
            raise ValueError(
                f"{name} has {values.size} numbers in 'keypoints', "
                f"expected {3 * self.n_joints} for {self.skeleton.name!r}"
            )
        for k, column in enumerate(self.columns):
            if column is not None:
                ours[k] = values[3 * column : 3 * column + 3]
        ours[ours[:, 2] == 0] = 0  # whatever is written where nothing is labeled
        return ours

    def uncertain_joints(self, annotation: Mapping[str, Any]) -> list[Sequence[float]]:
        """Joint, x and y of ``maybe``, by our joints; those that we lack are left out."""
        ours = {column: k for k, column in enumerate(self.columns) if column is not None}
        joints = annotation.get("maybe", ())
        return [(ours[int(joint)], x, y) for joint, x, y in joints if int(joint) in ours]


def person_layout(data: Mapping[str, Any], skeleton: Skeleton) -> PersonLayout:
    """Find the people of a file in COCO format: ids are labels, names decide.

    - A category called person (people, human) is taken, else the only one that has all our joints.
    - Joints are matched by name; case, ``left shoulder`` and ``l_shoulder`` do not matter. All of
      ours must be there, or at least half of the file's must be ours.
    - Where no category has names of joints, the one called person, or the only one, is taken, and
      its joints count as ours in our order.

    Args:
        data: The file, with ``annotations`` and, as a rule, ``categories``.
        skeleton: Our joints.

    Raises:
        ValueError: If there is no such category or more than one, or an annotation is of a
            category that the file does not list.
    """
    categories = _checked(data.get("categories") or [])
    used = {row["category_id"]: None for row in data["annotations"] if "category_id" in row}
    if not categories:  # some tools leave them out
        categories = [{"id": category} for category in used] or [{"id": 1}]
    listed = [category["id"] for category in categories]
    unknown = [category for category in used if category not in listed]
    if unknown:
        raise ValueError(f"category_id {unknown[0]!r} is not one of the file's categories {listed}")
    chosen = _with_our_joints(categories, skeleton)
    joints = _joints(chosen) or skeleton.joints
    places = {name: column for column, name in enumerate(joints)}
    return PersonLayout(
        category=chosen["id"],
        is_only=len(categories) == 1,
        columns=tuple(places.get(name) for name in skeleton.joints),
        n_joints=len(joints),
        skeleton=skeleton,
    )


def person_category(
    categories: Sequence[Mapping[str, Any]], skeleton: Skeleton = Skeleton.COCO17
) -> int:
    """The id of the one category that people have, where their joints must be ours in our order.

    Args:
        categories: The ``categories`` of a COCO file, each with ``id`` and ``name``, and
            ``keypoints`` where the joints are known.
        skeleton: Our joints; how names are spelled does not matter.

    Raises:
        ValueError: If not exactly one category is named ``person`` (or human, people, pedestrian),
            it says that it has other joints, or the list is none of categories.
    """
    categories = _checked(categories)
    people = [category for category in categories if _is_called_person(category)]
    if len(people) != 1:
        names = ", ".join(repr(category.get("name")) for category in categories[:5]) or "none"
        raise ValueError(f"categories: expected one 'person', got {names}")
    category, joints = people[0].get("id"), _joints(people[0])
    if type(category) is not int:
        raise ValueError(f"categories: id of 'person': expected a whole number, got {category!r}")
    if joints and joints != skeleton.joints:
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
    when it was labeled, lie in wrong places.

    Args:
        path: The image's file, for the message.
        image_hw: Its height and width in px, as read, upright; further numbers do not count.
        entry: Its entry in the annotations. Where ``width`` or ``height`` is missing, null or 0,
            the size is not known and anything fits.

    Raises:
        ValueError: If the sizes differ, or the entry's is no number; the message names the file
            and both sizes.
    """
    labeled = entry.get("width"), entry.get("height")
    if not all(labeled):
        return
    size = f"its labels are for {labeled[0]!r} x {labeled[1]!r} px"
    message = f"{os.fspath(path)}: the image is {image_hw[1]} x {image_hw[0]} px, {size}"
    if not all(type(n) in (int, float) and 0 < n < math.inf for n in labeled):  # type: ignore[operator]
        raise ValueError(f"{message}, which is no size")
    if labeled != (image_hw[1], image_hw[0]):
        turned = labeled == (image_hw[0], image_hw[1])
        hint = "turned by its EXIF orientation?" if turned else "a resized copy?"
        raise ValueError(f"{message} ({hint})")


def _checked(categories: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(categories, (list, tuple)):
        raise ValueError("categories: expected a list of dictionaries")
    if not all(isinstance(category, Mapping) for category in categories):
        raise ValueError("categories: expected dictionaries with 'id' and 'name'")
    return categories


def _with_our_joints(
    categories: Sequence[Mapping[str, Any]], skeleton: Skeleton
) -> Mapping[str, Any]:
    """The category of people."""
    with_joints = [category for category in categories if category.get("keypoints")]
    people = [category for category in with_joints or categories if _is_called_person(category)]
    whole = [category for category in with_joints if set(skeleton.joints) <= set(_joints(category))]
    candidates = people or (whole if with_joints else categories)
    if len(candidates) == 1:
        joints = _joints(candidates[0])
        n_shared = len(set(joints) & set(skeleton.joints))
        if not joints or n_shared == skeleton.n_joints or 2 * n_shared >= len(joints):
            return candidates[0]
    shown = [f"{one.get('name', one['id'])!r} ({_listed(one)})" for one in categories[:3]]
    more = f" and {len(categories) - 3} more" if len(categories) > 3 else ""
    raise ValueError(
        f"categories: expected one called 'person' with the joints "
        f"{', '.join(skeleton.joints)}; got {'; '.join(shown)}{more}"
    )


def _is_called_person(category: Mapping[str, Any]) -> bool:
    return _plain(category.get("name")) in _PEOPLE


def _listed(category: Mapping[str, Any]) -> str:
    names = category.get("keypoints")
    return ", ".join(map(str, names)) if names else "no names of joints"


def _joints(category: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a category's joints as ours are spelled; none where it has no names."""
    names = category.get("keypoints") or ()
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        name = category.get("name")
        raise ValueError(
            f"categories: keypoints of {name!r}: expected a list of names, got {names!r}"
        )
    joints = tuple(map(_plain, names))
    repeated = sorted({name for name in joints if joints.count(name) > 1})
    if repeated:
        raise ValueError(f"categories: {repeated[0]!r} is in 'keypoints' of one category twice")
    return joints


def _plain(name: Any) -> str:
    """``Left Shoulder``, ``leftShoulder`` and ``l_shoulder`` as ``left_shoulder``."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name).strip())
    text = re.sub(r"[\s.-]+", "_", text).casefold()
    text = re.sub(r"^l_", "left_", text)
    return re.sub(r"^r_", "right_", text)


def _difference(joints: tuple[str, ...], skeleton: Skeleton) -> str:
    """The first of another layout's joints that differ from the skeleton's."""
    if len(joints) != skeleton.n_joints:
        more = ", ..." if len(joints) > 3 else ""
        return f"got {len(joints)}: {', '.join(joints[:3])}{more}"
    pairs = zip(joints, skeleton.joints, strict=True)
    return "; ".join(f"got {a!r} for {b!r}" for a, b in [p for p in pairs if p[0] != p[1]][:3])
