"""The table of a run, in Markdown."""

from __future__ import annotations

import datetime
import os
import platform
from collections import Counter
from collections.abc import Iterable, Sequence

from fuzzing.case import FAILURES, OUTCOMES
from fuzzing.pool import Tried

_HEADINGS = {
    "refused": "refused clearly",
    "right": "right",
    "unclear": "refused unclearly",
    "traceback": "traceback",
    "crash": "crash",
    "hang": "hang",
    "memory": "over memory",
    "wrong": "silently wrong",
}


def table(tried: Sequence[Tried], names: Iterable[str]) -> str:
    """Rows by class and their sum."""
    rows = [(name, [one for one in tried if one.name == name]) for name in names]
    lines = [
        "| class | tried | " + " | ".join(_HEADINGS[name] for name in OUTCOMES) + " |",
        "|---|" + "---:|" * (1 + len(OUTCOMES)),
    ]
    for name, some in [*rows, ("**all**", list(tried))]:
        counts = Counter(one.outcome for one in some)
        cells = [len(some), *(counts[outcome] for outcome in OUTCOMES)]
        lines.append(f"| {name} | " + " | ".join(f"{n:,}" for n in cells) + " |")
    return "\n".join(lines)


def conditions(command: str, seed: int, seconds: float) -> str:
    """What a table was measured with, in a sentence."""
    day = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return (
        f"`{command}`, seed {seed}, {day}, {os.cpu_count()} cores of a {platform.machine()} "
        f"machine, {platform.system()}, Python {platform.python_version()}, "
        f"{seconds / 60:.1f} minutes."
    )


def failures(tried: Iterable[Tried], seed: int, most: int) -> list[str]:
    """A line for each kind of failure with the first inputs that show it."""
    groups: dict[tuple[str, str, str], list[Tried]] = {}
    for one in tried:
        if one.outcome in FAILURES:
            groups.setdefault((one.name, one.outcome, one.kind), []).append(one)
    lines = []
    for (name, outcome, kind), some in sorted(groups.items())[:most]:
        first = min(some, key=lambda one: one.index)
        lines.append(
            f"{name}: {outcome}: {kind}: {len(some)} times, first --seed {seed} "
            f"--only {name}:{first.index}: {first.said[:400]!r}"
        )
    if len(groups) > most:
        lines.append(f"... and {len(groups) - most} more kinds of failure")
    return lines
