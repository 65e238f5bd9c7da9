"""Annotation and result files of COCO's keypoints: read, and checked before anything is run.

Whatever is wrong is told by the file's name, what was expected, in how many entries it was not so,
and the first of them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from openpaf.evaluation.coco import Row, category_of_people, index_annotations
from openpaf.evaluation.labels import person_category
from openpaf.evaluation.result_files import files_of, read_rows
from openpaf.io.json_files import is_number, read_json
from openpaf.io.paths import inside_folder
from openpaf.skeleton import Skeleton

logger = logging.getLogger(__name__)

_N_VALUES = 3 * Skeleton.COCO17.n_joints
_IMAGE_KEYS = ("id", "file_name")
_ANNOTATION_KEYS = ("id", "image_id", "category_id")
_PERSON_KEYS = ("keypoints", "num_keypoints", "area", "bbox", "iscrowd")
_RESULT_KEYS = ("image_id", "category_id", "keypoints", "score")
_COCO_PERSON = 1  # which most programs write, ours too, whatever number the annotations give people


def read_annotations(path: str | Path) -> Any:
    """A file of COCO keypoint annotations, checked.

    Args:
        path: Images, categories and annotations, as ``person_keypoints_val2017.json`` has them.
            Ids may be any whole numbers.

    Returns:
        The people of the file as :func:`openpaf.evaluation.coco.load_annotations` gives them;
        annotations of other categories are left out.

    Raises:
        ValueError: If the file is not JSON, or keys are missing, ids come twice, there is no
            category of people with COCO's 17 joints, a person has another number of values or one
            that is no finite number, or an annotation belongs to an image or a category that the
            file does not list.
        OSError: If the file cannot be read.
    """
    data = read_json(path)
    if isinstance(data, list):
        raise ValueError(
            f"{path}: expected COCO annotations, got a list; for a list of results use --results"
        )
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected COCO annotations, got {type(data).__name__}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list):
            raise ValueError(f"{path}: expected a list {key!r} in COCO annotations; it is missing")
    images, rows, categories = data["images"], data["annotations"], data["categories"]
    _check_keys(path, "images", images, _IMAGE_KEYS)
    _check_keys(path, "annotations", rows, _ANNOTATION_KEYS)
    _check_keys(path, "categories", categories, ("id", "name"))
    _refuse(
        path, "images", images, "file_name: expected text",
        lambda row: not isinstance(row["file_name"], str) or not row["file_name"],
    )  # fmt: skip
    for what in ("images", "annotations", "categories"):
        _check_unique(path, what, data[what])
    _check_known_categories(path, rows, categories)
    try:
        category = person_category(categories)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    _check_known_images(path, "annotations", rows, {image["id"] for image in images})
    people = [row for row in rows if row["category_id"] == category]
    _check_people(path, people)
    warn_of_areas(path, people)
    return index_annotations({**data, "annotations": people})


def read_results(path: str | Path, annotations: Any) -> list[Row]:
    """Results in COCO's submission format, or another's, checked against the annotations.

    Args:
        path: A list of ``image_id``, ``category_id``, ``keypoints`` and ``score``; ours or another
            system's; or any file that :func:`openpaf.read_poses` reads, or a folder of such files.
            Images may be called by their file names instead of ids; a file of one image is of the
            one whose name it has.
        annotations: As :func:`read_annotations` gives them.

    Returns:
        Results of COCO's 17 joints, of the images and the category of the annotations.

    Raises:
        ValueError: If a file is not JSON or none of the formats, keys are missing, a result has
            another number of values or one that is no finite number, or it belongs to another
            category or to an image that the annotations do not list.
        OSError: If a file cannot be read.
    """
    return [row for file in files_of(path) for row in _checked_results(file, annotations)]


def _checked_results(path: Path, annotations: Any) -> list[Row]:
    rows = read_rows(path, annotations)
    if not isinstance(rows, list):
        looks_like = isinstance(rows, dict) and "annotations" in rows
        raise ValueError(
            f"{path}: expected a list of COCO results, got {type(rows).__name__}"
            + ("; it looks like annotations" if looks_like else "")
        )
    _refuse(path, "results", rows, "expected a dictionary", lambda row: not isinstance(row, dict))
    names = [row for row in rows if isinstance(row.get("image_id"), str)]
    _check_known_images(path, "results", names, set(annotations.imgs))
    _check_keys(path, "results", rows, _RESULT_KEYS)
    _check_keypoints(path, "results", rows)
    _refuse(path, "results", rows, "score: expected a finite number", lambda r: _bad(r["score"]))
    if any("bbox" in row for row in rows):  # pycocotools takes a person's area from it
        _refuse(
            path, "results", rows, "bbox: expected 4 finite numbers, or no bbox in any result",
            lambda r: _bad_list(r.get("bbox"), 4),
        )  # fmt: skip
    category = category_of_people(annotations)
    if not any(row["id"] == _COCO_PERSON for row in annotations.dataset["categories"]):
        rows = [
            {**row, "category_id": category} if row["category_id"] == _COCO_PERSON else row
            for row in rows
        ]
    _refuse(
        path, "results", rows, f"category_id: expected {category}, people",
        lambda r: r["category_id"] != category,
    )  # fmt: skip
    _check_known_images(path, "results", rows, set(annotations.imgs))
    return rows


def find_photos(
    annotations: Any,
    images: str | Path,
    image_ids: Sequence[int] | None = None,
    *,
    allow_missing: bool = False,
) -> tuple[list[int], list[str]]:
    """Which photos of an annotation file there are.

    Args:
        annotations: As :func:`read_annotations` gives them.
        images: Folder of the photos.
        image_ids: Which photos are wanted; all of them if None.
        allow_missing: Whether to go on without those that are missing.

    Returns:
        Ids of the photos that there are, sorted, and file names of those that are missing.

    Raises:
        ValueError: If the folder is none, ids are wanted that the file does not list, no photo is
            left, or photos are missing and that is not allowed.
    """
    folder = Path(images)
    if not folder.is_dir():
        raise ValueError(f"images: {folder} is not a folder")
    wanted = sorted(annotations.imgs) if image_ids is None else sorted(set(image_ids))
    unknown = [i for i in wanted if i not in annotations.imgs]
    if unknown:
        raise ValueError(
            f"image ids: {len(unknown)} of {len(wanted)} are not in the annotations: "
            f"{_some(unknown)}"
        )
    present, missing = [], []
    for image_id in wanted:
        name = annotations.imgs[image_id]["file_name"]
        if inside_folder(folder, name).is_file():
            present.append(image_id)
        else:
            missing.append(name)
    if missing and not allow_missing:
        raise ValueError(
            f"{folder}: {len(missing)} of {len(wanted)} photos are missing: {_some(missing)}; "
            "--allow-missing measures the others"
        )
    if not present:
        raise ValueError(f"{folder}: none of {len(wanted)} photos is there: {_some(missing)}")
    return present, missing


def _check_keys(path: str | Path, what: str, rows: list[Any], keys: Iterable[str]) -> None:
    _refuse(path, what, rows, "expected a dictionary", lambda row: not isinstance(row, dict))
    for key in keys:
        _refuse(path, what, rows, f"{key!r} is missing", lambda row, key=key: key not in row)  # type: ignore[misc]
    for key in ("id", "image_id", "category_id"):
        if key in keys:
            _refuse(
                path, what, rows, f"{key}: expected a whole number",
                lambda row, key=key: type(row[key]) is not int,  # type: ignore[misc]
            )  # fmt: skip


def _check_unique(path: str | Path, what: str, rows: list[Row]) -> None:
    repeated = [key for key, n in Counter(row["id"] for row in rows).items() if n > 1]
    if repeated:
        raise ValueError(f"{path}: {what}: {len(repeated)} ids come twice: {_some(repeated)}")


def _check_known_categories(path: str | Path, rows: list[Row], categories: list[Row]) -> None:
    known = [row["id"] for row in categories]
    _refuse(
        path, "annotations", rows, f"category_id: expected one that the file lists: {_some(known)}",
        lambda row: row["category_id"] not in known,
    )  # fmt: skip


def _check_people(path: str | Path, rows: list[Row]) -> None:
    what = "annotations"
    _check_keys(path, what, rows, _PERSON_KEYS)
    _check_keypoints(path, what, rows)
    _refuse(
        path, what, rows, "bbox: expected 4 finite numbers", lambda row: _bad_list(row["bbox"], 4)
    )
    _refuse(
        path, what, rows, "area: expected a finite number, 0 or more",
        lambda row: _bad(row["area"]) or row["area"] < 0,
    )  # fmt: skip
    _refuse(path, what, rows, "iscrowd: expected 0 or 1", lambda row: row["iscrowd"] not in (0, 1))
    _refuse(
        path, what, rows, "num_keypoints: expected the number of keypoints with v > 0",
        lambda row: row["num_keypoints"] != sum(v > 0 for v in row["keypoints"][2::3]),
    )  # fmt: skip


def _check_keypoints(path: str | Path, what: str, rows: list[Row]) -> None:
    def found(row: Row) -> str:
        return f"got {len(row['keypoints']) if isinstance(row['keypoints'], list) else 'none'}"

    _refuse(
        path, what, rows, f"keypoints: expected {_N_VALUES} values, 3 for each of 17 joints",
        lambda row: not isinstance(row["keypoints"], list) or len(row["keypoints"]) != _N_VALUES,
        found,
    )  # fmt: skip
    _refuse(
        path, what, rows, "keypoints: expected finite numbers",
        lambda row: _bad_list(row["keypoints"], _N_VALUES),
    )  # fmt: skip


def _check_known_images(path: str | Path, what: str, rows: list[Row], known: set[int]) -> None:
    unknown = [row["image_id"] for row in rows if row["image_id"] not in known]
    if unknown:
        where = "the file" if what == "annotations" else "the annotations"
        raise ValueError(
            f"{path}: {what}: {len(unknown)} of {len(rows)} are of {len(set(unknown))} images that "
            f"{where} does not list: {_some(sorted(set(unknown), key=_natural))}".replace(
                "annotations does", "annotations do"
            )
        )


def _natural(image_id: int | str) -> tuple[bool, int, str]:
    number = image_id if isinstance(image_id, int) else 0
    return isinstance(image_id, str), number, str(image_id)


def _refuse(
    path: str | Path,
    what: str,
    rows: list[Any],
    expected: str,
    wrong: Callable[[Any], bool],
    found: Callable[[Any], str] | None = None,
) -> None:
    """Raise a ValueError if any row is wrong: how many, and which is the first."""
    bad = [i for i, row in enumerate(rows) if wrong(row)]
    if bad:
        row = rows[bad[0]]
        name = f"entry {bad[0]}"
        if isinstance(row, dict) and "image_id" in row:
            name += f", image {row['image_id']}"
        got = f", {found(row)}" if found else ""
        raise ValueError(
            f"{path}: {what}: {expected}; not so in {len(bad)} of {len(rows)}, first {name}{got}"
        )


def warn_of_areas(path: str | Path, people: list[Row]) -> None:
    """Say where areas cannot be right: with none, no person can be found, however well.

    The area is what COCO measures distances by. A person's is a good part of the box around the
    joints; a hundredth of it is a share of the image, or a number in other units.
    """
    labelled = [row for row in people if row["num_keypoints"] > 0 and not row["iscrowd"]]
    wrong = [row for row in labelled if row["area"] == 0 or row["area"] < 0.01 * _joint_box(row)]
    if wrong:
        logger.warning(
            "%s: area: 0, or not in px^2, in %d of %d people with labelled joints, the first with "
            "id %s; to AP, which needs it, they are missed however well they are found",
            path, len(wrong), len(labelled), wrong[0]["id"],
        )  # fmt: skip


def _joint_box(row: Row) -> float:
    """Area in px^2 of the box around a person's labelled joints."""
    values = row["keypoints"]
    joints = [k for k in range(len(values) // 3) if values[3 * k + 2] > 0]
    sides = [[values[3 * k + axis] for k in joints] for axis in (0, 1)]
    return float((max(sides[0]) - min(sides[0])) * (max(sides[1]) - min(sides[1])))


def _bad(value: Any) -> bool:
    """Whether something is no finite number."""
    return not is_number(value)


def _bad_list(value: Any, length: int) -> bool:
    return not isinstance(value, list) or len(value) != length or any(map(_bad, value))


def _some(values: Sequence[Any], limit: int = 3) -> str:
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(str(value) for value in values[:limit]) + more
