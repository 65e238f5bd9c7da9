"""Torch tensors as images: what could mean two things is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-3  # values of a resized image may leave 0 to 1 by so much


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor; torch is not imported for it."""
    return hasattr(value, "detach") and hasattr(value, "dtype")


def tensor_pixels(tensor: Any) -> NDArray[np.uint8]:
    """The pixels of a tensor of one image.

    Args:
        tensor: On any device, RGB (3, H, W) or (H, W, 3), or gray (1, H, W) or (H, W); uint8, or
            floating point of 0 to 1.

    Returns:
        uint8 (H, W, 3) or (H, W), 0 to 255.

    Raises:
        ValueError: If it has another shape, dtype or range; or if rows, columns and channels cannot
            be told from each other.
    """
    return np.asarray(_as_bytes(_channels_last(tensor)))


def _channels_last(tensor: Any) -> Any:
    shape = tuple(tensor.shape)
    if len(shape) == 4:
        raise ValueError(f"image: expected one image, got a batch {shape}; use estimator.batch")
    is_first, is_last = shape[:1] == (3,), shape[2:] == (3,)
    if len(shape) == 3 and is_first and is_last:
        raise ValueError(
            f"image: a tensor {shape} may be (3, H, W) or (H, W, 3); pass tensor.numpy(), "
            "which is (H, W, 3)"
        )
    if len(shape) == 2 or (len(shape) == 3 and is_last):
        return tensor
    if len(shape) == 3 and is_first:
        return tensor.permute(1, 2, 0)
    if len(shape) == 3 and shape[0] == 1:
        return tensor[0]
    hint = "; for RGBA, pass tensor[:3]" if shape[:1] == (4,) else ""
    raise ValueError(
        f"image: expected a tensor (3, H, W), (H, W, 3), (1, H, W) or (H, W), got {shape}{hint}"
    )


def _as_bytes(tensor: Any) -> NDArray[Any]:
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind == "uint8":
        return np.asarray(tensor.detach().cpu().numpy())
    if not tensor.dtype.is_floating_point:
        raise ValueError(f"image: expected uint8, or floating point of 0 to 1, got {kind}")
    values = np.asarray(tensor.detach().cpu().float().numpy())
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # NaN is neither
        raise ValueError(
            f"image: expected floating point of 0 to 1, got {low:g} to {high:g}; take back a "
            "normalization, and pass 0 to 255 as uint8"
        )
    return np.rint(255 * values.clip(0, 1)).astype(np.uint8)
