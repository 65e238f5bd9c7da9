"""Tables of a long run, written in parts; a part is there whole, or not at all."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

import openpaf
from openpaf.bulk.inputs import Shard
from openpaf.bulk.retry import drop_failures
from openpaf.errors import shown
from openpaf.io.addresses import is_url, shown_source
from openpaf.io.closing import Closing
from openpaf.io.files import replacing, write_whole
from openpaf.io.json_files import read_json_or_lines
from openpaf.io.text_set import hash_of
from openpaf.skeleton import Skeleton
from openpaf.tables.files import TABLES
from openpaf.tables.schema import SCHEMA_VERSION, ImageRow

_log = logging.getLogger(__name__)

#: Rows of a part.
PART_ROWS = 1000
#: What the tables of a folder were made with; readers of data sets pass over such a name.
SETTINGS_FILE = "_people.json"


class PartWriter(Closing):
    """Rows of one run, or of one shard of it, in files ``people-00000.parquet`` and so on.

    A part gets its name when it is complete and the disk has it: a kill at any moment, also a power
    cut, loses the rows since the last part and nothing else. The parts are at the same time the
    record of what is done.

    Args:
        folder: Where the parts go; it must exist.
        formats: Some of :data:`openpaf.tables.files.TABLES`.
        skeleton: The joints.
        shard: Which of several runs that write into the folder.
        rows: Of a part.
        resume: Whether to go on where an earlier run stopped.
        overwrite: Whether to delete the parts of an earlier run.
        retry_errors: Whether to take the rows with an error out of the parts of an earlier run, so
            that these inputs are not done.
        settings: What changes results; an earlier run with others is not resumed.
        on_part: Called with the number of rows after each part.

    Raises:
        ValueError: If the folder has parts of an earlier run, and neither ``resume`` nor
            ``overwrite`` is set, or that run had other settings; or another process is writing.
        OSError: If the folder cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        formats: Iterable[str],
        skeleton: Skeleton,
        *,
        shard: Shard | None = None,
        rows: int = PART_ROWS,
        resume: bool = False,
        overwrite: bool = False,
        retry_errors: bool = False,
        settings: Mapping[str, Any] | None = None,
        on_part: Callable[[int], None] = lambda n_rows: None,
    ) -> None:
        shard = shard or Shard()
        self._folder, self._formats, self._skeleton = folder, tuple(formats), skeleton
        self._stem = _stem(shard)
        self._n_rows, self._on_part = rows, on_part
        self._waiting: list[ImageRow] = []
        with contextlib.ExitStack() as stack:
            stack.enter_context(only_writer(folder, self._stem))
            earlier = _numbered(folder, self._stem)
            if earlier and overwrite:
                _delete(path for paths in earlier.values() for path in paths)
                earlier = {}
            elif earlier and not resume:
                raise ValueError(
                    f"--output: {shown(folder)} has tables of an earlier run; --resume goes on "
                    "with it, --overwrite deletes them"
                )
            own = {**(settings or {}), "formats": list(self._formats), "shards": shard.count}
            check_settings(folder, skeleton, own)
            for number in [n for n, paths in earlier.items() if len(paths) < len(self._formats)]:
                _delete(earlier.pop(number))  # killed between the files of a part
            if retry_errors:
                earlier = {n: paths for n, paths in earlier.items() if drop_failures(paths)}
            self._number = 1 + max(earlier, default=-1)
            #: What the parts of an earlier run have.
            self.done = DonePaths(self._paths_of(earlier))
            self._lock = stack.pop_all()

    def add(self, row: ImageRow) -> None:
        """Add a row; with the last one of a part, the part is written."""
        self._waiting.append(row)
        if len(self._waiting) >= self._n_rows:
            self.commit()

    def commit(self) -> None:
        """Write the rows that wait as a part."""
        if not self._waiting:
            return
        for name in self._formats:
            file = self._folder / f"{self._stem}-{self._number:05}{TABLES[name].suffix}"
            temporary = self._folder / f".{self._stem}{TABLES[name].suffix}.partial"
            with replacing(file, temporary=temporary, sync=True) as place:
                writer = TABLES[name].open(place, self._skeleton)
                try:
                    writer.write(self._waiting)
                finally:
                    writer.close()
        n_rows, self._waiting = len(self._waiting), []
        self._number += 1
        self._on_part(n_rows)

    def close(self) -> None:
        """Write what waits, and let others write."""
        try:
            self.commit()
        finally:
            self._lock.close()

    def _paths_of(self, parts: Mapping[int, list[Path]]) -> Iterable[str]:
        name = min(self._formats, key=list(_QUICKEST).index)
        for paths in parts.values():
            for path in paths:
                if path.suffix == TABLES[name].suffix:
                    yield from TABLES[name].paths(path)


