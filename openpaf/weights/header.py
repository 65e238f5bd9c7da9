"""What a file says of how its model is run: read with types and limits, since it may lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from openpaf.errors import printable
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton
from openpaf.weights.limits import (
    MAX_CLASSES,
    MAX_JOINTS,
    MAX_LIMBS,
    MAX_NOTE_CHARS,
    MAX_OPTION,
    MAX_OPTIONS,
    MAX_STAGES,
)

_MAX_WORD, _MAX_TEXT = 200, 4_000
# Options that say how often a part of a network is repeated.
_REPEATED = ("stages", "blocks")


def read_note(text: str) -> dict[str, Any]:
    """The arguments of :class:`openpaf.weights.ModelSpec` that a file gives as JSON.

    Args:
        text: The JSON.

    Raises:
        ValueError: If it is none, or a value is missing, unknown, of another type or out of range.
    """
    if len(text) > MAX_NOTE_CHARS:
        raise ValueError(f"expected at most {MAX_NOTE_CHARS} characters, found {len(text)}")
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("expected JSON, found one that is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"expected JSON ({printable(error)})") from None
    if not isinstance(values, dict):
        raise ValueError(f"expected a dictionary, found {type(values).__name__}")
    unknown, missing = set(values) - set(_READERS), _REQUIRED - set(values)
    if unknown or missing:
        raise ValueError(
            f"missing keys {printable(sorted(missing), 200)}, "
            f"unknown keys {printable(sorted(unknown), 200)}"
        )
    read = {}
    for name, value in values.items():
        try:
            read[name] = _READERS[name](value)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{name}: {printable(error, 300)}") from None
    return read


def _word(value: Any) -> str:
    return _text(value, _MAX_WORD)


def _text(value: Any, limit: int = _MAX_TEXT) -> str:
    """A text for people to read, without characters that a terminal would obey."""
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {_shown(value)}")
    return printable(value, limit)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {_shown(value)}")
    return value


def _number(value: Any, limit: float = MAX_OPTION) -> float:
    # Whole numbers of JSON have any length, and a comparison with infinity would convert them.
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not -limit <= value <= limit
    ):
        raise ValueError(f"expected a number from -{limit} to {limit}, got {_shown(value)}")
    return float(value)


def _positive(value: Any) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError(f"expected a number above 0, got {_shown(value)}")
    return number


def _index(value: Any, limit: int) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(f"expected a whole number from 0 to {limit - 1}, got {_shown(value)}")
    return value


def _list(value: Any, limit: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > limit:
        raise ValueError(f"expected a list of at most {limit}, got {_shown(value)}")
    return value


def _dictionary(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a dictionary, got {_shown(value)}")
    return value


def _options(value: Any) -> dict[str, Any]:
    """Arguments of a network: numbers that are not too large, words, and lists of such numbers."""
    options = _dictionary(value)
    if len(options) > MAX_OPTIONS:
        raise ValueError(f"expected at most {MAX_OPTIONS}, got {len(options)}")
    return {_word(name): _option(name, value) for name, value in options.items()}


def _option(name: str, value: Any) -> Any:
    try:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _word(value)
        numbers = _list(value, MAX_OPTIONS) if isinstance(value, list) else [value]
        for number in numbers:
            _number(number, MAX_STAGES if name.endswith(_REPEATED) else MAX_OPTION)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return value


def _grid(value: Any) -> Grid:
    stride, offset = _list(value, 2) if isinstance(value, list) and len(value) == 2 else (0, 0)
    return Grid(_index(stride, MAX_OPTION), _number(offset))


def _size_hw(value: Any) -> tuple[int, int]:
    sides = _list(value, 2)
    if len(sides) != 2 or any(type(side) is not int or not 32 <= side <= 4096 for side in sides):
        raise ValueError(f"expected height and width of 32 to 4096 px, got {_shown(value)}")
    return sides[0], sides[1]


def _pair(value: Any) -> tuple[int, int]:
    a, b = _list(value, 2) if isinstance(value, list) and len(value) == 2 else (-1, -1)
    return _index(a, MAX_JOINTS), _index(b, MAX_JOINTS)


def _skeleton(value: Any) -> Skeleton:
    data = dict(_dictionary(value))
    readers: dict[str, Callable[[Any], Any]] = {
        "name": _word,
        "joints": lambda v: [_joint(joint) for joint in _list(v, MAX_JOINTS)],
        "limbs": lambda v: [_pair(limb) for limb in _list(v, MAX_LIMBS)],
        "flip_pairs": lambda v: [_pair(pair) for pair in _list(v, MAX_JOINTS)],
        "oks_sigmas": lambda v: [_positive(sigma) for sigma in _list(v, MAX_JOINTS)],
    }
    for name in set(data) & set(readers):
        try:
            data[name] = readers[name](data[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return Skeleton.from_dict(data)


def _joint(value: Any) -> str:
    if not isinstance(value, str) or not len(value) <= _MAX_WORD:
        raise ValueError(f"expected a name of at most {_MAX_WORD} characters, got {_shown(value)}")
    return value


def _or_none(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _shown(value: Any) -> str:
    """A value for a message: collections by their kind, since they may be deep or huge."""
    if isinstance(value, (list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"
    return printable(repr(value) if not isinstance(value, str) else f"'{value[:100]}'")


_READERS: dict[str, Callable[[Any], Any]] = {
    "name": _word,
    "builder": _word,
    "options": _options,
    "skeleton": _skeleton,
    "result": _or_none(_skeleton),
    "heatmap_grid": _grid,
    "paf_grid": _grid,
    "mean": _number,
    "scale": _positive,
    "bgr": _truth,
    "channel_order": _or_none(_word),
    "licence": _text,
    "metrics": _dictionary,
    "method": _word,
    "size_hw": _or_none(_size_hw),
    "sigma_px": _or_none(_positive),
    "paf_half_width_px": _or_none(_positive),
    "outputs": lambda value: tuple(_word(name) for name in _list(value, MAX_OPTIONS)),
    "classes": lambda value: tuple(_word(name) for name in _list(value, MAX_CLASSES)),
}
_OPTIONAL = {
    "result", "bgr", "channel_order", "method", "outputs", "size_hw", "classes", "sigma_px",
    "paf_half_width_px",
}  # fmt: skip
_REQUIRED = set(_READERS) - _OPTIONAL
