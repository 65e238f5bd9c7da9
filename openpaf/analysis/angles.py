"""Angles of joints over time, and how fast they change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openpaf.analysis.recording import Recording


def angle_series(recording: Recording, name: str) -> dict[int, NDArray[np.float64]]:
    """An angle of each person over the frames.

    Args:
        recording: The frames.
        name: As for :meth:`openpaf.Poses.angles`, e.g. ``"left_knee"``.

    Returns:
        For each id (T,) degrees, 0 to 180; NaN where the angle is not seen.

    Raises:
        ValueError: If the skeleton has no such angle.
    """
    degrees = recording.people.angles([name])[name]
    return {person: recording.over_time(degrees, person) for person in recording.ids}


def angular_speed(
    degrees: NDArray[np.float64], times_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How fast an angle grows, by differences of second order between frames next to each other.

    Args:
        degrees: (T,), NaN where not seen.
        times_s: (T,) in s, rising; steps may differ.

    Returns:
        (T,) degrees per s; positive where the joint is being straightened. NaN where the angle is
        not seen, or in no frame beside.
    """
    speed = np.full(len(degrees), np.nan)
    seen = np.flatnonzero(np.isfinite(degrees))
    for run in np.split(seen, np.flatnonzero(np.diff(seen) > 1) + 1):
        if len(run) >= 2:
            speed[run] = np.gradient(degrees[run], times_s[run])
    return speed
