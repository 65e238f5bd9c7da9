"""Labelled photos for training: sets in COCO format, mixed by weight."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import OpenpafError
from openpaf.io import json_files
from openpaf.io.paths import inside_folder
from openpaf.skeleton import Skeleton
from openpaf.training.data.categories import PersonLayout, check_finite, person_layout
from openpaf.training.data.masks import box_outline, outlines
from openpaf.training.outside import Outside

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
        unlabelled: Joints that the set labels in nobody, by index: there, but not to be learned.
        folder: Of the set, whose shards may hold the photo; the photo's own if None.
    """

    path: Path
    keypoints: NDArray[np.float32]
    boxes: NDArray[np.float32]
    ignore_boxes: NDArray[np.float32]
    maybe: NDArray[np.float32]
    ignore_outlines: tuple[NDArray[np.float32], ...] | None = None
    size_hw: tuple[int, int] | None = None
    outlines: Sequence[Sequence[Sequence[float]]] = ()
    unlabelled: tuple[int, ...] = ()
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class PhotoSet:
    """A set of photos in COCO-keypoints format.

    Args:
        name: For reports.
        photos: Those with at least one labelled person.
        weight: Share of the crops that come from this set, relative to the other sets'.
        fully_annotated: Whether all outside the labels and the ignored places is background; false
            for pseudo-labels, which miss people.
    """

    name: str
    photos: Sequence[Photo] = field(repr=False)
    weight: float = 1.0
    fully_annotated: bool = True

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
    fully_annotated: bool = True,
    skeleton: Skeleton = Skeleton.COCO17,
    min_agreement: float = 0.0,
    holdout: tuple[int, int] | None = None,
    masks: str = "boxes",
) -> PhotoSet:
    """Read a set of photos in COCO-keypoints format.

    People are found, and their joints by name, by
    :func:`~openpaf.training.data.categories.person_layout`. They are taken where a joint is
    labelled; ``iscrowd``, ``ignore`` and people without joints become places that no loss looks
    into. Two keys beyond COCO's are understood: ``maybe``, rows of joint, x and y to leave out, and
    ``agree`` (0 to 1), how well several sources of the label agree.

    Args:
        annotations: The JSON file.
        images: The folder of the photos.
        name: For reports; the annotation file's folder where not given.
        weight: Share of the crops, relative to the other sets'.
        fully_annotated: Whether what is not labelled is background.
        skeleton: Joints that are looked for in the file's.
        min_agreement: Photos with a person whose ``agree`` is lower are left out.
        holdout: ``(remainder, n)`` leaves out every n-th photo, whose position in the file
            leaves this remainder, so that a split can be kept for choosing.
        masks: Such places are the people's ``"boxes"``, or their ``"segments"`` where the file
            has segmentations; boxes of crowds hide much of what is labelled around them.

    Raises:
        DatasetError: If the file or the folder is missing, is not in COCO format, names a photo
            outside of the folder, or has no people with our joints in it.
    """
    annotations, images = Path(annotations), Path(images)
    data = read_json(annotations)
    if not images.is_dir():
        raise DatasetError(f"{images}: expected a folder of photos")
    by_image: dict[Any, list[Mapping[str, Any]]] = {}
    photos, outside = [], Outside()
    try:
        layout = layout_of(annotations, data, skeleton)
        for annotation in filter(layout.is_person, data["annotations"]):
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        refuse_repeated_images(data["images"])
        for position, image in enumerate(data["images"]):
            if holdout is not None and position % holdout[1] == holdout[0]:
                continue
            people = by_image.get(image["id"], [])
            if any(0 <= person.get("agree", 1.0) < min_agreement for person in people):
                continue
            path = inside_folder(images, image["file_name"])
            photo = _photo(path, size_of(image), people, layout, outside, masks)
            if len(photo.keypoints):
                photos.append(replace(photo, folder=images))
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{annotations}: an entry is not as COCO's are ({what})") from error
    outside.report(annotations)
    if not photos:
        raise DatasetError(f"{annotations}: no people with keypoints in it")
    return PhotoSet(
        name=name or annotations.parent.name,
        photos=photos,
        weight=weight,
        fully_annotated=fully_annotated,
    )


