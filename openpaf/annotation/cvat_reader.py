"""Labels as CVAT exports them: "CVAT for images 1.1", with people as skeletons."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from openpaf.annotation.labels import LabeledImage, LabelSet, PersonLabel, box_around
from openpaf.annotation.reading import ReadOptions, choose_category, skeleton_by_name, tell_lost
from openpaf.errors import printable
from openpaf.geometry import corners_to_centers
from openpaf.skeleton import Skeleton

_EDGE = re.compile(r'data-node-from="(\d+)" data-node-to="(\d+)"')
_ATTRIBUTES = {"score", "ignore"}


def read_cvat(path: str | os.PathLike[str], options: ReadOptions | None = None) -> LabelSet:
    """The labels of an XML file of CVAT for images 1.1.

    People are the skeletons of the category; those without any labeled joint are left out, and so
    are shapes that are no skeletons. Boxes are made anew around the joints. Joints that are
    ``outside`` are unlabeled, ``occluded`` ones have v 1.

    Args:
        path: The file.
        options: The category, if there are skeletons of several.

    Raises:
        ValueError: If it is not such a file; the message names it, and the image.
        OSError: If it cannot be read.

    Reference:
        docs.cvat.ai/docs/dataset_management/formats/format-cvat.
    """
    options = options or ReadOptions()
    raw = Path(path).read_bytes()
    try:
        if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:  # CVAT writes none
            raise ValueError("expected no definitions of entities")
        root = ElementTree.fromstring(raw)
        if root.tag != "annotations":
            raise ValueError(f"expected <annotations>, got <{root.tag}>")
        if root.find("track") is not None:
            raise ValueError('it is "CVAT for video"; export the task as "CVAT for images"')
        category, skeleton = _skeleton(root, options.category)
        images = tuple(_image(element, category, skeleton) for element in root.iter("image"))
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # of an unknown encoding
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{os.fspath(path)}: not of CVAT for images 1.1: {what}") from error
    _tell_lost(os.fspath(path), root, category)
    return LabelSet(images=images, skeleton=skeleton, model=None, category=category)


def _skeleton(root: ElementTree.Element, asked: str | None) -> tuple[str, Skeleton]:
    """The label with joints that was asked for, with its joints in its order, and its edges."""
    labels = [label for labels in root.iter("labels") for label in labels.iter("label")]
    parents = [label.findtext("parent") or "" for label in labels]
    category = choose_category([name for name in dict.fromkeys(parents) if name], asked)
    joints = [
        label.findtext("name") or ""
        for label, parent in zip(labels, parents, strict=True)
        if parent == category
    ]
    own = (label for label in labels if label.findtext("name") == category)
    svg = next((label.findtext("svg") for label in own), None)
    edges = [(int(a) - 1, int(b) - 1) for a, b in _EDGE.findall(svg or "")]
    return category, skeleton_by_name(joints, edges, category)


def _image(element: ElementTree.Element, category: str, skeleton: Skeleton) -> LabeledImage:
    name = element.attrib["name"]
    try:
        image_hw = int(element.attrib["height"]), int(element.attrib["width"])
        people = tuple(_people(element, image_hw, category, skeleton))
    except (KeyError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"image '{printable(name)}': {what}") from error
    return LabeledImage(file_name=name, image_hw=image_hw, people=people)


def _people(
    image: ElementTree.Element, image_hw: tuple[int, int], category: str, skeleton: Skeleton
) -> Iterator[PersonLabel]:
    own = (one for one in image.iter("skeleton") if one.attrib["label"] == category)
    for number, element in enumerate(own):
        try:
            keypoints = _keypoints(element, skeleton)
            values = {item.attrib["name"]: item.text or "" for item in element.iter("attribute")}
            score = float(values.get("score") or 1)
            if not 0 <= score < math.inf:
                raise ValueError(f"score: expected a number, 0 or more, got {score:g}")
        except ValueError as error:
            raise ValueError(f"skeleton {number}: {error}") from error
        is_labeled = keypoints[:, 2] > 0
        if not is_labeled.any():
            continue
        yield PersonLabel(
            keypoints=keypoints,
            joint_scores=is_labeled.astype(np.float64),
            box=box_around(keypoints[is_labeled, :2], image_hw),
            score=score,
            is_doubtful=values.get("ignore") == "true",
        )


def _keypoints(element: ElementTree.Element, skeleton: Skeleton) -> NDArray[np.float64]:
    keypoints = np.zeros((skeleton.n_joints, 3))
    for point in element.iter("points"):
        joint = skeleton.index(point.attrib["label"])
        if point.attrib.get("outside") == "1":
            continue
        numbers = [float(text) for text in point.attrib["points"].split(",")]
        if len(numbers) != 2 or not all(map(math.isfinite, numbers)):
            raise ValueError(
                f"{skeleton.joints[joint]!r}: expected x,y, got {point.attrib['points']!r}"
            )
        v = 1 if point.attrib.get("occluded") == "1" else 2
        x, y = (round(corners_to_centers(number), 3) for number in numbers)
        keypoints[joint] = x, y, v
    return keypoints


def _tell_lost(path: str, root: ElementTree.Element, category: str) -> None:
    """Warn of shapes that are no skeletons, or of another category."""
    shapes = Counter(shape.tag for image in root.iter("image") for shape in image)
    others = {tag: n for tag, n in shapes.items() if tag != "skeleton"}
    skeletons = [one for one in root.iter("skeleton") if one.attrib.get("label") != category]
    attributes = [one.attrib.get("name") for one in root.iterfind("image/skeleton/attribute")]
    n_attributes = sum(name not in _ATTRIBUTES for name in attributes)
    lost = {f"<{printable(tag)}> of images, which is no skeleton": n for tag, n in others.items()}
    lost["skeletons of other labels"] = len(skeletons)
    tell_lost(path, {**lost, "attributes of skeletons": n_attributes})
