"""One-euro filter: smooths joints at rest strongly, and fast ones little, to avoid lag."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import check_numbers


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """The settings of the one-euro filter that smooths joints over time.

    Speeds are in person sizes per s, so that they do not depend on the distance from the camera;
    the size is the square root of the area of the box around the joints.

    Args:
        min_cutoff_hz: Cutoff frequency of a joint at rest in Hz, above 0; lower jitters less and
            lags more.
        beta: Hz added to the cutoff for each person size per s, at least 0; higher lags less.
        speed_cutoff_hz: Cutoff frequency of the speed itself in Hz, above 0; 1 in the paper.
        max_gap_s: A joint that is missing for longer, in s, is not smoothed with its past.

    Raises:
        ValueError: If a value is not a positive number (``beta`` may be 0).

    Reference:
        Casiez, Roussel, Vogel: 1 euro filter, CHI 2012, equations 1 to 7.

    Example:
        >>> import openpaf
        >>> smoothing = openpaf.Smoothing(min_cutoff_hz=0.5)  # less jitter, more lag
        >>> tracker = openpaf.Tracker(openpaf.TrackerConfig(smoothing=smoothing))
    """

    min_cutoff_hz: float = 1.0
    beta: float = 12.0
    speed_cutoff_hz: float = 1.0
    max_gap_s: float = 0.3

    def __post_init__(self) -> None:
        check_numbers(self, ("min_cutoff_hz", "speed_cutoff_hz", "max_gap_s"), above=0)
        check_numbers(self, ("beta",), least=0)


class OneEuro:
    """The filter of one person's joints; holds their last positions and speeds.

    Args:
        n_joints: Number K of joints.
        settings: The settings of the filter.
    """

    def __init__(self, n_joints: int, settings: Smoothing) -> None:
        self.settings = settings
        self.state = np.zeros((n_joints, 7))
        self.state[:, _SEEN_S] = -np.inf

    def __call__(
        self, xy: NDArray[np.float32], size_px: float, time_s: float
    ) -> NDArray[np.float32]:
        """The smoothed joints at one time.

        Args:
            xy: (K, 2) px; NaN where a joint is missing, also in the result.
            size_px: Size of the person in px; above 0.
            time_s: Time in s; later than the last one.

        Returns:
            (K, 2) px.
        """
        return smooth([self], xy[None], np.array([size_px]), time_s)[0]


# The state of each joint: smoothed px, measured px, px per s, s.
_XY, _RAW, _SPEED, _SEEN_S = slice(0, 2), slice(2, 4), slice(4, 6), 6


def smooth(
    filters: Sequence[OneEuro], xy: NDArray[np.float32], sizes_px: NDArray[Any], time_s: float
) -> NDArray[np.float32]:
    """The smoothed joints of several people, each with a filter of its own, of equal settings.

    Args:
        filters: The N filters.
        xy: (N, K, 2) px; NaN where a joint is missing.
        sizes_px: (N,) sizes of the people in px; above 0.
        time_s: Time in s; later than the last one.

    Returns:
        (N, K, 2) px, equal to the results of each filter alone.
    """
    if not filters:
        return xy
    settings = filters[0].settings
    state = np.stack([filter.state for filter in filters])  # (N, K, 7)
    present = np.isfinite(xy[..., :1])  # (N, K, 1)
    gap = time_s - state[..., _SEEN_S, None]  # infinite where never measured
    known = present & (gap > 0) & (gap <= settings.max_gap_s)
    dt = np.where(known, gap, 1.0)
    speed = state[..., _SPEED]
    weight = _weight(settings.speed_cutoff_hz, dt)
    speed = np.where(known, speed + weight * ((xy - state[..., _RAW]) / dt - speed), 0.0)
    in_sizes = np.sqrt((speed**2).sum(axis=2, keepdims=True)) / sizes_px[:, None, None]
    with np.errstate(over="ignore"):  # an infinite cutoff smooths nothing
        cutoff_hz = settings.min_cutoff_hz + settings.beta * in_sizes
    weight = _weight(cutoff_hz, dt)
    smoothed = np.where(known, state[..., _XY] + weight * (xy - state[..., _XY]), xy)
    seen = np.full(present.shape, time_s)
    new = np.concatenate([smoothed, xy, speed, seen], axis=2)  # (N, K, 7)
    for filter, now in zip(filters, np.where(present, new, state), strict=True):
        filter.state = now
    return smoothed.astype(np.float32)


def _weight(cutoff_hz: float | NDArray[np.float64], dt: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of a new value after ``dt`` s, of a low-pass filter with this cutoff."""
    with np.errstate(over="ignore", divide="ignore"):  # extreme cutoffs: 0 or 1
        weight: NDArray[np.float64] = 1 / (1 + 1 / (2 * math.pi * cutoff_hz * dt))
    return weight
