"""A row a person, with a column for each number: for spreadsheets and data frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.tables.schema import COLUMNS, ImageRow, PeopleOfImage, plain_row

_PERSON = ("person", "id", "score", "x0", "y0", "x1", "y1")
_LISTS = ("ids", "person_scores", "boxes", "keypoints", "joint_scores")
_LAST = ("error", "model", "engine", "openpaf")
_FIRST = tuple(name for name in COLUMNS if name not in (*_LISTS, *_LAST))


def flat_columns(joints: Sequence[str]) -> list[str]:
    """The columns: of the image, of the person, and x, y and score of each joint."""
    return [*_FIRST, *person_columns(joints), *_LAST]


def person_columns(joints: Sequence[str]) -> list[str]:
    """Those columns that are about a person."""
    return [*_PERSON, *(f"{joint}_{kind}" for joint in joints for kind in ("x", "y", "score"))]


def flat_rows(row: ImageRow, joints: Sequence[str]) -> Iterator[list[Any]]:
    """The people of an image, a row each; one row without a person where there are none.

    Args:
        row: Of :func:`openpaf.tables.schema.image_row`.
        joints: Names of the joints.

    Yields:
        A value for each of :func:`flat_columns`; None where it is not known.
    """
    plain = plain_row(row)
    first, last = [plain[name] for name in _FIRST], [plain[name] for name in _LAST]
    for n in range(plain["n_people"] or 0):
        person_id = None if plain["ids"] is None else plain["ids"][n]
        values = [n, person_id, plain["person_scores"][n], *plain["boxes"][n]]
        for xy, score in zip(plain["keypoints"][n], plain["joint_scores"][n], strict=True):
            values += [*xy, score]
        yield [*first, *values, *last]
    if not plain["n_people"]:
        yield [*first, *[None] * len(person_columns(joints)), *last]


def person_arrays(people: PeopleOfImage, joints: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The people of an image by :func:`person_columns`, to the last bit; ``id`` -1 without ids."""
    n = len(people.xy)
    ids = np.full(n, -1) if people.ids is None else people.ids
    values = [np.arange(n), ids, people.person_scores, *people.boxes().T]
    for k in range(len(joints)):
        values += [people.xy[:, k, 0], people.xy[:, k, 1], people.scores[:, k]]
    return dict(zip(person_columns(joints), values, strict=True))
