"""An analysis as a table: a line for each person of each frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openpaf.analysis.angles import angle_series, angular_speed
from openpaf.analysis.recording import Recording
from openpaf.analysis.repetitions import (
    BENT_DEG,
    STRAIGHT_DEG,
    Repetition,
    count_repetitions,
)
from openpaf.analysis.zones import Zones, inside


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """An angle of a person over the T frames.

    Args:
        degrees: (T,), NaN where not seen.
        speed: (T,) degrees per s.
        repetitions: Those that were counted in it; None where they are not asked for.
    """

    degrees: NDArray[np.float64]
    speed: NDArray[np.float64]
    repetitions: list[Repetition] | None = None


#: By the angle's name and the person's id.
Motions = Mapping[str, Mapping[int, Motion]]


def motions_of(
    recording: Recording,
    names: Sequence[str],
    *,
    counted: Collection[str] = (),
    bent_deg: float = BENT_DEG,
    straight_deg: float = STRAIGHT_DEG,
) -> dict[str, dict[int, Motion]]:
    """Angles and speeds of each person; an angle that a person never shows is left out.

    Args:
        recording: The frames.
        names: Angles, as for :meth:`openpaf.Poses.angles`.
        counted: Those of them whose repetitions are counted.
        bent_deg: As for :func:`openpaf.analysis.count_repetitions`, as is ``straight_deg``.
        straight_deg: In degrees.

    Raises:
        ValueError: If the skeleton has no such angle, or a threshold is out of its range.
    """
    times_s = recording.times_s

    def motion(name: str, degrees: NDArray[np.float64]) -> Motion:
        done = None
        if name in counted:
            done = count_repetitions(degrees, times_s, bent_deg=bent_deg, straight_deg=straight_deg)
        speed = angular_speed(degrees, times_s)
        return Motion(degrees=degrees, speed=speed, repetitions=done)

    return {
        name: {
            person: motion(name, degrees)
            for person, degrees in angle_series(recording, name).items()
            if np.isfinite(degrees).any()
        }
        for name in names
    }


def as_csv(recording: Recording, motions: Motions, zones: Zones) -> str:
    """The table as CSV, sorted by frame.

    Columns are ``frame``, ``time_s``, ``person``, ``x`` and ``y`` (px where the person stands); for
    each angle ``NAME_deg``, ``NAME_deg_per_s`` and, where counted, ``NAME_repetitions`` until then;
    for each zone ``zone_NAME``, 1 inside and 0 outside. What is not seen is empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["frame", "time_s", "person", "x", "y"]
    for name, of_people in motions.items():
        head += [f"{name}_deg", f"{name}_deg_per_s"]
        if any(motion.repetitions is not None for motion in of_people.values()):
            head.append(f"{name}_repetitions")
    writer.writerow([*head, *(f"zone_{name}" for name in zones)])
    writer.writerows(_lines(recording, motions, zones))
    return text.getvalue()


def _lines(recording: Recording, motions: Motions, zones: Zones) -> Iterator[list[str]]:
    places = recording.places()
    is_in = [inside(corners, places) for corners in zones.values()]
    assert recording.people.ids is not None
    for i, person in enumerate(recording.people.ids.tolist()):
        frame = recording.frame_of[i]
        time_s = recording.times_s[frame]
        cells = [str(recording.numbers[frame]), f"{time_s:.4f}", str(person)]
        cells += [_number(value) for value in places[i]]
        for of_people in motions.values():
            cells += _motion_cells(of_people, person, int(frame), float(time_s))
        yield [*cells, *(str(int(inside_it[i])) for inside_it in is_in)]


def _motion_cells(
    of_people: Mapping[int, Motion], person: int, frame: int, time_s: float
) -> list[str]:
    motion = of_people.get(person)
    cells = ["", ""]
    if motion is not None:
        cells = [_number(motion.degrees[frame]), _number(motion.speed[frame])]
    if any(other.repetitions is not None for other in of_people.values()):
        done = motion.repetitions or [] if motion is not None else []
        cells.append(str(sum(repetition.end_s <= time_s for repetition in done)))
    return cells


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else ""
