"""Who was found: labeled people and detections in pairs, as pycocotools matches them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.evaluation.label_files import Annotation, Annotations, Detection
from openpaf.evaluation.numbering import NumberedEvaluation, numbered_evaluation


@dataclass(frozen=True)
class Pair:
    """A labeled person, the detection matched to them, and their object keypoint similarity."""

    truth: Annotation
    detection: Detection
    oks: float


@dataclass(frozen=True)
class ImageMatches:
    """Who of an image was found; people without labeled joints and crowds are left out."""

    image_id: int
    pairs: list[Pair]
    missed: list[Annotation]  # labeled, not found
    false: list[Detection]  # found where no person is labeled


def match_people(
    annotations: Annotations,
    detections: Sequence[Detection],
    image_ids: Sequence[int] | None = None,
    *,
    oks: float = 0.5,
) -> list[ImageMatches]:
    """Who was found, as pycocotools matches them: by falling score, each to the most similar.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        detections: In COCO's submission format; the 20 best of each image count.
        image_ids: Which images; all of them if None.
        oks: Smallest object keypoint similarity of a match.

    Returns:
        One entry an image that has people or detections.
    """
    numbered = numbered_evaluation(annotations, detections, image_ids)
    result = numbered.evaluation
    result.params.iouThrs = np.array([oks])
    result.params.areaRng, result.params.areaRngLbl = [[0, 1e10]], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):
        result.evaluate()
    return [_matches(numbered, image) for image in result.evalImgs if image is not None]


def _matches(numbered: NumberedEvaluation, image: dict[str, Any]) -> ImageMatches:
    """What pycocotools matched in one image, under the ids of the files."""
    place = (image["image_id"], image["category_id"])
    similar = numbered.evaluation.ious[place]
    column = {entry["id"]: i for i, entry in enumerate(numbered.evaluation._gts[place])}
    image_id = numbered.image_ids[image["image_id"] - 1]
    pairs, false, taken = [], [], set()
    for i, (number, match, ignored) in enumerate(
        zip(image["dtIds"], image["dtMatches"][0], image["dtIgnore"][0], strict=True)
    ):
        if ignored:
            continue
        box = numbered.evaluation.cocoDt.anns[number]["bbox"]
        detection = {**numbered.found[number - 1], "bbox": box}
        if match > 0:
            taken.add(int(match))
            truth = numbered.people[int(match) - 1]
            pairs.append(Pair(truth, detection, float(similar[i][column[int(match)]])))
        else:
            false.append(detection)
    counted = zip(image["gtIds"], image["gtIgnore"], strict=True)
    missed = [numbered.people[n - 1] for n, ignored in counted if not ignored and n not in taken]
    return ImageMatches(image_id, pairs, missed, false)


def labeled_joints(person: dict[str, Any]) -> NDArray[np.float64]:
    """(K, 3) x, y in px and v of a labeled person; v is 0 where a joint is not labeled."""
    return np.array(person["keypoints"], np.float64).reshape(-1, 3)


def found_joints(person: Detection) -> NDArray[np.float64]:
    """(K, 3) x, y in px and 1 of a found person; all 0 where a joint was not found.

    Scores of joints are no part of the format, and some systems leave them 0; a joint at (0, 0) is
    what they all write where there is none.
    """
    joints = labeled_joints(person)
    joints[:, 2] = (joints[:, :2] != 0).any(axis=1)
    return joints


def precision_at(
    annotations: Annotations,
    detections: Sequence[Detection],
    image_ids: Sequence[int] | None = None,
    *,
    oks: float = 0.5,
    min_score: float = 0.0,
) -> tuple[float, float]:
    """Precision and recall of people at a fixed OKS and score threshold.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        detections: In COCO's submission format.
        image_ids: Which images; all of them if None.
        oks: A detection is right from this object keypoint similarity on.
        min_score: People with a lower score do not count.

    Returns:
        Share of the detections that are people, and of the people that are detected; people
        without labeled joints count as neither. Without detections precision is 1, without
        people recall is 0.
    """
    chosen = [person for person in detections if person["score"] >= min_score]
    images = match_people(annotations, chosen, image_ids, oks=oks)
    right = sum(len(image.pairs) for image in images)
    wrong = sum(len(image.false) for image in images)
    missed = sum(len(image.missed) for image in images)
    precision = right / (right + wrong) if right + wrong else 1.0
    return precision, right / max(right + missed, 1)
