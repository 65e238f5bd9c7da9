"""``openpaf predict`` with a Mask R-CNN that finds objects: when it does, and how it is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openpaf.cli.common import shown, waiting
from openpaf.cli.models import tell_license
from openpaf.cli.outputs import IMAGE

if TYPE_CHECKING:
    from openpaf.estimator.object_detector import ObjectDetector

NO_VIDEOS = "a Mask R-CNN of objects takes photos, no videos"


def finds_objects(arguments: argparse.Namespace) -> bool:
    """Whether the model is a Mask R-CNN that is to find objects: boxes, classes and masks."""
    from openpaf.errors import WeightsError
    from openpaf.weights.catalog import resolve

    if arguments.model is None and arguments.weights is None:
        return False
    try:
        method = resolve(arguments.model, arguments.weights).spec.method
    except (ValueError, WeightsError):  # the estimator says what is wrong
        return False
    return method == "objects" or (method == "mask_rcnn" and arguments.boxes)


def check_objects(arguments: argparse.Namespace, videos: Sequence[str]) -> None:
    """Refuse what only people have.

    Raises:
        ValueError: If there are videos, other formats than COCO's, scales, mirrored images or
            thresholds of the parser.
    """
    if videos:
        raise ValueError(f"{shown(videos[0])}: {NO_VIDEOS}")
    if set(arguments.format) - {IMAGE, "coco"}:
        raise ValueError(f"--format: expected {IMAGE} and coco for objects; others hold people")
    if arguments.scales != [1.0] or arguments.flip or arguments.set:
        raise ValueError("--scales, --flip, --set: not for a Mask R-CNN of objects")


def load_detector(arguments: argparse.Namespace, threshold: float) -> ObjectDetector:
    """The model that these arguments describe; tells the license of a published one."""
    with waiting("loading the model"):
        from openpaf.estimator.object_detector import ObjectDetector

        detector = ObjectDetector(
            arguments.model,
            weights=arguments.weights,
            engine=arguments.engine,
            device=arguments.device,
            threads=arguments.threads,
            size=arguments.size,
            min_score=min(threshold, 1.0),
        )
    tell_license(arguments)
    return detector
