"""Annotation files as pycocotools holds them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from openpaf.evaluation.labels import person_category
from openpaf.io.json_files import read_json

#: A labeled person, as COCO's JSON has one.
Annotation = dict[str, Any]
#: A person as found, in COCO's submission format.
Detection = dict[str, Any]


def load_annotations(path: str | Path) -> Any:
    """A COCO annotation file as pycocotools holds it, without its prints or most checks.

    Raises:
        ValueError: If the file is not JSON, or has no lists of images and annotations.
        OSError: If it cannot be read.
    """
    data = read_json(path)
    lists = ("images", "annotations")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in lists):
        raise ValueError(f"{path}: expected COCO annotations, with lists of images and annotations")
    return index_annotations(data)


def index_annotations(data: dict[str, Any]) -> Any:
    """Annotations as pycocotools holds them: ``dataset``, ``anns``, ``imgs`` and ``imgToAnns``."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO()
        annotations.dataset = data
        annotations.createIndex()
    return annotations


def category_of_people(annotations: Any) -> int | None:
    """The id of the category that people have; None where the file lists no categories.

    Raises:
        ValueError: As :func:`openpaf.evaluation.labels.person_category`.
    """
    categories = annotations.dataset.get("categories")
    return person_category(categories) if categories else None
