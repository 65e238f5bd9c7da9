"""The reference of a training configuration, made from its tables."""

from __future__ import annotations

import inspect
import json
import re
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from openpaf.training.config import (
    AugmentConfig,
    DataConfig,
    DistillationConfig,
    NetworkConfig,
    OptimizerConfig,
    SetConfig,
    TargetsConfig,
    TrainConfig,
)
from openpaf.training.tables import Table

_TABLES: dict[str, type[Table]] = {
    "Top of the file": TrainConfig,
    "`[data]`": DataConfig,
    "`[[data.sets]]` and `[data.validation]`": SetConfig,
    "`[network]`": NetworkConfig,
    "`[targets]`": TargetsConfig,
    "`[optimizer]`": OptimizerConfig,
    "`[augment]`": AugmentConfig,
    "`[distillation]`": DistillationConfig,
}
_WORDS = {str: "text", bool: "true or false", int: "whole number", float: "number", Any: "value"}


def keys_page() -> str:
    """All keys of a training configuration as Markdown."""
    lines = [
        "# Keys of a training configuration",
        "",
        'Printed by `openpaf train --keys`. A key without a default must be given; "none" means '
        "that it is left out. [training.md](training.md) shows how they are used.",
    ]
    for title, table in _TABLES.items():
        lines += ["", f"## {title}", "", "| key | value | default | meaning |", "|---|---|---|---|"]
        lines += _rows(table)
    return "\n".join(lines) + "\n"


def _rows(table: type[Table]) -> list[str]:
    meanings, rows = _meanings(table), []
    for field in msgspec.structs.fields(table):
        if field.name not in meanings:  # a table in this one
            continue
        cells = (f"`{field.name}`", _kind(field.type), _default(field), meanings[field.name])
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def _meanings(table: type[Table]) -> dict[str, str]:
    """What the docstring says of each key, in Markdown."""
    text = inspect.getdoc(table) or ""
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: _as_markdown(" ".join(meaning.split())) for name, meaning in entries}


def _as_markdown(text: str) -> str:
    text = re.sub(r":(?:func|class|data):`([^`]*)`", r"`\1`", text)
    return text.replace("``", "`")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    if field.default is None:
        return "none"
    has_value = field.default is not msgspec.NODEFAULT
    value = field.default if has_value else field.default_factory()
    return f"`{json.dumps(msgspec.to_builtins(value))}`"


def _kind(kind: Any) -> str:
    """The values of a key in words, e.g. "whole number >= 1"."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return f"{_WORDS[arguments[0]]} {_range(arguments[1])}"
    if origin is Literal:
        return ", ".join(f'`"{choice}"`' for choice in arguments)
    if origin is tuple:
        parts = [_kind(part) for part in arguments if part is not Ellipsis]
        return f"list of {parts[0]}" if Ellipsis in arguments else f"[{', '.join(parts)}]"
    if type(None) in arguments:
        return _kind(next(part for part in arguments if part is not type(None)))
    if origin is dict or (isinstance(kind, type) and issubclass(kind, Table)):
        return "table"
    return _WORDS[kind]


def _range(meta: msgspec.Meta) -> str:
    least = f">= {meta.ge}" if meta.ge is not None else f"> {meta.gt}"
    if meta.ge is not None and meta.ge < -1e200:
        return ""
    if meta.lt is not None:
        return f"{least}, < {meta.lt}"
    return least if meta.le is None or meta.le > 1e6 else f"{least}, <= {meta.le}"
