"""Angles over time as a plot, by matplotlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openpaf.analysis.table import Motion, Motions

#: So many people, those seen longest, are drawn.
MAX_PEOPLE = 10


def plot_angles(times_s: NDArray[np.float64], motions: Motions, path: Path) -> None:
    """Draw each angle and its speed over time, a line a person, and a dot for each repetition.

    Args:
        times_s: (T,) in s.
        motions: By the angle's name and the person's id.
        path: A file of a suffix that matplotlib writes, such as ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        ImportError: If matplotlib is not installed (the extra ``analyze``).
        OSError: If it cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.8 * len(motions)), dpi=110, layout="constrained")
    panels = figure.subplots(len(motions), 2, sharex=True, squeeze=False)
    for (name, of_people), (left, right) in zip(motions.items(), panels, strict=True):
        for person, motion in list(of_people.items())[:MAX_PEOPLE]:
            # With dots, as a line of a single frame between others is none.
            (line,) = left.plot(
                times_s, motion.degrees, label=_label(person, motion), marker=".", markersize=3
            )
            right.plot(times_s, motion.speed, color=line.get_color(), marker=".", markersize=3)
            done = motion.repetitions or []
            left.plot(
                [repetition.lowest_s for repetition in done],
                [repetition.lowest_deg for repetition in done],
                linestyle="", marker="o", color=line.get_color(),
            )  # fmt: skip
        left.set_ylabel(f"{name}, degrees")
        left.set_ylim(0, 185)
        left.set_yticks(range(0, 181, 30))
        right.set_ylabel("degrees per s")
        if of_people:  # beside the lines, not over them
            names = left.get_legend_handles_labels()
            right.legend(*names, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize="small")
        for panel in (left, right):
            panel.grid(alpha=0.3)
    for panel in panels[-1]:
        panel.set_xlabel("time, s")
    figure.savefig(path)


def _label(person: int, motion: Motion) -> str:
    if motion.repetitions is None:
        return f"person {person}"
    return f"person {person}: {len(motion.repetitions)} repetitions"
