"""Configurations of training runs, read from TOML files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from openpaf.checks import is_finite
from openpaf.training.config import SetConfig, TrainConfig
from openpaf.training.data.augmentation import AugmentConfig
from openpaf.training.toml_files import read_toml


def read_config(path: str | Path) -> TrainConfig:
    """Read and check a training configuration.

    Its keys are those of :class:`TrainConfig`, and ``index``: a file of more ``[[sets]]``, as
    ``data/<set>/prepare.py`` writes it.

    Raises:
        ValueError: If the file cannot be read, is not TOML, or has an unknown, missing or wrong
            key; the message names the file and the key.
    """
    path = Path(path)
    data = read_toml(path)
    try:
        index = data.pop("index", None)
        data["sets"] = _sets(data, path.parent)
        if index is not None:
            data["sets"] += read_index(path.parent / str(index))
        if "validation" in data:
            row = as_config(SetConfig, data["validation"], "validation")
            data["validation"] = resolve_set(row, path.parent)
        if "augment" in data:
            data["augment"] = as_config(AugmentConfig, data["augment"], "augment")
        config: TrainConfig = as_config(TrainConfig, data, "the file")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    paths: dict[str, Any] = {
        name: str(path.parent / getattr(config, name))
        for name in ("output", "init", "teacher")
        if getattr(config, name)
    }
    return dataclasses.replace(config, **paths)


def read_index(path: str | Path) -> tuple[SetConfig, ...]:
    """The sets that an index names: a TOML file of ``[[sets]]`` and nothing else.

    Raises:
        ValueError: As :func:`read_config`.
    """
    path = Path(path)
    data = read_toml(path)
    try:
        if set(data) - {"sets"}:
            raise ValueError(f"unknown key {sorted(set(data) - {'sets'})[0]!r}; known: sets")
        return _sets(data, path.parent)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _sets(data: dict[str, Any], folder: Path) -> tuple[SetConfig, ...]:
    rows = data.pop("sets", ())
    if not isinstance(rows, list | tuple):
        raise ValueError("sets: expected [[sets]], with two brackets")
    return tuple(resolve_set(as_config(SetConfig, row, "sets"), folder) for row in rows)


def resolve_set(row: SetConfig, folder: Path) -> SetConfig:
    """A set whose paths are relative to a folder, its ``holdout`` checked."""
    return dataclasses.replace(
        row,
        annotations=str(folder / row.annotations),
        images=str(folder / row.images),
        holdout=_holdout(row.holdout),
    )


def _holdout(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if not _fits(value, "tuple[int, int]") or not 0 <= value[0] < value[1]:
        raise ValueError(f"holdout: expected [remainder, n], remainder below n, got {value!r}")
    return value[0], value[1]


def as_config(cls: Any, values: Mapping[str, Any], where: str) -> Any:
    """A dataclass of a TOML file's table.

    Args:
        cls: The dataclass.
        values: The table.
        where: What an error calls it.

    Raises:
        ValueError: If it is no table, or a key is unknown, missing or of a wrong type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a table")
    known = {entry.name for entry in dataclasses.fields(cls)}
    known |= {"index"} if cls is TrainConfig else set()
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(
            f"unknown key {unknown[0]!r} in {where}; known: {', '.join(sorted(known))}"
        )
    for entry in dataclasses.fields(cls):
        if entry.name not in values:
            if entry.default is MISSING and entry.default_factory is MISSING:
                raise ValueError(f"missing key {entry.name!r} in {where}")
        elif not _fits(values[entry.name], str(entry.type)):
            raise ValueError(
                f"{entry.name}: expected {_NAMES.get(str(entry.type), entry.type)}, "
                f"got {values[entry.name]!r}"
            )
    return cls(**values)


_NAMES = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}


def _fits(value: Any, wanted: str) -> bool:
    """Whether a value of a TOML file is of a dataclass entry's type, by the type's name."""
    whole = isinstance(value, int) and is_finite(value) and not isinstance(value, bool)
    number = is_finite(value) and not isinstance(value, bool)
    if wanted.startswith("tuple["):
        kind = wanted[6:].split(",")[0].removesuffix("]")
        n = wanted.count(",") + 1
        return (
            isinstance(value, (list, tuple))
            and ("..." in wanted or len(value) == n)
            and all(_fits(item, kind) for item in value)
        )
    kinds = {"str": isinstance(value, str), "bool": isinstance(value, bool)}
    kinds |= {"int": whole, "float": number}
    return kinds.get(wanted.removesuffix(" | None"), True)  # tables check themselves
