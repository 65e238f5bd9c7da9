"""COCO keypoint figures of an estimator, exactly as pycocotools computes them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from openpaf.formats import poses_to_coco
from openpaf.poses import Poses

#: Names of the ten figures, in pycocotools' order.
METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def load_annotations(path: str | Path) -> Any:
    """A COCO annotation file as pycocotools reads it, without its prints."""
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
) -> list[dict[str, Any]]:
    """Run an estimator over the photos of an annotation file.

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
    detections: list[dict[str, Any]] = []
    ids = sorted(annotations.imgs) if image_ids is None else image_ids
    for image_id in tqdm(ids, unit="photo", disable=None if progress else True):
        path = Path(images) / annotations.imgs[image_id]["file_name"]
        detections += poses_to_coco(estimate(path), image_id)
    return detections


def evaluate(
    annotations: Any, detections: Sequence[dict[str, Any]], image_ids: Sequence[int] | None = None
) -> dict[str, float]:
    """The ten COCO keypoint figures, 0 to 1; -1 where there is nothing to measure.

    Args:
        annotations: As :func:`load_annotations` gives them.
        detections: In COCO's submission format.
        image_ids: Which photos; all of them if None.

    Reference:
        cocodataset.org/#keypoints-eval.
    """
    from pycocotools.cocoeval import COCOeval

    ids = sorted(annotations.imgs) if image_ids is None else list(image_ids)
    chosen = [row for row in detections if row["image_id"] in set(ids)]
    if not chosen:
        return dict.fromkeys(METRICS, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        result = COCOeval(annotations, annotations.loadRes(chosen), "keypoints")
        result.params.imgIds = ids
        result.evaluate()
        result.accumulate()
        result.summarize()
    return {name: float(value) for name, value in zip(METRICS, result.stats, strict=True)}


def precision_at(
    annotations: Any,
    detections: Sequence[dict[str, Any]],
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
        without labelled joints count as neither.
    """
    from pycocotools.cocoeval import COCOeval

    ids = sorted(annotations.imgs) if image_ids is None else list(image_ids)
    chosen = [
        row for row in detections if row["image_id"] in set(ids) and row["score"] >= min_score
    ]
    if not chosen:
        return 1.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        result = COCOeval(annotations, annotations.loadRes(chosen), "keypoints")
    result.params.imgIds = ids
    result.params.iouThrs = np.array([oks])
    result.params.areaRng, result.params.areaRngLbl = [[0, 1e10]], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):
        result.evaluate()
    images = [image for image in result.evalImgs if image is not None]
    matched = sum(
        int(((image["dtMatches"][0] > 0) & ~image["dtIgnore"][0].astype(bool)).sum())
        for image in images
    )
    counted = sum(int((~image["dtIgnore"][0].astype(bool)).sum()) for image in images)
    people = sum(int((~np.asarray(image["gtIgnore"], bool)).sum()) for image in images)
    return matched / max(counted, 1), matched / max(people, 1)
