"""Tables of a configuration, checked wherever they are made; errors name the key and its place."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args

import msgspec

_MOST, _LARGEST = 2**31, 1e300
Count = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]
CountOrZero = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
Finite = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=_LARGEST)]
PositiveOrZero = Annotated[float, msgspec.Meta(ge=0, le=_LARGEST)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Decay = Annotated[float, msgspec.Meta(ge=0, lt=1)]

# Words of msgspec, which speaks of JSON, and those of TOML.
_WORDS = (("`", ""), (" | null", ""), ("object", "table"), ("array", "list"), ("str", "text"))
_T = TypeVar("_T", bound="Table")


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of a TOML file as a frozen value, checked when it is read and when Python makes it.

    Raises:
        ValueError: If a value is of another type, out of its range, or does not fit the others;
            the message begins with the key.
    """

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(type(self)):
            value = getattr(self, field.name)
            try:
                checked = msgspec.convert(value, field.type)
            except msgspec.ValidationError as error:
                raise ValueError(field.name + _reason(error, value, field.type)) from error
            if checked is not value:  # e.g. a list where a tuple is meant
                msgspec.structs.force_setattr(self, field.name, checked)
        self.check()

    def check(self) -> None:
        """Raise a ValueError, whose message begins with the key, where values do not fit."""

    def changed(self, *keys: str) -> list[str]:
        """Those of some keys whose values are not the defaults."""
        defaults = {field.name: field.default for field in msgspec.structs.fields(type(self))}
        return [key for key in keys if getattr(self, key) != defaults[key]]


def as_table(cls: type[_T], values: Any, place: str = "") -> _T:
    """A table of values as a TOML file has them.

    Args:
        cls: Which table.
        values: What the file has.
        place: Where in the file, with a dot after it.

    Raises:
        ValueError: If a key is unknown or missing, or a value is wrong; the message begins with the
            key's place, e.g. ``optimizer.steps``.
    """
    where = f"{place.removesuffix('.')}: " if place else ""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}expected a table, got {reprlib.repr(values)}")
    fields = {field.name: field for field in msgspec.structs.fields(cls)}
    for key in values:
        if key not in fields:
            raise ValueError(f"{where}unknown key {key!r}; known: {', '.join(fields)}")
    for key, field in fields.items():
        if field.required and key not in values:
            raise ValueError(f"{where}missing key {key!r}")
    nested = {k: _nested(fields[k].type, value, place + k) for k, value in values.items()}
    try:
        return cls(**nested)
    except ValueError as error:
        raise ValueError(f"{place}{error}") from error


def _nested(kind: Any, value: Any, place: str) -> Any:
    """A value with the tables in it made."""
    kinds = (kind, *get_args(kind))
    table = next((one for one in kinds if isinstance(one, type) and issubclass(one, Table)), None)
    if table is None or value is None or isinstance(value, table):
        return value
    if isinstance(value, list) and Ellipsis in kinds:
        return [as_table(table, one, f"{place}[{i}].") for i, one in enumerate(value)]
    return value if Ellipsis in kinds else as_table(table, value, f"{place}.")


def _reason(error: msgspec.ValidationError, value: Any, kind: Any) -> str:
    """What msgspec says of a value, with the choices that there are, and what came."""
    text, _, place = str(error).partition(" - at `$")
    if place := place.rstrip("`"):  # of an entry of a list, such as [1]
        value = value[int(place[1:-1])]
    if text.startswith("Invalid enum value"):
        kinds = [kind, *get_args(kind)]  # perhaps None or one of some texts
        choices = [one for part in kinds for one in get_args(part) if isinstance(one, str)]
        text = f"expected one of {', '.join(choices)}"
    for theirs, ours in _WORDS:
        text = text.replace(theirs, ours)
    text = text[0].lower() + text.split(", got")[0][1:]
    return f"{place}: {text}, got {reprlib.repr(value)}"


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
