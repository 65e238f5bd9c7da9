"""What all drawings are made of: strokes, boxes, and labels on plates."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

_DARK: Color = (24, 26, 30)
WHITE: Color = (255, 255, 255)
_EDGES = np.array([_DARK, WHITE], np.uint8)  # of outlines and rims


def paint(
    canvas: NDArray[np.uint8],
    ends: NDArray[Any],
    widths: NDArray[np.float64],
    colors: NDArray[np.uint8],
    *,
    outline: float,
    rims: NDArray[np.float64] | None = None,
    alphas: NDArray[Any] | None = None,
) -> None:
    """Paint strokes (S, 2, 2) with dark outlines, in order, with transparency."""
    from openpaf.kernels import strokes

    strokes.paint(
        canvas,
        ends.astype(np.float64),
        widths / 2,
        np.zeros(len(widths)) if rims is None else rims,
        outline,
        colors,
        _EDGES,
        np.ones(len(widths)) if alphas is None else alphas.astype(np.float64),
    )


def draw_box(
    canvas: NDArray[np.uint8],
    box: tuple[float, float, float, float],
    *,
    pad: float = 0.0,
    width: float,
    color: Color = WHITE,
) -> None:
    """Draw the sides of a box x0, y0, x1, y1, a pad outside of it, with lines of a width in px."""
    x0, y0, x1, y1 = box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    sides = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)  # (4, 2, 2)
    colors = np.array([color] * 4, np.uint8)
    paint(canvas, sides, np.full(4, width), colors, outline=max(0.6, 0.5 * width))


def draw_label(
    canvas: NDArray[np.uint8],
    text: str,
    x: float,
    bottom: float,
    size_px: int,
    *,
    anchor: float = 0.5,
) -> None:
    """Draw dark text on a light plate, moved inside the image.

    Args:
        canvas: RGB uint8 (H, W, 3), changed in place.
        text: The text.
        x: Where the plate is in px.
        bottom: Its lower side in px.
        size_px: Size of the text; at least 11 px, and at most a share of the image.
        anchor: Which part of the plate is at ``x``: 0 its left side, 0.5 its middle.
    """
    height, width = canvas.shape[:2]
    plate = _plate(text, round(min(max(11, size_px), max(11, min(height, width) / 16))))
    plate_height, plate_width = plate.shape[:2]
    x0 = round(min(max(x - anchor * plate_width, 0), max(width - plate_width, 0)))
    y0 = round(min(max(bottom - plate_height, 0), max(height - plate_height, 0)))
    region = canvas[y0 : y0 + plate_height, x0 : x0 + plate_width]
    region[:] = plate[: region.shape[0], : region.shape[1]]


@lru_cache(maxsize=64)
def _plate(text: str, size: int) -> NDArray[np.uint8]:
    """Text of a size in px on its plate; cached, as ids repeat from frame to frame."""
    from PIL import Image, ImageDraw

    font: Any = _font(size)
    left, top, right, bottom = font.getbbox(text)
    pad = max(2, size // 4)
    plate = Image.new("RGB", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), WHITE)
    ImageDraw.Draw(plate).text((pad - left, pad - top), text, font=font, fill=_DARK)
    return np.asarray(plate)


@lru_cache(maxsize=8)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
