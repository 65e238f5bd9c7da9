"""Damage to bytes and to trees of values, the same for every format."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

#: Numbers at which types end, as files have them.
_EDGES = (0, 1, -1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e-300, 1e308, float("nan"), float("inf"),
    -float("inf"), 2**31, 2**53, 2**63, 2**64, -(2**63), 10**400, "", "0", "person", "x" * 3000,
    "../../secret", "/etc/passwd", "a\nb", "\x1b[31mred", "\0", "\ud800", "é", [], {}, [None],
    [[]], {"a": 1}, [0] * 1000, list(range(51)), "NaN", "1e999", [[[[[[[[]]]]]]]],
)  # fmt: skip


def damaged(rng: np.random.Generator, raw: bytes) -> tuple[str, bytes]:
    """The bytes with some damage, and what it is called."""
    how = _DAMAGES[int(rng.integers(len(_DAMAGES)))]
    return how.__name__.strip("_"), how(rng, bytearray(raw))


def _bits_flipped(rng: np.random.Generator, raw: bytearray) -> bytes:
    for _ in range(int(rng.integers(1, 20))):
        if raw:
            raw[int(rng.integers(len(raw)))] ^= 1 << int(rng.integers(8))
    return bytes(raw)


def _start_damaged(rng: np.random.Generator, raw: bytearray) -> bytes:
    for _ in range(int(rng.integers(1, 6))):
        if raw:
            raw[int(rng.integers(min(len(raw), 128)))] = int(rng.integers(256))
    return bytes(raw)


def _overwritten(rng: np.random.Generator, raw: bytearray) -> bytes:
    start, size = int(rng.integers(len(raw) + 1)), int(rng.integers(1, 64))
    fill = [bytes(size), b"\xff" * size, rng.bytes(size)][int(rng.integers(3))]
    raw[start : start + size] = fill[: len(raw) - start]
    return bytes(raw)


def _cut_off(rng: np.random.Generator, raw: bytearray) -> bytes:
    return bytes(raw[: int(rng.integers(len(raw) + 1))])


def _with_more(rng: np.random.Generator, raw: bytearray) -> bytes:
    return bytes(raw) + rng.bytes(int(rng.integers(1, 2000)))


def _piece_missing(rng: np.random.Generator, raw: bytearray) -> bytes:
    start = int(rng.integers(len(raw) + 1))
    del raw[start : start + int(rng.integers(1, 64))]
    return bytes(raw)


def _piece_twice(rng: np.random.Generator, raw: bytearray) -> bytes:
    start, size = int(rng.integers(len(raw) + 1)), int(rng.integers(1, 256))
    place = int(rng.integers(len(raw) + 1))
    raw[place:place] = raw[start : start + size]
    return bytes(raw)


def _edge_numbers(rng: np.random.Generator, raw: bytearray) -> bytes:
    for _ in range(int(rng.integers(1, 4))):
        size = int(rng.choice([1, 2, 4, 8]))
        value = _EDGES[int(rng.integers(len(_EDGES)))] & (256**size - 1)
        place = int(rng.integers(max(len(raw) - size, 0) + 1))
        order = "little" if rng.random() < 0.5 else "big"
        raw[place : place + size] = value.to_bytes(size, order)  # type: ignore[arg-type]
    return bytes(raw)


_DAMAGES = (
    _bits_flipped, _start_damaged, _overwritten, _cut_off, _with_more, _piece_missing,
    _piece_twice, _edge_numbers,
)  # fmt: skip


def hostile(rng: np.random.Generator) -> Any:
    """A value that is probably not what was expected."""
    return copy.deepcopy(_VALUES[int(rng.integers(len(_VALUES)))])


def changed(rng: np.random.Generator, data: Any) -> tuple[str, Any]:
    """Lists, dictionaries and values, with one or two of them replaced, removed or repeated."""
    data, names = copy.deepcopy(data), []
    for _ in range(int(rng.integers(1, 3))):
        places = list(_places(data))
        if not places:
            return "all", hostile(rng)
        # Near the top as often as deep down, where there are many more.
        depth = int(rng.choice(sorted({len(path) for path, _, _ in places})))
        some = [place for place in places if len(place[0]) == depth]
        path, holder, key = some[int(rng.integers(len(some)))]
        choice = rng.random()
        if choice < 0.65:
            holder[key] = hostile(rng)
        elif choice < 0.85:
            del holder[key]
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            holder[str(hostile(rng))] = holder.pop(key)
        names.append(".".join(part for part in path if not part.isdecimal()) or "entry")
    return ", ".join(names), data


def _places(data: Any, path: tuple[str, ...] = ()) -> Any:
    """Every place of a tree: its path, what holds it, and its key there."""
    keys: Any = data if isinstance(data, dict) else range(len(data))
    for key in keys:
        here = (*path, str(key))
        yield here, data, key
        if isinstance(data[key], (dict, list)):
            yield from _places(data[key], here)


def as_json(rng: np.random.Generator, data: Any) -> tuple[str, bytes]:
    """Data as the text of a JSON file, now and then with something wrong with the text."""
    text = json.dumps(data)
    choice = int(rng.integers(24))
    ways: dict[int, tuple[str, bytes]] = {
        0: ("UTF-16", text.encode("utf-16")),
        1: ("nested deeply", b"[" * 100_000),
        2: ("nested", b'{"images":' + b"[" * 990 + b"]" * 990 + b"}"),
        3: ("a long number", text.encode().replace(b"1", b"1" * 5000, 1)),
        4: ("cut off", text.encode()[: int(rng.integers(len(text) + 1))]),
        5: ("two values", text.encode() + b"{}"),
        6: ("Latin-1", text.replace("a", "ä").encode("latin-1")),
        7: ("empty", b""),
        8: ("NUL bytes", text.encode().replace(b"e", b"\0", 1)),
    }
    if choice == 9:
        return damaged(rng, text.encode())
    return ways.get(choice, ("", text.encode()))
