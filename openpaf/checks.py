"""Questions about arguments that many classes ask, so that an error names the argument."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_number(value: Any) -> bool:
    """Whether a value is a real number that a float can hold, infinity included, but not NaN."""
    try:
        return isinstance(value, numbers.Real) and not math.isnan(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def is_finite(value: Any) -> bool:
    """Whether a value is a finite real number that a float can hold."""
    return is_number(value) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, be it of a float's type."""
    return is_finite(value) and int(value) == value


def as_size(name: str, value: Sequence[int]) -> tuple[int, int]:
    """Height and width in px.

    Args:
        name: Of the argument.
        value: What was given.

    Raises:
        ValueError: If it is not two whole numbers of at least 1.
    """
    try:
        sides = tuple(value)
    except TypeError:
        sides = ()
    if len(sides) != 2 or not all(is_finite(side) and side >= 1 for side in sides):
        raise ValueError(f"{name}: expected height and width >= 1 px, got {value!r}")
    return int(sides[0]), int(sides[1])


def as_array(name: str, value: Any, dtype: Any) -> NDArray[Any]:
    """An array of a type.

    Args:
        name: Of the argument.
        value: What was given.
        dtype: Of the array.

    Raises:
        ValueError: If it cannot be one; fractions do not become whole numbers.
    """
    try:
        given = np.asarray(value)
        if given.dtype.kind == "c":
            raise TypeError("complex numbers")
        with np.errstate(invalid="ignore", over="ignore"):
            array = given.astype(dtype, copy=False)
    except (OverflowError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        expected = np.dtype(dtype).name
        raise ValueError(f"{name}: expected an array of {expected}: {reason}") from error
    if array.dtype.kind == "i" and given.dtype.kind == "f" and (array != given).any():
        raise ValueError(f"{name}: expected whole numbers")
    return array
