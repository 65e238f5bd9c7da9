"""Whether labels fit what they are used for: who is a person, which joints, the image's size."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.io.categories import (
    Category,
    checked_categories,
    is_called_person,
    listed,
    named_category,
)
from openpaf.skeleton import Skeleton
from openpaf.skeleton.names import plain_name


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


def person_layout(
    data: Mapping[str, Any],
    skeleton: Skeleton,
    *,
    category: str | None = None,
    strict: bool = False,
) -> PersonLayout:
    """Find the people of a file in COCO format: ids are labels, names decide.

    - The category that is named is taken; else one called person (people, human); else the only
      one that has all our joints; else the only one that has no other joints than ours.
    - Joints are matched by name; case, ``left shoulder`` and ``l_shoulder`` do not matter. All of
      ours must be there, or at least half of the file's must be ours.
    - Where no category has names of joints, the one called person, or the only one, is taken, and
      its joints count as ours in our order.

    Args:
        data: The file, with ``annotations`` and, as a rule, ``categories``.
        skeleton: Our joints.
        category: Name of the category, or its id as text.
        strict: Refuse joints of which the file lacks some of ours and has others instead.

    Raises:
        ValueError: If there is no such category or more than one, it has other joints, or an
            annotation is of a category that the file does not list.
    """
    categories = checked_categories(data.get("categories") or [])
    used = {row["category_id"]: None for row in data["annotations"] if "category_id" in row}
    if not categories:  # some tools leave them out
        categories = [{"id": category} for category in used] or [{"id": 1}]
    known = [one["id"] for one in categories]
    unknown = [one for one in used if one not in known]
    if unknown:
        raise ValueError(f"category_id {unknown[0]!r} is not one of the file's categories {known}")
    if category is None:
        chosen = _with_our_joints(categories, skeleton)
    else:
        chosen = named_category(categories, category)
        if not _fits(chosen, skeleton):
            raise ValueError(_other_joints([chosen], skeleton))
    ours = [plain_name(name) for name in skeleton.joints]
    joints = _joints(chosen) or tuple(ours)
    if strict and set(joints) - set(ours) and set(ours) - set(joints):
        raise ValueError(_other_joints([chosen], skeleton))
    places = {name: column for column, name in enumerate(joints)}
    return PersonLayout(
        category=chosen["id"],
        is_only=len(categories) == 1,
        columns=tuple(map(places.get, ours)),
        n_joints=len(joints),
        skeleton=skeleton,
    )


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


def _with_our_joints(categories: Sequence[Category], skeleton: Skeleton) -> Category:
    """The category of people."""
    with_joints = [category for category in categories if category.get("keypoints")]
    if not with_joints:
        people = [category for category in categories if is_called_person(category)]
        candidates = people or categories
    else:
        fitting = [category for category in with_joints if _fits(category, skeleton)]
        ours = {plain_name(name) for name in skeleton.joints}
        whole = [one for one in with_joints if ours <= set(_joints(one))]
        some = [one for one in with_joints if set(_joints(one)) <= ours]
        candidates = [one for one in fitting if is_called_person(one)] or whole or some
    if len(candidates) == 1:
        return candidates[0]
    message = _other_joints(candidates or categories, skeleton)
    raise ValueError(message + ("; choose with category" if len(candidates) > 1 else ""))


def _fits(category: Category, skeleton: Skeleton) -> bool:
    """Whether a category has all our joints, or half of its joints are ours, or has no names."""
    joints, ours = set(_joints(category)), {plain_name(name) for name in skeleton.joints}
    shared = joints & ours
    return not joints or shared == ours or 2 * len(shared) >= len(joints)


def _other_joints(categories: Sequence[Category], skeleton: Skeleton) -> str:
    """The message where the joints of a file and ours do not match, with both of them."""
    difference = ""
    if len(categories) == 1 and _joints(categories[0]):
        theirs = _joints(categories[0])
        ours = tuple(map(plain_name, skeleton.joints))
        lacking = ", ".join(name for name in ours if name not in theirs)
        others = ", ".join(name for name in theirs if name not in ours)
        difference = f"{categories[0].get('name')!r} has {others} and lacks {lacking}; "
    return (
        f"categories: {difference}expected one with the joints {', '.join(skeleton.joints)} of "
        f"{skeleton.name!r}; got {listed(categories)}"
    )


def _joints(category: Category) -> tuple[str, ...]:
    """Names of a category's joints as ours are spelled; none where it has no names."""
    names = category.get("keypoints") or ()
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        name = category.get("name")
        raise ValueError(
            f"categories: keypoints of {name!r}: expected a list of names, got {names!r}"
        )
    joints = tuple(map(plain_name, names))
    repeated = sorted({name for name in joints if joints.count(name) > 1})
    if repeated:
        raise ValueError(f"categories: {repeated[0]!r} is in 'keypoints' of one category twice")
    return joints
