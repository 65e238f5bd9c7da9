"""Repetitions of an exercise, counted in an angle over time with hysteresis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import check_number

BENT_DEG, STRAIGHT_DEG = 110.0, 150.0
MIN_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """From straight to bent to straight, as a squat by the knee or a push-up by the elbow.

    Args:
        start_s: When the joint was last straight before, in s.
        lowest_s: When it was bent most, in s.
        end_s: When it was straight again, in s.
        lowest_deg: The angle then, in degrees.
    """

    start_s: float
    lowest_s: float
    end_s: float
    lowest_deg: float


def count_repetitions(
    degrees: NDArray[np.float64],
    times_s: NDArray[np.float64],
    *,
    bent_deg: float = BENT_DEG,
    straight_deg: float = STRAIGHT_DEG,
    min_s: float = MIN_S,
) -> list[Repetition]:
    """The repetitions in an angle over time.

    One begins where the joint is straight, and counts once it was bent and is straight again.
    Between the two thresholds nothing changes, so trembling at one of them does not count twice.

    Args:
        degrees: (T,), 0 to 180; frames of NaN are passed over.
        times_s: (T,) in s, rising.
        bent_deg: At most this is bent, in degrees.
        straight_deg: At least this is straight, in degrees; above ``bent_deg``.
        min_s: A shorter one, in s, is an error of a few frames and is not counted; at least 0.

    Returns:
        The repetitions in order; half of one at the beginning or the end does not count.

    Raises:
        ValueError: If a threshold is out of its range, or the shapes differ.
    """
    check_number("bent_deg", bent_deg, least=0, most=180, unit="degrees")
    check_number("straight_deg", straight_deg, above=bent_deg, most=180, unit="degrees")
    check_number("min_s", min_s, least=0, unit="s")
    if np.shape(degrees) != np.shape(times_s) or np.ndim(degrees) != 1:
        raise ValueError(
            f"degrees: expected as many as times_s, {np.shape(times_s)}, got {np.shape(degrees)}"
        )
    found: list[Repetition] = []
    start_s: float | None = None
    lowest_s, lowest_deg = 0.0, straight_deg
    for angle, time_s in zip(
        np.asarray(degrees).tolist(), np.asarray(times_s).tolist(), strict=True
    ):
        if angle >= straight_deg:
            if start_s is not None and lowest_deg <= bent_deg and time_s - start_s >= min_s:
                found.append(
                    Repetition(
                        start_s=start_s, lowest_s=lowest_s, end_s=time_s, lowest_deg=lowest_deg
                    )
                )
            start_s, lowest_deg = time_s, straight_deg
        elif angle < lowest_deg:  # NaN is not
            lowest_s, lowest_deg = time_s, angle
    return found
