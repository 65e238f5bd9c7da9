"""Labels of a COCO keypoints file, of any category and joints."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openpaf.annotation.labels import (
    BOX_SHARE,
    LabeledImage,
    LabelSet,
    PersonLabel,
    box_around,
)
from openpaf.annotation.reading import ReadOptions, choose_category, image_hw_in, tell_lost
from openpaf.evaluation.entry_checks import Entries, is_list
from openpaf.io.json_files import is_number, read_json
from openpaf.skeleton import Skeleton

Entry = Mapping[str, Any]
_KEPT = {
    "id", "image_id", "category_id", "keypoints", "num_keypoints", "bbox", "area", "segmentation",
    "iscrowd", "ignore", "score", "joint_scores",
}  # fmt: skip
_KEPT_OF_IMAGES = {"id", "file_name", "width", "height"}


def read_coco(path: str | os.PathLike[str], options: ReadOptions | None = None) -> LabelSet:
    """The labels of a COCO keypoints file.

    Those with ``iscrowd`` or ``ignore`` are doubtful. A box that is missing is made around the
    joints.

    Args:
        path: The file.
        options: The category, if the file has several with joints; and the folder of the images,
            if it does not say their sizes.

    Raises:
        ValueError: If it is no such file, or an entry is wrong; the message names the file, what
            was expected and the first such entry.
        OSError: If it cannot be read.

    Reference:
        cocodataset.org/#format-data.
    """
    options = options or ReadOptions()
    path = Path(path)
    data = read_json(path)
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected COCO annotations, got {type(data).__name__}")
    _check_lists(path, data)
    try:
        category = _category(data["categories"], options.category)
        skeleton = _skeleton(category)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: categories: {error}") from error
    own = [entry for entry in data["annotations"] if entry["category_id"] == category["id"]]
    _check_labels(path, own, skeleton)
    _tell_lost(path, data, own)
    by_image: dict[int, list[Entry]] = {image["id"]: [] for image in data["images"]}
    for entry in own:
        by_image[entry["image_id"]].append(entry)
    images = tuple(
        _image(path, image, by_image[image["id"]], skeleton, options) for image in data["images"]
    )
    return LabelSet(images=images, skeleton=skeleton, model=None, category=str(category["name"]))


def _check_lists(path: Path, data: Entry) -> None:
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list):
            raise ValueError(f"{path}: expected a list {key!r} in COCO annotations; it is missing")
    images, annotations, categories = (
        Entries(path, key, data[key]) for key in ("images", "annotations", "categories")
    )
    images.check_keys(("id", "file_name"))
    annotations.check_keys(("id", "image_id", "category_id"))
    categories.check_keys(("id", "name"))
    for entries in (images, annotations, categories):
        entries.check_unique()
    images.refuse(
        "file_name: expected text",
        lambda image: not isinstance(image["file_name"], str) or not image["file_name"],
    )
    annotations.check_categories(data["categories"])
    annotations.check_images({image["id"] for image in data["images"]})


def _category(categories: Sequence[Entry], asked: str | None) -> Entry:
    with_joints = {str(one["name"]): one for one in categories if one.get("keypoints")}
    return with_joints[choose_category(list(with_joints), asked)]


def _skeleton(category: Entry) -> Skeleton:
    skeleton = Skeleton.from_coco_category(category, oks_sigmas=category.get("oks_sigmas"))
    return Skeleton.COCO17 if skeleton.joints == Skeleton.COCO17.joints else skeleton


def _check_labels(path: Path, own: list[Any], skeleton: Skeleton) -> None:
    n_values = 3 * skeleton.n_joints

    def length(entry: Entry) -> str:
        keypoints = entry.get("keypoints")
        return f"got {len(keypoints) if isinstance(keypoints, list) else 'none'}"

    def differs(key: str, size: int) -> Any:
        return lambda entry: entry.get(key) and not is_list(entry[key], size)

    entries = Entries(path, "annotations", own)
    entries.refuse(
        f"keypoints: expected {n_values} finite numbers, 3 for each of {skeleton.n_joints} joints",
        differs("keypoints", n_values),
        length,
    )
    entries.refuse(
        "keypoints: expected 0, 1 or 2 as the third number of each joint",
        lambda entry: any(v not in (0, 1, 2) for v in (entry.get("keypoints") or ())[2::3]),
    )
    entries.refuse("bbox: expected 4 finite numbers", differs("bbox", 4))
    entries.refuse(
        "bbox: expected one where no joint is labeled",
        lambda entry: not entry.get("bbox") and not any((entry.get("keypoints") or ())[2::3]),
    )
    entries.refuse(
        "joint_scores: expected a finite number for each joint",
        differs("joint_scores", skeleton.n_joints),
    )
    for key in ("area", "score"):
        entries.refuse(
            f"{key}: expected a finite number, 0 or more",
            lambda entry, key=key: (  # type: ignore[misc]
                entry.get(key) is not None and not (is_number(entry[key]) and entry[key] >= 0)
            ),
        )


def _tell_lost(path: Path, data: Entry, own: Sequence[Entry]) -> None:
    """Warn of what the file has and the labels do not."""
    lost = {"annotations of other categories": len(data["annotations"]) - len(own)}
    for kind, entries, known in (
        ("images", data["images"], _KEPT_OF_IMAGES),
        ("annotations", own, _KEPT),
    ):
        keys = Counter(key for entry in entries for key in entry if key not in known)
        lost |= {f"{key!r} of {kind}": n for key, n in keys.items()}
    tell_lost(path, lost)


def _image(
    path: Path, image: Entry, own: Sequence[Entry], skeleton: Skeleton, options: ReadOptions
) -> LabeledImage:
    size = image.get("height"), image.get("width")
    if all(type(side) is int and side > 0 for side in size):
        image_hw = int(size[0] or 0), int(size[1] or 0)
    elif options.image_dir is None:
        raise ValueError(
            f"{path}: images: image {image['id']}: expected width and height, got {size[1]!r} and "
            f"{size[0]!r}; --image-dir has them read from the images"
        )
    else:
        image_hw = image_hw_in(options.image_dir, image["file_name"])
    people = tuple(_person(entry, image_hw, skeleton) for entry in own)
    name = image["file_name"]
    return LabeledImage(file_name=name, image_hw=image_hw, people=people, id=image["id"])


def _person(entry: Entry, image_hw: tuple[int, int], skeleton: Skeleton) -> PersonLabel:
    values = entry.get("keypoints") or [0] * (3 * skeleton.n_joints)
    keypoints = np.array(values, np.float64).reshape(-1, 3)
    is_labeled = keypoints[:, 2] > 0
    keypoints[~is_labeled] = 0
    scores = entry.get("joint_scores") or is_labeled
    x, y, width, height = entry.get("bbox") or box_around(keypoints[is_labeled, :2], image_hw)
    area = entry.get("area")
    if not area or abs(area - BOX_SHARE * width * height) < 0.01:  # it is estimated, as ours are
        area = None
    return PersonLabel(
        keypoints=keypoints,
        joint_scores=np.array(scores, np.float64),
        box=(x, y, width, height),
        score=entry["score"] if entry.get("score") is not None else 1.0,
        is_doubtful=bool(entry.get("iscrowd") or entry.get("ignore")),
        area_px=area,
        segmentation=entry.get("segmentation") or None,
    )
