"""Labels as Label Studio's tasks with predictions, and the configuration that a project needs."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from openpaf.annotation.label_formats import LabelFormat
from openpaf.annotation.label_studio_reader import doubtful, read_label_studio
from openpaf.annotation.labels import LabeledImage, LabelSet, PersonLabel
from openpaf.annotation.reading import LOCAL_FILES
from openpaf.geometry import centers_to_corners
from openpaf.io.keypoint_values import rounded_score

_POINT_WIDTH = 0.5  # of a drawn joint, in percent of the image


def labels_to_label_studio(
    labels: LabelSet, image_prefix: str = LOCAL_FILES
) -> list[dict[str, Any]]:
    """Tasks for Label Studio, an image each, with one prediction; of people's labels an annotation.

    Each person is a rectangle, labeled ``person`` or ``doubtful person``, and the key points whose
    ``parentID`` is the rectangle's. Places are percentages of the image, from its corner on.

    Args:
        labels: The labels.
        image_prefix: What the address of an image is before its file name.

    Reference:
        labelstud.io/guide/predictions.
    """
    return [
        {"data": {"image": image_prefix + quote(image.file_name)}, **_made(image, labels)}
        for image in labels.images
    ]


def _made(image: LabeledImage, labels: LabelSet) -> dict[str, Any]:
    results = _results(image, labels)
    if labels.model is None:
        return {"annotations": [{"result": results}]}
    prediction = {
        "model_version": labels.model,
        "score": _mean_score(image),
        "result": results,
    }
    return {"predictions": [prediction]}


def label_studio_config(labels: LabelSet) -> str:
    """The labeling configuration of a project, which the predictions refer to."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image")
    boxes = ElementTree.SubElement(view, "RectangleLabels", name="box", toName="image")
    for value in (labels.category, doubtful(labels.category)):
        ElementTree.SubElement(boxes, "Label", value=value)
    joints = ElementTree.SubElement(view, "KeyPointLabels", name="joint", toName="image")
    for k, joint in enumerate(labels.skeleton.joints):  # its exports order joints by model_index
        ElementTree.SubElement(joints, "Label", value=joint, model_index=str(k))
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _mean_score(image: LabeledImage) -> float:
    """Of the people, for sorting tasks; 1 where there are none."""
    scores = [person.score for person in image.people]
    return rounded_score(sum(scores) / len(scores)) if scores else 1.0


def _results(image: LabeledImage, labels: LabelSet) -> list[dict[str, Any]]:
    return [
        result
        for number, person in enumerate(image.people, 1)
        for result in _of_person(number, person, image.image_hw, labels)
    ]


def _of_person(
    number: int, person: PersonLabel, image_hw: tuple[int, int], labels: LabelSet
) -> list[dict[str, Any]]:
    height, width = image_hw
    joint_names = labels.skeleton.joints
    common = {
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    x, y, box_width, box_height = person.box
    box = {
        **common,
        "id": f"person{number}",
        "type": "rectanglelabels",
        "from_name": "box",
        "score": rounded_score(person.score),
        "value": {
            "x": _percent(x, width),
            "y": _percent(y, height),
            "width": _percent(box_width, width),
            "height": _percent(box_height, height),
            "rotation": 0,
            "rectanglelabels": [
                doubtful(labels.category) if person.is_doubtful else labels.category
            ],
        },
    }
    joints = [
        {
            **common,
            "id": f"person{number}-{joint_names[k]}",
            "parentID": box["id"],
            "type": "keypointlabels",
            "from_name": "joint",
            "score": rounded_score(person.joint_scores[k]),
            "value": {
                "x": _percent(centers_to_corners(x), width),
                "y": _percent(centers_to_corners(y), height),
                "width": _POINT_WIDTH,
                "keypointlabels": [joint_names[k]],
            },
        }
        for k, (x, y, v) in enumerate(person.keypoints.tolist())
        if v > 0
    ]
    return [box, *joints]


def _percent(value_px: float, size_px: int) -> float:
    return round(100 * value_px / size_px, 6)


def _tasks_text(labels: LabelSet, image_prefix: str) -> str:
    return json.dumps(labels_to_label_studio(labels, image_prefix), allow_nan=False) + "\n"


LABEL_STUDIO = LabelFormat(
    description="Label Studio, tasks with predictions",
    files={
        ".label-studio.json": _tasks_text,
        ".label-studio.xml": lambda labels, _: label_studio_config(labels),
    },
    read=read_label_studio,
    reads=(".json",),
    lacks=("ids", "hidden joints", "masks", "areas", "limbs", "flips", "sigmas"),
)
