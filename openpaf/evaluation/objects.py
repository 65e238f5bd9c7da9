"""COCO's figures of boxes and masks, exactly as pycocotools computes them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import ImageError
from openpaf.evaluation.label_files import Detection
from openpaf.evaluation.object_files import index_objects
from openpaf.evaluation.run import detect_each
from openpaf.io.coco_objects import objects_to_coco
from openpaf.io.objects import Objects
from openpaf.io.partial_results import PartialResults

#: What is compared; pycocotools calls it ``iouType``.
OBJECT_TASKS = ("bbox", "segm")
#: Names of the twelve figures, in pycocotools' order. AR1, AR10 and AR100 are of so many objects an
#: image; S, M and L are objects below 32 x 32 px, below 96 x 96 px, and larger ones.
OBJECT_METRICS = (
    "AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL",
)  # fmt: skip


def match_classes(
    classes: Sequence[str], categories: Sequence[Mapping[str, Any]]
) -> dict[int, int]:
    """From a detector's labels, 1 and on, to the ids of an annotation file's categories.

    Args:
        classes: Names of the labels; a class without a name is called by its number.
        categories: As COCO's JSON lists them; they may be some of the detector's classes.

    Returns:
        A category id for each label that has one. Case does not matter.

    Raises:
        ValueError: If the detector has no class for a category; the message lists both.
    """
    labels = {name.lower(): label for label, name in enumerate(classes, 1)}
    found: dict[int, int] = {}
    for category in categories:
        name = str(category.get("name", category["id"]))
        label = labels.get(name.lower(), labels.get(str(category["id"])))
        if label is None:
            known = ", ".join(name for name in classes if name != "N/A")
            names = ", ".join(str(other.get("name", other["id"])) for other in categories)
            raise ValueError(
                f"categories: the model has no class {name!r}; the annotations have "
                f"{names}; the model has {known}"
            )
        found[label] = category["id"]
    return found


def object_results(objects: Objects, image_id: int, ids: Mapping[int, int]) -> list[Detection]:
    """Objects as results in COCO's submission format, of the categories of an annotation file.

    Args:
        objects: Of one image.
        image_id: Of that image.
        ids: As :func:`match_classes` gives them; objects of other labels are left out.
    """
    entries = objects_to_coco(objects, image_id)
    return [
        {**entry, "category_id": ids[entry["category_id"]]}
        for entry in entries
        if entry["category_id"] in ids
    ]


def detect_objects(
    annotations: Any,
    images: str | Path,
    detect: Callable[[NDArray[np.uint8]], Objects],
    image_ids: Sequence[int],
    *,
    ids: Mapping[int, int],
    partial: PartialResults | None = None,
    workers: int = 2,
    progress: bool = True,
    on_error: Callable[[int, ImageError], None],
) -> list[Detection]:
    """The objects of many images, in COCO's submission format.

    Args:
        annotations: As pycocotools holds them.
        images: Folder of the images.
        detect: From an image, RGB uint8 (H, W, 3), to its objects.
        image_ids: Which images.
        ids: As :func:`match_classes` gives them.
        partial: Images that it has are not run again, and those that are run are added to it.
        workers: Threads that read images ahead.
        progress: Whether a terminal shows a bar.
        on_error: Called with the id of each image that cannot be read, and why.

    Raises:
        ValueError: If an image has another size than its labels are for; the message names it.
    """

    def objects_of(image: NDArray[np.uint8], image_id: int) -> list[Detection]:
        return object_results(detect(image), image_id, ids)

    return detect_each(
        annotations, images, objects_of, image_ids, partial=partial, workers=workers,
        progress=progress, on_error=on_error,
    )  # fmt: skip


def evaluate_objects(
    annotations: Any,
    detections: Sequence[Detection],
    task: str,
    image_ids: Sequence[int] | None = None,
) -> dict[str, Any]:
    """COCO's twelve figures of boxes or masks, 0 to 1; -1 where there is nothing to measure.

    Args:
        annotations: As pycocotools holds them.
        detections: In COCO's submission format, with ``bbox`` or ``segmentation``; they are not
            changed.
        task: ``"bbox"`` or ``"segm"``.
        image_ids: Which images; all of them if None.

    Returns:
        The figures under the names of :data:`OBJECT_METRICS`, and ``by_class``, the AP of each
        category by name.

    Reference:
        cocodataset.org/#detection-eval.
    """
    from pycocotools.cocoeval import COCOeval

    truth, found = _numbered(annotations, detections, task, image_ids)
    with contextlib.redirect_stdout(io.StringIO()):
        if found:
            results = truth.loadRes(found)
        else:  # which loadRes cannot read
            results = index_objects({**truth.dataset, "annotations": []})
        run = COCOeval(truth, results, task)
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = run.eval["precision"][:, :, :, 0, -1]  # (thresholds, recalls, categories)
    by_class = {}
    for k, category in enumerate(run.params.catIds):
        values = precision[:, :, k][precision[:, :, k] > -1]
        by_class[truth.cats[category]["name"]] = float(values.mean()) if values.size else -1.0
    figures = {n: float(v) for n, v in zip(OBJECT_METRICS, run.stats, strict=True)}
    return {**figures, "by_class": by_class}


def _numbered(
    annotations: Any,
    detections: Sequence[Detection],
    task: str,
    image_ids: Sequence[int] | None,
) -> tuple[Any, list[dict[str, Any]]]:
    """Annotations and results under numbers that pycocotools takes: to it an id of 0 is none."""
    chosen = sorted(set(annotations.imgs if image_ids is None else image_ids))
    number = {image_id: n for n, image_id in enumerate(chosen, 1)}
    # Of a result with both, pycocotools would take the area from the box for masks, too.
    shape = "bbox" if task == "bbox" else "segmentation"
    objects: list[dict[str, Any]] = []
    for entry in annotations.dataset["annotations"]:
        if entry["image_id"] in number:
            own = {"id": len(objects) + 1, "image_id": number[entry["image_id"]]}
            crowd = {"iscrowd": entry.get("iscrowd", 0)}
            area = {"area": entry.get("area", entry["bbox"][2] * entry["bbox"][3])}
            objects.append({**entry, **crowd, **area, **own})
    data = {
        "images": [{**annotations.imgs[i], "id": number[i]} for i in chosen],
        "annotations": objects,
        "categories": annotations.dataset["categories"],
    }
    found = [
        {
            "image_id": number[entry["image_id"]],
            "category_id": entry["category_id"],
            "score": entry["score"],
            shape: entry[shape],
        }
        for entry in detections
        if entry["image_id"] in number
    ]
    return index_objects(data), found
