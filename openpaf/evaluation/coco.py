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

from openpaf.formats import poses_to_coco
from openpaf.paths import inside_folder
from openpaf.poses import Poses

#: Names of the ten figures, in pycocotools' order.
METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")

#: A row of COCO's JSON: a person as labelled, or as found.
Row = dict[str, Any]


def load_annotations(path: str | Path) -> Any:
    """A COCO annotation file as pycocotools reads it, without its prints or any checks."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


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
    """
    detections: list[Row] = []
    ids = sorted(annotations.imgs) if image_ids is None else image_ids
    for image_id in tqdm(ids, unit="photo", disable=None if progress else True):
        path = inside_folder(images, annotations.imgs[image_id]["file_name"])
        detections += poses_to_coco(estimate(path), image_id)
    return detections


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
    result = _prepared(annotations, detections, image_ids)
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
    result = _prepared(annotations, detections, image_ids)
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
    result = _prepared(annotations, detections, image_ids)
    result.params.iouThrs = np.array([oks])
    result.params.areaRng, result.params.areaRngLbl = [[0, 1e10]], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):
        result.evaluate()
    found, truth = result.cocoDt.anns, annotations.anns
    photos = []
    for image in result.evalImgs:
        if image is None:
            continue
        similar = result.ious[image["image_id"], image["category_id"]]
        column = {
            row["id"]: i
            for i, row in enumerate(result._gts[image["image_id"], image["category_id"]])
        }
        pairs, false = [], []
        for i, (row_id, match, ignored) in enumerate(
            zip(image["dtIds"], image["dtMatches"][0], image["dtIgnore"][0], strict=True)
        ):
            if ignored:
                continue
            if match > 0:
                pairs.append(
                    Pair(truth[int(match)], found[row_id], float(similar[i][column[int(match)]]))
                )
            else:
                false.append(found[row_id])
        taken = {pair.truth["id"] for pair in pairs}
        counted = zip(image["gtIds"], image["gtIgnore"], strict=True)
        missed = [truth[i] for i, ignored in counted if not ignored and i not in taken]
        photos.append(PhotoMatches(int(image["image_id"]), pairs, missed, false))
    return photos


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


def _prepared(annotations: Any, detections: Sequence[Row], image_ids: Sequence[int] | None) -> Any:
    """pycocotools' evaluation of some photos, about to begin."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    ids = sorted(annotations.imgs) if image_ids is None else list(image_ids)
    wanted = set(ids)
    # Copies: pycocotools writes areas and ids into the rows.
    chosen = [dict(row) for row in detections if row["image_id"] in wanted]
    with contextlib.redirect_stdout(io.StringIO()):
        if chosen:
            found = annotations.loadRes(chosen)
        else:  # which loadRes cannot read
            found = COCO()
            found.dataset = {**annotations.dataset, "annotations": []}
            found.createIndex()
        result = COCOeval(annotations, found, "keypoints")
    result.params.imgIds = ids
    return result
