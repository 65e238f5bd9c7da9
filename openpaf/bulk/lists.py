"""The inputs of a run on many machines, listed once, in files of which each is a part."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from openpaf.bulk.inputs import Input, is_tar
from openpaf.io.addresses import is_url
from openpaf.io.files import write_whole

LISTS = "_lists"
_COMPLETE = "complete.json"


def write_lists(inputs: Iterable[Input], folder: Path, size: int) -> int:
    """Write the paths of inputs in lists; memory does not grow with their number.

    Args:
        inputs: Files and addresses; a tar file is a list of its own.
        folder: Where the table goes; the lists are in a folder in it.
        size: Paths of a list.

    Returns:
        The number of lists.

    Raises:
        OSError: If they cannot be written.
    """
    place = folder / LISTS
    place.mkdir(exist_ok=True)
    n_lists = n_inputs = 0
    for paths in _lists(inputs, size):
        write_whole(place / _name(n_lists), json.dumps(paths).encode())
        n_lists += 1
        n_inputs += len(paths)
    if n_lists:
        text = json.dumps({"lists": n_lists, "inputs": n_inputs})
        write_whole(place / _COMPLETE, text.encode(), sync=True)
    return n_lists


def n_lists(folder: Path) -> int | None:
    """How many lists an earlier run has written; None if it did not come to the end of them."""
    try:
        return int(json.loads((folder / LISTS / _COMPLETE).read_bytes())["lists"])
    except (OSError, ValueError, KeyError):
        return None


def read_list(folder: Path, number: int) -> list[str]:
    """The paths of a list.

    Raises:
        OSError: If it cannot be read.
    """
    paths: list[str] = json.loads((folder / LISTS / _name(number)).read_bytes())
    return paths


def part_path(folder: Path, number: int) -> Path:
    """The file of the table with the rows of a list."""
    return folder / f"people-{number:06}.parquet"


def note_try(folder: Path, number: int) -> int:
    """Note that a part is tried, and say how often it was with this time.

    Raises:
        OSError: If it cannot be noted.
    """
    with open(_tries_path(folder, number), "ab") as file:
        file.write(b".")
        return file.tell()


def forget_tries(folder: Path, number: int | None = None) -> None:
    """Let a part, or all, be tried as for the first time."""
    name = "*.tries" if number is None else _tries_path(folder, number).name
    for path in (folder / LISTS).glob(name):
        path.unlink(missing_ok=True)


def _tries_path(folder: Path, number: int) -> Path:
    return folder / LISTS / f"{number:06}.tries"


def _lists(inputs: Iterable[Input], size: int) -> Iterator[list[str]]:
    paths: list[str] = []
    for one in inputs:
        # The machines that read the lists may be in other folders.
        path = one.path if is_url(one.path) else os.path.abspath(one.path)
        if is_tar(path) and os.path.isfile(path):
            yield [path]
            continue
        paths.append(path)
        if len(paths) == size:
            yield paths
            paths = []
    if paths:
        yield paths


def _name(number: int) -> str:
    return f"{number:06}.json"
