"""Configurations of training runs, read from TOML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from openpaf.io.toml_files import read_toml
from openpaf.training.config import SetConfig, TrainConfig
from openpaf.training.tables import Table, as_table
from openpaf.weights import is_name

_T = TypeVar("_T", bound=Table)
_Config = TypeVar("_Config", bound=TrainConfig)

# Keys that only recipes of the shipped models have: what left them out, and their names there.
_MOVED = {
    ("augment", "occluders"): ((0.0,), "occluders"),
    ("augment", "paste_people"): ((0.0,), "paste_people"),
    ("data", "on_device"): (("auto", "no"), "on_device"),
    ("distillation", "engine"): (("torch",), "teacher_engine"),
    ("distillation", "scales"): (([1.0],), "teacher_scales"),
    ("distillation", "mirrored_scales"): (([],), "mirrored_scales"),
}


class _Index(Table, frozen=True, kw_only=True):
    sets: tuple[SetConfig, ...] = ()


def read_config(path: str | Path) -> TrainConfig:
    """Read and check a training configuration; see :func:`read_config_as`."""
    return read_config_as(TrainConfig, path)


def read_config_as(kind: type[_Config], path: str | Path) -> _Config:
    """Read and check a training configuration, which may have more tables than a plain one.

    Returns:
        The configuration, its paths relative to the current folder, the sets of its index in it.

    Raises:
        ValueError: If the file cannot be read, is not TOML, or has an unknown, missing or wrong
            key; the message names the file and the key.
    """
    path = Path(path)
    values = read_toml(path)
    try:
        config = as_table(kind, without_moved(values))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    folder, data = path.parent, config.data
    sets = [_located(one, folder) for one in data.sets]
    if data.index is not None:
        sets += read_index(folder / data.index)
    validation = data.validation and _located(data.validation, folder)
    return replace(
        _located(config, folder),
        data=replace(_located(data, folder), sets=tuple(sets), index=None, validation=validation),
        network=_located(config.network, folder),
        distillation=_located(config.distillation, folder),
    )


def without_moved(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's values without keys that moved to recipes, which may be off.

    Raises:
        ValueError: If one is not off; the message names its new place.
    """
    rest = dict(values)
    for (name, key), (off, new) in _MOVED.items():
        table = rest.get(name)
        if not isinstance(table, Mapping) or key not in table:
            continue
        if table[key] not in off:
            place = f"{new} in [recipe], which models/recipes/train.py reads"
            raise ValueError(f"{name}.{key}: moved; expected {place}")
        rest[name] = {k: value for k, value in table.items() if k != key}
    return rest


def read_index(path: str | Path) -> tuple[SetConfig, ...]:
    """The sets that an index names: a TOML file of ``[[sets]]`` and nothing else.

    Raises:
        ValueError: As :func:`read_config`.
    """
    path = Path(path)
    values = read_toml(path)
    try:
        return tuple(_located(one, path.parent) for one in as_table(_Index, values).sets)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _located(table: _T, folder: Path) -> _T:
    """A table with its paths, which are relative to a folder; names of models stay."""
    keys = {"output", "annotations", "images", "skeleton", "weights", "trunk", "teacher"}
    paths = {key: getattr(table, key) for key in keys.intersection(table.__struct_fields__)}
    located = {key: str(folder / path) for key, path in paths.items() if path}
    if is_name(paths.get("weights") or ""):
        del located["weights"]
    return replace(table, **located)
