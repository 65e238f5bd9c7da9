"""What a video shows over its frames: skeletons, or heatmaps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.fields import Fields
from openpaf.geometry import Letterbox
from openpaf.poses import Poses
from openpaf.visualization.draw import draw_poses


def skeletons(
    image: NDArray[np.uint8], poses: Poses, fields: Fields | None, letterbox: Letterbox
) -> NDArray[np.uint8]:
    """The skeletons over an image.

    Args:
        image: RGB uint8 (H, W, 3).
        poses: Its people, in px of the image.
        fields: Not used; for the same arguments as :func:`heatmaps`.
        letterbox: Not used.

    Returns:
        RGB uint8 (H, W, 3).
    """
    return draw_poses(image, poses)


def boxes(
    image: NDArray[np.uint8], poses: Poses, fields: Fields | None, letterbox: Letterbox
) -> NDArray[np.uint8]:
    """The skeletons with boxes and scores over an image; arguments as :func:`skeletons`."""
    return draw_poses(image, poses, boxes=True, scores=True)


def heatmaps(
    image: NDArray[np.uint8], poses: Poses, fields: Fields | None, letterbox: Letterbox
) -> NDArray[np.uint8]:
    """The highest heatmap of each cell, in colors, over the darkened image.

    Args:
        image: RGB uint8 (H, W, 3).
        poses: Its people, in px of the image; drawn only where there are no fields.
        fields: What the people were found in; None of a detector, and then skeletons are drawn.
        letterbox: Between the image and the network's input.

    Returns:
        RGB uint8 (H, W, 3).
    """
    import cv2

    if fields is None:
        return skeletons(image, poses, fields, letterbox)
    height, width = letterbox.resized_hw
    highest = np.clip(fields.heatmaps[:-1].max(axis=0), 0, 1)  # (h, w) cells
    enlarged = cv2.resize(highest, letterbox.size_hw[::-1])[:height, :width]
    return _over_darkened(image, np.asarray(cv2.resize(enlarged, image.shape[1::-1])))


def density(image: NDArray[np.uint8], values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map, such as where people stand over a video, in colors over the darkened image.

    Args:
        image: RGB uint8 (H, W, 3).
        values: (H, W), at least 0; the largest is brightest.

    Returns:
        RGB uint8 (H, W, 3).
    """
    return _over_darkened(image, values / max(float(values.max()), 1e-30))


def _over_darkened(image: NDArray[np.uint8], values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values (H, W) of 0 to 1 in colors over the darkened image (H, W, 3)."""
    import cv2

    colors = cv2.applyColorMap((255 * values).astype(np.uint8), cv2.COLORMAP_INFERNO)
    dark = cv2.convertScaleAbs(image, alpha=0.5)
    return np.asarray(cv2.add(dark, cv2.cvtColor(colors, cv2.COLOR_BGR2RGB)))
