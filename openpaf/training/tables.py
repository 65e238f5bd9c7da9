"""Tables of a configuration, checked wherever they are made; errors name the key and its place."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

try:
    import msgspec
except ModuleNotFoundError as error:
    raise ImportError("training needs msgspec: pip install 'openpaf[train]'") from error
from msgspec import inspect

_LARGEST = 1e300
Count = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
CountOrZero = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Finite = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=_LARGEST)]
PositiveOrZero = Annotated[float, msgspec.Meta(ge=0, le=_LARGEST)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Scale = Annotated[float, msgspec.Meta(gt=0, le=1)]
Decay = Annotated[float, msgspec.Meta(ge=0, lt=1)]

_T = TypeVar("_T", bound="Table")


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a TOML file as a frozen value, checked when it is read and when Python makes it.

    Raises:
        ValueError: If a value is of another type, out of its range, or does not fit the others.
    """

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(type(self)):
            value = getattr(self, field.name)
            try:
                checked = msgspec.convert(value, field.type)
            except msgspec.ValidationError as error:
                message = _explained(error, {field.name: value}, type(self), f".{field.name}")
                raise ValueError(message) from error
            if checked is not value:  # e.g. a list where a tuple is meant
                msgspec.structs.force_setattr(self, field.name, checked)
        self.check()

    def changed(self, *keys: str) -> list[str]:
        """Those of some keys whose values are not the defaults."""
        defaults = {field.name: field.default for field in msgspec.structs.fields(type(self))}
        return [key for key in keys if getattr(self, key) != defaults[key]]

    def check(self) -> None:
        """Raise a ValueError, whose message begins with the key, where values do not fit."""


def as_table(cls: type[_T], values: Any) -> _T:
    """A table of values as a TOML file has them.

    Raises:
        ValueError: If a key is unknown or missing, or a value is wrong; the message begins with the
            key's place, e.g. ``optimizer.steps``.
    """
    try:
        return msgspec.convert(values, cls)
    except msgspec.ValidationError as error:
        raise ValueError(_explained(error, values, cls)) from error


def plain(table: Table) -> dict[str, Any]:
    """A table as values of JSON, lists in place of tuples."""
    values: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(table)))
    return values


def flat(values: Any, place: str = "") -> dict[str, Any]:
    """Nested tables and lists of tables as one, e.g. ``{"data.sets[0].images": ...}``."""
    if isinstance(values, Mapping):
        parts = [(f"{place}.{key}" if place else key, part) for key, part in values.items()]
    elif isinstance(values, list) and values and isinstance(values[0], Mapping):
        parts = [(f"{place}[{i}]", part) for i, part in enumerate(values)]
    else:
        return {place: values}
    return {key: value for name, part in parts for key, value in flat(part, name).items()}


def _explained(
    error: msgspec.ValidationError, values: Any, cls: type[Table], start: str = ""
) -> str:
    """What msgspec says, with the place first, the known keys, and the value that came."""
    text, _, place = str(error).partition(" - at `$")
    place = start + place.rstrip("`")
    kind: inspect.Type = inspect.type_info(cls)
    for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", place):
        values = values[key] if key else values[int(index)]
        kind = _part(kind, key)
    place = place.removeprefix(".")
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", text, re.DOTALL):
        tables = (one for one in _kinds(kind) if isinstance(one, inspect.StructType))
        known = ", ".join(field.name for field in next(tables).fields)
        return f"{place}: unknown key {unknown[1]!r}; known: {known}".removeprefix(": ")
    if missing := re.fullmatch(r"Object missing required field `(.*)`", text, re.DOTALL):
        return f"{place}: missing key {missing[1]!r}".removeprefix(": ")
    if text.startswith("Invalid enum value"):
        choices = ", ".join(str(one) for one in getattr(kind, "values", ()))
        return f"{place}: expected one of {choices}, got {reprlib.repr(values)}"
    if re.match(r"[\w.]+(, [\w.]+)*: ", text):  # our own, of values that do not fit each other
        return f"{place}.{text}".removeprefix(".")
    if not text.startswith("Expected "):
        return f"{place}: {text.lower()}, got {reprlib.repr(values)}"
    expected = text.removeprefix("Expected ").split(", got")[0].replace("`", "")
    for theirs, ours in ((" | null", ""), ("object", "table"), ("array", "list"), ("str", "text")):
        expected = expected.replace(theirs, ours)
    return f"{place}: expected {expected}, got {reprlib.repr(values)}"


def _kinds(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def _part(kind: inspect.Type, key: str) -> inspect.Type:
    """What a key of a table may be, or an entry of a list where there is no key."""
    for one in _kinds(kind):
        if isinstance(one, inspect.StructType):
            return next(field.type for field in one.fields if field.name == key)
        if isinstance(one, inspect.VarTupleType):
            return one.item_type
    return inspect.AnyType()
