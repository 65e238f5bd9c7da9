"""The layouts of pose files, ours and other programs', brought to one list of people an image.

Known are COCO's list of results (AlphaPose and openpifpaf write it too), the files of OpenPose from
its first version on, AlphaPose's forms ``cmu`` and ``open``, openpifpaf's predictions, mmpose's
instances, and videos, one frame an entry, as openpaf, openpifpaf and mmpose write them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openpaf.skeleton import Skeleton

ImageId = int | str
JsonObject = Mapping[str, Any]

#: Names of the layouts that can be read.
LAYOUTS = ("coco", "openpose", "alphapose", "openpifpaf", "mmpose")

OPENPOSE_SKELETONS = (Skeleton.BODY25, Skeleton.COCO18, Skeleton.MPI15)
# Where a person's x, y and score are, with the skeletons that the number of joints tells apart.
_KEYPOINTS: dict[str, tuple[Skeleton, ...]] = {
    "keypoints": (Skeleton.COCO17,),
    "pose_keypoints_2d": OPENPOSE_SKELETONS,
    "pose_keypoints": OPENPOSE_SKELETONS,  # OpenPose 1.0
    "body_parts": OPENPOSE_SKELETONS,  # and before it
    "joints": (Skeleton.COCO18,),  # AlphaPose's cmu
}
# A list of an image's people, under the name that each program gives it.
_LISTS = {
    "people": "openpose",
    "bodies": "alphapose",
    "predictions": "openpifpaf",
    "instances": "mmpose",
    "instance_info": "mmpose",
}
_IDS = ("track_id", "idx", "id_", "person_id")


@dataclass(frozen=True, kw_only=True)
class PersonEntry:
    """A person of a file, whose numbers are not checked yet.

    Args:
        values: x, y and score of every joint, one after the other.
        score: The person's own; None where the file has none.
        id: Over time; None where the file has none.
        skeleton: What the file says of its joints: a name, a dictionary or a skeleton.
        layouts: Where it says nothing: skeletons by which to read it, told apart by their size.
    """

    values: Any
    score: Any
    id: Any
    skeleton: Any
    layouts: tuple[Skeleton, ...]


@dataclass(frozen=True, kw_only=True)
class ImageEntry:
    """The people of an image, and what a file says of their joints."""

    people: list[PersonEntry]
    skeleton: Any = None


ImageEntries = dict[ImageId | None, ImageEntry]


def entries_in(data: Any) -> tuple[str, ImageEntries]:
    """The people of each image of a file, and which of :data:`LAYOUTS` it has.

    Args:
        data: What the file holds; of a file of lines, the list of them.

    Returns:
        The layout, and the images by id in the file's order; the id is None where the file is of
        one image and does not name it.

    Raises:
        ValueError: If it is none of the layouts, or an entry has another layout than the rest.
    """
    if isinstance(data, list):
        return _in_list(data)
    if isinstance(data, dict):
        if "annotations" in data:
            raise ValueError("a file of COCO annotations; expected a list of results")
        layout = _layout_of(data)
        if layout is not None:
            return _in_frames([data]) if _is_frame(data) else _in_one(layout, data)
        named = {name: _layout_of(value) for name, value in data.items()}
        if named and all(named.values()):  # AlphaPose's combined file, by file name
            return "alphapose", {name: _image(value) for name, value in data.items()}
    raise ValueError(
        "neither COCO's list of results nor OpenPose's 'people', nor of AlphaPose, openpifpaf or "
        "mmpose"
    )


def people_by_image(entries: Sequence[JsonObject]) -> ImageEntries:
    """The people of each image of COCO's list of results.

    Raises:
        ValueError: If an entry lacks ``image_id`` or ``keypoints``.
    """
    images: dict[ImageId | None, list[PersonEntry]] = {}
    for n, entry in enumerate(entries):
        missing = {"image_id", "keypoints"} - (set(entry) if isinstance(entry, Mapping) else set())
        if missing:
            raise ValueError(f"entry {n}: expected a COCO result, {sorted(missing)} missing")
        image_id = entry["image_id"]
        if not isinstance(image_id, (int, str)) or isinstance(image_id, bool):
            raise ValueError(f"entry {n}: image_id: expected a number or text")
        images.setdefault(image_id, []).append(_person(n, entry, None))
    return {image_id: ImageEntry(people=people) for image_id, people in images.items()}


def _in_list(data: list[Any]) -> tuple[str, ImageEntries]:
    entries = [entry for entry in data if isinstance(entry, dict)]
    if entries and len(entries) == len(data):
        if all(map(_is_frame, entries)):
            return _in_frames(entries)
        if not any("image_id" in entry for entry in entries):
            if all("keypoint_scores" in entry for entry in entries):
                return "mmpose", {None: _image({"instances": entries})}
            if all("keypoints" in entry for entry in entries):
                return "openpifpaf", {None: _image({"predictions": entries})}
    return "coco", people_by_image(data)


def _in_one(layout: str, data: JsonObject) -> tuple[str, ImageEntries]:
    """A file of one image, or mmpose's of a video with a description around it."""
    frames = data.get("instance_info")
    if isinstance(frames, list) and frames and all(map(_is_frame, frames)):
        skeleton = _mmpose_skeleton(data)
        images = {
            key: ImageEntry(people=image.people, skeleton=skeleton)
            for key, image in _in_frames(frames)[1].items()
        }
        return layout, images
    return layout, {None: _image(data)}


