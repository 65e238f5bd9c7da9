"""Images of more than 8 bits per channel, scaled to 8 bits by the range of their values."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import ImageError
from openpaf.io.image_files import STRIP_PX, check_bytes, decode_bytes, strips

if TYPE_CHECKING:
    from PIL import Image

_log = logging.getLogger(__name__)
_DEPTHS = (8, 10, 12, 14, 16)  # bits of common sensors


def is_deep_gray(image: Image.Image) -> bool:
    """Whether an image has one channel of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def deep_gray_strips(image: Image.Image, name: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """A gray image of more than 8 bits in strips (h, W, 1) of 8 bits, with their first rows.

    Cameras and scanners of 10, 12 or 14 bits store their values unscaled in files of 16 bits,
    which would be nearly black if 65535 were white.

    Args:
        image: The decoded image.
        name: Name for messages.

    Raises:
        ImageError: If the values are not of 16 bits, as their range is unknown.
    """
    low, high = 0, 0
    for _, strip in strips(image):
        values = np.asarray(strip)
        low, high = min(low, values.min()), max(high, values.max())
    if image.mode == "F" or low < 0 or high > 65535:
        raise ImageError(
            f"{name}: 32-bit values, whose range is not known; convert it to 8 or 16 bits"
        )
    tags: Any = getattr(image, "tag_v2", {})
    zero_is_white = tags.get(262) == 0  # PhotometricInterpretation
    maximum = 65535 if zero_is_white else _white(int(high), name)
    transparent = image.info.get("transparency")
    for top, strip in strips(image):
        values = np.asarray(strip)
        gray = scaled(values, maximum)
        if zero_is_white:
            gray = 255 - gray
        if isinstance(transparent, int):
            gray[values == transparent] = 255
        yield top, gray[..., None]


def _white(highest: int, name: str) -> int:
    bits = next(bits for bits in _DEPTHS if highest < 1 << bits)
    if bits < 16 and highest:
        _log.warning(
            "%s: no value above %d in 16 bits; read as an image of %d bits", name, highest, bits
        )
    return (1 << bits) - 1 if highest else 65535


def scaled(values: NDArray[Any], maximum: int) -> NDArray[np.uint8]:
    """Values of 0 to ``maximum`` to 0 to 255."""
    return ((values.astype(np.uint32) * 255 + maximum // 2) // maximum).astype(np.uint8)


def read_deep_color(image: Image.Image, file: IO[bytes], name: str) -> NDArray[np.uint16] | None:
    """The values of a 16-bit color image that uses only a few of its bits.

    Pillow returns the high bytes of 16-bit color. If these are small, the low bytes matter, too,
    and are read by OpenCV.

    Args:
        image: The image, decoded by Pillow.
        file: Its file.
        name: Name for messages.

    Returns:
        RGB or RGBA (H, W, 3 or 4); None for any other image.

    Raises:
        ImageError: If it would take too much memory.
    """
    if image.format not in ("PNG", "TIFF") or image.mode not in ("RGB", "RGBA"):
        return None
    ranges: Any = image.getextrema()
    if max(high for _, high in ranges[:3]) >= 64:
        return None
    import cv2

    file.seek(0)
    data = np.frombuffer(file.read(), np.uint8)
    twice = 2 * 4 * 2 * image.width * image.height  # four channels of two bytes, and a copy
    check_bytes(image, name, decode_bytes(image) + 2 * len(data) + twice)
    values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if values is None or values.dtype != np.uint16 or values.shape[:2] != image.size[::-1]:
        return None
    if values.ndim == 2:  # gray with transparency, without it
        values = np.repeat(values[..., None], 3, axis=2)
    order = [2, 1, 0, 3][: values.shape[2]]
    return np.asarray(values[..., order], np.uint16)


def deep_color_strips(
    values: NDArray[np.uint16], name: str
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """RGB of 8 bits over white in strips of rows, with their first rows.

    Args:
        values: RGB or RGBA (H, W, 3 or 4).
        name: Name for messages.
    """
    maximum = _white(int(values[..., :3].max()), name)
    rows = max(1, STRIP_PX // values.shape[1])
    for top in range(0, len(values), rows):
        strip = values[top : top + rows]
        rgb = scaled(strip[..., :3], maximum)
        if strip.shape[2] == 4:
            opacity = strip[..., 3:].astype(np.float32) / 65535
            rgb = np.rint(rgb * opacity + 255 * (1 - opacity)).astype(np.uint8)
        yield top, rgb
