"""Files of results, COCO's or another system's: read, brought to COCO's form, and checked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from openpaf.evaluation.coco import as_results
from openpaf.evaluation.entry_checks import Entries, is_list
from openpaf.evaluation.label_files import Annotations, Detection
from openpaf.io.json_files import is_number, read_json_or_lines
from openpaf.io.pose_entries import poses_of
from openpaf.io.pose_layouts import entries_in

_COCO_PERSON = 1  # which most programs write, ours too, whatever number the annotations give people
# What programs put between the name of an image and ".json".
_ENDINGS = ("_keypoints", ".predictions", ".pifpaf")


def files_of(path: str | Path) -> list[Path]:
    """The files of results: the file itself, or the JSON files of a folder, one for each image.

    Raises:
        ValueError: If a folder has none.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in (".json", ".jsonl"))
    if not files:
        raise ValueError(f"{path}: expected a file of results, or a folder of JSON files")
    return files


def read_results(path: str | Path, annotations: Annotations) -> list[Detection]:
    """Results in COCO's submission format, or another's, checked against the annotations.

    Args:
        path: A list of ``image_id``, ``category_id``, ``keypoints`` and ``score``; ours or another
            system's; or any file that :func:`openpaf.read_poses` reads, or a folder of such files.
            Images may be called by their file names instead of ids; a file of one image is of the
            one whose name it has.
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.

    Returns:
        Results of the joints, the images and the category of the annotations.

    Raises:
        ValueError: If a file is not JSON or none of the formats, keys are missing, a result has
            another number of values or one that is no finite number, or it belongs to another
            category or to an image that the annotations do not list.
        OSError: If a file cannot be read.
    """
    return [person for file in files_of(path) for person in _checked_results(file, annotations)]


def _checked_results(path: Path, annotations: Annotations) -> list[Detection]:
    results = _as_coco(path, annotations)
    if not isinstance(results, list):
        is_labels = isinstance(results, dict) and "annotations" in results
        raise ValueError(
            f"{path}: expected a list of COCO results, got "
            f"{'annotations' if is_labels else type(results).__name__}"
        )
    entries = Entries(path, "results", results)
    entries.check_keys(())
    names = [person for person in results if isinstance(person.get("image_id"), str)]
    Entries(path, "results", names).check_images(annotations.imgs)
    entries.check_keys(("image_id", "category_id", "keypoints", "score"))
    entries.check_keypoints(annotations.skeleton.n_joints)
    entries.refuse("score: expected a finite number", lambda entry: not is_number(entry["score"]))
    if any("bbox" in person for person in results):  # pycocotools takes a person's area from it
        entries.refuse(
            "bbox: expected 4 finite numbers, or no bbox in any result",
            lambda entry: not is_list(entry.get("bbox"), 4),
        )
    category = annotations.category
    if not any(entry["id"] == _COCO_PERSON for entry in annotations.dataset["categories"]):
        results = [
            {**person, "category_id": category} if person["category_id"] == _COCO_PERSON else person
            for person in results
        ]
    entries = Entries(path, "results", results)
    entries.refuse(
        f"category_id: expected {category}, people",
        lambda entry: entry["category_id"] != category,
    )
    entries.check_images(annotations.imgs)
    return results


def _as_coco(path: Path, annotations: Annotations) -> Any:
    """The results of a file, brought to COCO's form where they have another.

    A list that is COCO's already is left as it is, but for images that it calls by their names.

    Returns:
        A list of results, unchecked; or what else the file holds, if that is no list of people.

    Raises:
        ValueError: If the file is not JSON, or its people cannot be read, have none of the
            annotations' joints, or are of an image that the annotations do not list.
        OSError: If the file cannot be read.
    """
    data = read_json_or_lines(path)
    names = _ids_by_name(annotations)
    if isinstance(data, dict) and "annotations" in data:
        return data
    if not isinstance(data, (list, dict)) or _is_coco(data):
        return [_by_number(entry, names) for entry in data] if isinstance(data, list) else data
    try:
        return _converted(path, data, annotations, names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _is_coco(data: Any) -> bool:
    """Whether it is a list of COCO's results, as far as one sees, of the annotations' joints."""
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        return isinstance(data, list)
    has_keypoints = any("keypoints" in entry for entry in data)
    has_ids = any("image_id" in entry for entry in data) or not has_keypoints
    has_frames = any("frame" in entry or "frame_id" in entry for entry in data)
    has_skeleton = any(isinstance(entry.get("skeleton"), (str, dict)) for entry in data)
    return has_ids and not has_frames and not has_skeleton


def _by_number(entry: Any, names: dict[str, int]) -> Any:
    if isinstance(entry, dict) and isinstance(entry.get("image_id"), str):
        return {**entry, "image_id": names.get(entry["image_id"], entry["image_id"])}
    return entry


def _converted(
    path: Path, data: Any, annotations: Annotations, names: dict[str, int]
) -> list[Detection]:
    results: list[Detection] = []
    for key, image in entries_in(data)[1].items():
        image_id = _image_of(path) if key is None else key
        image_id = names.get(image_id, image_id) if isinstance(image_id, str) else image_id
        if image_id not in annotations.imgs:
            raise ValueError(f"image {image_id!r} is not in the annotations, neither as a name")
        poses = poses_of(image, None)
        results += as_results(poses, int(image_id), annotations)
    return results


def _image_of(path: Path) -> str:
    """The name of the image that a file of one image is of, from its own name."""
    name = path.stem
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name


def _ids_by_name(annotations: Annotations) -> dict[str, int]:
    """Ids of images by file name; also without its folder and suffix, where that is clear."""
    images = annotations.imgs.values()
    names: dict[str, int] = {}
    for short in (
        lambda name: PurePosixPath(name).stem,
        lambda name: PurePosixPath(name).name,
        lambda name: name,
    ):
        count = Counter(short(image["file_name"]) for image in images)
        for image in images:
            if count[short(image["file_name"])] == 1:
                names[short(image["file_name"])] = image["id"]
            else:  # of several images, and so of none
                names.pop(short(image["file_name"]), None)
    return names
