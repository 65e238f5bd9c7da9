"""Files of COCO's objects: annotations and results with boxes and masks, read and checked."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openpaf.evaluation.entry_checks import Entries, is_list
from openpaf.evaluation.label_files import Detection
from openpaf.io.json_files import is_number, read_json

# The key of an entry that each task compares.
_SHAPES = {"bbox": "bbox", "segm": "segmentation"}


def index_objects(data: Mapping[str, Any]) -> Any:
    """Annotations of objects as pycocotools holds them: ``dataset``, ``imgs``, ``cats`` ..."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        annotations = COCO()
        annotations.dataset = data
        annotations.createIndex()
    return annotations


def read_object_annotations(path: str | Path, tasks: Sequence[str]) -> Any:
    """A file of COCO annotations of objects, checked.

    Args:
        path: Images, categories and annotations, as ``instances_val2017.json`` has them.
        tasks: What of it is to be measured, some of
            :data:`openpaf.evaluation.objects.OBJECT_TASKS`.

    Returns:
        The file as pycocotools holds it.

    Raises:
        ValueError: If the file is not JSON, or keys are missing, ids come twice, there is no
            category, a box or a mask is none, or an annotation belongs to an image or a category
            that the file does not list; the message names file and entry.
        OSError: If the file cannot be read.
    """
    data = read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise ValueError(f"{path}: expected COCO annotations with a list {key!r}")
    images, objects, categories = (
        Entries(path, kind, data[kind]) for kind in ("images", "annotations", "categories")
    )
    images.check_keys(("id", "file_name"))
    objects.check_keys(("id", "image_id", "category_id", "bbox"))
    categories.check_keys(("id", "name"))
    for entries in (images, objects, categories):
        entries.check_unique()
    if not data["categories"]:
        raise ValueError(f"{path}: categories: expected at least one, got none")
    objects.check_categories(data["categories"])
    objects.check_images({image["id"] for image in data["images"]})
    objects.refuse("bbox: expected 4 finite numbers", lambda entry: not is_list(entry["bbox"], 4))
    if "segm" in tasks:
        sides = ("width", "height")
        images.refuse(
            "width, height: expected numbers above 0, for masks",
            lambda image: not all(is_number(image.get(k)) and image[k] > 0 for k in sides),
        )
        objects.refuse(
            "segmentation: expected polygons of at least 3 points, or run lengths",
            lambda entry: not _is_mask(entry.get("segmentation")),
        )
    return index_objects(data)


def read_object_results(
    path: str | Path, annotations: Any, tasks: Sequence[str]
) -> list[Detection]:
    """A list of COCO results with boxes or masks, checked against the annotations.

    Args:
        path: A list of ``image_id``, ``category_id``, ``score`` and ``bbox`` or ``segmentation``,
            as ``openpaf predict`` or another system writes it. Images may be called by their names.
        annotations: As :func:`read_object_annotations` gives them.
        tasks: As for :func:`read_object_annotations`.

    Raises:
        ValueError: If the file is not JSON, keys are missing, a box or a mask is none, or a result
            belongs to an image or a category that the annotations do not list.
        OSError: If the file cannot be read.
    """
    results = read_json(path)
    if not isinstance(results, list):
        raise ValueError(f"{path}: expected a list of COCO results, got {type(results).__name__}")
    entries = Entries(path, "results", results)
    entries.check_keys(())
    names = {image["file_name"]: image["id"] for image in annotations.imgs.values()}
    results = [
        {**entry, "image_id": names[entry["image_id"]]}
        if isinstance(entry.get("image_id"), str) and entry["image_id"] in names
        else entry
        for entry in results
    ]
    entries = Entries(path, "results", results)
    entries.check_keys(("image_id", "category_id", "score", *(_SHAPES[task] for task in tasks)))
    entries.refuse("score: expected a finite number", lambda entry: not is_number(entry["score"]))
    entries.check_images(annotations.imgs)
    entries.check_categories(annotations.dataset["categories"])
    if "bbox" in tasks:
        entries.refuse(
            "bbox: expected 4 finite numbers", lambda entry: not is_list(entry["bbox"], 4)
        )
    if "segm" in tasks:
        entries.refuse(
            "segmentation: expected compressed run lengths of the size of the image",
            lambda entry: not _is_of(entry["segmentation"], annotations.imgs[entry["image_id"]]),
        )
    return results


def _is_mask(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(
            isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0
            and all(map(is_number, part))
            for part in value
        )  # fmt: skip
    return _is_run_lengths(value) and is_list(value["size"], 2)


def _is_run_lengths(value: Any) -> bool:
    return isinstance(value, Mapping) and {"size", "counts"} <= set(value)


def _is_of(value: Any, image: Mapping[str, Any]) -> bool:
    return (
        _is_run_lengths(value)
        and isinstance(value["counts"], str)
        and value["size"] == [image["height"], image["width"]]
    )