def _in_frames(frames: Sequence[JsonObject]) -> tuple[str, ImageEntries]:
    """Frames of a video; the number of the frame is the image's id."""
    images: ImageEntries = {}
    layout = "coco"
    for frame in frames:
        number = frame["frame"] if "frame" in frame else frame["frame_id"]
        if number in images:
            raise ValueError(f"frame {number} comes twice")
        layout = _layout_of(frame) or layout
        people = frame.get("people")
        if people and isinstance(people[0], dict) and "keypoints" in people[0]:
            layout = "coco"  # our own videos have people as COCO's results
        images[number] = _image(frame)
    return layout, images


def _is_frame(entry: Any) -> bool:
    number = entry.get("frame", entry.get("frame_id")) if isinstance(entry, dict) else None
    return type(number) is int and _layout_of(entry) is not None


def _layout_of(data: Any) -> str | None:
    """The program whose list of people a dictionary has; None if none."""
    if isinstance(data, dict):
        for key, layout in _LISTS.items():
            if isinstance(data.get(key), list):
                return layout
    return None


def _image(data: JsonObject) -> ImageEntry:
    key = next(key for key in _LISTS if isinstance(data.get(key), list))
    skeleton = _named(data) or _mmpose_skeleton(data)
    people = [
        _person(n, entry, skeleton) for n, entry in enumerate(data[key]) if not _has_no_body(entry)
    ]
    return ImageEntry(people=people, skeleton=skeleton)


def _has_no_body(entry: Any) -> bool:
    """Whether OpenPose found the hands or the face of a person alone."""
    return isinstance(entry, Mapping) and any(
        key in entry and entry[key] in ([], None) for key in _KEYPOINTS if key != "keypoints"
    )


def _person(n: int, entry: Any, skeleton: Any) -> PersonEntry:
    key = next((k for k in _KEYPOINTS if isinstance(entry, Mapping) and k in entry), None)
    if key is None:
        raise ValueError(f"person {n}: 'pose_keypoints_2d' missing, or 'keypoints'")
    values = entry[key]
    if "keypoint_scores" in entry:
        values = _joined(n, values, entry["keypoint_scores"])
    ids = [_plain_id(entry[name]) for name in _IDS if name in entry]
    if ids == [-1] and "person_id" in entry:  # OpenPose's word for none
        ids = []
    return PersonEntry(
        values=values,
        score=entry.get("score"),
        id=ids[0] if ids else None,
        skeleton=_named(entry) or skeleton,
        layouts=_KEYPOINTS[key],
    )


def _named(entry: JsonObject) -> Any:
    """What an entry says of its joints; others write lists of limbs under the same name."""
    skeleton = entry.get("skeleton")
    return skeleton if isinstance(skeleton, (str, dict)) else None


def _joined(n: int, points: Any, scores: Any) -> list[Any]:
    """mmpose's pairs of x and y, and scores, as one list."""
    lists = isinstance(points, list) and isinstance(scores, list) and len(points) == len(scores)
    if not lists or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise ValueError(f"person {n}: expected pairs of x and y in px, and a score for each")
    return [
        number for (x, y), score in zip(points, scores, strict=True) for number in (x, y, score)
    ]


def _plain_id(value: Any) -> Any:
    """An id, which AlphaPose and OpenPose put into lists and some write as a float."""
    while isinstance(value, list) and value:
        value = value[0]  # AlphaPose lists the ids that it merged, the best first
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _mmpose_skeleton(data: JsonObject) -> Any:
    """The joints that mmpose names beside its instances; None where it does not."""
    meta = data.get("meta_info")
    if not isinstance(meta, dict) or not isinstance(meta.get("keypoint_id2name"), dict):
        return None
    names = meta["keypoint_id2name"]
    joints = [names.get(str(k)) for k in range(len(names))]
    if tuple(joints) == Skeleton.COCO17.joints:
        return Skeleton.COCO17
    return Skeleton.from_coco_category({"name": meta.get("dataset_name"), "keypoints": joints})
