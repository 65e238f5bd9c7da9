"""What readers of labels share: their options, categories, joints by name, and sizes of images."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openpaf.annotation.labels import LabelSet, PersonLabel, box_around
from openpaf.errors import ImageError, printable, shown
from openpaf.io.images import read_image_hw
from openpaf.io.paths import inside_folder
from openpaf.skeleton import Skeleton

logger = logging.getLogger(__name__)

#: What the addresses of files in Label Studio's local storage begin with.
LOCAL_FILES = "/data/local-files/?d="


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What a file of labels may not say by itself.

    Args:
        image_dir: The folder of the images, whose sizes some formats need.
        category: Which category, where a file has several; the name of the only one, where the
            format has none.
        skeleton: The joints, where the format does not name them; otherwise their order and limbs.
        split: Which part of a YOLO set, e.g. ``"train"``; all of them if None.
        image_prefix: For Label Studio, what the address of an image is before its file name.
    """

    image_dir: Path | None = None
    category: str | None = None
    skeleton: Skeleton | None = None
    split: str | None = None
    image_prefix: str = LOCAL_FILES


def tell_lost(path: str | os.PathLike[str], lost: Mapping[str, int]) -> None:
    """Warn of what a file has and its labels do not, with the number of each."""
    listed = ", ".join(f"{what} ({n})" for what, n in lost.items() if n)
    if listed:
        logger.warning("%s: left out: %s", shown(path), listed)


def choose_category(names: Sequence[str], asked: str | None) -> str:
    """The category that was asked for, or the only one, or people.

    Raises:
        ValueError: If it is not there, or there are several and none was asked for.
    """
    if not names:
        raise ValueError("category: expected one with joints, got none")
    known = ", ".join(printable(name) for name in names)
    if asked is None and "person" in names:
        return "person"
    if asked is None and len(names) != 1:
        raise ValueError(f"category: name one of those with joints: {known}")
    if asked is not None and asked not in names:
        raise ValueError(f"category: expected one of those with joints: {known}; got {asked!r}")
    return names[0] if asked is None else asked


def skeleton_by_name(
    joints: Sequence[str], limbs: Sequence[tuple[int, int]], name: str
) -> Skeleton:
    """A skeleton with flips by left and right; COCO's own where the joints are COCO's.

    Args:
        joints: Names of the joints.
        limbs: Pairs of joints, from 0 on.
        name: Name of the skeleton.
    """
    if tuple(joints) == Skeleton.COCO17.joints:
        return Skeleton.COCO17
    pairs = [(a + 1, b + 1) for a, b in limbs]
    category = {"name": name, "keypoints": list(joints), "skeleton": pairs}
    return Skeleton.from_coco_category(category)


def with_skeleton(labels: LabelSet, skeleton: Skeleton) -> LabelSet:
    """The labels with their joints in the order of a skeleton, and with its limbs.

    Raises:
        ValueError: If the names of the joints differ; the message lists those that do.
    """
    ours, theirs = set(skeleton.joints), set(labels.skeleton.joints)
    if ours != theirs:
        raise ValueError(
            f"joints: only in the labels: {_names(labels.skeleton.joints, ours)}; "
            f"only in the skeleton {skeleton.name!r}: {_names(skeleton.joints, theirs)}"
        )
    order = [labels.skeleton.index(joint) for joint in skeleton.joints]
    images = tuple(
        dataclasses.replace(
            image,
            people=tuple(
                dataclasses.replace(
                    person,
                    keypoints=person.keypoints[order],
                    joint_scores=person.joint_scores[order],
                )
                for person in image.people
            ),
        )
        for image in labels.images
    )
    return dataclasses.replace(labels, images=images, skeleton=skeleton)


def _names(joints: Sequence[str], other: set[str]) -> str:
    return ", ".join(printable(joint) for joint in joints if joint not in other) or "none"


def placed(
    xy: NDArray[np.float64], is_labeled: NDArray[np.bool_], hw: tuple[int, int]
) -> PersonLabel:
    """A label made by people of the joints that have a place.

    Args:
        xy: (K, 2) in px; what is not labeled may be NaN.
        is_labeled: (K,), at least one.
        hw: Height and width of the image.
    """
    keypoints = np.zeros((len(xy), 3))
    keypoints[is_labeled, :2], keypoints[is_labeled, 2] = xy[is_labeled], 2
    return PersonLabel(
        keypoints=keypoints,
        joint_scores=is_labeled.astype(np.float64),
        box=box_around(keypoints[is_labeled, :2], hw),
        score=1.0,
        is_doubtful=False,
    )


def image_hw_in(folder: Path, name: str) -> tuple[int, int]:
    """Height and width of an image of a label file, upright.

    Raises:
        ValueError: If it is not in the folder, or no image; the message names it.
    """
    try:
        return read_image_hw(inside_folder(folder, name))
    except (ImageError, OSError) as error:
        raise ValueError(f"{error}; the size of each image is needed: --image-dir") from error
