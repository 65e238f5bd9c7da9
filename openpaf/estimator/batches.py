"""Images estimated together, of which one that fails does not take the others with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from openpaf.poses import Poses

if TYPE_CHECKING:
    from openpaf.estimator.pose_estimator import PoseEstimator


def estimate_each(
    estimator: PoseEstimator, images: Sequence[NDArray[np.uint8]]
) -> list[Poses | Exception]:
    """The people of each image, or why they cannot be found.

    Args:
        estimator: Gets all images in one batch; one at a time if that fails.
        images: RGB uint8 (H, W, 3) each.
    """
    if not images:
        return []
    try:
        return list(estimator.batch(images))
    except Exception as error:
        if len(images) == 1:
            return [error]
    return [estimate_each(estimator, [image])[0] for image in images]
