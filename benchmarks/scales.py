"""Which sizes to merge: AP and cost of sets of sizes, and the best sets for their cost.

    python benchmarks/scales.py --data coco_train --holdout 1 2 --more coco_train_extra \
        --report coco_val_dev

Runs the model once at each size, with and without mirror images, and merges the people of each set
of up to three sizes as ``--scales`` does. The cost is that of the pixels that the network sees,
which take nearly all of the time, relative to ``--base`` px without mirror images. Printed are the
sets that no cheaper one equals in AP, averaged over the folders, and beside them the AP of the
completely labeled images of a folder that chooses nothing.
"""

from __future__ import annotations

import argparse
import itertools
from datetime import date
from pathlib import Path
from typing import NamedTuple

import coco_photos
import numpy as np
from pycocotools.coco import COCO

from openpaf.errors import ImageError
from openpaf.estimator import PoseEstimator
from openpaf.estimator.merging import merge_people
from openpaf.evaluation.coco import as_results, evaluate
from openpaf.evaluation.run import read_ahead
from openpaf.poses import Poses

_REPORTED = ("AP", "APM", "APL")


class Photos(NamedTuple):
    """A folder of labeled photos, and which of them are measured."""

    annotations: COCO
    images: Path
    ids: list[int]


class Row(NamedTuple):
    """A set of sizes, measured."""

    sizes: tuple[int, ...]
    flip: bool
    cost: float
    aps: tuple[float, ...]
    reported: tuple[float, ...] = ()

    @property
    def ap(self) -> float:
        return float(np.mean(self.aps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    coco_photos.add_arguments(parser)
    add = parser.add_argument
    add("--more", type=Path, nargs="*", default=[], help="further folders, with the same --holdout")
    add("--report", type=Path, help="another folder, whose figures stand beside")
    add("--model", default="default")
    add("--engine", default="openvino-int8")
    add("--size", type=int, nargs="+", default=[192, 256, 368, 512, 640, 736])
    add("--base", type=int, default=368, help="the size that costs 1")
    add("--no-flip", action="store_true", help="leave out mirror images")
    add("--all", action="store_true", help="print every set")
    arguments = parser.parse_args()
    folders = [arguments.data, *arguments.more]
    sets = [photos_of(folder, arguments.holdout) for folder in folders]
    if arguments.report:
        sets.append(complete(photos_of(arguments.report, None)))
    flips = [False] if arguments.no_flip else [False, True]
    people: dict[tuple[int, bool], list[list[Poses]]] = {}
    for flip, size in itertools.product(flips, arguments.size):
        estimator = PoseEstimator(
            arguments.model, engine=arguments.engine, size=size, flip=flip, threads=1
        )
        people[size, flip] = [run(estimator, photos) for photos in sets]
    rows = [
        measure(sizes, flip, people, sets, arguments.base, len(folders))
        for flip in flips
        for n in (1, 2, 3)
        for sizes in itertools.combinations(arguments.size, n)
    ]
    names = [f"AP, {folder.name}" for folder in folders]
    if arguments.report:
        names += [f"{name}, {arguments.report.name}" for name in _REPORTED]
    print(f"{arguments.model}, {arguments.engine}, {date.today()}, "
          f"{' + '.join(str(len(photos.ids)) for photos in sets)} photos\n")  # fmt: skip
    print(table(rows if arguments.all else front(rows), names))


def photos_of(folder: Path, holdout: tuple[int, int] | None) -> Photos:
    annotations, ids = coco_photos.read(argparse.Namespace(data=folder, holdout=holdout))
    return Photos(annotations, folder / "images", ids)


def complete(photos: Photos) -> Photos:
    """Those photos on which everybody is labeled."""
    ids = [i for i in photos.ids if photos.annotations.imgs[i].get("ann_complete")]
    return photos._replace(ids=ids)


def run(estimator: PoseEstimator, photos: Photos) -> list[Poses]:
    """The people of each photo."""
    paths = [photos.images / photos.annotations.imgs[i]["file_name"] for i in photos.ids]
    people = []
    for image in read_ahead(paths, 1):
        if isinstance(image, ImageError):
            raise image
        people.append(estimator(image))
    return people


def measure(
    sizes: tuple[int, ...],
    flip: bool,
    people: dict[tuple[int, bool], list[list[Poses]]],
    sets: list[Photos],
    base: int,
    n_choosing: int,
) -> Row:
    """A set of sizes; the folders after the first ``n_choosing`` choose nothing."""
    figures = []
    for n, photos in enumerate(sets):
        by_size = [people[size, flip][n] for size in sizes]
        detections = [
            result
            for image_id, many in zip(photos.ids, zip(*by_size, strict=True), strict=True)
            for result in as_results(merge_people(many, sizes), image_id, photos.annotations)
        ]
        figures.append(evaluate(photos.annotations, detections, photos.ids))
    cost = (2 if flip else 1) * sum(size**2 for size in sizes) / base**2
    aps = tuple(one["AP"] for one in figures[:n_choosing])
    reported = tuple(one[name] for one in figures[n_choosing:] for name in _REPORTED)
    return Row(sizes, flip, cost, aps, reported)


def front(rows: list[Row]) -> list[Row]:
    """By rising cost, those whose AP is above that of all cheaper ones."""
    best, chosen = 0.0, []
    for row in sorted(rows, key=lambda row: (row.cost, -row.ap)):
        if row.ap > best:
            best = row.ap
            chosen.append(row)
    return chosen


def table(rows: list[Row], names: list[str]) -> str:
    lines = [f"| options | cost | AP | {' | '.join(names)} |"]
    lines.append("|---" + "|---:" * (2 + len(names)) + "|")
    for row in rows:
        scales = "--scales" if len(row.sizes) > 1 else "--size"
        options = f"`{scales} {' '.join(map(str, row.sizes))}{' --flip' if row.flip else ''}`"
        aps = " | ".join(f"{ap:.3f}" for ap in (row.ap, *row.aps, *row.reported))
        lines.append(f"| {options} | {row.cost:.2f}x | {aps} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
