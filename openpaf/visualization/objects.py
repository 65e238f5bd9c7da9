"""Draws objects over an image: masks, boxes and labels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from openpaf.io.images import read_image
from openpaf.io.objects import Objects
from openpaf.visualization.draw import draw_poses
from openpaf.visualization.shapes import Color, draw_box, draw_label

if TYPE_CHECKING:
    from PIL import Image

# Told apart with every kind of color blindness (Okabe and Ito), lightened for photos.
_COLORS: tuple[Color, ...] = (
    (255, 138, 20), (86, 180, 233), (0, 190, 130), (240, 228, 66), (204, 121, 167), (60, 120, 235),
    (225, 80, 40), (150, 220, 200),
)  # fmt: skip
_FILL = 0.45  # how much of an object's color is in its mask


def draw_objects(
    image: NDArray[np.uint8] | str | os.PathLike[str] | Image.Image,
    objects: Objects,
    *,
    boxes: bool = True,
    labels: bool = True,
    masks: bool = True,
) -> NDArray[np.uint8]:
    """A copy of an image with its objects drawn over it, each in a color of its own.

    Large objects are drawn first, so that small ones stay visible; joints are drawn last.

    Args:
        image: RGB uint8 (H, W, 3), or any argument of :func:`openpaf.read_image`.
        objects: Objects in px of this image.
        boxes: Whether the box of each is drawn.
        labels: Whether class and score of each are written over the box.
        masks: Whether masks are drawn, where there are some.

    Returns:
        RGB, uint8 (H, W, 3).

    Raises:
        ValueError: If there are masks of another size than the image.
        ImageError: If ``image`` is a file that cannot be read.

    Example:
        >>> import numpy as np
        >>> import openpaf
        >>> mask = np.zeros((1, 80, 60), bool)
        >>> mask[:, 20:60, 10:50] = True
        >>> objects = openpaf.Objects(
        ...     boxes=[[10, 20, 50, 60]], labels=[1], scores=[0.9], classes=("cat",), masks=mask
        ... )
        >>> drawn = openpaf.draw_objects(np.zeros((80, 60, 3), np.uint8), objects)
        >>> drawn.shape, bool(drawn[40, 30].any()), bool(drawn[75, 5].any())
        ((80, 60, 3), True, False)
    """
    canvas = read_image(image).copy()
    size_hw = canvas.shape[:2]
    if objects.masks is not None and objects.masks.shape[1:] != size_hw:
        raise ValueError(f"masks: expected {size_hw} as the image, got {objects.masks.shape[1:]}")
    width = max(1.0, min(size_hw) / 350)
    areas = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(axis=1)
    order = np.argsort(-areas, kind="stable").tolist()
    for n in order:
        if masks and objects.masks is not None:
            _draw_mask(canvas, objects.masks[n], _COLORS[n % len(_COLORS)], width)
    for n in order:
        # Boxes count from the edge of the first pixel, drawings from its middle.
        x0, y0, x1, y1 = (objects.boxes[n].astype(float) - 0.5).tolist()
        if boxes:
            draw_box(canvas, (x0, y0, x1, y1), width=width, color=_COLORS[n % len(_COLORS)])
        if labels:
            text = f"{objects.names[n]} {objects.scores[n]:.2f}"
            draw_label(canvas, text, x0, y0, round(8 * width), anchor=0)
    return canvas if objects.poses is None else draw_poses(canvas, objects.poses)


def _draw_mask(
    canvas: NDArray[np.uint8], mask: NDArray[np.bool_], color: Color, width: float
) -> None:
    """Tint the pixels of a mask, and draw its outline."""
    import cv2

    tinted = (1 - _FILL) * canvas[mask] + _FILL * np.array(color)
    canvas[mask] = np.rint(tinted).astype(np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, color, max(1, round(width)), cv2.LINE_AA)
