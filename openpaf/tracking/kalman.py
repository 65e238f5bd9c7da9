"""Where a person who has been seen is expected next."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.tracking.one_euro import OneEuro


class Track:
    """Somebody who has been seen: the last known joints, and where they go.

    The motion is a Kalman filter of the body's displacement and velocity, with one covariance
    for x and y, in px.

    Args:
        xy: (K, 2) px; NaN where a joint is missing.
        time_s: When, in seconds.

    Attributes:
        id: None until the tracker shows the person.
        xy: (K, 2) px, where the joints are expected; NaN where never seen.
        size_px: Square root of the area of the box around the joints.
        velocity: (2,) px per second.
        covariance: (2, 2), of displacement and velocity.
        seen_s: When last.
        n_seen: How often.
        filter: Smooths the joints; None if nothing does.
    """

    def __init__(self, xy: NDArray[np.float64], time_s: float) -> None:
        self.id: int | None = None
        self.xy = xy.copy()
        self.size_px = _size_px(self.xy)
        self.velocity = np.zeros(2)
        # Unknown at first: a run of three sizes a second is not ruled out.
        self.covariance = np.diag([0.0, (1.5 * self.size_px) ** 2])
        self.time_s = self.seen_s = time_s
        self.joint_seen_s = np.full(len(xy), time_s)
        self.n_seen = 1
        self.filter: OneEuro | None = None

    def move_on(self, time_s: float, acceleration: float) -> None:
        """Predict: the joints go where the velocity takes them, and the doubt grows."""
        dt = time_s - self.time_s
        self.xy = self.xy + self.velocity * dt
        (place, both), (_, speed) = self.covariance.tolist()
        noise = (acceleration * self.size_px) ** 2
        # Written out, which saves the time of six small arrays: step @ covariance @ step.T, where
        # step is [[1, dt], [0, 1]], and the noise of a random acceleration.
        place += dt * (2 * both + dt * speed) + noise * dt**3 / 3
        both += dt * speed + noise * dt**2 / 2
        self.covariance = np.array([[place, both], [both, speed + noise * dt]])
        self.time_s = time_s

    def leaps(self, xy: NDArray[np.float32], time_s: float, max_speed: float) -> NDArray[np.bool_]:
        """Which joints (K,) of a detection (K, 2) are too far from where they are expected.

        Args:
            xy: (K, 2) px; NaN where a joint is missing.
            time_s: When, in seconds.
            max_speed: In sizes per second; a distance of one size is always allowed.
        """
        distance = _lengths(xy - self.xy)  # (K,), NaN where not known or not found
        both = np.isfinite(distance)
        if not both.any():
            return both
        # The median of a body's joints is half a size from its middle; leaps do not change it.
        found = xy[np.isfinite(xy[:, 0])]
        extent = float(_median(_lengths(found - _median(found))))
        size = max(self.size_px, 2 * extent)
        far = both & (distance > size * (1 + max_speed * (time_s - self.joint_seen_s)))
        # Where most joints are far off, it is the expectation that is wrong.
        return far & (2 * far.sum() < both.sum())

    def see(self, xy: NDArray[np.float64], time_s: float) -> None:
        """Correct by what was found."""
        present = np.isfinite(xy[:, 0])
        both = present & np.isfinite(self.xy[:, 0])
        n_both = np.count_nonzero(both)
        if n_both:
            # The median does not follow the few joints that another person lends in a crossing.
            error = _median((xy - self.xy)[both])
            spread = (0.05 * self.size_px) ** 2 * len(xy) / n_both + 1e-9
            gain = self.covariance[:, 0] / (self.covariance[0, 0] + spread)
            self.covariance = self.covariance - np.outer(gain, self.covariance[0])
            self.velocity = self.velocity + gain[1] * error
            self.xy = self.xy + error
        self.xy[present] = xy[present]
        self.joint_seen_s[present] = time_s
        share = 0.2 if n_both else 1.0
        self.size_px += share * (_size_px(self.xy) - self.size_px)
        self.seen_s = time_s
        self.n_seen += 1


def _size_px(xy: NDArray[np.float64]) -> float:
    """Square root of the area of the box around the joints, px; bounded for lines, points, none."""
    width, height = (np.fmax.reduce(xy) - np.fmin.reduce(xy)).tolist()  # past the missing ones
    longer = max(width, height)
    return max(4.0, math.sqrt(width * height), 0.4 * longer)  # this order: NaN is not above 4


def _lengths(vectors: NDArray[Any]) -> NDArray[Any]:
    """Lengths (N,) of vectors (N, 2)."""
    return np.sqrt(vectors[:, 0] ** 2 + vectors[:, 1] ** 2)


def _median(values: NDArray[Any]) -> NDArray[Any]:
    """Median over the first axis, of finite numbers; of so few, faster than NumPy's by far."""
    ordered = np.sort(values, axis=0)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
