"""The categories of a COCO file: which one is meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openpaf.skeleton.names import plain_name

#: What people are called.
PEOPLE = frozenset({"person", "persons", "people", "human", "humans", "pedestrian"})

Category = Mapping[str, Any]


def choose_category(categories: Any, name: str | None = None) -> Category:
    """The category that is meant, of those with joints.

    Args:
        categories: The ``categories`` of a COCO file, each with ``id`` and ``name``, and
            ``keypoints`` where the joints are known.
        name: Its name, or its id as text. If None, the only one that has joints, or the one of
            several that is called person (people, human).

    Raises:
        ValueError: If there is none, or several and no name; the message lists them.
    """
    checked = checked_categories(categories)
    if name is not None:
        return named_category(checked, name)
    with_joints = [category for category in checked if category.get("keypoints")]
    if len(with_joints) == 1:
        return with_joints[0]
    people = [category for category in with_joints if is_called_person(category)]
    if len(people) == 1:
        return people[0]
    if not with_joints:
        raise ValueError(
            f"categories: expected one with 'keypoints', the names of its joints, "
            f"got {listed(checked)}"
        )
    raise ValueError(f"categories: several have joints, choose one: {listed(with_joints)}")


def named_category(categories: Sequence[Category], name: str) -> Category:
    """The category of a name, or of an id as text.

    Raises:
        ValueError: If there is none, or more than one; the message lists them.
    """
    chosen = [category for category in categories if category.get("name") == name] or [
        category for category in categories if str(category.get("id")) == name
    ]
    if len(chosen) != 1:
        how = "several" if chosen else "none"
        raise ValueError(
            f"category: {how} of the file's categories is {name!r}, it has {listed(categories)}"
        )
    return chosen[0]


def checked_categories(categories: Any) -> Sequence[Category]:
    """The categories of a file, each a dictionary with an id.

    Raises:
        ValueError: If they are something else.
    """
    if not isinstance(categories, (list, tuple)):
        raise ValueError("categories: expected a list of dictionaries")
    if not all(isinstance(one, Mapping) and "id" in one for one in categories):
        raise ValueError("categories: expected dictionaries with 'id' and 'name'")
    return categories


def is_called_person(category: Category) -> bool:
    """Whether a category has one of the names of people."""
    return plain_name(category.get("name")) in PEOPLE


def listed(categories: Sequence[Category]) -> str:
    """The first categories with their joints, for a message."""
    shown = []
    for category in categories[:3]:
        joints = category.get("keypoints")
        names = ", ".join(map(str, joints)) if isinstance(joints, (list, tuple)) else ""
        shown.append(f"{category.get('name', category.get('id'))!r} ({names or 'no joints'})")
    more = f" and {len(categories) - 3} more" if len(categories) > 3 else ""
    return ("; ".join(shown) or "none") + more
