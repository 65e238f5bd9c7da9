"""Labels as a COCO keypoints file, which ``openpaf train`` and ``openpaf evaluate`` read."""

from __future__ import annotations

import json
from typing import Any

from openpaf.annotation.coco_reader import read_coco
from openpaf.annotation.label_formats import LabelFormat
from openpaf.annotation.labels import LabelSet, PersonLabel
from openpaf.io.keypoint_values import rounded_score
from openpaf.skeleton import Skeleton

_CATEGORY = 1  # the id of what is labeled, as COCO's of people


def labels_to_coco(labels: LabelSet) -> dict[str, Any]:
    """The contents of a COCO keypoints file.

    Doubtful people have ``iscrowd`` 1, which COCO's evaluation ignores, and ``ignore`` 1; training
    takes either for an ignore region. ``score`` and ``joint_scores`` are beyond COCO's keys.

    Reference:
        cocodataset.org/#format-data.
    """
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for image_id, image in zip(labels.image_ids(), labels.images, strict=True):
        height, width = image.image_hw
        images.append(
            {"id": image_id, "file_name": image.file_name, "width": width, "height": height}
        )
        for person in image.people:
            people.append(_annotation(len(people) + 1, image_id, person))
    category: dict[str, Any] = {
        "id": _CATEGORY,
        "name": labels.category,
        "supercategory": labels.category,
        "keypoints": list(labels.skeleton.joints),
        "skeleton": [[a + 1, b + 1] for a, b in labels.limbs],
    }
    if has_own_sigmas(labels.skeleton):
        category["oks_sigmas"] = list(labels.skeleton.oks_sigmas)
    made = "Converted labels"
    if labels.model is not None:
        made = f"Labels made by {labels.model}, not by people"
    return {
        "info": {"description": made, "version": "1.0"},
        "images": images,
        "annotations": people,
        "categories": [category],
    }


def has_own_sigmas(skeleton: Skeleton) -> bool:
    """Whether a skeleton has other OKS sigmas than those that a file without any stands for."""
    default = Skeleton.from_coco_category({"keypoints": skeleton.joints}).oks_sigmas
    return skeleton.oks_sigmas != default


def _annotation(number: int, image_id: int, person: PersonLabel) -> dict[str, Any]:
    keypoints: list[float] = []
    for x, y, v in person.keypoints.tolist():
        keypoints += (x, y, int(v))
    return {
        "id": number,
        "image_id": image_id,
        "category_id": _CATEGORY,
        "keypoints": keypoints,
        "num_keypoints": person.n_labeled,
        "bbox": list(person.box),
        "area": person.area,
        "segmentation": person.segmentation or [],  # other readers ask for the key
        "iscrowd": int(person.is_doubtful),
        "ignore": int(person.is_doubtful),
        "score": rounded_score(person.score),
        "joint_scores": [rounded_score(score) for score in person.joint_scores.tolist()],
    }


def _text(labels: LabelSet, _image_prefix: str) -> str:
    return json.dumps(labels_to_coco(labels), allow_nan=False) + "\n"


COCO_LABELS = LabelFormat(
    description="COCO keypoints, which train and evaluate read",
    files={".json": _text},
    read=read_coco,
    reads=(".json",),
    lacks=("flips",),
)
