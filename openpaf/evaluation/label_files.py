"""Annotation files as they are measured: indexed by image, with the skeleton of their people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openpaf.evaluation.entry_checks import Entries
from openpaf.evaluation.labels import PersonLayout, person_layout
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
        ValueError: As :func:`read_labels`, or if it is not clear which category people have.
        OSError: If it cannot be read.
    """
    return index_annotations(read_labels(path))


def read_labels(path: str | Path) -> dict[str, Any]:
    """A file in COCO format, of which only the lists are checked.

    Raises:
        ValueError: If the file is not JSON, or has no lists of images and annotations.
        OSError: If it cannot be read.
    """
    data = read_json(path)
    if not isinstance(data, dict) or not {"images", "annotations"} <= set(data):
        raise ValueError(f"{path}: expected COCO format, with 'images' and 'annotations'")
    for key in ("images", "annotations"):
        entries = data[key]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{path}: {key}: expected a list of dictionaries, as in COCO format")
    return data


def index_annotations(data: Mapping[str, Any], skeleton: Skeleton = Skeleton.COCO17) -> Annotations:
    """Labels of these joints, indexed; of the category that people have, if any is listed.

    Raises:
        ValueError: As :func:`openpaf.evaluation.labels.person_layout`.
    """
    category = None
    if data.get("categories"):
        category = person_layout(data, skeleton, strict=True).category
    return Annotations(dataset=data, skeleton=skeleton, category=category)


def index_people(path: str | Path, data: Mapping[str, Any], layout: PersonLayout) -> Annotations:
    """The people of a file with the joints of a layout, indexed; ids may be any labels.

    Args:
        path: The file, for messages.
        data: What it holds; annotations of images that it does not list are left out.
        layout: Who is a person, and which joints are taken.

    Returns:
        The labels, under new ids: an image's is its position.

    Raises:
        KeyError: If an image or an annotation has no id of its image.
        ValueError: If ids of images come twice, or an annotation lacks what COCO's figures need.
    """
    Entries(path, "images", data["images"]).check_unique()
    numbers = {image["id"]: n for n, image in enumerate(data["images"])}
    people = []
    for person in filter(layout.is_person, data["annotations"]):
        if person["image_id"] in numbers:
            joints = layout.keypoints(person)
            n_labeled = int((joints[:, 2] > 0).sum())
            own = {"keypoints": joints.ravel().tolist(), "num_keypoints": n_labeled}
            people.append({**person, **own})
    Entries(path, "annotations", people).check_people(layout.skeleton.n_joints)
    dataset = {
        "images": [{**image, "id": n} for n, image in enumerate(data["images"])],
        "annotations": [
            {**person, "id": n, "image_id": numbers[person["image_id"]]}
            for n, person in enumerate(people)
        ],
    }
    return Annotations(dataset=dataset, skeleton=layout.skeleton)
