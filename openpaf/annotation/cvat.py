"""Labels as CVAT for images 1.1: an XML file of skeletons, and the labels that a task needs."""

from __future__ import annotations

import json
import math
from typing import Any
from xml.etree import ElementTree

from openpaf.annotation.cvat_reader import read_cvat
from openpaf.annotation.label_formats import LabelFormat
from openpaf.annotation.labels import LabelSet, PersonLabel
from openpaf.geometry import centers_to_corners
from openpaf.skeleton import Skeleton

# Where CVAT draws the joints of a new skeleton, in percent: a person who faces the camera.
_STANDING = {
    "head": (50, 4), "nose": (50, 10), "left_eye": (54, 7), "right_eye": (46, 7),
    "left_ear": (59, 9), "right_ear": (41, 9), "neck": (50, 20), "chest": (50, 35),
    "left_shoulder": (62, 22), "right_shoulder": (38, 22), "left_elbow": (69, 37),
    "right_elbow": (31, 37), "left_wrist": (73, 51), "right_wrist": (27, 51),
    "mid_hip": (50, 51), "left_hip": (58, 52), "right_hip": (42, 52), "left_knee": (59, 72),
    "right_knee": (41, 72), "left_ankle": (60, 92), "right_ankle": (40, 92),
    "left_big_toe": (62, 98), "right_big_toe": (38, 98), "left_small_toe": (67, 97),
    "right_small_toe": (33, 97), "left_heel": (57, 95), "right_heel": (43, 95),
}  # fmt: skip


def labels_to_cvat(labels: LabelSet) -> str:
    """The text of an XML file that CVAT reads as "CVAT 1.1".

    Each person is a ``skeleton`` with a point a joint; unlabeled joints are ``outside``, in the
    middle of the person's box. CVAT counts from the corner of the top-left pixel, half a px from
    its center. The attributes ``score`` and ``ignore`` are of the person. CVAT finds images by
    name.

    Reference:
        docs.cvat.ai/docs/dataset_management/formats/format-cvat, and load_anno of CVAT's
        dataset_manager/formats/cvat.py.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    ElementTree.SubElement(task, "size").text = str(len(labels.images))
    ElementTree.SubElement(task, "mode").text = "annotation"
    _add_labels(ElementTree.SubElement(task, "labels"), labels)
    for number, image in enumerate(labels.images):
        height, width = image.image_hw
        attributes = {"id": number, "name": image.file_name, "width": width, "height": height}
        element = _add(root, "image", attributes)
        for person in image.people:
            _add_person(element, labels, person)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def cvat_task_labels(labels: LabelSet) -> list[dict[str, Any]]:
    """The labels of a task, for the tab "Raw" of CVAT's constructor of labels."""
    return [
        {
            "name": labels.category,
            "type": "skeleton",
            "attributes": [
                {"name": "score", "input_type": "text", "mutable": False, "values": [""],
                 "default_value": ""},
                {"name": "ignore", "input_type": "checkbox", "mutable": False,
                 "values": ["false"], "default_value": "false"},
            ],
            "sublabels": [
                {"name": joint, "type": "points", "attributes": []}
                for joint in labels.skeleton.joints
            ],
            "svg": _svg(labels),
        }
    ]  # fmt: skip


def _add(parent: ElementTree.Element, tag: str, attributes: dict[str, Any]) -> ElementTree.Element:
    values = {name: str(value) for name, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, values)


def _add_labels(parent: ElementTree.Element, labels: LabelSet) -> None:
    for label in cvat_task_labels(labels):
        element = ElementTree.SubElement(parent, "label")
        ElementTree.SubElement(element, "name").text = label["name"]
        ElementTree.SubElement(element, "type").text = label["type"]
        attributes = ElementTree.SubElement(element, "attributes")
        for attribute in label["attributes"]:
            inside = ElementTree.SubElement(attributes, "attribute")
            for key in ("name", "mutable", "input_type", "default_value"):
                ElementTree.SubElement(inside, key).text = str(attribute[key])
            ElementTree.SubElement(inside, "values").text = "\n".join(attribute["values"])
        ElementTree.SubElement(element, "svg").text = label["svg"]
        for joint in label["sublabels"]:
            inside = ElementTree.SubElement(parent, "label")
            ElementTree.SubElement(inside, "name").text = joint["name"]
            ElementTree.SubElement(inside, "type").text = joint["type"]
            ElementTree.SubElement(inside, "attributes")
            ElementTree.SubElement(inside, "parent").text = label["name"]


def _add_person(parent: ElementTree.Element, labels: LabelSet, person: PersonLabel) -> None:
    element = _add(parent, "skeleton", {"label": labels.category, "source": "file", "z_order": 0})
    x, y, width, height = person.box
    for joint, (joint_x, joint_y, v) in zip(
        labels.skeleton.joints, person.keypoints.tolist(), strict=True
    ):
        is_labeled = v > 0
        place = x + width / 2, y + height / 2
        if is_labeled:
            place = centers_to_corners(joint_x), centers_to_corners(joint_y)
        attributes = {
            "label": joint,
            "source": "file",
            "outside": int(not is_labeled),
            "occluded": int(v == 1),
            "points": f"{place[0]:.3f},{place[1]:.3f}",
        }
        _add(element, "points", attributes)
    for name, text in (("score", f"{person.score:.4g}"), ("ignore", str(person.is_doubtful))):
        _add(element, "attribute", {"name": name}).text = text.lower()


def _svg(labels: LabelSet) -> str:
    """The template of the skeleton, as CVAT's constructor draws it, with nodes from 1 on."""
    places = _template(labels.skeleton)
    lines = [
        f'<line x1="{places[a][0]}" y1="{places[a][1]}" x2="{places[b][0]}" y2="{places[b][1]}" '
        f'data-type="edge" data-node-from="{a + 1}" data-node-to="{b + 1}"></line>'
        for a, b in labels.limbs
    ]
    circles = [
        f'<circle r="0.75" cx="{x}" cy="{y}" data-type="element node" data-element-id="{k}" '
        f'data-node-id="{k}" data-label-name="{_attribute(joint)}"></circle>'
        for k, (joint, (x, y)) in enumerate(zip(labels.skeleton.joints, places, strict=True), 1)
    ]
    return "\n".join([*lines, *circles])


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _template(skeleton: Skeleton) -> list[tuple[float, float]]:
    """A place for each joint; on a circle where one has a name that we do not know."""
    if all(joint in _STANDING for joint in skeleton.joints):
        return [_STANDING[joint] for joint in skeleton.joints]
    angles = [2 * math.pi * k / skeleton.n_joints for k in range(skeleton.n_joints)]
    return [(round(50 + 45 * math.sin(a), 2), round(50 - 45 * math.cos(a), 2)) for a in angles]


def _task_labels_text(labels: LabelSet) -> str:
    return json.dumps(cvat_task_labels(labels), indent=2) + "\n"


CVAT = LabelFormat(
    description="CVAT for images 1.1, skeletons",
    files={
        ".xml": lambda labels, _: labels_to_cvat(labels),
        ".cvat-labels.json": lambda labels, _: _task_labels_text(labels),
    },
    read=read_cvat,
    reads=(".xml",),
    lacks=(
        "ids",
        "people without joints",
        "boxes",
        "masks",
        "areas",
        "joint scores",
        "flips",
        "sigmas",
    ),
)
