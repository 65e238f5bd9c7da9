"""Tracking: ids of people over the frames of a video, and smoothing of their joints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import check_numbers, is_finite
from openpaf.oks import joint_similarity
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.tracking.kalman import Track
from openpaf.tracking.one_euro import OneEuro, Smoothing, smooth


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """The thresholds of a :class:`Tracker`.

    Distances are in person sizes, the square root of the area of the box around the joints.
    Similarities are object keypoint similarities, 0 to 1.

    Args:
        max_gap_s: A track ends when it has not been detected for this long, in s; above 0.
        max_new_gap_s: The same for a track that was detected in one frame only.
        min_similarity: Smallest similarity of a detection and a track, 0 to 1.
        min_new_score: Smallest score of a detection that starts a track, 0 to 1; weaker ones only
            continue one.
        sure_new_score: A new track with at least this score gets an id at once, 0 to 1; a weaker
            one when it is detected again, which drops false detections of a single frame.
        min_joint_score: Joints with a lower score are not compared, 0 to 1: the parser completes
            people from weak peaks, which are unreliable.
        duplicate_similarity: A detection without a track that is at least this similar to a track
            with a detection is a duplicate, and is dropped, 0 to 1.
        second_reach: Factor on the tolerance when the remaining tracks and detections are compared
            again; at least 1.
        max_joint_speed: A joint that moves faster than this relative to its person, in sizes per
            s, and further than one size, is an error and is dropped; above 0, infinity keeps all.
        min_sigma: Smallest OKS sigma of a joint; above 0. COCO's sigmas of the face describe
            the precision of labels, not motion.
        acceleration: Standard deviation of the acceleration of the motion model, in sizes per
            s^2; above 0.
        smoothing: Settings of the joints' smoothing; None for none.
        keeps_all: Whether every person gets an id at once, at any score, and keeps all joints.

    Raises:
        ValueError: If a value is out of its range.

    Example:
        >>> import openpaf
        >>> config = openpaf.TrackerConfig(max_gap_s=1.0, smoothing=None)
        >>> tracker = openpaf.Tracker(config)
        >>> openpaf.TrackerConfig(max_gap_s=-1)
        Traceback (most recent call last):
        ValueError: max_gap_s: expected a number > 0, got -1
    """

    max_gap_s: float = 2.0
    max_new_gap_s: float = 0.3
    min_similarity: float = 0.3
    min_new_score: float = 0.3
    sure_new_score: float = 0.95
    min_joint_score: float = 0.2
    duplicate_similarity: float = 0.3
    second_reach: float = 2.0
    max_joint_speed: float = 5.0
    min_sigma: float = 0.06
    acceleration: float = 1.0
    smoothing: Smoothing | None = field(default_factory=Smoothing)
    keeps_all: bool = False

    def __post_init__(self) -> None:
        positive = ("max_gap_s", "max_new_gap_s", "min_sigma", "acceleration")
        check_numbers(self, positive, above=0)
        check_numbers(self, ("second_reach",), least=1, most=math.inf)
        check_numbers(self, ("max_joint_speed",), above=0, most=math.inf)
        shares = ("min_similarity", "min_new_score", "sure_new_score", "min_joint_score",
                  "duplicate_similarity")  # fmt: skip
        check_numbers(self, shares, least=0, most=1)


_DISCOUNT = 0.25  # chosen on other composed scenes than those of the benchmark


class Tracker:
    """Gives the people of consecutive frames ids, and smooths their joints.

    Each track is predicted by a constant-velocity model and compared with all people of the frame
    by the object keypoint similarity, and the assignment of largest total similarity is taken.
    The remaining tracks and people are compared once more with a larger tolerance. Tracks survive
    crossings, and occlusions of up to ``max_gap_s``. A result depends only on its frame and those
    before it, so no latency is added.

    Args:
        config: Thresholds and smoothing; the defaults where not given.

    Attributes:
        smooths: Whether joints are smoothed; may be changed between frames.

    Raises:
        ValueError: In a call, if ``time_s`` is not later than before, or the skeleton changes.

    Reference:
        Kalman, A new approach to linear filtering and prediction problems, 1960 (prediction);
        Kuhn, The Hungarian method, 1955 (assignment); Casiez et al., CHI 2012 (smoothing).

    Example:
        >>> import numpy as np
        >>> import openpaf
        >>> keypoints = np.ones((2, 17, 3))  # two people: x, y and score of each joint
        >>> keypoints[:, :, :2] = np.linspace(10, 90, 17)[:, None]
        >>> keypoints[1, :, 0] += 300
        >>> poses = openpaf.Poses.from_keypoints(keypoints, openpaf.Skeleton.COCO17)
        >>> tracker = openpaf.Tracker()
        >>> tracker(poses, time_s=0.0).ids.tolist()
        [1, 2]
        >>> tracker(poses[::-1], time_s=0.04).ids.tolist()
        [2, 1]
    """

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self.smooths = self.config.smoothing is not None
        self.reset()

    def reset(self) -> None:
        """Drop all tracks; ids start at 1 again."""
        self._people: list[Track] = []
        self._time_s = -math.inf
        self._next_id = 1
        self._skeleton: Skeleton | None = None

    def __call__(self, poses: Poses, time_s: float) -> Poses:
        """The people of the next frame, with ids.

        Args:
            poses: The people of the frame, in px.
            time_s: Time of the frame in s, later than that of the last one.

        Returns:
            The people who have an id, smoothed where configured, in the order of ``poses``. Weak
            detections without a track are dropped, and so are joints that jump away from their
            person, unless ``keeps_all`` is set.

        Raises:
            ValueError: If ``time_s`` is not later than before, or the skeleton has changed.
        """
        config = self.config
        last_s = self._time_s
        self._check(poses, time_s)
        gap_s = time_s - last_s  # infinite in the first frame
        for track in self._people:
            track.predict(time_s, config.acceleration)
        sure = poses.scores >= max(config.min_joint_score, 1e-30)
        if config.keeps_all:  # people without a sure joint are compared by all joints
            sure |= ~sure.any(axis=1, keepdims=True) & (poses.scores > 0)
        xy = np.where(sure[..., None], poses.xy, np.nan).astype(np.float64)  # (N, K, 2)
        strong = (poses.person_scores >= config.min_new_score) & sure.any(axis=1)
        # If frames are far apart, a new person cannot be distinguished from a false detection.
        at_once = (poses.person_scores >= config.sure_new_score) | (gap_s > config.max_new_gap_s)
        owners, duplicates = self._owners(xy, strong, poses.skeleton)
        for n, person in enumerate(owners):
            if person is not None:
                # Joints that jump must not change the prediction either.
                jumps = person.jumps(poses.xy[n], time_s, config.max_joint_speed)
                if not config.keeps_all:
                    poses = _without(poses, n, jumps)
                xy[n, jumps] = np.nan
                person.update(xy[n], time_s)
                self._name(person)
            elif config.keeps_all or (strong[n] and not duplicates[n]):
                owners[n] = new = self._add(xy[n], time_s)
                if config.keeps_all or at_once[n]:
                    self._name(new)
        self._forget(time_s)
        return self._result(poses, owners, time_s)

    def _owners(
        self, xy: NDArray[np.float64], strong: NDArray[np.bool_], skeleton: Skeleton
    ) -> tuple[list[Track | None], NDArray[np.bool_]]:
        """The track of each detection (N, K, 2), and which detections are duplicates.

        Remaining tracks and detections are compared again with a larger tolerance: where no other
        fits, an inaccurate detection is more likely than a new person in the place of a lost one.
        """
        owners: list[Track | None] = [None] * len(xy)
        similarity = _similarities(self._people, xy, skeleton, self.config)  # (people, N)
        rows, columns = _assign(similarity, self.config.min_similarity)
        for row, column in zip(rows, columns, strict=True):
            owners[column] = self._people[row]
        duplicates = similarity[rows].max(axis=0, initial=0) >= self.config.duplicate_similarity
        lost = [p for n, p in enumerate(self._people) if n not in rows]
        is_free = strong & ~duplicates & np.array([owner is None for owner in owners], bool)
        free = np.flatnonzero(is_free)
        wide = _similarities(lost, xy[free], skeleton, self.config, self.config.second_reach)
        for row, column in zip(*_assign(wide, self.config.min_similarity), strict=True):
            owners[free[column]] = lost[row]
        return owners, duplicates

    def _check(self, poses: Poses, time_s: float) -> None:
        if not (is_finite(time_s) and time_s > self._time_s):
            raise ValueError(f"time_s: expected more than {self._time_s}, got {time_s!r}")
        if self._skeleton is not None and self._skeleton != poses.skeleton:
            raise ValueError(
                f"poses: expected skeleton {self._skeleton.name!r} as before, "
                f"got {poses.skeleton.name!r}"
            )
        self._time_s, self._skeleton = time_s, poses.skeleton

    def _add(self, xy: NDArray[np.float64], time_s: float) -> Track:
        person = Track(xy, time_s)
        if self.config.smoothing is not None:
            person.filter = OneEuro(len(xy), self.config.smoothing)
        self._people.append(person)
        return person

    def _name(self, person: Track) -> None:
        """Give a track an id if it has none."""
        if person.id is None:
            person.id = self._next_id
            self._next_id += 1

    def _forget(self, time_s: float) -> None:
        def limit(person: Track) -> float:
            return self.config.max_gap_s if person.n_seen > 1 else self.config.max_new_gap_s

        self._people = [p for p in self._people if time_s - p.seen_s <= limit(p)]

    def _result(self, poses: Poses, owners: list[Track | None], time_s: float) -> Poses:
        chosen = [n for n, owner in enumerate(owners) if owner is not None and owner.id is not None]
        known = [owner for owner in owners if owner is not None and owner.id is not None]
        result, xy = poses[chosen], poses.xy[chosen]
        if self.config.smoothing is not None:
            filters = [person.filter for person in known if person.filter is not None]
            sizes = np.array([person.size_px for person in known])
            smoothed = smooth(filters, xy, sizes, time_s)
            xy = smoothed if self.smooths else xy
        return result.replace(xy=xy, ids=np.array([person.id for person in known], np.int64))


def _without(poses: Poses, n: int, joints: NDArray[np.bool_]) -> Poses:
    """Poses in which some joints (K,) of person ``n`` are missing."""
    if not joints.any():
        return poses
    xy, scores = poses.xy.copy(), poses.scores.copy()
    xy[n, joints], scores[n, joints] = np.nan, 0
    return poses.replace(xy=xy, scores=scores)


def _similarities(
    people: list[Track],
    xy: NDArray[np.float64],
    skeleton: Skeleton,
    config: TrackerConfig,
    reach: float = 1.0,
) -> NDArray[np.float64]:
    """Similarity of each detection (N, K, 2) and each track: (tracks, N), 0 to 1.

    The object keypoint similarity of the joints that both have, with a tolerance that grows with
    the uncertainty of the prediction. A large tolerance would fit any detection a little, so the
    similarity is scaled down by as much as the tolerance is larger.
    """
    if not people or not len(xy):
        return np.zeros((len(people), len(xy)))
    sigmas = reach * np.maximum(np.array(skeleton.oks_sigmas), config.min_sigma)
    expected = np.stack([person.xy for person in people])  # (P, K, 2)
    sizes = np.array([person.size_px for person in people])  # (P,)
    # Bounded, so that tracks survive low frame rates such as 1 frame a second.
    uncertainty = np.array([min(p.covariance[0, 0], p.size_px**2) for p in people])  # (P,)
    own = (2 * sizes[:, None] * sigmas) ** 2  # (P, K)
    variance = own + uncertainty[:, None]
    squared = ((expected[:, None] - xy[None]) ** 2).sum(axis=3)  # (P, N, K)
    fit = joint_similarity(squared, variance[:, None])
    fit *= (own / variance)[:, None] ** _DISCOUNT
    # One or two joints in common are weak evidence: as if two more did not fit.
    n_common = np.isfinite(squared).sum(axis=2)
    return np.asarray(fit.sum(axis=2) / np.maximum(n_common + 2 * (n_common < 3), 1))


def _assign(
    similarity: NDArray[np.float64], least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the assignment of largest total similarity, of pairs of at least ``least``."""
    from scipy.optimize import linear_sum_assignment

    allowed = np.where(similarity >= least, similarity, 0)
    rows, columns = linear_sum_assignment(allowed, maximize=True)
    good = allowed[rows, columns] > 0
    return rows[good], columns[good]
