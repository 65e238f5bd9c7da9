"""JPEG files that lack no more than their end marker, as cut-off downloads and cameras leave them.

Decoders call such a file truncated. All of its pixels are there if they stay the same whatever
follows the last byte.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import IO

from PIL import Image

from openpaf.io.image_files import open_image, strips

# Their first bits differ, so that a code word that was cut off ends in several ways.
_FILLERS = (b"\x00", b"\x55", b"\xaa")
_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # of a segment: no stuffing, restart or fill
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)
_FRAMES = (*_SEQUENTIAL, 0xC2, 0xCA)
_START_OF_SCAN = 0xDA


def decode_without_end(file: IO[bytes], name: str) -> Image.Image | None:
    """Decode a JPEG file that lacks its end marker.

    Args:
        file: The whole file, at any place.
        name: For messages.

    Returns:
        The decoded image, or None if some of its pixels are missing, too.

    Raises:
        ImageError: If it cannot be opened.
        OSError: If it cannot be decoded.
    """
    file.seek(0)
    data = file.read().rstrip(b"\xff")  # half an end marker
    if not _has_all_scans(data):
        return None
    decoded: Image.Image | None = None
    for filler in _FILLERS:
        with open_image(BytesIO(data + 4096 * filler + _END), name) as image:
            image.load()
            if decoded is not None and not _same(decoded, image):
                return None
            decoded = decoded or image
    return decoded


def _same(a: Image.Image, b: Image.Image) -> bool:
    pairs = zip(strips(a), strips(b), strict=True)
    return a.size == b.size and all(
        one.tobytes() == other.tobytes() for (_, one), (_, other) in pairs
    )


def _has_all_scans(data: bytes) -> bool:
    """Whether the scans that have begun bring every coefficient of every component to its end."""
    missing: dict[int, set[int]] = {}
    position = 2
    while found := _MARKER.search(data, position):
        marker, start = data[found.end() - 1], found.end()
        if len(data) < start + 2:
            return False
        end = start + int.from_bytes(data[start : start + 2], "big")
        body = data[start + 2 : end]
        if marker in _FRAMES and len(body) >= 6:
            missing = {component: set(range(64)) for component in body[6::3]}
            sequential = marker in _SEQUENTIAL
        elif marker == _START_OF_SCAN and len(body) >= 4 and missing:
            first, last, bits = body[-3:]
            if sequential or bits & 15 == 0:  # no bit is left for a later scan
                for component in body[1:-3:2]:
                    missing.get(component, set()).difference_update(range(first, last + 1))
        position = end
    return bool(missing) and not any(missing.values())
