"""Which annotations of a label file are people, and which of their numbers are which joint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.skeleton import Skeleton

_PEOPLE = frozenset({"person", "persons", "people", "human", "humans"})
#: Nothing lies so far out; larger numbers are damage, and overflow where pixels are drawn.
_FARTHEST_PX = 1e6


@dataclass(frozen=True, kw_only=True)
class PersonLayout:
    """How a file labels people.

    Args:
        category: The id of people; any label.
        lone: Whether it is the file's only category, which annotations need not name.
        columns: For each of our joints the place in the file's list, None where it has no such.
        n_joints: Joints in the file's list.
        skeleton: Our joints.
    """

    category: Any
    lone: bool
    columns: tuple[int | None, ...]
    n_joints: int
    skeleton: Skeleton

    @property
    def unlabelled(self) -> tuple[int, ...]:
        """Those of our joints that the file labels in nobody."""
        return tuple(k for k, column in enumerate(self.columns) if column is None)

    def is_person(self, row: Mapping[str, Any]) -> bool:
        """Whether an annotation is of a person, and not of a dog.

        Raises:
            KeyError: If it has no ``category_id``, and the file has several categories.
        """
        category = row.get("category_id", self.category) if self.lone else row["category_id"]
        return bool(category == self.category)

    def keypoints(self, row: Mapping[str, Any]) -> NDArray[np.float64]:
        """(K, 3) x, y in px and v of our joints, all 0 where the file lacks them.

        Raises:
            ValueError: If there are too few or too many numbers; the message names the annotation.
        """
        ours = np.zeros((self.skeleton.n_joints, 3))
        values = np.asarray(row.get("keypoints", ()), np.float64)
        if values.ndim != 1:
            raise ValueError(f"annotation {row.get('id')}: keypoints: expected a list of numbers")
        if not values.size or not (values[2::3] > 0).any():
            return ours
        if values.size != 3 * self.n_joints:
            raise ValueError(
                f"annotation {row.get('id')} has {values.size} numbers in 'keypoints', "
                f"expected {3 * self.n_joints} for {self.skeleton.name!r}"
            )
        for k, column in enumerate(self.columns):
            if column is not None:
                ours[k] = values[3 * column : 3 * column + 3]
        ours[ours[:, 2] == 0] = 0  # whatever is written where nothing is labelled
        return ours

    def unsure(self, row: Mapping[str, Any]) -> list[Sequence[float]]:
        """The rows of joint, x and y in ``maybe``, by our joints; those that we lack left out."""
        ours = {column: k for k, column in enumerate(self.columns) if column is not None}
        rows = row.get("maybe", ())
        return [(ours[int(joint)], x, y) for joint, x, y in rows if int(joint) in ours]


def check_finite(values: Sequence[float] | NDArray[np.float64], what: str) -> None:
    """Refuse what is no place in a photo.

    Raises:
        ValueError: If a number is NaN, infinite or beyond all photos.
    """
    array = np.asarray(values, np.float64)
    good = np.abs(array) < _FARTHEST_PX  # NaN is not
    if not good.all():
        raise ValueError(f"{what}: expected finite numbers of px, got {array[~good][0]}")


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
    categories = data.get("categories") or []
    if not isinstance(categories, list) or not all(isinstance(row, dict) for row in categories):
        raise ValueError("categories: expected a list of dictionaries")
    used = {row["category_id"]: None for row in data["annotations"] if "category_id" in row}
    if not categories:  # some tools leave them out
        categories = [{"id": category} for category in used] or [{"id": 1}]
    listed = [row["id"] for row in categories]
    unknown = [category for category in used if category not in listed]
    if unknown:
        raise ValueError(f"category_id {unknown[0]!r} is not one of the file's categories {listed}")
    chosen = _people(categories, skeleton)
    joints = _joints(chosen) or skeleton.joints
    places = {name: column for column, name in enumerate(joints)}
    return PersonLayout(
        category=chosen["id"],
        lone=len(categories) == 1,
        columns=tuple(places.get(name) for name in skeleton.joints),
        n_joints=len(joints),
        skeleton=skeleton,
    )


def _people(categories: Sequence[Mapping[str, Any]], skeleton: Skeleton) -> Mapping[str, Any]:
    """The category of people."""
    with_joints = [row for row in categories if row.get("keypoints")]
    called = [row for row in with_joints or categories if _plain(row.get("name")) in _PEOPLE]
    whole = [row for row in with_joints if set(skeleton.joints) <= set(_joints(row))]
    candidates = called or (whole if with_joints else categories)
    if len(candidates) != 1 or not _fits(candidates[0], skeleton):
        shown = [f"{row.get('name', row['id'])!r} ({_listed(row)})" for row in categories[:3]]
        more = f" and {len(categories) - 3} more" if len(categories) > 3 else ""
        raise ValueError(
            f"categories: expected one called 'person' with the joints "
            f"{', '.join(skeleton.joints)}; got {'; '.join(shown)}{more}"
        )
    return candidates[0]


def _fits(category: Mapping[str, Any], skeleton: Skeleton) -> bool:
    joints = _joints(category)
    n_shared = len(set(joints) & set(skeleton.joints))
    return not joints or n_shared == skeleton.n_joints or 2 * n_shared >= len(joints)


def _listed(category: Mapping[str, Any]) -> str:
    names = category.get("keypoints")
    return ", ".join(map(str, names)) if names else "no names of joints"


def _joints(category: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a category's joints as ours are spelled; none where it has no names."""
    names = category.get("keypoints") or ()
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"categories: expected a list of names in 'keypoints', got {names!r}")
    joints = tuple(map(_plain, names))
    twice = sorted({name for name in joints if joints.count(name) > 1})
    if twice:
        raise ValueError(f"categories: {twice[0]!r} is in 'keypoints' of one category twice")
    return joints


def _plain(name: Any) -> str:
    """``Left Shoulder``, ``leftShoulder`` and ``l_shoulder`` as ``left_shoulder``."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name).strip())
    text = re.sub(r"[\s.-]+", "_", text).lower()
    text = re.sub(r"^l_", "left_", text)
    return re.sub(r"^r_", "right_", text)
