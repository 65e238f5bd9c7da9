"""Files of tables: Parquet, CSV and lines of JSON, of the formats of one table."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from openpaf.checks import import_extra
from openpaf.skeleton import Skeleton
from openpaf.tables.flat import flat_columns, flat_rows
from openpaf.tables.schema import ImageRow, arrow_schema, arrow_table, plain_row


class TableWriter(Protocol):
    """A file that is open for rows."""

    def write(self, rows: Sequence[ImageRow]) -> None:
        """Add rows; in Parquet they are a row group."""

    def close(self) -> None:
        """Finish the file."""


@dataclass(frozen=True, kw_only=True)
class TableFormat:
    """How rows are written.

    Args:
        description: What the help says that such a file is.
        suffix: Of the file.
        open: From a path and the joints to a writer.
        paths: The column ``path`` of a file, which tells what an earlier run has done.
        keep_good: Writes the rows of a file that have no error to a second path; how many it kept
            and left out. Where none is to be left out, or kept, nothing is written.
        group: Rows of a video that are written together; 1 where a row is there at once.
        needs: Module that only the extra ``tables`` installs.
    """

    description: str
    suffix: str
    open: Callable[[str | os.PathLike[str], Skeleton], TableWriter]
    paths: Callable[[str | os.PathLike[str]], Iterable[str]]
    keep_good: Callable[[str | os.PathLike[str], str | os.PathLike[str]], tuple[int, int]]
    group: int = 1
    needs: str | None = None


def read_table(path: str | os.PathLike[str]) -> Any:
    """A Parquet file, or a folder of them, as :class:`pyarrow.Table`.

    Raises:
        ValueError: If pyarrow, the extra ``tables``, is not installed.
        OSError: If it cannot be read.
    """
    return import_extra("pyarrow.parquet", "tables", "table").read_table(os.fspath(path))


class _Parquet:
    def __init__(self, path: str | os.PathLike[str], skeleton: Skeleton) -> None:
        parquet = import_extra("pyarrow.parquet", "tables", "format")
        schema = arrow_schema(skeleton)
        self._skeleton = skeleton
        self._writer = parquet.ParquetWriter(os.fspath(path), schema, compression="zstd")

    def write(self, rows: Sequence[ImageRow]) -> None:
        if rows:
            self._writer.write_table(arrow_table(rows, self._skeleton))

    def close(self) -> None:
        self._writer.close()


class _Text:
    """A file of lines; each is there when :meth:`write` returns."""

    def __init__(self, path: str | os.PathLike[str], newline: str | None = "\n") -> None:
        self.file: IO[str] = open(path, "w", encoding="utf-8", newline=newline)  # noqa: SIM115

    def close(self) -> None:
        self.file.close()


class _Csv(_Text):
    def __init__(self, path: str | os.PathLike[str], skeleton: Skeleton) -> None:
        super().__init__(path, newline="")
        self._joints = skeleton.joints
        self._csv = csv.writer(self.file, lineterminator="\n")
        self._csv.writerow(flat_columns(self._joints))

    def write(self, rows: Sequence[ImageRow]) -> None:
        for row in rows:
            self._csv.writerows(flat_rows(row, self._joints))
        self.file.flush()


class _JsonLines(_Text):
    def __init__(self, path: str | os.PathLike[str], skeleton: Skeleton) -> None:
        super().__init__(path)

    def write(self, rows: Sequence[ImageRow]) -> None:
        for row in rows:
            self.file.write(json.dumps(plain_row(row), allow_nan=False) + "\n")
        self.file.flush()


def _parquet_paths(path: str | os.PathLike[str]) -> Iterator[str]:
    parquet = import_extra("pyarrow.parquet", "tables", "format")
    with parquet.ParquetFile(os.fspath(path)) as file:
        for batch in file.iter_batches(columns=["path"]):
            yield from batch.column(0).to_pylist()


def _csv_paths(path: str | os.PathLike[str]) -> Iterator[str]:
    with open(path, encoding="utf-8", newline="") as file:
        for values in csv.DictReader(file):
            yield values["path"]


def _json_paths(path: str | os.PathLike[str]) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["path"]


def _keep_good_parquet(
    path: str | os.PathLike[str], target: str | os.PathLike[str]
) -> tuple[int, int]:
    parquet = import_extra("pyarrow.parquet", "tables", "format")
    with parquet.ParquetFile(os.fspath(path)) as file:
        n_all = file.metadata.num_rows
        errors = file.read(columns=["error"])["error"]
        n_good = errors.null_count
        if 0 < n_good < n_all:
            good = file.read().filter(errors.is_null())
            parquet.write_table(good, os.fspath(target), compression="zstd")
    return n_good, n_all - n_good


def _keep_good_csv(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> tuple[int, int]:
    with open(path, encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    column = names.index("error")
    good = [row for row in rows if not row[column]]
    if 0 < len(good) < len(rows):
        with open(target, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([names, *good])
    return len(good), len(rows) - len(good)


def _keep_good_lines(
    path: str | os.PathLike[str], target: str | os.PathLike[str]
) -> tuple[int, int]:
    with open(path, encoding="utf-8") as file:
        rows = list(file)
    good = [line for line in rows if json.loads(line)["error"] is None]
    if 0 < len(good) < len(rows):
        with open(target, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(good)
    return len(good), len(rows) - len(good)


#: The formats of tables, by the names that ``openpaf predict --format`` takes.
TABLES: dict[str, TableFormat] = {
    "csv": TableFormat(
        description="a row a person, for spreadsheets", suffix=".csv", open=_Csv, paths=_csv_paths,
        keep_good=_keep_good_csv,
    ),
    "parquet": TableFormat(
        description="a row an image", suffix=".parquet", open=_Parquet, paths=_parquet_paths,
        keep_good=_keep_good_parquet,
        group=500, needs="pyarrow",
    ),
    "jsonl": TableFormat(
        description="a line of JSON an image", suffix=".jsonl", open=_JsonLines, paths=_json_paths,
        keep_good=_keep_good_lines,
    ),
}  # fmt: skip
