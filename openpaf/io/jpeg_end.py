"""JPEG files that lack only their end marker, from interrupted downloads and some cameras.

Decoders refuse such a file as truncated. All pixels are present if they do not depend on the bytes
that are appended.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import IO

from PIL import Image

from openpaf.io.image_files import open_image, strips

# Their first bits differ, so that a truncated code word is completed in several ways.
_FILLERS = (b"\x00", b"\x55", b"\xaa")
_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # of a segment; not stuffing, restart or fill
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)
_FRAMES = (*_SEQUENTIAL, 0xC2, 0xCA)
_START_OF_SCAN = 0xDA


def decode_without_end(file: IO[bytes], name: str) -> Image.Image | None:
    """Decode a JPEG file that lacks its end marker.

    Args:
        file: The file, at any position.
        name: Name for messages.

    Returns:
        The decoded image, or None if pixels are missing, too.

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
    """Whether the scans that have begun contain all bits of every coefficient and component."""
    missing: dict[int, set[int]] = {}
    position = 2
    while match := _MARKER.search(data, position):
        marker, start = data[match.end() - 1], match.end()
        if len(data) < start + 2:
            return False
        end = start + int.from_bytes(data[start : start + 2], "big")
        body = data[start + 2 : end]
        if marker in _FRAMES and len(body) >= 6:
            missing = {component: set(range(64)) for component in body[6::3]}
            sequential = marker in _SEQUENTIAL
        elif marker == _START_OF_SCAN and len(body) >= 4 and missing:
            first, last, bits = body[-3:]
            if sequential or bits & 15 == 0:  # the last bits of these coefficients
                for component in body[1:-3:2]:
                    missing.get(component, set()).difference_update(range(first, last + 1))
        position = end
    return bool(missing) and not any(missing.values())
