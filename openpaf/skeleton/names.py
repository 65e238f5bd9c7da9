"""Names of joints: how they are spelled, and which is the other side's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_SIDES = {"l": "left", "r": "right"}
# Before a capital that follows a small letter or a digit, or that begins a word after a capital.
_CAPITALS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def plain_name(name: Any) -> str:
    """``Left Eye``, ``leftEye``, ``l_eye``, ``LEye`` and ``eye-left`` as ``left_eye``."""
    words = _words(str(name))
    for place in (0, -1):
        if len(words) > 1 and words[place] in _SIDES:
            words[place] = _SIDES[words[place]]
    if len(words) > 1 and words[-1] in _SIDES.values() and words[0] not in _SIDES.values():
        words = [words[-1], *words[:-1]]
    return "_".join(words)


def flip_pairs_of(joints: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pairs (left, right) of joints whose names differ in the side alone.

    The side is a word of the name, ``left``, ``right``, ``l`` or ``r``, or joined to one, as in
    ``leftear``.
    """
    places = {_mirrored(name, ()): k for k, name in enumerate(joints)}
    pairs = []
    for k, name in enumerate(joints):
        other = places.get(_mirrored(name, ("left", "l")))
        if other is not None and other != k:
            pairs.append((k, other))
    return tuple(pairs)


def _mirrored(name: str, sides: Sequence[str]) -> str:
    """The plain name, with the side in it changed to the right one if it is one of the sides."""
    words = []
    for word in plain_name(name).split("_"):
        for side in sides:
            other = "right" if len(side) > 1 else "r"
            if word == side:
                word = other
            elif len(side) > 1 and word.startswith(side):
                word = other + word.removeprefix(side)
            elif len(side) > 1 and word.endswith(side):
                word = word.removesuffix(side) + other
        words.append(word)
    return "_".join(words)


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\s._-]+", _CAPITALS.sub("_", name).casefold()) if word]
