"""What labels have that a format cannot hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from openpaf.annotation.coco_labels import has_own_sigmas
from openpaf.annotation.label_formats import LabelFormat
from openpaf.annotation.labels import LabelSet, PersonLabel, box_around
from openpaf.annotation.yolo import is_outside
from openpaf.skeleton import Skeleton


def _people(labels: LabelSet, has: Callable[[PersonLabel], bool]) -> int:
    return sum(has(person) for image in labels.images for person in image.people)


def _has_joint_scores(person: PersonLabel) -> bool:
    is_labeled = person.keypoints[:, 2] > 0
    return not np.array_equal(person.joint_scores, is_labeled)


def _own_boxes(labels: LabelSet) -> int:
    """How many people have another box than the one around their joints."""

    def is_own(person: PersonLabel, image_hw: tuple[int, int]) -> bool:
        xy = person.keypoints[person.keypoints[:, 2] > 0, :2]
        return not len(xy) or not np.allclose(person.box, box_around(xy, image_hw), atol=0.01)

    return sum(is_own(person, image.image_hw) for image in labels.images for person in image.people)


def _outside(labels: LabelSet) -> int:
    return sum(
        int(is_outside(person, image.image_hw).sum())
        for image in labels.images
        for person in image.people
    )


def _hidden(labels: LabelSet) -> int:
    joints = [person.keypoints[:, 2] == 1 for image in labels.images for person in image.people]
    return int(np.sum(joints))


def _flips(labels: LabelSet) -> int:
    """How many joints swap otherwise than their names tell."""
    skeleton = labels.skeleton
    category = {"name": skeleton.name, "keypoints": list(skeleton.joints)}
    by_name = Skeleton.from_coco_category(category)
    pairs = zip(by_name.flip_permutation, skeleton.flip_permutation, strict=True)
    return sum(a != b for a, b in pairs)


def _sigmas(labels: LabelSet) -> int:
    return labels.skeleton.n_joints if has_own_sigmas(labels.skeleton) else 0


def _ids(labels: LabelSet) -> int:
    """How many images have another id than the one that they would get."""
    own = [image.id for image in labels.images if image.id is not None]
    without = tuple(dataclasses.replace(image, id=None) for image in labels.images)
    made = dataclasses.replace(labels, images=without).image_ids()
    return sum(a != b for a, b in zip(own, made, strict=False))


def _empty(labels: LabelSet) -> int:
    """How many images have no person with labeled joints."""
    return sum(not image.sure_people for image in labels.images)


#: What labels may have: for each feature how it is called, and how much of it labels have.
FEATURES: dict[str, tuple[str, Callable[[LabelSet], int]]] = {
    "hidden joints": ("joints that are marked as hidden, which become visible ones", _hidden),
    "joints outside": ("joints outside of their image, which become unlabeled", _outside),
    "ignore regions": (
        "ignored people, who are left out and count as background",
        lambda labels: _people(labels, lambda person: person.is_doubtful),
    ),
    "people without joints": (
        "people without labeled joints",
        lambda labels: _people(labels, lambda person: person.n_labeled == 0),
    ),
    "images without people": ("images without people, which count as not labeled yet", _empty),
    "boxes": ("boxes of people, which are made anew around their joints", _own_boxes),
    "masks": ("masks", lambda labels: _people(labels, lambda person: bool(person.segmentation))),
    "areas": ("areas", lambda labels: _people(labels, lambda person: person.area_px is not None)),
    "scores": ("scores", lambda labels: _people(labels, lambda person: person.score != 1)),
    "joint scores": ("scores of joints", lambda labels: _people(labels, _has_joint_scores)),
    "ids": ("ids of images", _ids),
    "limbs": ("limbs of the skeleton", lambda labels: len(labels.limbs)),
    "flips": ("pairs of joints that swap in a mirrored image other than by name", _flips),
    "sigmas": ("OKS sigmas of the skeleton", _sigmas),
}


def losses(labels: LabelSet, format: LabelFormat) -> Iterator[str]:
    """What the labels have that a format cannot hold, each with its number."""
    for feature in format.lacks:
        description, count = FEATURES[feature]
        n = count(labels)
        if n:
            yield f"{description} ({n})"
