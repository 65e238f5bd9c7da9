"""The first directory of a TIFF file, checked before Pillow creates an object for each value."""

from __future__ import annotations

import struct
from typing import IO

MAX_VALUES = 400_000
"""Largest number of values of a tag: strip offsets of four bands of the highest image."""

_BYTES = (1, 2, 6, 7)  # types whose values are bytes, such as text and profiles


def most_values(file: IO[bytes]) -> int:
    """The largest number of values of a tag of the first directory, without tags of bytes.

    Strips can overlap, so a small file can have millions, and each becomes an object.

    Args:
        file: The file, at any position.

    Returns:
        The number; 0 if the file is not a TIFF or is damaged.
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 16:
        return 0
    is_big = struct.unpack(f"{order}H", head[2:4])[0] == 43
    try:
        if is_big:
            (start,) = struct.unpack(f"{order}Q", head[8:])
            count, entry = struct.Struct(f"{order}Q"), struct.Struct(f"{order}HHQ8x")
        else:
            (start,) = struct.unpack(f"{order}I", head[4:8])
            count, entry = struct.Struct(f"{order}H"), struct.Struct(f"{order}HHI4x")
        file.seek(start)
        (n_tags,) = count.unpack(file.read(count.size))
        entries = file.read(entry.size * min(n_tags, 65_535))
        counts = [n for _, kind, n in entry.iter_unpack(entries) if kind not in _BYTES]
    except (struct.error, OSError, OverflowError, ValueError):
        return 0
    return max(counts, default=0)
