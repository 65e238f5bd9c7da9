"""pycocotools' evaluation, with ids that it understands."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openpaf.evaluation.label_files import Annotation, Annotations, Detection
from openpaf.skeleton import Skeleton

# What pycocotools reads of them.
_PERSON_KEYS = ("keypoints", "num_keypoints", "area", "bbox", "iscrowd")
_RESULT_KEYS = ("keypoints", "score")


@dataclass(frozen=True)
class NumberedEvaluation:
    """pycocotools' evaluation under numbers of our own, and what the numbers stand for.

    To pycocotools an id of 0 or less means "no person", and ids from 2^53 on are the same as
    others, as it keeps them in floats; to all others an id is a label.
    """

    evaluation: Any
    image_ids: list[int]  # image n has number n + 1
    people: list[Annotation]  # so has the labeled person n
    found: list[Detection]  # and the found person n


def numbered_evaluation(
    annotations: Annotations, detections: Sequence[Detection], image_ids: Sequence[int] | None
) -> NumberedEvaluation:
    """pycocotools' evaluation of the people of some images, about to begin."""
    from pycocotools.cocoeval import COCOeval

    category = annotations.category
    others = {entry["id"] for entry in annotations.dataset.get("categories") or ()} - {category}
    ids = sorted(set(annotations.imgs if image_ids is None else image_ids))
    number = {image_id: n for n, image_id in enumerate(ids, 1)}

    def of_these(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            entry
            for entry in entries
            if entry["image_id"] in number and entry.get("category_id", category) not in others
        ]

    def renumbered(entries: list[dict[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {key: entry[key] for key in keys}
            | {"id": n, "image_id": number[entry["image_id"]]}
            | person
            for n, entry in enumerate(entries, 1)
        ]

    people, found = of_these(annotations.dataset["annotations"]), of_these(detections)
    person = {"category_id": 1}
    truth = _indexed(
        {
            "images": [{"id": n} for n in number.values()],
            "annotations": renumbered(people, _PERSON_KEYS),
            "categories": [{"id": 1, "name": "person"}],
        }
    )
    # pycocotools takes areas from boxes where there are any, and asks the first result only.
    boxes = bool(found) and all(entry.get("bbox") for entry in found)
    with contextlib.redirect_stdout(io.StringIO()):
        if found:
            results = truth.loadRes(renumbered(found, (*_RESULT_KEYS, *["bbox"] * boxes)))
        else:  # which loadRes cannot read
            results = _indexed({**truth.dataset, "annotations": []})
        evaluation = COCOeval(truth, results, "keypoints")
    sigmas = annotations.skeleton.oks_sigmas
    if sigmas != Skeleton.COCO17.oks_sigmas:  # which it has
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
    return NumberedEvaluation(evaluation, ids, people, found)


def _indexed(data: dict[str, Any]) -> Any:
    """Annotations as pycocotools holds them, without what it prints."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO()
        annotations.dataset = data
        annotations.createIndex()
    return annotations
