"""The limbs of a skeleton over one person, with the names of the joints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openpaf.skeleton import Skeleton

_LIMB, _MORE, _TEXT = (70, 160, 255), (255, 120, 40), (255, 255, 255)


def draw_limbs(
    image: NDArray[np.uint8],
    xy: NDArray[np.floating],
    skeleton: Skeleton,
    *,
    n_first: int | None = None,
) -> NDArray[np.uint8]:
    """Draw one person's limbs and joints, with names.

    Args:
        image: RGB uint8 (H, W, 3); it is not changed.
        xy: (K, 2) px; NaN where a joint is missing.
        skeleton: The K joints and their limbs.
        n_first: The limbs after the first so many are drawn thin, in another color; all alike if
            None.

    Returns:
        RGB uint8 (H, W, 3).
    """
    import cv2

    canvas = np.ascontiguousarray(image.copy())
    points = [tuple(np.rint(point).astype(int).tolist()) if np.isfinite(point).all() else None
              for point in np.asarray(xy)]  # fmt: skip
    n_first = skeleton.n_limbs if n_first is None else n_first
    for i in reversed(range(skeleton.n_limbs)):
        a, b = (points[k] for k in skeleton.limbs[i])
        if a is not None and b is not None:
            color, width = (_LIMB, 3) if i < n_first else (_MORE, 1)
            cv2.line(canvas, a, b, color, width, cv2.LINE_AA)
    for name, point in zip(skeleton.joints, points, strict=True):
        if point is not None:
            cv2.circle(canvas, point, 4, _TEXT, -1, cv2.LINE_AA)
            place = point[0] + 6, point[1] - 6
            for color, width in ((0, 0, 0), 3), (_TEXT, 1):
                cv2.putText(
                    canvas, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, color, width, cv2.LINE_AA
                )
    return canvas
