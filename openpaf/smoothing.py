"""One-euro smoothing: still joints stop shaking, quick ones do not lag."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """How much the joints of a person are smoothed over time.

    Speeds are in person sizes a second, so that a person near the camera and one far away are
    treated alike; the size is the square root of the area of the box around the joints.

    Args:
        min_cutoff_hz: Cutoff frequency of a joint at rest; lower shakes less and lags more.
        beta: Hz added to the cutoff for each person size a second; higher lags less.
        speed_cutoff_hz: Cutoff frequency of the speed itself; 1 in the paper.
        max_gap_s: A joint not seen for longer starts afresh.

    Raises:
        ValueError: If a value is not a positive number (``beta`` may be 0).

    Reference:
        Casiez, Roussel, Vogel: 1 euro filter, CHI 2012, equations 1 to 7.
    """

    min_cutoff_hz: float = 1.0
    beta: float = 12.0
    speed_cutoff_hz: float = 1.0
    max_gap_s: float = 0.3

    def __post_init__(self) -> None:
        for name in ("min_cutoff_hz", "beta", "speed_cutoff_hz", "max_gap_s"):
            value = getattr(self, name)
            if not (0 <= value < math.inf) or (value == 0 and name != "beta"):
                raise ValueError(f"{name}: expected a positive number, got {value!r}")


class OneEuro:
    """The filter of one person's joints; keeps their last places and speeds.

    Args:
        n_joints: K.
        settings: How much to smooth.
    """

    def __init__(self, n_joints: int, settings: Smoothing) -> None:
        self.settings = settings
        self._xy = np.full((n_joints, 2), np.nan)  # smoothed, px
        self._raw = np.full((n_joints, 2), np.nan)  # as it came, px
        self._speed = np.zeros((n_joints, 2))  # px per second
        self._seen_s = np.full(n_joints, -np.inf)

    def __call__(
        self, xy: NDArray[np.float32], size_px: float, time_s: float
    ) -> NDArray[np.float32]:
        """The smoothed joints of this moment; nothing later is waited for.

        Args:
            xy: (K, 2) px; NaN where a joint is missing, and then it stays missing.
            size_px: Size of the person in px; positive.
            time_s: When, in seconds; later than the last time.

        Returns:
            (K, 2) px.
        """
        present = np.isfinite(xy[:, 0])
        gap = time_s - self._seen_s  # (K,), infinite where never seen
        known = present & (gap > 0) & (gap <= self.settings.max_gap_s)
        fresh = present & ~known
        dt = np.where(known, gap, 1.0)[:, None]  # (K, 1)
        new_speed = np.where(known[:, None], (xy - self._raw) / dt, 0.0)
        weight = _weight(self.settings.speed_cutoff_hz, dt)
        speed = np.where(known[:, None], self._speed + weight * (new_speed - self._speed), 0.0)
        in_sizes = np.linalg.norm(speed, axis=1, keepdims=True) / size_px  # (K, 1)
        weight = _weight(self.settings.min_cutoff_hz + self.settings.beta * in_sizes, dt)
        smooth = np.where(known[:, None], self._xy + weight * (xy - self._xy), xy)
        self._xy[present] = smooth[present]
        self._raw[present] = xy[present]
        self._speed[known] = speed[known]
        self._speed[fresh] = 0
        self._seen_s[present] = time_s
        return np.where(present[:, None], smooth, np.nan).astype(np.float32)


def _weight(cutoff_hz: float | NDArray[np.float64], dt: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the new value, after ``dt`` seconds, of a low-pass with this cutoff."""
    weight: NDArray[np.float64] = 1 / (1 + 1 / (2 * math.pi * cutoff_hz * dt))
    return weight
