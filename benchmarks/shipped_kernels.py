"""Time of the kernels that come half compiled, beside those compiled from source on this machine.

    python benchmarks/shipped_kernels.py [--people 1 9 30] [--rounds 20]

Two processes, each with an empty cache of its own: one takes the files of the package, the other
compiles everything, which each proves by what numba compiled. In turns they decode fields of
composed scenes, resize an image and draw its people. A time is the shortest of several calls; the
figure is the ratio of shipped to compiled in each round: its median, and the middle half of rounds.
On Linux both run on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SIZE_HW = (368, 656)
REPEAT = 7  # calls of which the shortest counts
WAYS = ("shipped", "compiled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 9, 30])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--as", dest="way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        work(arguments.way, arguments.people)
        return
    if sys.platform == "linux":  # the cores of a shared machine are not equally fast
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        workers = [start(way, arguments.people, Path(folder)) for way in WAYS]
        times = []
        for number in range(arguments.rounds):
            turns = workers[:: 1 if number % 2 else -1]
            of_turns = [ask(worker) for worker in turns]
            times.append(of_turns[:: 1 if number % 2 else -1])
        for worker in workers:
            worker.communicate()
    print(f"{date.today()}, {platform.machine()}, {arguments.rounds} rounds")
    print("| step | shipped / compiled | middle half |\n|---|---:|---:|")
    for step in times[0][0]:
        ratios = [shipped[step] / compiled[step] for shipped, compiled in times]
        low, middle, high = np.percentile(ratios, (25, 50, 75))
        print(f"| {step} | {middle:.3f} | {low:.3f} to {high:.3f} |")


def start(way: str, people: list[int], folder: Path) -> subprocess.Popen[str]:
    """A process that takes turns, once it is warm."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    worker = subprocess.Popen(
        [sys.executable, __file__, "--as", way, "--people", *map(str, people)],
        env=os.environ | {"NUMBA_CACHE_DIR": str(folder / way), "PYTHONPATH": path},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdout is not None
    print(worker.stdout.readline(), end="", file=sys.stderr)
    return worker


def ask(worker: subprocess.Popen[str]) -> dict[str, float]:
    """The times of one turn, by step."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise SystemExit("a process has ended")
    times: dict[str, float] = json.loads(line)
    return times


def work(way: str, people: list[int]) -> None:
    """Answer each line of standard input with the times of a turn."""
    from numba.core import event

    from openpaf.kernels import cache

    class Count(event.Listener):
        n = 0

        def on_start(self, event: event.Event) -> None:
            Count.n += 1

        def on_end(self, event: event.Event) -> None:
            pass

    event.register("numba:compile", Count())
    if way == "compiled":
        cache.load_shipped = lambda *_: None  # type: ignore[assignment]
    calls = steps(people)
    for call in calls.values():
        call()
    if (Count.n > 0) != (way == "compiled"):
        raise SystemExit(f"{way}: numba compiled {Count.n} functions")
    print(f"{way}: numba compiled {Count.n} functions", flush=True)
    for _ in sys.stdin:
        print(json.dumps({step: shortest(call) for step, call in calls.items()}), flush=True)


def steps(people: list[int]) -> dict[str, Callable[[], object]]:
    """What is timed."""
    from scenes import random_people

    import openpaf

    rng = np.random.default_rng(0)
    calls: dict[str, Callable[[], object]] = {}
    for n in people:
        fields = openpaf.encode_fields(random_people(n, SIZE_HW, rng), SIZE_HW)
        calls[f"decode, {n} {'person' if n == 1 else 'people'}"] = lambda fields=fields: (
            openpaf.decode(fields)
        )
    image = rng.integers(0, 256, (1080, 1920, 3), np.uint8)
    letterbox = openpaf.Letterbox.fit(image.shape[:2], SIZE_HW[0])
    calls["resize"] = lambda: letterbox.apply(image)
    poses = random_people(9, SIZE_HW, rng)
    calls["draw, 9 people"] = lambda: openpaf.draw_poses(image, poses)
    return calls


def shortest(call: Callable[[], object]) -> float:
    """The shortest of some calls, in s."""
    times = []
    for _ in range(REPEAT):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return min(times)


if __name__ == "__main__":
    main()
