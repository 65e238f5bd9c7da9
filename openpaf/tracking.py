"""Who is who from one frame to the next: ids over time, and smoothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.smoothing import OneEuro, Smoothing


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """When a person of this frame is one of the frames before.

    Distances are in person sizes, the square root of the area of the box around the joints.

    Args:
        max_gap_s: A person not seen for longer is forgotten; who comes back later is somebody new.
        max_new_gap_s: The same for somebody who has been seen in one frame only.
        min_similarity: Least similarity, 0 to 1, of a person and where one is expected.
        min_new_score: Least score of a person who gets a new id; weaker ones only continue a
            known one.
        min_joint_score: Joints whose score is below this are not compared: the parser completes
            people from weak peaks, which may be anywhere.
        duplicate_similarity: Somebody new who is as similar as this to a person who was just
            found is a second detection of the same, and is left out.
        min_sigma: Least tolerance of a joint, in the sense of the OKS: faces turn, and the sigma
            of an eye allows for the hand of a labeller only.
        acceleration: How unsteadily people move, in sizes per second squared: the standard
            deviation of the acceleration of the motion model.
        smoothing: How the joints are smoothed; None leaves them as they are.

    Raises:
        ValueError: If a value is out of its range.
    """

    max_gap_s: float = 2.0
    max_new_gap_s: float = 0.3
    min_similarity: float = 0.3
    min_new_score: float = 0.15
    min_joint_score: float = 0.2
    duplicate_similarity: float = 0.3
    min_sigma: float = 0.06
    acceleration: float = 1.0
    second_reach: float = 2.0
    max_joint_speed: float = 5.0
    smoothing: Smoothing | None = field(default_factory=Smoothing)

    def __post_init__(self) -> None:
        for name in ("max_gap_s", "max_new_gap_s", "min_sigma", "acceleration"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a number > 0, got {getattr(self, name)!r}")
        shares = ("min_similarity", "min_new_score", "min_joint_score", "duplicate_similarity")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a number, 0 to 1, got {getattr(self, name)!r}")


_DISCOUNT = 0.25  # chosen on composed scenes other than those of the benchmark


class Tracker:
    """Gives the people of consecutive frames ids, and smooths their joints.

    Each known person is moved on by a constant-velocity model, compared with everybody in the
    frame by the object keypoint similarity, and the assignment of largest total similarity is
    taken. People are followed through crossings and up to ``max_gap_s`` of being hidden. Every
    frame is answered from itself and the frames before it: no latency is added.

    Args:
        config: Thresholds, and how to smooth.

    Attributes:
        smooths: Whether joints are smoothed; may be changed from one frame to the next.
    """

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self.smooths = self.config.smoothing is not None
        self.reset()

    def reset(self) -> None:
        """Forget everybody; ids begin at 1 again."""
        self._people: list[_Person] = []
        self._time_s = -math.inf
        self._next_id = 1
        self._skeleton: Skeleton | None = None

    def __call__(self, poses: Poses, time_s: float) -> Poses:
        """The people of the next frame with ids.

        Args:
            poses: The people of the frame, in px.
            time_s: Time of the frame in seconds, later than the last one's.

        Returns:
            Those who have an id, smoothed where the configuration says so, in the order of
            ``poses``. Weak detections that continue nobody are left out.

        Raises:
            ValueError: If time does not go on, or the skeleton is not that of the last frame.
        """
        self._check(poses, time_s)
        for person in self._people:
            person.move_on(time_s, self.config.acceleration)
        sure = poses.scores >= max(self.config.min_joint_score, 1e-30)
        xy = np.where(sure[..., None], poses.xy, np.nan).astype(np.float64)  # (N, K, 2)
        strong = poses.person_scores >= self.config.min_new_score
        owners, duplicates = self._owners(xy, strong, poses.skeleton)
        for n, person in enumerate(owners):
            if person is not None:
                wild = person.wild(poses.xy[n], time_s, self.config.max_joint_speed)
                poses = _without(poses, n, wild)
                xy[n, wild] = np.nan
                person.see(xy[n], time_s)
            elif strong[n] and not duplicates[n] and sure[n].any():
                owners[n] = self._add(xy[n], time_s)
        self._forget(time_s)
        return self._result(poses, owners, time_s)

    def _owners(
        self, xy: NDArray[np.float64], strong: NDArray[np.bool_], skeleton: Skeleton
    ) -> tuple[list[_Person | None], NDArray[np.bool_]]:
        """The known person of each detection (N, K, 2), and which detections are somebody's second.

        Who is left over on both sides is compared again with a larger tolerance: where nobody
        else fits, a bad detection is more likely than somebody new in the place of somebody lost.
        """
        owners: list[_Person | None] = [None] * len(xy)
        similarity = _similarities(self._people, xy, skeleton, self.config)  # (people, N)
        rows, columns = _assign(similarity, self.config.min_similarity)
        for row, column in zip(rows, columns, strict=True):
            owners[column] = self._people[row]
        duplicates = similarity[rows].max(axis=0, initial=0) >= self.config.duplicate_similarity
        lost = [p for n, p in enumerate(self._people) if n not in rows]
        free = [n for n, owner in enumerate(owners) if owner is None and strong[n] and not duplicates[n]]
        wide = _similarities(lost, xy[free], skeleton, self.config, self.config.second_reach)
        for row, column in zip(*_assign(wide, self.config.min_similarity), strict=True):
            owners[free[column]] = lost[row]
        return owners, duplicates

    def _check(self, poses: Poses, time_s: float) -> None:
        if not (math.isfinite(time_s) and time_s > self._time_s):
            raise ValueError(f"time_s: expected more than {self._time_s}, got {time_s!r}")
        if self._skeleton is not None and self._skeleton != poses.skeleton:
            raise ValueError(
                f"poses: expected skeleton {self._skeleton.name!r} as before, "
                f"got {poses.skeleton.name!r}"
            )
        self._time_s, self._skeleton = time_s, poses.skeleton

    def _add(self, xy: NDArray[np.float64], time_s: float) -> _Person:
        person = _Person(self._next_id, xy, time_s)
        if self.config.smoothing is not None:
            person.filter = OneEuro(len(xy), self.config.smoothing)
        self._next_id += 1
        self._people.append(person)
        return person

    def _forget(self, time_s: float) -> None:
        def limit(person: _Person) -> float:
            return self.config.max_gap_s if person.n_seen > 1 else self.config.max_new_gap_s

        self._people = [p for p in self._people if time_s - p.seen_s <= limit(p)]

    def _result(self, poses: Poses, owners: list[_Person | None], time_s: float) -> Poses:
        chosen = [n for n, owner in enumerate(owners) if owner is not None]
        known = [owner for owner in owners if owner is not None]
        result = poses[chosen]
        xy = result.xy.copy()
        for n, person in enumerate(known):
            if person.filter is not None:
                smoothed = person.filter(result.xy[n], person.size_px, time_s)
                xy[n] = smoothed if self.smooths else xy[n]
        return result.replace(xy=xy, ids=np.array([person.id for person in known], np.int64))


def _without(poses: Poses, n: int, joints: NDArray[np.bool_]) -> Poses:
    """Poses in which some joints (K,) of person ``n`` are missing."""
    if not joints.any():
        return poses
    xy, scores = poses.xy.copy(), poses.scores.copy()
    xy[n, joints], scores[n, joints] = np.nan, 0
    return poses.replace(xy=xy, scores=scores)


class _Person:
    """Somebody who has been seen: the last known joints, and where they go.

    The motion is a Kalman filter of the body's displacement and velocity, with one covariance
    for x and y, in px.
    """

    def __init__(self, id: int, xy: NDArray[np.float64], time_s: float) -> None:
        self.id = id
        self.xy = xy.copy()  # (K, 2), where expected; NaN where never seen
        self.size_px = _size_px(self.xy)
        self.velocity = np.zeros(2)  # px per second
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
        step = np.array([[1, dt], [0, 1]])
        noise = np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        strength = (acceleration * self.size_px) ** 2
        self.covariance = step @ self.covariance @ step.T + strength * noise
        self.time_s = time_s

    def wild(
        self, xy: NDArray[np.float32], time_s: float, max_speed: float
    ) -> NDArray[np.bool_]:
        """Which joints (K,) of a detection (K, 2) are too far from where they are expected."""
        distance = np.linalg.norm(xy - self.xy, axis=1)  # (K,), NaN where not known or not found
        extent = np.nanmedian(np.linalg.norm(xy - np.nanmedian(xy, axis=0), axis=1))
        size = max(self.size_px, 2 * extent)
        wild = distance > size * (1 + max_speed * (time_s - self.joint_seen_s))
        # Where most joints are far off, it is the expectation that is wrong.
        return wild & (2 * wild.sum() < np.isfinite(distance).sum())

    def see(self, xy: NDArray[np.float64], time_s: float) -> None:
        """Correct by what was found."""
        both = np.isfinite(self.xy[:, 0]) & np.isfinite(xy[:, 0])
        present = np.isfinite(xy[:, 0])
        if both.any():
            # The median does not follow the few joints that another person lends in a crossing.
            error = np.median(xy[both] - self.xy[both], axis=0)
            spread = (0.05 * self.size_px) ** 2 * len(xy) / both.sum() + 1e-9
            gain = self.covariance[:, 0] / (self.covariance[0, 0] + spread)
            self.covariance = self.covariance - np.outer(gain, self.covariance[0])
            self.velocity = self.velocity + gain[1] * error
            self.xy = self.xy + error
        self.xy[present] = xy[present]
        self.joint_seen_s[present] = time_s
        share = 0.2 if both.any() else 1.0
        self.size_px += share * (_size_px(self.xy) - self.size_px)
        self.seen_s = time_s
        self.n_seen += 1


def _size_px(xy: NDArray[np.float64]) -> float:
    """Square root of the area of the box around the joints, px; bounded for lines and points."""
    width, height = np.nanmax(xy, axis=0) - np.nanmin(xy, axis=0)
    longer = max(width, height)
    return max(math.sqrt(width * height), 0.4 * longer, 4.0)


def _similarities(
    people: list[_Person],
    xy: NDArray[np.float64],
    skeleton: Skeleton,
    config: TrackerConfig,
    reach: float = 1.0,
) -> NDArray[np.float64]:
    """How well each detection (N, K, 2) fits each known person: (people, N), 0 to 1.

    The object keypoint similarity of the joints that both have, whose tolerance grows with the
    doubt about where the person is by now. Who has long been hidden fits anywhere a little, so the
    similarity is less by as much as the tolerance is more.
    """
    if not people or not len(xy):
        return np.zeros((len(people), len(xy)))
    sigmas = reach * np.maximum(np.array(skeleton.oks_sigmas), config.min_sigma)
    expected = np.stack([person.xy for person in people])  # (P, K, 2)
    sizes = np.array([person.size_px for person in people])  # (P,)
    # Nobody is given up for long gaps between frames alone, as of 1 frame a second.
    doubts = np.array([min(p.covariance[0, 0], p.size_px**2) for p in people])  # (P,)
    own = (2 * sizes[:, None] * sigmas) ** 2  # (P, K)
    variance = own + doubts[:, None]
    squared = ((expected[:, None] - xy[None]) ** 2).sum(axis=3)  # (P, N, K)
    both = np.isfinite(squared)
    fit = np.where(both, np.exp(-np.where(both, squared, 0) / (2 * variance[:, None])), 0)
    fit *= (own / variance)[:, None] ** _DISCOUNT
    # A single joint in common is little evidence: as if two more did not fit.
    n_common = both.sum(axis=2)
    return np.asarray(fit.sum(axis=2) / np.maximum(n_common + 2 * (n_common < 3), 1))


def _assign(
    similarity: NDArray[np.float64], least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of the one-to-one assignment of largest total similarity, of those above ``least``."""
    from scipy.optimize import linear_sum_assignment

    allowed = np.where(similarity >= least, similarity, 0)
    rows, columns = linear_sum_assignment(allowed, maximize=True)
    good = allowed[rows, columns] > 0
    return rows[good], columns[good]
