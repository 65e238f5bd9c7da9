"""COCO keypoint figures, exactly as pycocotools computes them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from openpaf.evaluation.label_files import Annotations, Detection
from openpaf.evaluation.numbering import numbered_evaluation
from openpaf.io.coco import poses_to_coco
from openpaf.io.paths import inside_folder
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.skeleton.names import plain_name

#: Names of the ten figures, in pycocotools' order.
METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def detect(
    annotations: Annotations,
    images: str | Path,
    estimate: Callable[[Path], Poses],
    image_ids: Sequence[int] | None = None,
    *,
    progress: bool = True,
) -> list[Detection]:
    """Run an estimator over the images of an annotation file, one after the other.

    :func:`openpaf.evaluation.run.detect_photos` can be interrupted, and reads images ahead.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        images: Folder of the images.
        estimate: From the path of an image to its people.
        image_ids: Which images; all of them if None.
        progress: Whether a terminal shows a bar.

    Returns:
        Detections in COCO's submission format.

    Raises:
        ImageError: If an image cannot be read.
        ValueError: If it is not clear which category people have.
    """
    detections: list[Detection] = []
    ids = sorted(annotations.imgs) if image_ids is None else image_ids
    for image_id in tqdm(ids, unit="image", disable=None if progress else True):
        path = inside_folder(images, annotations.imgs[image_id]["file_name"])
        detections += as_results(estimate(path), image_id, annotations)
    return detections


def as_results(poses: Poses, image_id: int, annotations: Annotations) -> list[Detection]:
    """People as results of the annotations' joints, in the category that people have there.

    Raises:
        ValueError: If the people have none of these joints.
    """
    skeleton, category = annotations.skeleton, annotations.category
    people = poses_to_coco(_spelled_as(poses, skeleton), image_id, skeleton=skeleton)
    if category is None:
        return people
    return [{**person, "category_id": category} for person in people]


def _spelled_as(poses: Poses, skeleton: Skeleton) -> Poses:
    """The people, their joints spelled as those of a skeleton."""
    if set(poses.skeleton.joints) & set(skeleton.joints):
        return poses
    names = {plain_name(name): name for name in skeleton.joints}
    joints = tuple(names.get(plain_name(name), name) for name in poses.skeleton.joints)
    return poses.replace(skeleton=replace(poses.skeleton, joints=joints))


def evaluate(
    annotations: Annotations,
    detections: Sequence[Detection],
    image_ids: Sequence[int] | None = None,
) -> dict[str, float]:
    """The ten COCO keypoint figures, 0 to 1; -1 where there is nothing to measure.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        detections: In COCO's submission format; they are not changed.
        image_ids: Which images; all of them if None.

    Reference:
        cocodataset.org/#keypoints-eval.
    """
    result = numbered_evaluation(annotations, detections, image_ids).evaluation
    with contextlib.redirect_stdout(io.StringIO()):
        result.evaluate()
        result.accumulate()
        result.summarize()
    return {name: float(value) for name, value in zip(METRICS, result.stats, strict=True)}


def ap_by_area(
    annotations: Annotations,
    detections: Sequence[Detection],
    image_ids: Sequence[int] | None,
    bands_px: Sequence[tuple[float, float]],
) -> list[tuple[float, int]]:
    """AP of people by size; those of other sizes count as neither right nor wrong.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        detections: In COCO's submission format.
        image_ids: Which images; all of them if None.
        bands_px: Smallest and largest size of each band: the square root of a person's area, in px
            of the image.

    Returns:
        For each band its AP, -1 where no person is of that size, and its number of people.
    """
    result = numbered_evaluation(annotations, detections, image_ids).evaluation
    result.params.areaRng = [[low**2, high**2] for low, high in bands_px]
    result.params.areaRngLbl = [f"{low}-{high}" for low, high in bands_px]
    with contextlib.redirect_stdout(io.StringIO()):
        result.evaluate()
        result.accumulate()
    precision = result.eval["precision"]  # (thresholds, recalls, categories, bands, 1)
    n_images = len(result.params.imgIds)
    figures = []
    for band in range(len(bands_px)):
        values = precision[:, :, :, band]
        values = values[values > -1]
        images = result.evalImgs[band * n_images : (band + 1) * n_images]
        n_people = sum(int((np.asarray(i["gtIgnore"]) == 0).sum()) for i in images if i)
        figures.append((float(values.mean()) if values.size else -1.0, n_people))
    return figures
