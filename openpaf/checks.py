"""Checks of arguments, so that an error names the argument; and old names of arguments."""

from __future__ import annotations

import functools
import importlib
import math
import numbers
import warnings
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Class = TypeVar("Class", bound=type)


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
    """Whether a value is a whole number, whatever its type: 2.0 is one."""
    return is_finite(value) and int(value) == value


def check_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    is_integer: bool = False,
    unit: str = "",
) -> None:
    """See that a value is a number of a range.

    Args:
        name: Of the argument.
        value: What was given.
        above: It must be larger; no bound if None.
        least: It must not be smaller; no bound if None.
        most: It must not be larger; if None it must be finite, and infinity allows infinity.
        is_integer: Whether it must be a whole number, be it of a float's type.
        unit: Of the number, for the message.

    Raises:
        ValueError: If it is not.
    """
    largest = math.inf if most is None else most
    is_good = (
        (is_finite(value) or (most == math.inf and is_number(value)))
        and (above is None or value > above)
        and (least is None or value >= least)
        and value <= largest
        and (not is_integer or is_whole(value))
    )
    if is_good:
        return
    kind = f"a {'whole ' * is_integer}number{unit and f' of {unit}'}"
    if least is not None and math.isfinite(largest):
        bounds = f" from {least:,} to {largest:,}"
    elif least is not None:
        bounds = f" >= {least}"
    else:
        bounds = f" > {above}" * (above is not None)
    raise ValueError(f"{name}: expected {kind}{bounds}, got {value!r}")


def check_numbers(
    config: object,
    names: Sequence[str],
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    is_integer: bool = False,
) -> None:
    """See that fields of a dataclass are numbers of a range; as :func:`check_number`.

    Raises:
        ValueError: If one is not; the message names it.
    """
    for name in names:
        check_number(
            name, getattr(config, name), above=above, least=least, most=most, is_integer=is_integer
        )


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """See that a value is one of some words.

    Raises:
        ValueError: If it is not.
    """
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def as_size(name: str, value: Sequence[int]) -> tuple[int, int]:
    """Height and width in px, checked.

    Args:
        name: Name of the argument, for the message.
        value: Height and width.

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
    """An array of a dtype, checked.

    Args:
        name: Name of the argument, for the message.
        value: An array, or numbers that make one.
        dtype: Dtype of the result.

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


def renamed_fields(**new_names: str) -> Callable[[Class], Class]:
    """Class decorator: a keyword-only dataclass also takes the old names of its fields.

    An old name works as an argument and as an attribute, with a ``DeprecationWarning``.

    Args:
        **new_names: The new name of each old one.
    """

    def decorate(cls: Class) -> Class:
        init: Callable[..., None] = getattr(cls, "__init__")  # noqa: B009 (mypy refuses the other)

        @functools.wraps(init)
        def take_old_names(self: Any, **values: Any) -> None:
            for old, new in new_names.items():
                if old in values:
                    _warn_of_name(cls, old, new)
                    values[new] = values.pop(old)  # dataclasses.replace() gives both
            init(self, **values)

        setattr(cls, "__init__", take_old_names)  # noqa: B010
        for old, new in new_names.items():
            setattr(cls, old, _old_attribute(cls, old, new))
        return cls

    return decorate


def _old_attribute(cls: type, old: str, new: str) -> property:
    def get(self: Any) -> Any:
        _warn_of_name(cls, old, new)
        return getattr(self, new)

    return property(get)


def _warn_of_name(cls: type, old: str, new: str) -> None:
    message = f"{cls.__name__}: {old} is now called {new}; the old name works for one more release"
    warnings.warn(message, DeprecationWarning, stacklevel=3)


def install_hint(extra: str) -> str:
    """How an extra is installed; all hints come from here, as openpaf is not on PyPI yet.

    Args:
        extra: Its name, e.g. ``"openvino"``.
    """
    return f"pip install '.[{extra}]' in a clone of openpaf"


def import_extra(module: str, extra: str, argument: str = "engine") -> Any:
    """Import a module that only an extra installs.

    Args:
        module: Its name, e.g. ``"openvino"``.
        extra: The extra's name, e.g. ``"openvino"`` of ``openpaf[openvino]``.
        argument: What the error names as the reason.

    Raises:
        ValueError: If it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"{argument}: {module!r} is not installed; {install_hint(extra)}"
        ) from error
