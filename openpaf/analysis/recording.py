"""The people of a video, frame after frame, as one table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import as_array, check_number
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """The people of T frames, M in all; each has an id that stays the same over the frames.

    Args:
        times_s: (T,) float64, times of the frames in s, rising.
        numbers: (T,) int64, numbers of the frames in the video.
        people: The people of all frames, one frame after the other, with ids.
        frame_of: (M,) int64, the index in ``times_s`` of each person's frame.
        image_hw: Height and width of the frames in px; None where not known.

    Raises:
        ValueError: If a shape does not fit, times do not rise, or an id comes twice in a frame.
    """

    times_s: NDArray[np.float64]
    numbers: NDArray[np.int64]
    people: Poses
    frame_of: NDArray[np.int64]
    image_hw: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, dtype in (("times_s", np.float64), ("numbers", np.int64), ("frame_of", np.int64)):
            object.__setattr__(self, name, as_array(name, getattr(self, name), dtype))
        if self.numbers.shape != self.times_s.shape or self.times_s.ndim != 1:
            raise ValueError("numbers: expected one for each of times_s")
        if not (np.isfinite(self.times_s).all() and (np.diff(self.times_s) > 0).all()):
            raise ValueError("times_s: expected finite numbers that rise")
        if self.frame_of.shape != (len(self.people),):
            raise ValueError(f"frame_of: expected {len(self.people)}, one for each of people")
        if self.people.ids is None:
            raise ValueError("people: expected ids over time, as those of openpaf.Tracker")
        if len(set(zip(self.frame_of.tolist(), self.people.ids.tolist(), strict=True))) < len(
            self.people
        ):
            raise ValueError("people: an id comes twice in one frame")

    @classmethod
    def of_frames(
        cls,
        frames: Iterable[tuple[int, float, Poses]],
        *,
        image_hw: tuple[int, int] | None = None,
    ) -> Recording:
        """A recording of number, time in s and people of each frame.

        Where no frame has more than one person, ids may be missing: it is person 1.

        Raises:
            ValueError: As the class does, or if the people have different joints.
        """
        every = list(frames)
        some = [poses for _, _, poses in every if len(poses)]
        if all(poses.ids is None and len(poses) == 1 for poses in some):
            some = [poses.replace(ids=np.ones(1, np.int64)) for poses in some]
        return cls(
            times_s=np.array([time_s for _, time_s, _ in every], np.float64),
            numbers=np.array([number for number, _, _ in every], np.int64),
            people=_joined(some),
            frame_of=np.repeat(np.arange(len(every)), [len(poses) for _, _, poses in every]),
            image_hw=image_hw,
        )

    def without_weak_joints(self, min_score: float) -> Recording:
        """The same people, without joints whose score is below one of 0 to 1.

        The parser completes people from weak peaks, whose places are unreliable.
        """
        check_number("min_score", min_score, least=0, most=1)
        is_sure = self.people.scores >= min_score
        xy = np.where(is_sure[..., None], self.people.xy, np.nan)
        people = self.people.replace(xy=xy, scores=np.where(is_sure, self.people.scores, 0))
        return replace(self, people=people)

    @property
    def ids(self) -> list[int]:
        """The ids of all people, by falling number of frames that they are in."""
        ids, counts = np.unique(self._ids, return_counts=True)
        return [int(i) for i in ids[np.argsort(-counts, kind="stable")]]

    def is_of(self, person: int) -> NDArray[np.bool_]:
        """(M,) which of the people are a person."""
        return np.asarray(self._ids == person)

    @property
    def _ids(self) -> NDArray[np.int64]:
        assert self.people.ids is not None
        return self.people.ids

    @property
    def durations_s(self) -> NDArray[np.float64]:
        """(T,) how long each frame is shown in s: until the next; the last as long as the median.

        The frame of a recording of one frame counts 0 s.
        """
        steps = np.diff(self.times_s)
        last = np.median(steps) if len(steps) else 0.0
        return np.append(steps, last)[: len(self.times_s)]

    def over_time(self, values: NDArray[np.float32], person: int) -> NDArray[np.float64]:
        """(T,) a person's values, of (M,) of all people; NaN in frames that they are not in."""
        series = np.full(len(self.times_s), np.nan)
        chosen = self.is_of(person)
        series[self.frame_of[chosen]] = values[chosen]
        return series

    def seconds_of(self, person: int, counts: NDArray[np.bool_] | None = None) -> float:
        """For how long a person is seen, in s; in all frames, or those where (M,) counts."""
        chosen = self.is_of(person)
        if counts is not None:
            chosen = chosen & counts
        return float(self.durations_s[self.frame_of[chosen]].sum())

    def places(self) -> NDArray[np.float32]:
        """(M, 2) px where each person stands.

        The middle of the ankles that are found, else that of the lower edge of the joints' box.
        NaN for a person without any joint.
        """
        boxes = self.people.boxes()
        places = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)
        joints = self.people.skeleton.joints
        ankles = [joints.index(n) for n in ("left_ankle", "right_ankle") if n in joints]
        if ankles:
            some = (self.people.scores[:, ankles] > 0).any(axis=1)
            places[some] = np.nanmean(self.people.xy[some][:, ankles], axis=1)
        return places


def _joined(people: list[Poses]) -> Poses:
    """All people as one."""
    if not people:
        return Poses.empty(Skeleton.COCO17).replace(ids=np.empty(0, np.int64))
    if any(poses.skeleton != people[0].skeleton for poses in people):
        raise ValueError("people: expected the same joints in all frames")
    if any(poses.ids is None for poses in people):
        raise ValueError("people: expected ids over time, as `openpaf predict` of a video has them")
    return Poses(
        xy=np.concatenate([poses.xy for poses in people]),
        scores=np.concatenate([poses.scores for poses in people]),
        person_scores=np.concatenate([poses.person_scores for poses in people]),
        skeleton=people[0].skeleton,
        ids=np.concatenate([poses.ids for poses in people if poses.ids is not None]),
    )
