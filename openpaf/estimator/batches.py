"""Images estimated together, of which one that fails does not take the others with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Found = TypeVar("Found", covariant=True)


class TakesBatches(Protocol[Found]):
    """An estimator of poses, or a detector of objects."""

    def batch(self, images: Sequence[Any]) -> Sequence[Found]:
        """What it finds in each image."""


def estimate_each(
    estimator: TakesBatches[Found], images: Sequence[NDArray[np.uint8]]
) -> list[Found | Exception]:
    """The people or objects of each image, or why they cannot be found.

    Args:
        estimator: Gets all images in one batch; one at a time if that fails.
        images: RGB uint8 (H, W, 3) each.
    """
    return each(estimator.batch, images)


def each(
    function: Callable[[list[NDArray[np.uint8]]], Sequence[Found]],
    images: Sequence[NDArray[np.uint8]],
) -> list[Found | Exception]:
    """What a function of a list of images gives for each, or its error.

    Args:
        function: Called with all images at once, and with one at a time if that fails.
        images: RGB uint8 (H, W, 3) each.
    """
    if not images:
        return []
    try:
        return list(function(list(images)))
    except Exception as error:
        if len(images) == 1:
            return [error]
    return [each(function, [image])[0] for image in images]
