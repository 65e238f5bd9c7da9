"""Labelled photos for training: sets in COCO format, mixed by weight."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import OpenpafError
from openpaf.skeleton import Skeleton


class DatasetError(OpenpafError):
    """A training set is missing, unreadable, or has no people; the message names the file."""


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One photo and what is known of its people.

    Args:
        path: The file.
        keypoints: (N, K, 3) float32, x and y in px and COCO's v; v = 0 where unlabelled.
        boxes: (N, 4) float32, x0, y0, x1, y1 in px around each of them.
        ignore_boxes: (M, 4) float32 around people without joints, crowds and doubtful people.
        maybe: (J, 3) float32 rows of joint index, x, y: too unsure to teach, too likely to call
            background.
        outlines: For each person the polygons of the mask, each x, y, x, y ... in px; none where
            the mask is unlabelled.
    """

    path: Path
    keypoints: NDArray[np.float32]
    boxes: NDArray[np.float32]
    ignore_boxes: NDArray[np.float32]
    maybe: NDArray[np.float32]
    outlines: Sequence[Sequence[Sequence[float]]] = ()


@dataclass(frozen=True, kw_only=True)
class PhotoSet:
    """A set of photos in COCO-keypoints format.

    Args:
        name: For reports.
        photos: Those with at least one labelled person.
        weight: Share of the crops that come from this set, relative to the other sets'.
        trusted: Whether everything outside the labels and the ignored boxes is truly background.
            False for pseudo-labels, which miss people.
    """

    name: str
    photos: Sequence[Photo] = field(repr=False)
    weight: float = 1.0
    trusted: bool = True

    @property
    def n_people(self) -> int:
        """People with at least one labelled joint."""
        return sum(len(photo.keypoints) for photo in self.photos)


def load_photo_set(
    annotations: str | Path,
    images: str | Path,
    *,
    name: str | None = None,
    weight: float = 1.0,
    trusted: bool = True,
    skeleton: Skeleton = Skeleton.COCO17,
    min_agreement: float = 0.0,
    holdout: tuple[int, int] | None = None,
) -> PhotoSet:
    """Read a set of photos in COCO-keypoints format.

    People are taken with their joints where ``num_keypoints`` is above 0; ``iscrowd``,
    ``ignore`` and people without joints become boxes that no loss looks into. Two keys beyond
    COCO's are understood: ``maybe``, rows of joint, x and y to leave out, and ``agree`` (0 to 1),
    how well several sources of the label agree.

    Args:
        annotations: The JSON file.
        images: The folder of the photos.
        name: For reports; the annotation file's folder where not given.
        weight: Share of the crops, relative to the other sets'.
        trusted: Whether what is not labelled is background.
        skeleton: Joints by which the file's keypoints are read.
        min_agreement: Photos with a person whose ``agree`` is lower are left out.
        holdout: ``(remainder, n)`` leaves out every n-th photo, whose position in the file
            leaves this remainder, so that a split can be kept for choosing.

    Raises:
        DatasetError: If the file or the folder is missing, is not in COCO format, or has no
            people in it.
    """
    annotations, images = Path(annotations), Path(images)
    data = _read_json(annotations)
    if not images.is_dir():
        raise DatasetError(f"{images}: expected a folder of photos")
    by_image: dict[int, list[Mapping[str, Any]]] = {}
    for annotation in data["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    photos = []
    for position, image in enumerate(data["images"]):
        if holdout is not None and position % holdout[1] == holdout[0]:
            continue
        people = by_image.get(image["id"], [])
        if any(0 <= person.get("agree", 1.0) < min_agreement for person in people):
            continue
        photo = _photo(images / image["file_name"], people, skeleton, annotations)
        if len(photo.keypoints):
            photos.append(photo)
    if not photos:
        raise DatasetError(f"{annotations}: no people with keypoints in it")
    return PhotoSet(
        name=name or annotations.parent.name, photos=photos, weight=weight, trusted=trusted
    )


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DatasetError(f"{path}: not JSON ({error})") from error
    if not isinstance(data, dict) or not {"images", "annotations"} <= set(data):
        raise DatasetError(f"{path}: expected COCO format, with 'images' and 'annotations'")
    return data


def _photo(
    path: Path, people: Sequence[Mapping[str, Any]], skeleton: Skeleton, source: Path
) -> Photo:
    keypoints, boxes, ignore, maybe, outlines = [], [], [], [], []
    for person in people:
        box = _box(person)
        values = np.asarray(person.get("keypoints", ()), np.float32)
        doubtful = person.get("iscrowd", 0) or person.get("ignore", 0)
        if doubtful or not values.size or not (values[2::3] > 0).any():
            ignore.append(box)
            continue
        if values.size != 3 * skeleton.n_joints:
            raise DatasetError(
                f"{source}: annotation {person.get('id')} has {values.size} numbers in "
                f"'keypoints', expected {3 * skeleton.n_joints} for {skeleton.name!r}"
            )
        keypoints.append(values.reshape(-1, 3))
        boxes.append(box)
        maybe += list(person.get("maybe", ()))
        mask = person.get("segmentation")
        outlines.append(mask if isinstance(mask, list) else [])  # run lengths are of crowds
    return Photo(
        path=path,
        keypoints=np.asarray(keypoints, np.float32).reshape(-1, skeleton.n_joints, 3),
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        ignore_boxes=np.asarray(ignore, np.float32).reshape(-1, 4),
        maybe=np.asarray(maybe, np.float32).reshape(-1, 3),
        outlines=outlines,
    )


def _box(person: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """The labelled box as two corners; without one, that around the joints and a little more."""
    if "bbox" in person:
        x, y, width, height = person["bbox"]
        return x, y, x + width, y + height
    joints = np.asarray(person.get("keypoints", ()), np.float64).reshape(-1, 3)
    seen = joints[joints[:, 2] > 0, :2]
    if not len(seen):
        return 0.0, 0.0, 0.0, 0.0
    low, high = seen.min(axis=0), seen.max(axis=0)
    # Joints end at eyes, wrists and ankles: heads, hands and feet stand out by about a tenth.
    margin = max(0.1 * float((high - low).max()), 2.0)
    (x0, y0), (x1, y1) = (low - margin).tolist(), (high + margin).tolist()
    return x0, y0, x1, y1
