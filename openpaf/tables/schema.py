"""The columns of a table: a row an image or a frame, failures included."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import openpaf
from openpaf.checks import import_extra
from openpaf.skeleton import Skeleton

#: Number of the schema; it grows when a column changes its meaning or goes.
SCHEMA_VERSION = 1

#: The columns in their order, each with the name of its type in :func:`arrow_schema`.
COLUMNS = {
    "path": "text",
    "sha256": "text",
    "frame": "int64",
    "time_s": "float64",
    "height": "int32",
    "width": "int32",
    "n_people": "int32",
    "ids": "int64s",
    "person_scores": "floats",
    "boxes": "vectors",
    "keypoints": "matrices",
    "joint_scores": "vectors",
    "error": "text",
    "model": "text",
    "engine": "text",
    "openpaf": "text",
}

#: A row of a table: a value for each of :data:`COLUMNS`, arrays for those of the people; None where
#: a value is not known.
ImageRow = dict[str, Any]


class PeopleOfImage(Protocol):
    """What tables take from :class:`openpaf.Poses`."""

    @property
    def xy(self) -> NDArray[np.float32]:
        """(N, K, 2), NaN where a joint is missing."""

    @property
    def scores(self) -> NDArray[np.float32]:
        """(N, K), 0 where a joint is missing."""

    @property
    def person_scores(self) -> NDArray[np.float32]:
        """(N,)."""

    @property
    def ids(self) -> NDArray[np.int64] | None:
        """(N,) ids over the frames of a video."""

    @property
    def skeleton(self) -> Skeleton:
        """The K joints."""

    @property
    def image(self) -> NDArray[np.uint8] | None:
        """The image that they are of, where it is kept."""

    def boxes(self) -> NDArray[np.float32]:
        """(N, 4) x0, y0, x1, y1."""


def image_row(
    people: PeopleOfImage | None = None,
    *,
    image_hw: Sequence[int] | None = None,
    **values: str | int | float | None,
) -> ImageRow:
    """A row of one image.

    Args:
        people: Its people; None if it cannot be read or estimated.
        image_hw: Its height and width in px.
        values: Of other columns: ``path``, ``sha256``, ``frame``, ``time_s``, ``error``, ``model``
            and ``engine``.

    Raises:
        ValueError: If there is no such column.
    """
    unknown = values.keys() - COLUMNS.keys()
    if unknown:
        raise ValueError(f"row: unknown columns {', '.join(sorted(unknown))}")
    row: ImageRow = {**dict.fromkeys(COLUMNS), **values, "openpaf": openpaf.__version__}
    if image_hw is not None:
        row["height"], row["width"] = (int(side) for side in image_hw)
    if people is not None:
        row.update(
            n_people=len(people.xy),
            ids=people.ids,
            person_scores=people.person_scores,
            boxes=people.boxes(),
            keypoints=people.xy,
            joint_scores=people.scores,
        )
    return row


def plain_row(row: ImageRow) -> ImageRow:
    """A row for JSON: lists in place of arrays, None for NaN; coordinates to 0.001 px, scores to 6
    digits."""
    plain = dict(row)
    for name, digits in (("boxes", 3), ("keypoints", 3), ("joint_scores", 6), ("person_scores", 6)):
        if row[name] is not None:
            plain[name] = _plain(np.asarray(row[name], np.float64).round(digits))
    if row["ids"] is not None:
        plain["ids"] = np.asarray(row["ids"]).tolist()
    return plain


def _plain(array: NDArray[np.float64]) -> Any:
    if not np.isnan(array).any():
        return array.tolist()
    values = array.astype(object)
    values[np.isnan(array)] = None
    return values.tolist()


def arrow_schema(skeleton: Skeleton | None = None) -> Any:
    """The schema as :class:`pyarrow.Schema`, the same for every table, be there people or not.

    Args:
        skeleton: Whose joints its metadata name.

    Raises:
        ValueError: If pyarrow, the extra ``tables``, is not installed.
    """
    pa = import_extra("pyarrow", "tables", "arrow")

    def list_of(kind: Any) -> Any:
        return pa.list_(pa.field("element", kind))  # the name that it has in a Parquet file

    types: dict[str, Callable[[], Any]] = {
        "text": pa.string,
        "int32": pa.int32,
        "int64": pa.int64,
        "float64": pa.float64,
        "int64s": lambda: list_of(pa.int64()),
        "floats": lambda: list_of(pa.float32()),
        "vectors": lambda: list_of(list_of(pa.float32())),
        "matrices": lambda: list_of(list_of(list_of(pa.float32()))),
    }
    metadata = {"openpaf_schema": str(SCHEMA_VERSION)}
    if skeleton is not None:
        metadata["openpaf_joints"] = json.dumps(skeleton.joints)
    fields = [(name, types[kind]()) for name, kind in COLUMNS.items()]
    return pa.schema(fields, metadata=metadata)


def arrow_table(rows: Iterable[ImageRow], skeleton: Skeleton | None = None) -> Any:
    """Rows as :class:`pyarrow.Table`; float32 to the last bit, NaN where a joint is missing.

    Args:
        rows: Of :func:`image_row`.
        skeleton: Whose joints the metadata name.

    Raises:
        ValueError: If pyarrow, the extra ``tables``, is not installed.
    """
    schema = arrow_schema(skeleton)
    pa = import_extra("pyarrow", "tables", "arrow")
    rows = list(rows)
    columns = [
        pa.array([_listed(row[field.name]) for row in rows], type=field.type) for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


#: The type of a table for Spark's ``mapInPandas``.
SPARK_SCHEMA = ", ".join(
    f"{name} "
    + {
        "text": "string",
        "int32": "int",
        "int64": "bigint",
        "float64": "double",
        "int64s": "array<bigint>",
        "floats": "array<float>",
        "vectors": "array<array<float>>",
        "matrices": "array<array<array<float>>>",
    }[kind]
    for name, kind in COLUMNS.items()
)
