"""Labeled photos for training: sets in COCO format, mixed by weight."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import OpenpafError
from openpaf.evaluation.labels import PersonLayout, person_layout
from openpaf.evaluation.skeletons import skeleton_of
from openpaf.io import json_files
from openpaf.io.paths import inside_folder
from openpaf.skeleton import Skeleton
from openpaf.training.data.masks import outlines

_log = logging.getLogger(__name__)
#: No label lies so far out; larger numbers are damage, and overflow where pixels are drawn.
_FARTHEST_PX = 1e6
_ROUNDING_PX = 2.0  # a joint may lie so far outside of its image


class DatasetError(OpenpafError):
    """A training set is missing, unreadable, or has no people; the message names the file."""


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One photo and its labels.

    Args:
        path: The file.
        keypoints: (N, K, 3) float32, x and y in px and COCO's v; v = 0 where unlabeled.
        boxes: (N, 4) float32, x0, y0, x1, y1 in px around each person.
        ignore_boxes: (M, 4) float32 around people without joints, crowds and doubtful people.
        uncertain_joints: (J, 3) float32 joint, x, y: neither targets nor background.
        ignore_outlines: (P, 2) float32 polygons in px, the ignore regions.
        size_hw: Height and width in px, where the annotations say.
        outlines: For each person the polygons of the mask, each x, y, x, y ... in px; none where
            the mask is unlabeled.
        unlabeled: Joints that the set labels in no person, by index: there, but not to be learned.
        fully_annotated: Whether all outside the labels and the ignored places is background; false
            for pseudo-labels, which miss people.
    """

    path: Path
    keypoints: NDArray[np.float32]
    boxes: NDArray[np.float32]
    ignore_boxes: NDArray[np.float32]
    uncertain_joints: NDArray[np.float32]
    ignore_outlines: tuple[NDArray[np.float32], ...] = ()
    size_hw: tuple[int, int] | None = None
    outlines: Sequence[Sequence[Sequence[float]]] = ()
    unlabeled: tuple[int, ...] = ()
    fully_annotated: bool = True


@dataclass(frozen=True, kw_only=True)
class PhotoSet:
    """A set of photos in COCO-keypoints format.

    Args:
        name: For reports.
        photos: Those with at least one labeled person.
        weight: Share of the crops that come from this set, relative to the other sets'.
        skeleton: The joints of its labels.
    """

    name: str
    photos: Sequence[Photo] = field(repr=False)
    weight: float = 1.0
    skeleton: Skeleton = Skeleton.COCO17

    @property
    def n_people(self) -> int:
        """People with at least one labeled joint."""
        return sum(len(photo.keypoints) for photo in self.photos)


def load_photo_set(
    annotations: str | Path,
    images: str | Path,
    *,
    name: str | None = None,
    weight: float = 1.0,
    fully_annotated: bool = True,
    skeleton: Skeleton | None = None,
    skeleton_file: str | None = None,
    category: str | None = None,
    min_agreement: float = 0.0,
    holdout: tuple[int, int] | None = None,
    masks: str = "boxes",
) -> PhotoSet:
    """Read a set of photos in COCO-keypoints format.

    :func:`~openpaf.evaluation.labels.person_layout` finds people and their joints. ``iscrowd``,
    ``ignore`` and people without labeled joints become ignore regions. Two keys beyond COCO's are
    understood: ``maybe``, uncertain joints as lists of joint, x and y, and ``agree`` (0 to 1), how
    well several sources of the label agree.

    Arguments are those of :class:`openpaf.training.config.SetConfig`, and ``category`` and
    ``skeleton_file``, as :class:`openpaf.training.config.DataConfig` has them; ``skeleton``, the
    joints to take, if they are known from another set.

    Raises:
        DatasetError: If the file or the folder is missing, is not in COCO format, names a photo
            outside of the folder, or has no people with our joints in it.
    """
    annotations, images = Path(annotations), Path(images)
    data = read_json(annotations)
    if not images.is_dir():
        raise DatasetError(f"{images}: expected a folder of photos")
    outside: list[Any] = []  # the annotation of each joint that lies outside of its photo
    with entries_of(annotations):
        skeleton = skeleton or labels_of(annotations, data, category, skeleton_file)
        layout = layout_of(annotations, data, skeleton, category)
        photos = [
            _photo(images, image, people, layout, outside, masks, fully_annotated)
            for image, people in _with_people(data, layout, holdout)
            if not any(0 <= person.get("agree", 1.0) < min_agreement for person in people)
        ]
    if outside:
        message = "%s: %d joints lie outside of their images and are left out, the first in %s %s"
        _log.warning(message, annotations, len(outside), "annotation", outside[0])
    photos = [photo for photo in photos if len(photo.keypoints)]
    if not photos:
        raise DatasetError(f"{annotations}: no people with keypoints in it")
    name = name or annotations.parent.name
    return PhotoSet(name=name, photos=photos, weight=weight, skeleton=skeleton)


