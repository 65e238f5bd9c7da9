"""COCO keypoint figures, exactly as pycocotools computes them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from openpaf.evaluation.labels import person_category
from openpaf.io.coco import poses_to_coco
from openpaf.io.json_files import read_json
from openpaf.io.paths import inside_folder
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

#: Names of the ten figures, in pycocotools' order.
METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")

#: A row of COCO's JSON: a person as labelled, or as found.
Row = dict[str, Any]

# What pycocotools reads of them.
_PERSON_KEYS = ("keypoints", "num_keypoints", "area", "bbox", "iscrowd")
_RESULT_KEYS = ("keypoints", "score")


def load_annotations(path: str | Path) -> Any:
    """A COCO annotation file as pycocotools holds it, without its prints or most checks.

    Raises:
        ValueError: If the file is not JSON, or has no lists of images and annotations.
        OSError: If it cannot be read.
    """
    data = read_json(path)
    lists = ("images", "annotations")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in lists):
        raise ValueError(f"{path}: expected COCO annotations, with lists of images and annotations")
    return index_annotations(data)


def index_annotations(data: dict[str, Any]) -> Any:
    """Annotations as pycocotools holds them: ``dataset``, ``anns``, ``imgs`` and ``imgToAnns``."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO()
        annotations.dataset = data
        annotations.createIndex()
    return annotations


def category_of_people(annotations: Any) -> int | None:
    """The id of the category that people have; None where the file lists no categories.

    Raises:
        ValueError: As :func:`openpaf.evaluation.labels.person_category`.
    """
    categories = annotations.dataset.get("categories")
    return person_category(categories) if categories else None


def detect(
    annotations: Any,
    images: str | Path,
    estimate: Callable[[Path], Poses],
    image_ids: Sequence[int] | None = None,
    *,
    progress: bool = True,
) -> list[Row]:
    """Run an estimator over the photos of an annotation file, one after the other.

    :func:`openpaf.evaluation.run.detect_photos` can be interrupted, and reads photos ahead.

    Args:
        annotations: As :func:`load_annotations` gives them.
        images: Folder of the photos.
        estimate: From the path of a photo to its people, COCO's 17 joints.
        image_ids: Which photos; all of them if None.
        progress: Whether a terminal shows a bar.

    Returns:
        Detections in COCO's submission format.

    Raises:
        ImageError: If a photo cannot be read.
        ValueError: If it is not clear which category people have.
    """
    detections: list[Row] = []
    category = category_of_people(annotations)
    ids = sorted(annotations.imgs) if image_ids is None else image_ids
    for image_id in tqdm(ids, unit="photo", disable=None if progress else True):
        path = inside_folder(images, annotations.imgs[image_id]["file_name"])
        detections += as_results(estimate(path), image_id, category)
    return detections


def as_results(poses: Poses, image_id: int, category: int | None) -> list[Row]:
    """People as results of COCO's 17 joints, in the category that people have (1 if None)."""
    rows = poses_to_coco(poses, image_id, skeleton=Skeleton.COCO17)
    return rows if category is None else [{**row, "category_id": category} for row in rows]


def evaluate(
    annotations: Any, detections: Sequence[Row], image_ids: Sequence[int] | None = None
) -> dict[str, float]:
    """The ten COCO keypoint figures, 0 to 1; -1 where there is nothing to measure.

    Args:
        annotations: As :func:`load_annotations` gives them.
        detections: In COCO's submission format; they are not changed.
        image_ids: Which photos; all of them if None.

    Reference:
        cocodataset.org/#keypoints-eval.
    """
    result = _renumbered(annotations, detections, image_ids).evaluation
    with contextlib.redirect_stdout(io.StringIO()):
        result.evaluate()
        result.accumulate()
        result.summarize()
    return {name: float(value) for name, value in zip(METRICS, result.stats, strict=True)}


