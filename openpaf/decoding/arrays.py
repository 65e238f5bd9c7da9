"""Checks of a network's arrays of one image, for groupings other than part affinity fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.fields import _as_float32


def checked_arrays(
    arrays: Mapping[str, Any], channels: Mapping[str, int]
) -> list[NDArray[np.float32]]:
    """The arrays of an image, float32 and contiguous, in the order of their channels.

    Kernels check no indices, so every array must have the cells of the first.

    Args:
        arrays: By name, each (channels, h, w), NumPy or torch.
        channels: How many each has.

    Raises:
        ValueError: If one is missing, of another shape, or not finite; the message names it.
    """
    missing = [name for name in channels if name not in arrays]
    if missing:
        raise ValueError(f"arrays: expected {', '.join(channels)}, {', '.join(missing)} not given")
    checked: list[NDArray[np.float32]] = []
    for name, n in channels.items():
        array = _as_float32(name, arrays[name])
        if array.ndim != 3 or array.shape[0] != n or min(array.shape[1:]) < 1:
            raise ValueError(f"{name}: expected shape ({n}, h, w), got {array.shape}")
        if checked and array.shape[1:] != checked[0].shape[1:]:
            raise ValueError(
                f"{name}: expected {checked[0].shape[1:]} cells as the first array has, "
                f"got {array.shape[1:]}"
            )
        checked.append(array)
    return checked
