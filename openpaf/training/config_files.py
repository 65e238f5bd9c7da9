"""Configurations of training runs, read from TOML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from openpaf.training.config import (
    DataConfig,
    DistillationConfig,
    OptimizerConfig,
    SetConfig,
    TargetsConfig,
    TrainConfig,
)
from openpaf.training.tables import Table, as_table
from openpaf.training.toml_files import read_toml

#: Where the keys of the files of older versions stand now, those apart that kept their names.
_RENAMED = {
    "sets": "[[data.sets]]", "validation": "[data.validation]", "index": "data.index",
    "options": "[network.options]", "init": "network.weights", "network": "network.name",
    "imagenet": "network.imagenet",
    "teacher": "distillation.teacher", "teacher_runtime": "distillation.engine",
    "teacher_scales": "distillation.scales", "teacher_mirrored": "distillation.mirrored_scales",
    "teacher_share": "distillation.weight",
    "teacher_unmasks": "distillation.inside_ignore_regions",
    "picture_scales": "distillation.image_scales", "reused_crops": "distillation.cached_crops",
    "optimizer": "optimizer.name", "size": "optimizer.validation_size",
    "data_on_device": "data.on_device", "shrink": "models/recipes",
    "open_model_zoo": "models/recipes", "fit_batches": "models/recipes",
}  # fmt: skip
_RENAMED |= dict.fromkeys(
    ("n_refinement_stages", "width", "ranks", "hidden_width", "refinement_width",
     "refinement_hidden_width", "atrous"),
    "in [network.options]",
)  # fmt: skip
_TABLES: dict[str, type[Table]] = {
    "data": DataConfig, "targets": TargetsConfig, "optimizer": OptimizerConfig,
    "distillation": DistillationConfig,
}  # fmt: skip
_T = TypeVar("_T", bound=Table)


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
    sets = [_located(one, folder, "annotations", "images") for one in data.sets]
    if data.index is not None:
        sets += read_index(folder / data.index)
    validation = data.validation and _located(data.validation, folder, "annotations", "images")
    return replace(
        _located(config, folder, "output"),
        data=replace(data, sets=tuple(sets), index=None, validation=validation),
        network=_located(config.network, folder, "weights", "imagenet"),
        distillation=_located(config.distillation, folder, "teacher"),
    )


def read_index(path: str | Path) -> tuple[SetConfig, ...]:
    """The sets that an index names: a TOML file of ``[[sets]]`` and nothing else.

    Raises:
        ValueError: As :func:`read_config`.
    """
    path = Path(path)
    values = read_toml(path)
    try:
        index = as_table(_Index, values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return tuple(_located(one, path.parent, "annotations", "images") for one in index.sets)


class _Index(Table, frozen=True, kw_only=True):
    sets: tuple[SetConfig, ...] = ()


def _located(table: _T, folder: Path, *keys: str) -> _T:
    """A table whose paths are relative to a folder."""
    paths = {key: getattr(table, key) for key in keys}
    return replace(table, **{key: str(folder / path) for key, path in paths.items() if path})


def _refuse_old_keys(values: Mapping[str, Any]) -> None:
    """Say where the keys of a file of an older version stand now, which had no tables."""
    tables = TrainConfig.__struct_fields__
    old = [key for key, value in values.items() if key not in tables or _is_flat(key, value)]
    moved = {key: place for key in old if (place := _new_place(key)) is not None}
    if moved:
        places = "; ".join(f"{key} is now {place}" for key, place in moved.items())
        raise ValueError(f"keys stand in tables, see docs/training.md: {places}")


def _is_flat(key: str, value: Any) -> bool:
    return key in ("network", "optimizer") and isinstance(value, str)


def _new_place(key: str) -> str | None:
    if key in _RENAMED:
        return _RENAMED[key]
    for name, table in _TABLES.items():
        if key in table.__struct_fields__:
            return f"{name}.{key}"
    return None
