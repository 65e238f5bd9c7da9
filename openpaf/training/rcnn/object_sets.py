"""Labeled objects for training: sets in COCO's format of instances, with boxes and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.evaluation.objects import match_classes
from openpaf.io.coco_objects import mask_polygons
from openpaf.io.paths import inside_folder
from openpaf.training.config import DataConfig, SetConfig
from openpaf.training.data.dataset import (
    DatasetError,
    Photo,
    PhotoSet,
    entries_of,
    read_set,
    size_of,
    with_labels,
)

# Crops are drawn around labeled joints. An object has such marks on the sides of its box, a little
# inside, as joints are: a share of the box's half sides.
_MARKS = np.array(
    [(-1, -1), (1, -1), (1, 1), (-1, 1), (0, -1), (1, 0), (0, 1), (-1, 0)], np.float64
) / 1.15  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ObjectPhoto(Photo):
    """One image and its objects; ``keypoints`` are marks by which crops are drawn, no joints.

    Args:
        labels: (N,) int64 class of each object, from 1 on.
    """

    labels: NDArray[np.int64]


def load_object_sets(data: DataConfig) -> tuple[list[PhotoSet], tuple[str, ...]]:
    """The image sets of a run, and the names of their classes, labels 1, 2 ...

    Every annotation is an object of its category, with ``bbox``, and a mask where it has a
    ``segmentation``; ``iscrowd`` and ``ignore`` are neither objects nor background.

    Raises:
        DatasetError: If a file or a folder is missing, is not in COCO format or without objects,
            or sets have other categories than the first one.
    """
    files = [read_set(Path(one.annotations), Path(one.images)) for one in data.sets]
    classes = classes_of(Path(data.sets[0].annotations), files[0])
    sets = []
    for one, file in zip(data.sets, files, strict=True):
        others = classes_of(Path(one.annotations), file)
        if set(others) != set(classes):
            raise DatasetError(
                f"{one.annotations}: categories: expected {', '.join(classes)}, as in the first "
                f"set, got {', '.join(others)}"
            )
        sets.append(_load_set(one, file, classes))
    return sets, classes


def classes_of(source: Path, file: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """The names of the classes of a file of labels, labels 1, 2 ..., in the order of their ids.

    Args:
        source: The file.
        file: Its contents, if they are read already.

    Raises:
        DatasetError: If it cannot be read, or has no categories.
    """
    file = read_set(source) if file is None else file
    with entries_of(source):
        categories = sorted(file.get("categories") or (), key=lambda category: category["id"])
        names = tuple(str(category.get("name", category["id"])) for category in categories)
    if not names or len(set(names)) != len(names):
        raise DatasetError(f"{source}: categories: expected names that differ")
    return names


def _load_set(one: SetConfig, file: Mapping[str, Any], classes: Sequence[str]) -> PhotoSet:
    source, folder = Path(one.annotations), Path(one.images)
    labels = {number: label for label, number in match_classes(classes, file["categories"]).items()}
    with entries_of(source):
        photos = [
            _photo(folder, image, objects, labels)
            for image, objects in with_labels(source, file, one.holdout)
        ]
    photos = [photo for photo in photos if len(photo.boxes)]
    if not photos:
        raise DatasetError(f"{source}: no objects in it")
    return PhotoSet(name=one.name or source.parent.name, photos=photos, weight=one.weight)


def _photo(
    folder: Path,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    labels: Mapping[Any, int],
) -> ObjectPhoto:
    objects, ignored, outlines = [], [], []
    for annotation in annotations:
        x, y, width, height = map(float, annotation["bbox"])
        box = (x, y, x + width, y + height)
        if not np.isfinite(box).all() or min(width, height) <= 0:
            raise ValueError(f"annotation {annotation.get('id')}, bbox: expected a box, got {box}")
        if annotation.get("iscrowd") or annotation.get("ignore"):
            ignored.append(box)
            continue
        objects.append((box, labels[annotation["category_id"]]))
        outlines.append(mask_polygons(annotation.get("segmentation") or []))
    boxes = np.array([box for box, _ in objects], np.float32).reshape(-1, 4)
    return ObjectPhoto(
        path=inside_folder(folder, image["file_name"]),
        keypoints=_marks(boxes),
        boxes=boxes,
        ignore_boxes=np.array(ignored, np.float32).reshape(-1, 4),
        uncertain_joints=np.zeros((0, 3), np.float32),
        size_hw=size_of(image),
        outlines=outlines,
        labels=np.array([label for _, label in objects], np.int64),
    )


def _marks(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 17, 3): as many joints as people have, marks at the second and the next seven."""
    marks = np.zeros((len(boxes), 17, 3), np.float32)
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    # Places that change among themselves where a crop is mirrored.
    marks[:, 1:9, :2] = middle[:, None] - 0.5 + half[:, None] * _MARKS
    marks[:, 1:9, 2] = 2
    return marks
