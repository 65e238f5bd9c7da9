"""Annotation files as they are measured: indexed by image, with the skeleton of their people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openpaf.evaluation.labels import person_layout
from openpaf.io.json_files import read_json
from openpaf.skeleton import Skeleton

#: A labeled person, as COCO's JSON has one.
Annotation = dict[str, Any]
#: A person as found, in COCO's submission format.
Detection = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """The labels of a set of images.

    Args:
        dataset: As COCO's JSON has them.
        skeleton: The joints of the labels, in their order, with the OKS sigmas to measure with.
        category: The id of people; None where the file lists no categories.

    Attributes:
        imgs: The images by id.
        anns: The labels by id.
        imgToAnns: The labels of each image by its id, under the name that pycocotools has for it.
    """

    dataset: Mapping[str, Any]
    skeleton: Skeleton
    category: int | None = None
    imgs: dict[int, dict[str, Any]] = field(init=False)
    anns: dict[int, Annotation] = field(init=False)
    imgToAnns: dict[int, list[Annotation]] = field(init=False)

    @property
    def measured(self) -> tuple[str, ...]:
        """The joints that are labeled in any of the people."""
        n_joints = self.skeleton.n_joints
        is_labeled = [False] * n_joints
        for annotation in self.anns.values():
            for k, v in enumerate(annotation["keypoints"][2::3]):
                is_labeled[k] |= v > 0
        return tuple(
            name for name, some in zip(self.skeleton.joints, is_labeled, strict=True) if some
        )

    def __post_init__(self) -> None:
        imgs = {image["id"]: image for image in self.dataset["images"]}
        by_image: dict[int, list[Annotation]] = {image_id: [] for image_id in imgs}
        for annotation in self.dataset["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        object.__setattr__(self, "imgs", imgs)
        object.__setattr__(self, "anns", {a["id"]: a for a in self.dataset["annotations"]})
        object.__setattr__(self, "imgToAnns", by_image)


def load_annotations(path: str | Path) -> Annotations:
    """A file of people with COCO's 17 joints, indexed, with few checks.

    :func:`openpaf.evaluation.annotations.read_annotations` checks everything, and takes any joints.

    Raises:
        ValueError: If the file is not JSON, has no lists of images and annotations, or it is not
            clear which category people have.
        OSError: If it cannot be read.
    """
    data = read_json(path)
    lists = ("images", "annotations")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in lists):
        raise ValueError(f"{path}: expected COCO annotations, with lists of images and annotations")
    return index_annotations(data)


def index_annotations(data: Mapping[str, Any], skeleton: Skeleton = Skeleton.COCO17) -> Annotations:
    """Labels of these joints, indexed; of the category that people have, if any is listed.

    Raises:
        ValueError: As :func:`openpaf.evaluation.labels.person_layout`.
    """
    category = None
    if data.get("categories"):
        category = person_layout(data, skeleton, strict=True).category
    return Annotations(dataset=data, skeleton=skeleton, category=category)
