"""Who is who from one frame to the next: ids over time, and smoothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import check_numbers, is_finite
from openpaf.poses import Poses, joint_similarity
from openpaf.skeleton import Skeleton
from openpaf.tracking.kalman import Track
from openpaf.tracking.one_euro import OneEuro, Smoothing, smooth


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
        sure_new_score: From this score on, somebody new is shown at once; weaker ones when they are
            seen again, which keeps out what flashes up in a single frame.
        min_joint_score: Joints whose score is below this are not compared: the parser completes
            people from weak peaks, which may be anywhere.
        duplicate_similarity: Somebody new who is as similar as this to a person who was just
            found is a second detection of the same, and is left out.
        second_reach: How many times larger the tolerance is for people and detections that are left
            over on both sides.
        max_joint_speed: A joint that moves faster than its person, in sizes per second, and further
            than a size, is a mistake and left out; infinity keeps all.
        min_sigma: Least tolerance of a joint, in the sense of the OKS: faces turn, and the sigma
            of an eye allows for the hand of a labeller only.
        acceleration: How unsteadily people move, in sizes per second squared: the standard
            deviation of the acceleration of the motion model.
        smoothing: How the joints are smoothed; None leaves them as they are.
        keeps_all: Whether everybody gets an id at once, however weak, and keeps every joint.

    Raises:
        ValueError: If a value is out of its range.
    """

    max_gap_s: float = 2.0
    max_new_gap_s: float = 0.3
    min_similarity: float = 0.3
    min_new_score: float = 0.15
    sure_new_score: float = 0.3
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


_DISCOUNT = 0.25  # chosen on composed scenes other than those of the benchmark


class Tracker:
    """Gives the people of consecutive frames ids, and smooths their joints.

    Each known person is moved on by a constant-velocity model, compared with everybody in the
    frame by the object keypoint similarity, and the assignment of largest total similarity is
    taken; who is left over is compared once more with a larger tolerance. People are followed
    through crossings and up to ``max_gap_s`` of being hidden. Every frame is answered from itself
    and the frames before it: no latency is added.

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
        self._people: list[Track] = []
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
            ``poses``. Weak detections that continue nobody are left out, and so are joints that
            leap away from their person, unless the configuration keeps all.

        Raises:
            ValueError: If time does not go on, or the skeleton is not that of the last frame.
        """
        config = self.config
        last_s = self._time_s
        self._check(poses, time_s)
        gap_s = time_s - last_s  # infinite in the first frame
        for track in self._people:
            track.move_on(time_s, config.acceleration)
        sure = poses.scores >= max(config.min_joint_score, 1e-30)
        if config.keeps_all:  # who has no sure joint is known by the others
            sure |= ~sure.any(axis=1, keepdims=True) & (poses.scores > 0)
        xy = np.where(sure[..., None], poses.xy, np.nan).astype(np.float64)  # (N, K, 2)
        strong = (poses.person_scores >= config.min_new_score) & sure.any(axis=1)
        # Between frames that are far apart, nobody can be told from who flashes up.
        at_once = (poses.person_scores >= config.sure_new_score) | (gap_s > config.max_new_gap_s)
        owners, duplicates = self._owners(xy, strong, poses.skeleton)
        for n, person in enumerate(owners):
            if person is not None:
                # What leaps must not lead the expectation astray either.
                leaps = person.leaps(poses.xy[n], time_s, config.max_joint_speed)
                if not config.keeps_all:
                    poses = _without(poses, n, leaps)
                xy[n, leaps] = np.nan
                person.see(xy[n], time_s)
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
        """The known person of each detection (N, K, 2), and which detections are somebody's second.

        Who is left over on both sides is compared again with a larger tolerance: where nobody
        else fits, a bad detection is more likely than somebody new in the place of somebody lost.
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
        """Give an id to who has none."""
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
    fit = joint_similarity(squared, variance[:, None])
    fit *= (own / variance)[:, None] ** _DISCOUNT
    # A single joint in common is little evidence: as if two more did not fit.
    n_common = np.isfinite(squared).sum(axis=2)
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
