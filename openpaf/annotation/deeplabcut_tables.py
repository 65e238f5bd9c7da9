"""DeepLabCut's tables as arrays: ``CollectedData_*.csv``, and ``.h5``, which pandas has written."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import shown
from openpaf.io.extras import import_extra

_LEVELS = ("scorer", "individuals", "bodyparts", "coords")
_KEY = "df_with_missing"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Coordinates of images.

    Args:
        images: Paths of N images, with ``/``.
        columns: For each of C columns its individual (empty where there is one animal an image),
            body part and coordinate.
        values: (N, C) float64, in px, NaN where nothing is labeled.
    """

    images: tuple[str, ...]
    columns: tuple[tuple[str, str, str], ...]
    values: NDArray[np.float64]


def read_table(path: Path) -> Table:
    """A table of labels.

    Raises:
        ValueError: If it is no such table; the message names the file, and the line of a CSV file.
        OSError: If it cannot be read.
    """
    try:
        return _hdf5(path) if path.suffix.lower() == ".h5" else _csv(path)
    except ValueError as error:
        raise ValueError(f"{shown(path)}: not of DeepLabCut: {error}") from error


def _csv(path: Path) -> Table:
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            lines = list(csv.reader(file))
        except csv.Error as error:
            raise ValueError(str(error)) from error
    names = [line[0] if line else "" for line in lines[:4]]
    n_levels = 4 if "individuals" in names else 3
    levels = names[:n_levels]
    width = len(lines[0]) if lines else 0
    _check_levels(levels)
    n_index = 1 + next((k for k, text in enumerate(lines[0][1:]) if text), width)
    if any(len(line) != width for line in lines[:n_levels]) or n_index not in (1, 3):
        raise ValueError("expected header lines of one length, after 1 or 3 columns of the image")
    images, values = [], []
    for number, line in enumerate(lines[n_levels:], n_levels + 1):
        if not line:
            continue
        if len(line) != width:
            raise ValueError(f"line {number}: expected {width} values, got {len(line)}")
        images.append("/".join(line[:n_index]))
        try:
            values.append([float(text) if text else np.nan for text in line[n_index:]])
        except ValueError as error:
            raise ValueError(f"line {number}: expected numbers: {error}") from error
    columns = zip(*(line[n_index:] for line in lines[:n_levels]), strict=True)
    return _table(images, levels, [tuple(column) for column in columns], np.array(values))


def _hdf5(path: Path) -> Table:
    """The frame of an HDF5 file in pandas' fixed format, read as plain arrays.

    pandas reads it with PyTables, which unpickles what a file holds: a file of a stranger could
    run any program.
    """
    h5py = import_extra("h5py", "convert", "format deeplabcut")
    try:
        with h5py.File(path, "r") as file:
            group = file[_KEY]
            columns, images = _index(group, "axis0"), _index(group, "axis1")
            levels = [_text(group[f"axis0_level{k}"].attrs["name"]) for k in range(len(columns[0]))]
            _check_levels(levels)
            values = np.full((len(images), len(columns)), np.nan)
            for k in range(int(group.attrs["nblocks"])):
                items = [columns.index(item) for item in _index(group, f"block{k}_items")]
                values[:, items] = group[f"block{k}_values"][...]
    except (LookupError, TypeError, OSError, RuntimeError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(
            f"expected the frame {_KEY!r} in pandas' fixed format, as DeepLabCut writes it beside "
            f"the CSV file: {error}"
        ) from error
    return _table(["/".join(parts) for parts in images], levels, columns, values)


def _index(group: Any, name: str) -> list[tuple[str, ...]]:
    """The entries of an index of pandas, each with its levels."""
    if name in group:
        return [(_text(entry),) for entry in group[name][...]]
    columns = []
    for k in range(int(group.attrs[f"{name}_nlevels"])):
        level = [_text(entry) for entry in group[f"{name}_level{k}"][...]]
        columns.append([level[code] for code in group[f"{name}_label{k}"][...].tolist()])
    return list(zip(*columns, strict=True))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _check_levels(levels: Sequence[str]) -> None:
    if list(levels) not in ([*_LEVELS], [name for name in _LEVELS if name != "individuals"]):
        raise ValueError(
            f"expected header lines scorer, (individuals,) bodyparts, coords; got "
            f"{', '.join(levels) or 'none'}"
        )


def _table(
    images: Sequence[str],
    levels: Sequence[str],
    columns: Sequence[tuple[str, ...]],
    values: NDArray[np.float64],
) -> Table:
    own = [dict(zip(levels, column, strict=True)) for column in columns]
    named = tuple((one.get("individuals", ""), one["bodyparts"], one["coords"]) for one in own)
    if any(coordinate == "likelihood" for _, _, coordinate in named):
        raise ValueError("it has predictions of a video (likelihood), expected CollectedData_*")
    if len(set(named)) != len(named):
        raise ValueError("columns: expected each individual, body part and coordinate once")
    names = tuple(image.replace("\\", "/") for image in images)
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"images: {repeated!r} comes twice")
    return Table(images=names, columns=named, values=values.reshape(len(names), len(named)))
