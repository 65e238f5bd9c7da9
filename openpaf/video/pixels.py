"""Frames of PyAV as upright arrays, and the aspect ratio of their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_PIXEL_ASPECT = 4.0  # real ones are below 2.2; a broken header must not take gigabytes


def turn_of(frame: Any) -> tuple[bool, bool, bool]:
    """The orientation in the display matrix of a PyAV frame.

    Returns:
        Whether rows and columns are swapped; then, whether x and whether y are mirrored.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    # Column vectors: x' = a x + c y, y' = b x + d y, of which a rotated image has only two.
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    is_turned = abs(b) + abs(c) > abs(a) + abs(d)
    return (True, c < 0, b < 0) if is_turned else (False, a < 0, d < 0)


def upright(frame: Any) -> NDArray[np.uint8]:
    """The RGB image (H, W, 3) of a PyAV frame, with its display matrix applied."""
    image = frame.to_ndarray(format="rgb24")
    is_turned, flips_x, flips_y = turn_of(frame)
    if is_turned:
        image = image.transpose(1, 0, 2)
    return np.ascontiguousarray(image[:: -1 if flips_y else 1, :: -1 if flips_x else 1])


def pixel_aspect(stream: Any) -> float:
    """Width of a pixel of a PyAV stream over its height; 1 where unknown or invalid."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if 1 / _MAX_PIXEL_ASPECT <= aspect <= _MAX_PIXEL_ASPECT else 1.0


def square_pixels(image: NDArray[np.uint8], aspect: float) -> NDArray[np.uint8]:
    """An image enlarged along one side so that its pixels are square; itself if they are."""
    if aspect == 1:
        return image
    import cv2

    height, width = image.shape[:2]
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
