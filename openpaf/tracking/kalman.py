"""Tracks: the predicted position of each tracked person."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.tracking.one_euro import OneEuro


class Track:
    """A tracked person: the last known joints and their motion.

    The motion is a Kalman filter of the body's displacement and velocity, with one covariance
    for x and y, in px.

    Args:
        xy: (K, 2) px; NaN where a joint is missing.
        time_s: Time of the detection in s.

    Attributes:
        id: None until the tracker shows the person.
        xy: (K, 2) px, the predicted joints; NaN where never detected.
        size_px: Square root of the area of the box around the joints, in px.
        velocity: (2,) px per s.
        covariance: (2, 2), of displacement and velocity.
        seen_s: Time of the last detection in s.
        n_seen: Number of detections.
        filter: Smooths the joints; None without smoothing.

    Reference:
        Kalman, A new approach to linear filtering and prediction problems, 1960.
    """

    def __init__(self, xy: NDArray[np.float64], time_s: float) -> None:
        self.id: int | None = None
        self.xy = xy.copy()
        self.size_px = _size_px(self.xy)
        self.velocity = np.zeros(2)
        # Unknown at first: two standard deviations are a run of three sizes a second.
        self.covariance = np.diag([0.0, (1.5 * self.size_px) ** 2])
        self.time_s = self.seen_s = time_s
        self.joint_seen_s = np.full(len(xy), time_s)
        self.n_seen = 1
        self.filter: OneEuro | None = None

    def predict(self, time_s: float, acceleration: float) -> None:
        """Move the joints by the velocity, and increase the covariance."""
        dt = time_s - self.time_s
        self.xy = self.xy + self.velocity * dt
        (place, both), (_, speed) = self.covariance.tolist()
        noise = (acceleration * self.size_px) ** 2
        # step @ covariance @ step.T with step [[1, dt], [0, 1]], and the noise of a random
        # acceleration; written out, which avoids six small arrays.
        place += dt * (2 * both + dt * speed) + noise * dt**3 / 3
        both += dt * speed + noise * dt**2 / 2
        self.covariance = np.array([[place, both], [both, speed + noise * dt]])
        self.time_s = time_s

    def jumps(self, xy: NDArray[np.float32], time_s: float, max_speed: float) -> NDArray[np.bool_]:
        """Which joints (K,) of a detection (K, 2) are too far from their predictions.

        Args:
            xy: (K, 2) px; NaN where a joint is missing.
            time_s: Time of the detection in s.
            max_speed: In sizes per s; a distance of one size is always allowed.
        """
        distance = _lengths(xy - self.xy)  # (K,), NaN where either is missing
        both = np.isfinite(distance)
        if not both.any():
            return both
        # The median joint is half a size from the body's center, and jumps do not change it.
        present = xy[np.isfinite(xy[:, 0])]
        extent = float(_median(_lengths(present - _median(present))))
        size = max(self.size_px, 2 * extent)
        far = both & (distance > size * (1 + max_speed * (time_s - self.joint_seen_s)))
        # Where most joints are far off, the prediction is wrong.
        return far & (2 * far.sum() < both.sum())

    def update(self, xy: NDArray[np.float64], time_s: float) -> None:
        """Correct the prediction by a detection (K, 2)."""
        present = np.isfinite(xy[:, 0])
        both = present & np.isfinite(self.xy[:, 0])
        n_both = np.count_nonzero(both)
        if n_both:
            # The median is robust against a few joints of another person in a crossing.
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
    """Square root of the area of the box around the joints in px; bounded below for thin boxes."""
    width, height = (np.fmax.reduce(xy) - np.fmin.reduce(xy)).tolist()  # ignores NaN
    longer = max(width, height)
    return max(4.0, math.sqrt(width * height), 0.4 * longer)  # in this order NaN gives 4


def _lengths(vectors: NDArray[Any]) -> NDArray[Any]:
    """Lengths (N,) of vectors (N, 2)."""
    return np.sqrt(vectors[:, 0] ** 2 + vectors[:, 1] ** 2)


def _median(values: NDArray[Any]) -> NDArray[Any]:
    """Median of finite numbers over the first axis; faster than NumPy's for short ones."""
    ordered = np.sort(values, axis=0)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
