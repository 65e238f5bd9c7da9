"""Annotation and result files of COCO's keypoints: read, and checked before anything is run.

Whatever is wrong is told by the file's name, what was expected, in how many entries it was not so,
and the first of them.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from openpaf.evaluation.coco import Row
from openpaf.json_files import read_json
from openpaf.paths import inside_folder
from openpaf.skeleton import Skeleton

_N_VALUES = 3 * Skeleton.COCO17.n_joints
_IMAGE_KEYS = ("id", "file_name")
_PERSON_KEYS = (
    "id", "image_id", "category_id", "keypoints", "num_keypoints", "area", "bbox", "iscrowd",
)  # fmt: skip
_RESULT_KEYS = ("image_id", "category_id", "keypoints", "score")


def read_annotations(path: str | Path) -> Any:
    """A file of COCO keypoint annotations, checked.

    Args:
        path: Images, categories and annotations, as ``person_keypoints_val2017.json`` has them.

    Returns:
        The annotations as :func:`openpaf.evaluation.coco.load_annotations` gives them.

    Raises:
        ValueError: If the file is not JSON, or keys are missing, ids come twice, there are other
            categories than people with COCO's 17 joints, an annotation has another number of
            values or one that is no finite number, or it belongs to an image that the file does
            not list.
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
    images, people = data["images"], data["annotations"]
    _check_keys(path, "images", images, _IMAGE_KEYS)
    _check_keys(path, "annotations", people, _PERSON_KEYS)
    _refuse(
        path, "images", images, "file_name: expected text",
        lambda row: not isinstance(row["file_name"], str) or not row["file_name"],
    )  # fmt: skip
    _check_unique(path, "images", images)
    _check_unique(path, "annotations", people)
    category = _check_categories(path, data["categories"])
    _check_people(path, people, category)
    _check_known_images(path, "annotations", people, {image["id"] for image in images})
    return _index(data)


def read_results(path: str | Path, annotations: Any) -> list[Row]:
    """A file of results in COCO's submission format, checked against the annotations.

    Args:
        path: A list of ``image_id``, ``category_id``, ``keypoints`` and ``score``; ours or another
            system's.
        annotations: As :func:`read_annotations` gives them.

    Raises:
        ValueError: If the file is not JSON or not a list, keys are missing, a result has another
            number of values or one that is no finite number, or it belongs to another category or
            to an image that the annotations do not list.
        OSError: If the file cannot be read.
    """
    rows = read_json(path)
    if not isinstance(rows, list):
        raise ValueError(
            f"{path}: expected a list of COCO results, got {type(rows).__name__}"
            + ("; it looks like annotations" if "annotations" in rows else "")
        )
    _check_keys(path, "results", rows, _RESULT_KEYS)
    _check_keypoints(path, "results", rows)
    _refuse(path, "results", rows, "score: expected a finite number", lambda r: _bad(r["score"]))
    if any("bbox" in row for row in rows):  # pycocotools takes a person's area from it
        _refuse(
            path, "results", rows, "bbox: expected 4 finite numbers, or no bbox in any result",
            lambda r: _bad_list(r.get("bbox"), 4),
        )  # fmt: skip
    category = annotations.dataset["categories"][0]["id"]
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


def _index(data: Any) -> Any:
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO()
        annotations.dataset = data
        annotations.createIndex()
    return annotations


def _check_keys(path: str | Path, what: str, rows: list[Any], keys: Iterable[str]) -> None:
    _refuse(path, what, rows, "expected a dictionary", lambda row: not isinstance(row, dict))
    for key in keys:
        _refuse(path, what, rows, f"{key!r} is missing", lambda row, key=key: key not in row)  # type: ignore[misc]
    for key in ("id", "image_id"):
        if key in keys:
            _refuse(
                path, what, rows, f"{key}: expected a whole number",
                lambda row, key=key: type(row[key]) is not int,  # type: ignore[misc]
            )  # fmt: skip


def _check_unique(path: str | Path, what: str, rows: list[Row]) -> None:
    repeated = [key for key, n in Counter(row["id"] for row in rows).items() if n > 1]
    if repeated:
        raise ValueError(f"{path}: {what}: {len(repeated)} ids come twice: {_some(repeated)}")


def _check_categories(path: str | Path, categories: list[Any]) -> int:
    """The id of the one category, people."""
    _check_keys(path, "categories", categories, ("id", "name"))
    if len(categories) != 1 or categories[0]["name"] != "person":
        others = [row["name"] for row in categories if row["name"] != "person"]
        found = f"{len(others)} others: {_some(others)}" if others else f"{len(categories)} of it"
        raise ValueError(f"{path}: categories: expected 'person' alone, got {found}")
    joints = categories[0].get("keypoints")
    if joints is not None and tuple(joints) != Skeleton.COCO17.joints:
        raise ValueError(
            f"{path}: categories: expected COCO's 17 keypoints of 'person', got {len(joints)}: "
            f"{_some(joints)}"
        )
    return int(categories[0]["id"])


def _check_people(path: str | Path, rows: list[Row], category: int) -> None:
    what = "annotations"
    _refuse(
        path, what, rows, f"category_id: expected {category}, the file's only category",
        lambda row: row["category_id"] != category,
    )  # fmt: skip
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
            f"{where} does not list: {_some(sorted(set(unknown)))}".replace(
                "annotations does", "annotations do"
            )
        )


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


def _bad(value: Any) -> bool:
    """Whether something is no finite number."""
    return type(value) not in (int, float) or not math.isfinite(value)


def _bad_list(value: Any, length: int) -> bool:
    return not isinstance(value, list) or len(value) != length or any(map(_bad, value))


def _some(values: Sequence[Any], limit: int = 3) -> str:
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(str(value) for value in values[:limit]) + more
