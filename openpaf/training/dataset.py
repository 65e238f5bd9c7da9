"""Labelled photos for training: sets in COCO format, mixed by weight."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf import json_files
from openpaf.errors import OpenpafError
from openpaf.skeleton import Skeleton
from openpaf.training.masks import box_outline, outlines

_log = logging.getLogger(__name__)


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
        ignore_outlines: (P, 2) float32 polygons in px, what no loss looks at; the boxes where
            not given.
        size_hw: Height and width in px, where the annotations say.
        outlines: For each person the polygons of the mask, each x, y, x, y ... in px; none where
            the mask is unlabelled.
    """

    path: Path
    keypoints: NDArray[np.float32]
    boxes: NDArray[np.float32]
    ignore_boxes: NDArray[np.float32]
    maybe: NDArray[np.float32]
    ignore_outlines: tuple[NDArray[np.float32], ...] | None = None
    size_hw: tuple[int, int] | None = None
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
    masks: str = "boxes",
) -> PhotoSet:
    """Read a set of photos in COCO-keypoints format.

    People are taken with their joints where ``num_keypoints`` is above 0; ``iscrowd``,
    ``ignore`` and people without joints become places that no loss looks into. Two keys beyond
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
        masks: Such places are the people's ``"boxes"``, or their ``"segments"`` where the file
            has segmentations; boxes of crowds hide much of what is labelled around them.

    Raises:
        DatasetError: If the file or the folder is missing, is not in COCO format, or has no
            people in it.
    """
    annotations, images = Path(annotations), Path(images)
    data = read_json(annotations)
    if not images.is_dir():
        raise DatasetError(f"{images}: expected a folder of photos")
    by_image: dict[int, list[Mapping[str, Any]]] = {}
    photos, outside = [], _Outside()
    try:
        for annotation in data["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        for position, image in enumerate(data["images"]):
            if holdout is not None and position % holdout[1] == holdout[0]:
                continue
            people = by_image.get(image["id"], [])
            if any(0 <= person.get("agree", 1.0) < min_agreement for person in people):
                continue
            path = images / image["file_name"]
            people = [outside.without(image, person) for person in people]
            size_hw = _size_of(image)
            segments_hw = size_hw if masks == "segments" else None
            photo = _photo(path, people, skeleton, annotations, segments_hw)
            photo = replace(photo, size_hw=size_hw)
            if len(photo.keypoints):
                photos.append(photo)
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{annotations}: an entry is not as COCO's are ({what})") from error
    outside.report(annotations)
    if not photos:
        raise DatasetError(f"{annotations}: no people with keypoints in it")
    return PhotoSet(
        name=name or annotations.parent.name, photos=photos, weight=weight, trusted=trusted
    )


def _size_of(image: Mapping[str, Any]) -> tuple[int, int] | None:
    if not {"width", "height"} <= set(image):
        return None
    return int(image["height"]), int(image["width"])


class _Outside:
    """Takes away joints that lie outside of their picture, and counts them.

    Labels are made by hand and programs; a joint far outside would place people where a crop
    shows nothing. Up to :attr:`tolerance_px` beyond the border is rounding, and is let be.
    """

    tolerance_px = 2.0

    def __init__(self) -> None:
        self.n_joints = 0
        self.first: Any = None

    def without(self, image: Mapping[str, Any], person: Mapping[str, Any]) -> Mapping[str, Any]:
        """A person without such joints; the person itself where there are none."""
        values = np.asarray(person.get("keypoints", ()), np.float64)
        if not values.size or values.size % 3 or not {"width", "height"} <= set(image):
            return person
        rows = values.reshape(-1, 3).copy()
        last = np.array([image["width"], image["height"]]) - 0.5 + self.tolerance_px
        inside = ((rows[:, :2] >= -0.5 - self.tolerance_px) & (rows[:, :2] <= last)).all(axis=1)
        gone = ~inside & (rows[:, 2] > 0)  # a coordinate that is not a number is not inside
        if not gone.any():
            return person
        self.n_joints += int(gone.sum())
        self.first = person.get("id") if self.first is None else self.first
        rows[gone] = 0
        return {**person, "keypoints": rows.ravel().tolist()}

    def report(self, source: Path) -> None:
        """Warn of what was taken away."""
        if self.n_joints:
            _log.warning(
                "%s: %d joints lie outside of their pictures and are left out, the first in "
                "annotation %s",
                source,
                self.n_joints,
                self.first,
            )


def read_json(path: Path) -> Mapping[str, Any]:
    """The contents of a file in COCO format.

    Raises:
        DatasetError: If it cannot be read or is something else.
    """
    try:
        data = json_files.read_json(path)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DatasetError(str(error)) from error
    if not isinstance(data, dict) or not {"images", "annotations"} <= set(data):
        raise DatasetError(f"{path}: expected COCO format, with 'images' and 'annotations'")
    return data


def _photo(
    path: Path,
    people: Sequence[Mapping[str, Any]],
    skeleton: Skeleton,
    source: Path,
    segments_hw: tuple[int, int] | None,
) -> Photo:
    keypoints, boxes, ignore, maybe = [], [], [], []
    shapes: list[NDArray[np.float32]] = []
    masks: list[list[list[float]]] = []
    for person in people:
        box = _box(person)
        person = {**person, "bbox": (box[0], box[1], box[2] - box[0], box[3] - box[1])}
        values = np.asarray(person.get("keypoints", ()), np.float32)
        doubtful = person.get("iscrowd", 0) or person.get("ignore", 0)
        if doubtful or not values.size or not (values[2::3] > 0).any():
            ignore.append(box)
            if segments_hw is None:
                shapes.append(box_outline(person["bbox"]))
            else:
                shapes += outlines(person, segments_hw)
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
        masks.append(mask if isinstance(mask, list) else [])  # run lengths are of crowds
    return Photo(
        path=path,
        keypoints=np.asarray(keypoints, np.float32).reshape(-1, skeleton.n_joints, 3),
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        ignore_boxes=np.asarray(ignore, np.float32).reshape(-1, 4),
        maybe=np.asarray(maybe, np.float32).reshape(-1, 3),
        ignore_outlines=tuple(shapes),
        outlines=masks,
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