def ap_by_area(
    annotations: Any,
    detections: Sequence[Row],
    image_ids: Sequence[int] | None,
    bands_px: Sequence[tuple[float, float]],
) -> list[tuple[float, int]]:
    """AP of people by size; those of other sizes count as neither right nor wrong.

    Args:
        annotations: As :func:`load_annotations` gives them.
        detections: In COCO's submission format.
        image_ids: Which photos; all of them if None.
        bands_px: Smallest and largest size of each band: the square root of a person's area, in px
            of the photo.

    Returns:
        For each band its AP, -1 where nobody is of that size, and its number of people.
    """
    result = _renumbered(annotations, detections, image_ids).evaluation
    result.params.areaRng = [[low**2, high**2] for low, high in bands_px]
    result.params.areaRngLbl = [f"{low}-{high}" for low, high in bands_px]
    with contextlib.redirect_stdout(io.StringIO()):
        result.evaluate()
        result.accumulate()
    precision = result.eval["precision"]  # (thresholds, recalls, categories, bands, 1)
    n_images = len(result.params.imgIds)
    found = []
    for band in range(len(bands_px)):
        values = precision[:, :, :, band]
        values = values[values > -1]
        images = result.evalImgs[band * n_images : (band + 1) * n_images]
        n_people = sum(int((np.asarray(i["gtIgnore"]) == 0).sum()) for i in images if i)
        found.append((float(values.mean()) if values.size else -1.0, n_people))
    return found


def precision_at(
    annotations: Any,
    detections: Sequence[Row],
    image_ids: Sequence[int] | None = None,
    *,
    oks: float = 0.5,
    min_score: float = 0.0,
) -> tuple[float, float]:
    """Precision and recall of people at a fixed OKS and score threshold.

    Args:
        annotations: As :func:`load_annotations` gives them.
        detections: In COCO's submission format.
        image_ids: Which photos; all of them if None.
        oks: A detection is right from this object keypoint similarity on.
        min_score: People with a lower score do not count.

    Returns:
        Share of the detections that are people, and of the people that are detected; people
        without labelled joints count as neither. Without detections precision is 1, without
        people recall is 0.
    """
    chosen = [row for row in detections if row["score"] >= min_score]
    photos = match_people(annotations, chosen, image_ids, oks=oks)
    right = sum(len(photo.pairs) for photo in photos)
    wrong = sum(len(photo.false) for photo in photos)
    missed = sum(len(photo.missed) for photo in photos)
    precision = right / (right + wrong) if right + wrong else 1.0
    return precision, right / max(right + missed, 1)


@dataclass(frozen=True)
class Pair:
    """A labelled person, the detection matched to them, and their object keypoint similarity."""

    truth: Row
    detection: Row
    oks: float


@dataclass(frozen=True)
class PhotoMatches:
    """Who of a photo was found; people without labelled joints and crowds are left out."""

    image_id: int
    pairs: list[Pair]
    missed: list[Row]  # labelled, not found
    false: list[Row]  # found, and nobody there


def match_people(
    annotations: Any,
    detections: Sequence[Row],
    image_ids: Sequence[int] | None = None,
    *,
    oks: float = 0.5,
) -> list[PhotoMatches]:
    """Who was found, as pycocotools matches them: by falling score, each to the most similar.

    Args:
        annotations: As :func:`load_annotations` gives them.
        detections: In COCO's submission format; the 20 best of each photo count.
        image_ids: Which photos; all of them if None.
        oks: Smallest object keypoint similarity of a match.

    Returns:
        One entry a photo that has people or detections.
    """
    numbered = _renumbered(annotations, detections, image_ids)
    result = numbered.evaluation
    result.params.iouThrs = np.array([oks])
    result.params.areaRng, result.params.areaRngLbl = [[0, 1e10]], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):
        result.evaluate()
    return [_matches(numbered, image) for image in result.evalImgs if image is not None]


