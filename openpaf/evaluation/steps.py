"""The time of each step from an image to its people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding import assemble_people, find_peaks, match_limbs, score_limbs
from openpaf.estimator import PoseEstimator
from openpaf.geometry import Letterbox
from openpaf.poses import Poses

#: The steps of a bottom-up model, in order. A top-down model's people come from its network.
STEPS = ("network", "peaks", "limbs", "matching", "people")


def run_in_steps(
    estimator: PoseEstimator, image: NDArray[np.uint8], *, bottom_up: bool = True
) -> tuple[Poses, dict[str, float]]:
    """What ``estimator(image)`` gives, and how long each step took.

    Args:
        estimator: The estimator.
        image: RGB uint8 (H, W, 3).
        bottom_up: Whether it has the steps of the parser; if not, everything is ``network``.

    Returns:
        The people, and milliseconds of each of :data:`STEPS`, of those that there are, and
        ``total``. Resizing the image is part of ``network``.
    """
    times: dict[str, float] = {}
    started = last = time.perf_counter()

    def passed(step: str) -> None:
        nonlocal last
        now = time.perf_counter()
        times[step] = 1000 * (now - last)
        last = now

    if bottom_up:
        config = estimator.config
        fields = estimator.fields(image)
        passed("network")
        peaks = find_peaks(fields, config)
        passed("peaks")
        candidates = score_limbs(fields, peaks, config)
        passed("limbs")
        limbs = match_limbs(candidates, config, peaks)
        passed("matching")
        people = assemble_people(peaks, limbs, fields.skeleton, config)
        letterbox = Letterbox.fit(image.shape[:2], estimator.size)
        poses = estimator.result(letterbox.undo(people))
        passed("people")
    else:
        poses = estimator(image)
        passed("network")
    times["total"] = 1000 * (last - started)
    return poses, times


def median_times(times: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The median of each step over several runs, in ms; empty where there are none."""
    if not times:
        return {}
    return {step: median(run[step] for run in times) for step in times[0]}
