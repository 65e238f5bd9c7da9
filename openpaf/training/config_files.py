"""Configurations of training runs, read from TOML files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from openpaf.io.toml_files import read_toml
from openpaf.training.config import SKELETONS, SetConfig, TrainConfig
from openpaf.training.start import read_start
from openpaf.training.tables import Table, as_table
from openpaf.weights import is_name

_T = TypeVar("_T", bound=Table)
_Config = TypeVar("_Config", bound=TrainConfig)

_PATHS = {"output", "index", "annotations", "images", "skeleton", "weights", "trunk", "teacher"}
_NAMES = {"skeleton": SKELETONS.__contains__, "weights": is_name}  # which are no paths


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
        WeightsError: If the file names a method, and weights that are missing or are no weights.
    """
    path = Path(path)
    values = read_toml(path)
    try:
        # Files may name their method, though the network says it.
        config = as_table(kind, {key: value for key, value in values.items() if key != "method"})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    config = _located(config, path.parent)
    _check_method(values, config, path)
    if config.data.index is None:
        return config
    sets = (*config.data.sets, *read_index(config.data.index))
    return replace(config, data=replace(config.data, sets=sets, index=None))


def _check_method(values: dict[str, Any], config: TrainConfig, path: Path) -> None:
    """Raise a ValueError if a file names a method that is not its network's.

    It need not name one: the network says how it is trained.
    """
    if "method" not in values:
        return
    start = read_start(config.network)
    theirs = "mask_rcnn" if start.method == "objects" else start.method
    if values["method"] not in (theirs, theirs.replace("_", "-")):
        raise ValueError(
            f"{path}: method: expected {theirs.replace('_', '-')!r}, that of the network "
            f"{start.builder!r}, or none, got {values['method']!r}"
        )


def read_index(path: str | Path) -> tuple[SetConfig, ...]:
    """The sets that an index names: a TOML file of ``[[sets]]`` and nothing else.

    Raises:
        ValueError: As :func:`read_config`.
    """
    path = Path(path)
    values = read_toml(path)
    try:
        return _located(as_table(_Index, values), path.parent).sets
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _located(table: _T, folder: Path) -> _T:
    """A table, and those in it, with paths that are relative to a folder; names of models stay."""
    located: dict[str, Any] = {}
    for key in table.__struct_fields__:
        value = getattr(table, key)
        if isinstance(value, Table):
            located[key] = _located(value, folder)
        elif key == "sets":
            located[key] = tuple(_located(one, folder) for one in value)
        elif key in _PATHS and value and not (key in _NAMES and _NAMES[key](value)):
            located[key] = str(folder / value)
    return replace(table, **located)