def _matches(numbered: _Renumbered, image: dict[str, Any]) -> PhotoMatches:
    """What pycocotools matched in one image, under the ids of the files."""
    place = (image["image_id"], image["category_id"])
    similar = numbered.evaluation.ious[place]
    column = {row["id"]: i for i, row in enumerate(numbered.evaluation._gts[place])}
    image_id = numbered.image_ids[image["image_id"] - 1]
    pairs, false, taken = [], [], set()
    for i, (number, match, ignored) in enumerate(
        zip(image["dtIds"], image["dtMatches"][0], image["dtIgnore"][0], strict=True)
    ):
        if ignored:
            continue
        box = numbered.evaluation.cocoDt.anns[number]["bbox"]
        row = {**numbered.found[number - 1], "bbox": box}
        if match > 0:
            taken.add(int(match))
            truth = numbered.people[int(match) - 1]
            pairs.append(Pair(truth, row, float(similar[i][column[int(match)]])))
        else:
            false.append(row)
    counted = zip(image["gtIds"], image["gtIgnore"], strict=True)
    missed = [numbered.people[n - 1] for n, ignored in counted if not ignored and n not in taken]
    return PhotoMatches(image_id, pairs, missed, false)


def labelled_joints(row: Row) -> NDArray[np.float64]:
    """(K, 3) x, y in px and v of a labelled person; v is 0 where a joint is not labelled."""
    return np.array(row["keypoints"], np.float64).reshape(-1, 3)


def found_joints(row: Row) -> NDArray[np.float64]:
    """(K, 3) x, y in px and 1 of a found person; all 0 where a joint was not found.

    Scores of joints are no part of the format, and some systems leave them 0; a joint at (0, 0) is
    what they all write where there is none.
    """
    joints = labelled_joints(row)
    joints[:, 2] = (joints[:, :2] != 0).any(axis=1)
    return joints


@dataclass(frozen=True)
class _Renumbered:
    """pycocotools' evaluation under numbers of our own, and what the numbers stand for.

    To pycocotools an id of 0 or less means "nobody", and ids from 2^53 on are the same as others,
    as it keeps them in floats; to everybody else an id is a label.
    """

    evaluation: Any
    image_ids: list[int]  # image n has number n + 1
    people: list[Row]  # so has the labelled person n
    found: list[Row]  # and the found person n


def _renumbered(
    annotations: Any, detections: Sequence[Row], image_ids: Sequence[int] | None
) -> _Renumbered:
    """pycocotools' evaluation of the people of some photos, about to begin."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    category = category_of_people(annotations)
    others = {row["id"] for row in annotations.dataset.get("categories") or ()} - {category}
    ids = sorted(set(annotations.imgs if image_ids is None else image_ids))
    number = {image_id: n for n, image_id in enumerate(ids, 1)}

    def taken(rows: Sequence[Row]) -> list[Row]:
        return [
            row
            for row in rows
            if row["image_id"] in number and row.get("category_id", category) not in others
        ]

    def renumbered(rows: list[Row], keys: Sequence[str]) -> list[Row]:
        return [
            {key: row[key] for key in keys}
            | {"id": n, "image_id": number[row["image_id"]]}
            | person
            for n, row in enumerate(rows, 1)
        ]

    people, found = taken(annotations.dataset["annotations"]), taken(detections)
    person = {"category_id": 1}
    truth = index_annotations(
        {
            "images": [{"id": n} for n in number.values()],
            "annotations": renumbered(people, _PERSON_KEYS),
            "categories": [{"id": 1, "name": "person"}],
        }
    )
    # pycocotools takes areas from boxes where there are any, and asks the first result only.
    boxes = bool(found) and all(row.get("bbox") for row in found)
    with contextlib.redirect_stdout(io.StringIO()):
        if found:
            results = truth.loadRes(renumbered(found, (*_RESULT_KEYS, *["bbox"] * boxes)))
        else:  # which loadRes cannot read
            results = COCO()
            results.dataset = {**truth.dataset, "annotations": []}
            results.createIndex()
        evaluation = COCOeval(truth, results, "keypoints")
    return _Renumbered(evaluation, ids, people, found)
