"""Corrected labels as CVAT exports them: "CVAT for images 1.1", with people as skeletons."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from openpaf.annotation.labels import LabeledImage, LabelSet, PersonLabel, box_around
from openpaf.skeleton import Skeleton

_PERSON = "person"
_EDGE = re.compile(r'data-node-from="(\d+)" data-node-to="(\d+)"')


def read_cvat(path: str | os.PathLike[str]) -> LabelSet:
    """The labels of an XML file of CVAT for images 1.1.

    People are the skeletons with the label ``person``; those without any labeled joint are left
    out. Boxes are made anew around the joints. Joints that are ``outside`` are unlabeled,
    ``occluded`` ones have v 1.

    Raises:
        ValueError: If it is not such a file; the message names it.
        OSError: If it cannot be read.

    Reference:
        docs.cvat.ai/docs/dataset_management/formats/format-cvat.
    """
    raw = Path(path).read_bytes()
    try:
        if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:  # CVAT writes none
            raise ValueError("expected no definitions of entities")
        root = ElementTree.fromstring(raw)
        if root.tag != "annotations":
            raise ValueError(f"expected <annotations>, got <{root.tag}>")
        skeleton = _skeleton(root)
        images = tuple(_image(element, skeleton) for element in root.iter("image"))
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{os.fspath(path)}: not of CVAT for images 1.1: {what}") from error
    return LabelSet(images=images, skeleton=skeleton, model="CVAT")


def _skeleton(root: ElementTree.Element) -> Skeleton:
    """The joints of the label ``person``, in its order, and its edges."""
    labels = [label for labels in root.iter("labels") for label in labels.iter("label")]
    joints = [label.findtext("name") for label in labels if label.findtext("parent") == _PERSON]
    svg = next((label.findtext("svg") for label in labels if label.findtext("name") == _PERSON), "")
    if not joints:
        raise ValueError("expected a label 'person' with joints")
    if joints == list(Skeleton.COCO17.joints):
        return Skeleton.COCO17
    edges = [(int(a), int(b)) for a, b in _EDGE.findall(svg or "")]
    return Skeleton.from_coco_category({"name": _PERSON, "keypoints": joints, "skeleton": edges})


def _image(element: ElementTree.Element, skeleton: Skeleton) -> LabeledImage:
    image_hw = int(element.attrib["height"]), int(element.attrib["width"])
    return LabeledImage(
        file_name=element.attrib["name"],
        image_hw=image_hw,
        people=tuple(_people(element, image_hw, skeleton)),
    )


def _people(
    image: ElementTree.Element, image_hw: tuple[int, int], skeleton: Skeleton
) -> Iterator[PersonLabel]:
    for element in image.iter("skeleton"):
        if element.attrib["label"] != _PERSON:
            continue
        keypoints = np.zeros((skeleton.n_joints, 3))
        for point in element.iter("points"):
            if point.attrib.get("outside") == "1":
                continue
            x, y = map(float, point.attrib["points"].split(","))
            v = 1 if point.attrib.get("occluded") == "1" else 2
            keypoints[skeleton.index(point.attrib["label"])] = x, y, v
        is_labeled = keypoints[:, 2] > 0
        if not is_labeled.any():
            continue
        values = {item.attrib["name"]: item.text or "" for item in element.iter("attribute")}
        yield PersonLabel(
            keypoints=keypoints,
            joint_scores=is_labeled.astype(np.float64),
            box=box_around(keypoints[is_labeled, :2], image_hw),
            score=float(values.get("score") or 1),
            is_doubtful=values.get("ignore") == "true",
        )
