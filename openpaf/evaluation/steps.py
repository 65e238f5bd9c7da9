"""The time of each step from an image to its people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.estimator import PoseEstimator
from openpaf.poses import Poses

#: The steps of part affinity fields, in order; a detector has only the first and the last.
STEPS = ("network", "peaks", "limbs", "matching", "people")


def run_in_steps(
    estimator: PoseEstimator, image: NDArray[np.uint8]
) -> tuple[Poses, dict[str, float]]:
    """What ``estimator(image)`` gives, and how long each step took.

    Args:
        estimator: The estimator.
        image: RGB uint8 (H, W, 3).

    Returns:
        The people, and milliseconds of each of :data:`STEPS` that the method has, and ``total``.
        Resizing the image is part of ``network``.
    """
    times: dict[str, float] = {}
    started = last = time.perf_counter()

    def passed(step: str) -> None:
        nonlocal last
        now = time.perf_counter()
        times[step] = times.get(step, 0.0) + 1000 * (now - last)  # of all sizes
        last = now

    inferred = estimator.infer(image)
    passed("network")
    poses = estimator.method.postprocess(inferred, image.shape[:2], passed)
    times["total"] = 1000 * (last - started)
    return poses, times


def median_times(times: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The median of each step over several runs, in ms; empty where there are none."""
    if not times:
        return {}
    return {step: median(run[step] for run in times) for step in times[0]}