def layout_of(source: Path, data: Mapping[str, Any], skeleton: Skeleton) -> PersonLayout:
    """Who in a file is a person, and which joints they have; told where it is not all of ours.

    Raises:
        DatasetError: If people cannot be told, or have other joints.
    """
    try:
        layout = person_layout(data, skeleton)
    except (KeyError, TypeError, ValueError) as error:
        what = f"categories: no {error}" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{source}: {what}") from error
    if layout.unlabelled:
        names = ", ".join(skeleton.joints[k] for k in layout.unlabelled)
        _log.warning("%s: its people have no %s; nothing is learned of these there", source, names)
    return layout


def refuse_repeated_images(images: Sequence[Mapping[str, Any]]) -> None:
    """Refuse images of one id, to whom the same people would belong.

    Raises:
        ValueError: If there are such.
    """
    seen: set[Any] = set()
    for image in images:
        if image["id"] in seen:
            raise ValueError(f"image id {image['id']!r} comes twice")
        seen.add(image["id"])


def size_of(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width in px of an entry of ``images``; None where it does not say."""
    if not {"width", "height"} <= set(image):
        return None
    return int(image["height"]), int(image["width"])


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
    for key in ("images", "annotations"):
        rows = data[key]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DatasetError(f"{path}: {key}: expected a list of dictionaries, as in COCO format")
    return data


def _photo(
    path: Path,
    size_hw: tuple[int, int] | None,
    people: Sequence[Mapping[str, Any]],
    layout: PersonLayout,
    outside: Outside,
    masks: str,
) -> Photo:
    keypoints, boxes, ignore, maybe = [], [], [], []
    shapes: list[NDArray[np.float32]] = []
    outlined: list[list[list[float]]] = []
    for person in people:
        joints = outside.without(size_hw, person, layout.keypoints(person))
        box = _box(person, joints)
        name = f"annotation {person.get('id')}"
        check_finite(joints, f"{name}, keypoints")
        check_finite(box, f"{name}, bbox")
        doubtful = person.get("iscrowd", 0) or person.get("ignore", 0)
        if doubtful or not (joints[:, 2] > 0).any():
            ignore.append(box)
            bbox = (box[0], box[1], box[2] - box[0], box[3] - box[1])
            if masks == "segments" and size_hw is not None:
                shapes += outlines({**person, "bbox": bbox}, size_hw)
            else:
                shapes.append(box_outline(bbox))
            continue
        keypoints.append(joints)
        boxes.append(box)
        maybe += layout.unsure(person)
        mask = person.get("segmentation")
        outlined.append(mask if isinstance(mask, list) else [])  # run lengths are of crowds
    return Photo(
        path=path,
        keypoints=np.asarray(keypoints, np.float32).reshape(-1, layout.skeleton.n_joints, 3),
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        ignore_boxes=np.asarray(ignore, np.float32).reshape(-1, 4),
        maybe=np.asarray(maybe, np.float32).reshape(-1, 3),
        ignore_outlines=tuple(shapes),
        size_hw=size_hw,
        outlines=outlined,
        unlabelled=layout.unlabelled,
    )


def _box(
    person: Mapping[str, Any], joints: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """The labelled box as two corners; without one, that around the joints and a little more."""
    if "bbox" in person:
        x, y, width, height = person["bbox"]
        return x, y, x + width, y + height
    seen = joints[joints[:, 2] > 0, :2]
    if not len(seen):
        return 0.0, 0.0, 0.0, 0.0
    low, high = seen.min(axis=0), seen.max(axis=0)
    # Joints end at eyes, wrists and ankles: heads, hands and feet stand out by about a tenth.
    margin = max(0.1 * float((high - low).max()), 2.0)
    (x0, y0), (x1, y1) = (low - margin).tolist(), (high + margin).tolist()
    return x0, y0, x1, y1
