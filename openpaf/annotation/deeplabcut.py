"""Labels as a table of DeepLabCut, ``CollectedData_SCORER.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from openpaf.annotation.deeplabcut_reader import read_deeplabcut
from openpaf.annotation.label_formats import LabelFormat
from openpaf.annotation.labels import LabelSet, PersonLabel

_SCORER = "openpaf"


def labels_to_deeplabcut(labels: LabelSet) -> str:
    """The text of a table with a line for each image.

    With at most one animal an image it is that of a project of single animals, otherwise that of
    ``individual1``, ``individual2`` ... Images that are named ``labeled-data/VIDEO/NAME``, as in a
    project, take the three columns that DeepLabCut gives them, others one.

    Reference:
        deeplabcut.github.io/DeepLabCut/docs/convert_maDLC.html; ``convertcsv2h5`` reads it.
    """
    people = [image.sure_people for image in labels.images]
    n_animals = max(map(len, people), default=1)
    animals = [f"individual{k + 1}" for k in range(n_animals)] if n_animals > 1 else [""]
    places = [image.file_name.split("/") for image in labels.images]
    in_project = all(len(parts) == 3 and parts[0] == "labeled-data" for parts in places)
    if not in_project:
        places = [["/".join(parts)] for parts in places]
    file = io.StringIO()
    write = csv.writer(file, lineterminator="\n").writerow
    n_index = 3 if in_project else 1
    for name, line in _header(animals, labels.skeleton.joints):
        write([name, *[""] * (n_index - 1), *line])
    n_columns = 2 * labels.skeleton.n_joints
    for parts, some in zip(places, people, strict=True):
        values = [text for one in some for text in _values(one)]
        write([*parts, *values, *[""] * (n_columns * len(animals) - len(values))])
    return file.getvalue()


def _header(animals: Sequence[str], joints: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The lines above the coordinates, each with its name."""
    columns = [(animal, joint, axis) for animal in animals for joint in joints for axis in "xy"]
    yield "scorer", [_SCORER] * len(columns)
    if len(animals) > 1:
        yield "individuals", [animal for animal, _, _ in columns]
    yield "bodyparts", [joint for _, joint, _ in columns]
    yield "coords", [axis for _, _, axis in columns]


def _values(person: PersonLabel) -> Iterator[str]:
    """x and y of each joint, empty where it is not labeled."""
    for x, y, v in person.keypoints.tolist():
        yield from (f"{x:.10g}", f"{y:.10g}") if v > 0 else ("", "")


DEEPLABCUT = LabelFormat(
    description="DeepLabCut, CollectedData_*.csv or .h5",
    files={".csv": lambda labels, _: labels_to_deeplabcut(labels)},
    read=read_deeplabcut,
    reads=(".csv", ".h5"),
    lacks=(
        "ids",
        "images without people",
        "hidden joints",
        "ignore regions",
        "people without joints",
        "boxes",
        "masks",
        "areas",
        "scores",
        "joint scores",
        "limbs",
        "flips",
        "sigmas",
    ),
)