_QUICKEST = ("parquet", "jsonl", "csv")  # to read the paths of


class DonePaths:
    """A set of paths in 8 bytes each, by their hash: of ten million two are taken for one with a
    probability of 3e-6."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        hashes = np.fromiter((hash_of(path) for path in paths), np.uint64)
        self._hashes: NDArray[np.uint64] = np.unique(hashes)

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, path: str) -> bool:
        if not len(self._hashes):
            return False
        value = np.uint64(hash_of(path))
        place = int(np.searchsorted(self._hashes, value))
        return place < len(self._hashes) and bool(self._hashes[place] == value)


def table_path(path: str) -> str:
    """A path as a table has it: bytes of its name that are no UTF-8 are escaped, and passwords of
    addresses are left out."""
    if is_url(path):
        path = shown_source(path)
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _stem(shard: Shard) -> str:
    return "people" if shard.count == 1 else f"people-{shard.index}of{shard.count}"


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink()


def _numbered(folder: Path, stem: str) -> dict[int, list[Path]]:
    """The parts by their numbers, each with its files."""
    pattern = re.compile(re.escape(stem) + r"-(\d{5,})\.(?:parquet|csv|jsonl)")
    parts: dict[int, list[Path]] = {}
    for entry in sorted(os.listdir(folder)):
        if match := pattern.fullmatch(entry):
            parts.setdefault(int(match[1]), []).append(folder / entry)
    return parts


@contextlib.contextmanager
def only_writer(folder: Path, stem: str = "people") -> Iterator[None]:
    """Within the block, no other run that asks for it writes these files of a folder.

    Raises:
        ValueError: If another one does.
    """
    lock = FileLock(folder / f".{stem}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"--output: another run is writing {shown(folder)}") from None
    except NotImplementedError:  # what filelock raises on some file systems of clusters
        _log.warning("%s: no locks here, so two runs at once are not noticed", shown(folder))
    try:
        yield
    finally:
        lock.release()


def check_settings(folder: Path, skeleton: Skeleton, settings: Mapping[str, Any]) -> None:
    """Write down what the tables of a folder are made with, or compare it with what they were.

    Raises:
        ValueError: If there are tables, and they were made with other joints or settings.
        OSError: If it cannot be read or written.
    """
    path = folder / SETTINGS_FILE
    own = {"schema": SCHEMA_VERSION, "joints": list(skeleton.joints), **settings}
    own = json.loads(json.dumps(own))
    has_tables = any(re.fullmatch(r"people-.*\d{5,}\.\w+", name) for name in os.listdir(folder))
    if has_tables:
        if not path.exists():
            raise ValueError(f"--output: {shown(folder)} has tables, but no {SETTINGS_FILE}")
        earlier = read_json_or_lines(path)
        for name, value in own.items():
            if earlier.get(name) != value:
                raise ValueError(
                    f"--output: the tables in {shown(folder)} were made with {name} "
                    f"{earlier.get(name)}, not {value}; choose another folder, or --overwrite"
                )
        return
    text = json.dumps({**own, "openpaf": openpaf.__version__}, indent=1) + "\n"
    write_whole(path, text.encode(), sync=True)
