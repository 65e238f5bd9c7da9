"""The lists of a skeleton: their entries converted and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openpaf.checks import is_finite, is_whole


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _pair(value: Any) -> tuple[int, int]:
    a, b = value
    if not is_whole(a) or not is_whole(b):
        raise TypeError(value)
    return int(a), int(b)


def _sigma(value: Any) -> float:
    if not is_finite(value):
        raise TypeError(value)
    return float(value)


#: The lists of a skeleton: name, description of an entry for messages, and its conversion.
ENTRIES: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("joints", "names", _name),
    ("limbs", "pairs of joint numbers", _pair),
    ("flip_pairs", "pairs of joint numbers", _pair),
    ("oks_sigmas", "finite positive numbers", _sigma),
)


def check_joints(name: str, joints: Sequence[str], oks_sigmas: Sequence[float]) -> None:
    """See that joints have names of their own, and a sigma each.

    Args:
        name: Of the skeleton, for messages.
        joints: Their names.
        oks_sigmas: Their constants of the object keypoint similarity.

    Raises:
        ValueError: If they do not.
    """
    if not joints:
        raise ValueError(f"joints of {name!r}: expected at least one, got none")
    if len(set(joints)) != len(joints):
        repeated = sorted({joint for joint in joints if joints.count(joint) > 1})
        raise ValueError(f"joints of {name!r}: names must be unique, {repeated} repeat")
    if len(oks_sigmas) != len(joints):
        raise ValueError(
            f"oks_sigmas of {name!r}: expected {len(joints)}, one a joint, got {len(oks_sigmas)}"
        )
    if not all(0 < sigma < float("inf") for sigma in oks_sigmas):
        raise ValueError(f"oks_sigmas of {name!r}: expected finite positive numbers")


def check_pairs(what: str, pairs: Sequence[tuple[int, int]], n_joints: int) -> None:
    """See that pairs are of two joints each.

    Args:
        what: They are, for messages.
        pairs: Indices of joints.
        n_joints: How many joints there are.

    Raises:
        ValueError: If they are not.
    """
    for a, b in pairs:
        if not (0 <= a < n_joints and 0 <= b < n_joints):
            raise ValueError(f"{what}: ({a}, {b}) is out of range for {n_joints} joints")
        if a == b:
            raise ValueError(f"{what}: ({a}, {b}) joins a joint to itself")


def coco_limbs(category: Mapping[str, Any], name: str) -> tuple[tuple[int, int], ...]:
    """The 0-based pairs of a COCO category's ``skeleton``, each once.

    Args:
        category: It has ``keypoints``, and perhaps ``skeleton``, 1-based pairs.
        name: Of the category, for messages.

    Raises:
        ValueError: If an entry is no pair, or an index is out of range.
    """
    n_joints = len(category["keypoints"])
    pairs = category.get("skeleton") or ()
    try:
        numbers = [_pair(pair) for pair in pairs]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"skeleton of {name!r}: expected pairs of numbers from 1 to {n_joints}"
        ) from error
    for a, b in numbers:
        if not (1 <= a <= n_joints and 1 <= b <= n_joints):
            raise ValueError(
                f"skeleton of {name!r}: ({a}, {b}) is out of range, expected numbers from 1 to "
                f"{n_joints}"
            )
    once: dict[frozenset[int], tuple[int, int]] = {}
    for a, b in numbers:
        once.setdefault(frozenset((a, b)), (a - 1, b - 1))
    return tuple(once.values())
