"""Configurations of training runs, read from TOML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import fields, replace

from openpaf.training.config import SetConfig, TrainConfig
from openpaf.training.tables import Table, as_table
from openpaf.training.toml_files import read_toml

# Where the keys of files of older versions stand now, which had no tables.
_MOVED = {
    "[network.options]": (
        "n_refinement_stages", "width", "ranks", "hidden_width", "refinement_width",
        "refinement_hidden_width", "atrous", "options",
    ),
    "[[data.sets]]": ("sets",), "data.on_device": ("data_on_device",),
    "network.name": ("network",), "network.weights": ("init",),
    "optimizer.name": ("optimizer",), "optimizer.validation_size": ("size",),
    "distillation.engine": ("teacher_runtime",), "distillation.scales": ("teacher_scales",),
    "distillation.mirrored_scales": ("teacher_mirrored",),
    "distillation.weight": ("teacher_share",),
    "distillation.inside_ignore_regions": ("teacher_unmasks",),
    "distillation.image_scales": ("picture_scales",),
    "distillation.cached_crops": ("reused_crops",),
    "a script of models/recipes": ("shrink", "open_model_zoo", "fit_batches"),
}  # fmt: skip
_T = TypeVar("_T", bound=Table)


class _Index(Table, frozen=True, kw_only=True):
    sets: tuple[SetConfig, ...] = ()


def read_config(path: str | Path) -> TrainConfig:
    """Read and check a training configuration.

    Returns:
        The configuration, its paths relative to the current folder, the sets of its index in it.

    Raises:
        ValueError: If the file cannot be read, is not TOML, or has an unknown, missing or wrong
            key; the message names the file and the key.
    """
    path = Path(path)
    values = read_toml(path)
    try:
        _refuse_old_keys(values)
        config = as_table(TrainConfig, values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    folder, data = path.parent, config.data
    sets = [_located(one, folder) for one in data.sets]
    if data.index is not None:
        sets += read_index(folder / data.index)
    validation = data.validation and _located(data.validation, folder)
    return replace(
        _located(config, folder),
        data=replace(data, sets=tuple(sets), index=None, validation=validation),
        network=_located(config.network, folder),
        distillation=_located(config.distillation, folder),
    )


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
    """A table with its paths, which are relative to a folder."""
    keys = {"output", "annotations", "images", "weights", "imagenet", "teacher"}
    paths = {key: getattr(table, key) for key in keys.intersection(table.__struct_fields__)}
    return replace(table, **{key: str(folder / path) for key, path in paths.items() if path})


def _refuse_old_keys(values: Mapping[str, Any]) -> None:
    """Say where the keys of a file of an older version stand now."""
    tables = {one.name: getattr(one.type, "__struct_fields__", ()) for one in fields(TrainConfig)}
    moved = []
    for key, value in values.items():
        is_flat = key in ("network", "optimizer") and isinstance(value, str)
        if key not in tables or is_flat:
            places = [place for place, keys in _MOVED.items() if key in keys]
            places += [f"{name}.{key}" for name, keys in tables.items() if key in keys]
            moved += [f"{key} is now {place}" for place in places[:1]]
    if moved:
        raise ValueError(f"keys stand in tables, see docs/training.md: {'; '.join(moved)}")
