"""Labeled photos for training: sets in COCO format, mixed by weight."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import OpenpafError
from openpaf.evaluation.entry_checks import Entries
from openpaf.evaluation.label_files import read_labels
from openpaf.evaluation.labels import PersonLayout, check_image_size, person_layout
from openpaf.evaluation.skeletons import skeleton_or_coco
from openpaf.io.paths import inside_folder
from openpaf.skeleton import Skeleton
from openpaf.training.config import SetConfig
from openpaf.training.data.rendering import outlines

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

    def check_size(self, image_hw: tuple[int, ...]) -> None:
        """Raise a DatasetError where the image, upright, is of another size than its labels."""
        with dataset_errors():
            entry = dict(zip(("height", "width"), self.size_hw or (), strict=False))
            check_image_size(self.path, image_hw, entry)


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
    skeleton: Skeleton | None = None,
    skeleton_file: str | None = None,
    category: str | None = None,
    **options: Any,
) -> PhotoSet:
    """Read a set of photos in COCO-keypoints format.

    :func:`~openpaf.evaluation.labels.person_layout` finds people and their joints. ``iscrowd``,
    ``ignore`` and people without labeled joints become ignore regions. Two keys beyond COCO's are
    understood: ``maybe``, uncertain joints as lists of joint, x and y, and ``agree`` (0 to 1), how
    well several sources of the label agree.

    Args:
        annotations: As :class:`openpaf.training.config.SetConfig` has it.
        images: The same.
        skeleton: The joints to take, if they are known from another set.
        skeleton_file: As ``skeleton`` of :class:`openpaf.training.config.DataConfig`.
        category: As that class has it.
        options: The other keys of :class:`openpaf.training.config.SetConfig`.

    Raises:
        DatasetError: If the file or the folder is missing, is not in COCO format, names a photo
            outside of the folder, or has no people with our joints in it.
    """
    one = SetConfig(annotations=str(annotations), images=str(images), **options)
    annotations, images = Path(annotations), Path(images)
    data = read_set(annotations, images)
    outside: list[Any] = []  # the annotation of each joint that lies outside of its photo
    if skeleton is None:
        with dataset_errors():
            skeleton = skeleton_or_coco(data, annotations, category=category, file=skeleton_file)
    layout = layout_of(annotations, data, skeleton, category)
    with entries_of(annotations):
        photos = [
            _photo(one, image, people, layout, outside)
            for image, people in with_labels(annotations, data, one.holdout, layout.is_person)
            if not any(0 <= person.get("agree", 1.0) < one.min_agreement for person in people)
        ]
    if outside:
        message = "%s: %d joints lie outside of their images and are left out, the first in %s %s"
        _log.warning(message, annotations, len(outside), "annotation", outside[0])
    photos = [photo for photo in photos if len(photo.keypoints)]
    if not photos:
        raise DatasetError(f"{annotations}: no people with keypoints in it")
    name = one.name or annotations.parent.name
    return PhotoSet(name=name, photos=photos, weight=one.weight, skeleton=skeleton)


@contextmanager
def dataset_errors() -> Iterator[None]:
    """Turn a ValueError of this library, which names the file, into a :class:`DatasetError`."""
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DatasetError(str(error)) from error


@contextmanager
def entries_of(source: Path) -> Iterator[None]:
    """Turn what a wrong entry of a file raises into a :class:`DatasetError` that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        what = what.removeprefix(f"{source}: ")
        raise DatasetError(f"{source}: an entry is not as COCO's are ({what})") from error


def with_labels(
    source: Path,
    data: Mapping[str, Any],
    holdout: tuple[int, int] | None,
    is_taken: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Iterator[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
    """The images that are not held out, each with its annotations, all or those that are taken."""
    by_image: dict[Any, list[Mapping[str, Any]]] = {}
    for annotation in filter(is_taken, data["annotations"]) if is_taken else data["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    Entries(source, "images", data["images"]).check_unique()
    for position, image in enumerate(data["images"]):
        if holdout is None or position % holdout[1] != holdout[0]:
            yield image, by_image.get(image["id"], [])


def _photo(
    one: SetConfig,
    image: Mapping[str, Any],
    people: Sequence[Mapping[str, Any]],
    layout: PersonLayout,
    outside: list[Any],
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
            has_mask = one.masks == "segments" and size_hw is not None
            mask = person.get("segmentation") if has_mask else None
            ignored.append((box, outlines(mask, box)))
        else:
            mask = person.get("segmentation")  # as run lengths only of crowds
            labeled.append((joints, box, mask if isinstance(mask, list) else []))
            uncertain += layout.uncertain_joints(person)
    return Photo(
        path=inside_folder(one.images, image["file_name"]),
        keypoints=_array([joints for joints, _, _ in labeled], layout.skeleton.n_joints, 3),
        boxes=_array([box for _, box, _ in labeled], 4),
        ignore_boxes=_array([box for box, _ in ignored], 4),
        uncertain_joints=_array(uncertain, 3),
        ignore_outlines=tuple(outline for _, shapes in ignored for outline in shapes),
        size_hw=size_hw,
        outlines=[mask for _, _, mask in labeled],
        unlabeled=layout.unlabeled,
        fully_annotated=one.fully_annotated,
    )


def _array(values: Sequence[Any], *shape: int) -> NDArray[np.float32]:
    return np.asarray(values, np.float32).reshape(-1, *shape)


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


def size_of(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width in px of an entry of ``images``; None where it does not say."""
    if not {"width", "height"} <= set(image):
        return None
    return int(image["height"]), int(image["width"])


def read_set(annotations: Path, images: Path | None = None) -> Mapping[str, Any]:
    """The contents of a file in COCO format.

    Raises:
        DatasetError: If it cannot be read or is something else, or its images' folder is not there.
    """
    with dataset_errors():
        data = read_labels(annotations)
    if images is not None and not images.is_dir():
        raise DatasetError(f"{images}: expected a folder of photos")
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