@contextmanager
def entries_of(source: Path) -> Iterator[None]:
    """Turn what a wrong entry of a file raises into a :class:`DatasetError` that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{source}: an entry is not as COCO's are ({what})") from error


def _with_people(
    data: Mapping[str, Any], layout: PersonLayout, holdout: tuple[int, int] | None
) -> Iterator[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
    """The images that are not held out, each with its annotations of people."""
    by_image: dict[Any, list[Mapping[str, Any]]] = {}
    for annotation in filter(layout.is_person, data["annotations"]):
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    refuse_repeated_images(data["images"])
    for position, image in enumerate(data["images"]):
        if holdout is None or position % holdout[1] != holdout[0]:
            yield image, by_image.get(image["id"], [])


def _photo(
    folder: Path,
    image: Mapping[str, Any],
    people: Sequence[Mapping[str, Any]],
    layout: PersonLayout,
    outside: list[Any],
    masks: str,
    fully_annotated: bool,
) -> Photo:
    """A photo with its labels; ``outside`` gets the annotation of each joint outside of it."""
    size_hw = size_of(image)
    labeled, ignored = [], []
    uncertain: list[Sequence[float]] = []
    for person in people:
        joints = layout.keypoints(person)
        if size_hw is not None:
            last = np.array(size_hw[::-1]) - 0.5
            inside = (joints[:, :2] >= -0.5 - _ROUNDING_PX) & (joints[:, :2] <= last + _ROUNDING_PX)
            gone = ~inside.all(axis=1) & (joints[:, 2] > 0)  # NaN is not inside
            outside += [person.get("id")] * int(gone.sum())
            joints[gone] = 0
        box = _box(person, joints)
        name = f"annotation {person.get('id')}"
        _check_finite(joints, f"{name}, keypoints")
        _check_finite(box, f"{name}, bbox")
        if person.get("iscrowd") or person.get("ignore") or not (joints[:, 2] > 0).any():
            ignored.append((box, outlines(person, box, size_hw if masks == "segments" else None)))
        else:
            mask = person.get("segmentation")  # as run lengths only of crowds
            labeled.append((joints, box, mask if isinstance(mask, list) else []))
            uncertain += layout.uncertain_joints(person)
    return Photo(
        path=inside_folder(folder, image["file_name"]),
        keypoints=_array([joints for joints, _, _ in labeled], layout.skeleton.n_joints, 3),
        boxes=_array([box for _, box, _ in labeled], 4),
        ignore_boxes=_array([box for box, _ in ignored], 4),
        uncertain_joints=_array(uncertain, 3),
        ignore_outlines=tuple(outline for _, shapes in ignored for outline in shapes),
        size_hw=size_hw,
        outlines=[mask for _, _, mask in labeled],
        unlabeled=layout.unlabeled,
        fully_annotated=fully_annotated,
    )


def _array(values: Sequence[Any], *shape: int) -> NDArray[np.float32]:
    return np.asarray(values, np.float32).reshape(-1, *shape)


def labels_of(
    source: Path, data: Mapping[str, Any], category: str | None, file: str | None
) -> Skeleton:
    """The joints that are learned of a set: of a file, of its category, or COCO's if none is named.

    Raises:
        DatasetError: As :func:`openpaf.evaluation.skeletons.skeleton_of` raises a ValueError.
    """
    categories = data.get("categories")
    listed = categories if isinstance(categories, list) else []
    has_joints = any(isinstance(one, dict) and one.get("keypoints") for one in listed)
    if not (has_joints or category or file):
        return Skeleton.COCO17
    try:
        return skeleton_of(data, source, category=category, file=file)
    except ValueError as error:
        raise DatasetError(str(error)) from error


def layout_of(
    source: Path, data: Mapping[str, Any], skeleton: Skeleton, category: str | None = None
) -> PersonLayout:
    """Who in a file is a person, and which joints they have; a warning where some are missing.

    Sets of people are labeled in many ways, and may have other joints than COCO's; others may only
    have more joints than ours, or lack some.

    Raises:
        DatasetError: If it is not clear who is a person, or they have other joints.
    """
    try:
        strict = skeleton != Skeleton.COCO17
        layout = person_layout(data, skeleton, category=category, strict=strict)
    except (KeyError, TypeError, ValueError) as error:
        what = f"categories: no {error}" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{source}: {what}") from error
    if layout.unlabeled:
        names = ", ".join(skeleton.joints[k] for k in layout.unlabeled)
        _log.warning("%s: its people have no %s; these are not learned there", source, names)
    return layout


def refuse_repeated_images(images: Sequence[Mapping[str, Any]]) -> None:
    """Raise a ValueError where images share an id, and so would share their people."""
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
        entries = data[key]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DatasetError(f"{path}: {key}: expected a list of dictionaries, as in COCO format")
    return data


def _box(
    person: Mapping[str, Any], joints: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """The labeled box x0, y0, x1, y1; without one, that around the joints and a little more."""
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


def _check_finite(values: Sequence[float] | NDArray[np.float64], what: str) -> None:
    array = np.asarray(values, np.float64)
    inside = np.abs(array) < _FARTHEST_PX  # NaN is not
    if not inside.all():
        raise ValueError(f"{what}: expected finite numbers of px, got {array[~inside][0]}")
