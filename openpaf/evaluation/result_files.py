"""Other systems' results as COCO's: which image each is of, and COCO's 17 joints by their names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from openpaf.evaluation.coco import Row, as_results, category_of_people
from openpaf.io.json_files import read_json_or_lines
from openpaf.io.pose_entries import poses_of
from openpaf.io.pose_layouts import entries_in
from openpaf.skeleton import Skeleton

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


def read_rows(path: Path, annotations: Any) -> Any:
    """The results of a file, brought to COCO's form where they have another.

    A list that is COCO's already is left as it is, but for images that it calls by their names.

    Args:
        path: A file as :func:`openpaf.read_poses` reads them.
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.

    Returns:
        A list of results, unchecked; or what else the file holds, if that is no list of people.

    Raises:
        ValueError: If the file is not JSON, or its people are not as they should be, have none of
            COCO's joints, or are of an image that the annotations do not list.
        OSError: If the file cannot be read.
    """
    data = read_json_or_lines(path)
    names = _ids_by_name(annotations)
    if isinstance(data, dict) and "annotations" in data:
        return data
    if not isinstance(data, (list, dict)) or _is_coco(data):
        return [_by_number(row, names) for row in data] if isinstance(data, list) else data
    try:
        return _converted(path, data, annotations, names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _is_coco(data: Any) -> bool:
    """Whether it is a list of COCO's results, as far as one sees, of COCO's 17 joints."""
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        return isinstance(data, list)
    ids = any("image_id" in row for row in data) or not any("keypoints" in row for row in data)
    frames = any("frame" in row or "frame_id" in row for row in data)
    named = any(isinstance(row.get("skeleton"), (str, dict)) for row in data)
    return ids and not frames and not named


def _by_number(row: Any, names: dict[str, int]) -> Any:
    if isinstance(row, dict) and isinstance(row.get("image_id"), str):
        return {**row, "image_id": names.get(row["image_id"], row["image_id"])}
    return row


def _converted(path: Path, data: Any, annotations: Any, names: dict[str, int]) -> list[Row]:
    category = category_of_people(annotations)
    rows: list[Row] = []
    for key, image in entries_in(data)[1].items():
        image_id = _image_of(path) if key is None else key
        image_id = names.get(image_id, image_id) if isinstance(image_id, str) else image_id
        if image_id not in annotations.imgs:
            raise ValueError(f"image {image_id!r} is not in the annotations, neither as a name")
        poses = poses_of(image, None)
        if not set(poses.skeleton.joints) & set(Skeleton.COCO17.joints):
            raise ValueError(f"its skeleton {poses.skeleton.name!r} has none of COCO's 17 joints")
        rows += as_results(poses, int(image_id), category)
    return rows


def _image_of(path: Path) -> str:
    """The name of the image that a file of one image is of, from its own name."""
    name = path.stem
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name


def _ids_by_name(annotations: Any) -> dict[str, int]:
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
