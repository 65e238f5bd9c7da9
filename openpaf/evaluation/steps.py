"""The time of each step from a picture to its people."""

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
    estimator: PoseEstimator, picture: NDArray[np.uint8], *, bottom_up: bool = True
) -> tuple[Poses, dict[str, float]]:
    """What ``estimator(picture)`` gives, and how long each step took.

    Args:
        estimator: The estimator.
        picture: RGB uint8 (H, W, 3).
        bottom_up: Whether it has the steps of the parser; if not, everything is ``network``.

    Returns:
        The people, and milliseconds of each of :data:`STEPS`, of those that there are, and
        ``total``. Resizing the picture is part of ``network``.
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
        fields = estimator.fields(picture)
        passed("network")
        peaks = find_peaks(fields, config)
        passed("peaks")
        candidates = score_limbs(fields, peaks, config)
        passed("limbs")
        limbs = match_limbs(candidates, config, peaks)
        passed("matching")
        found = assemble_people(peaks, limbs, fields.skeleton, config)
        letterbox = Letterbox.fit(picture.shape[:2], estimator.size)
        poses = estimator.result(letterbox.undo(found))
        passed("people")
    else:
        poses = estimator(picture)
        passed("network")
    times["total"] = 1000 * (last - started)
    return poses, times


def median_times(times: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The median of each step over several runs, in ms; empty where there are none."""
    if not times:
        return {}
    return {step: median(run[step] for run in times) for step in times[0]}
