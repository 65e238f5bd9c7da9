"""Kills every verb that writes, at random moments, and checks what is left.

    python benchmarks/kills.py --kills 20 [--seed 0] [--verbs predict,annotate]

Nothing may be half-written: every JSON file and line parses, every picture opens, every film plays,
and a fetched file has its hash or is not there. The same command, run once more to its end, must
then give what a run without a kill gives. Moments are drawn among those at which a run opens,
renames or deletes files, up to 30 ms after one of them; every second kill is SIGTERM, after which
the command may clean up, but of videos. Exits with 1 if anything is otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from kill_verbs import VERBS, Verb, weights_file
from PIL import Image

from openpaf.cli import main as openpaf_main

_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir"}
_LONGEST_PAUSE_S = 0.03
_TOO_LONG_S = 300  # of a run without a kill
_TERMINATED = 143  # the exit status after SIGTERM


class Moment(NamedTuple):
    """When to die: after so many events, and then after so many seconds; and by which signal."""

    event: int
    pause_s: float
    number: signal.Signals = signal.SIGKILL


def run(verb: Verb, folder: Path, moment: Moment | None = None) -> tuple[int, int]:
    """The command in a process of its own: its status by ``os.waitpid``, and its events."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _child(verb, folder, moment, writer)
    os.close(writer)
    with open(reader, "rb") as events:
        n_events = len(events.read())  # until the process is gone
    return os.waitpid(child, 0)[1], n_events


def _child(verb: Verb, folder: Path, moment: Moment | None, writer: int) -> None:
    """Never returns."""
    status = 99
    try:
        log = os.open(folder.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        os.environ["OPENPAF_CACHE"] = str(folder / "cache")
        verb.before(folder)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # it kills, wherever the process is
        signal.alarm(_TOO_LONG_S)
        _watch(folder, moment, writer)
        status = openpaf_main(verb.arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _watch(folder: Path, moment: Moment | None, writer: int) -> None:
    """Count what happens to files in the folder, and die when the moment has come."""
    n_events = 0
    results = str(folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal n_events
        if event not in _EVENTS or not isinstance(arguments[0], str):
            return
        path = os.path.join(os.getcwd(), arguments[0])
        if not path.startswith(results) or (event == "open" and not _writes(arguments)):
            return
        n_events += 1
        os.write(writer, b".")
        if moment is not None and n_events == moment.event:
            if moment.pause_s < 1e-3:
                os.kill(os.getpid(), moment.number)
            elif moment.number == signal.SIGTERM:
                timer = threading.Timer(moment.pause_s, os.kill, (os.getpid(), moment.number))
                timer.daemon = True
                timer.start()
            else:
                signal.setitimer(signal.ITIMER_REAL, moment.pause_s)

    sys.addaudithook(hook)


def _writes(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], int) else 0
    return bool(flags & (os.O_WRONLY | os.O_RDWR))


def half_written(folder: Path) -> Iterator[str]:
    """What of the results is not whole. Files whose name begins with a dot are no results."""
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            _open(path)
        except Exception as error:
            yield f"{path.name}: {type(error).__name__}: {error}"


def _open(path: Path) -> None:
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".jsonl":
        lines = path.read_text().split("\n")
        for line in lines[:-1]:  # a last line without its end is known for what it is
            json.loads(line)
    elif path.suffix == ".xml":
        ElementTree.parse(path)
    elif path.suffix in (".jpg", ".png"):
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            image.load()
    elif path.suffix == ".mp4":
        if not _frames(path):
            raise ValueError("no frame")
    elif path.suffix == ".html":
        if "</html>" not in path.read_text()[-100:]:
            raise ValueError("ends early")
    elif path.suffix == ".pth" and path.read_bytes() != weights_file():
        raise ValueError("not the file that was fetched")


def _frames(path: Path) -> list[Any]:
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def difference(found: Path, wanted: Path) -> str | None:
    """How results differ from those of a run without a kill."""
    names = [
        {str(path.relative_to(folder)) for path in folder.rglob("*")
         if path.is_file() and not path.name.startswith(".")
         and path.suffix not in (".lock", ".jsonl.lock")}
        for folder in (found, wanted)
    ]  # fmt: skip
    if names[0] != names[1]:
        return f"files {sorted(names[0] ^ names[1])} on one side only"
    for name in sorted(names[0]):
        one, other = found / name, wanted / name
        if name.endswith(".mp4"):
            same = np.array_equal(_frames(one), _frames(other))
        elif name.endswith("figures.json"):
            same = json.loads(one.read_text())["AP"] == json.loads(other.read_text())["AP"]
        elif name.endswith(".html"):
            same = True  # it says when it was made
        else:
            same = one.read_bytes() == other.read_bytes()
        if not same:
            return f"{name} differs"
    return None


def kill(verb: Verb, n_kills: int, rng: np.random.Generator, scratch: Path) -> Iterator[str]:
    """What is wrong after kills of a verb, one line each."""
    folder, wanted = scratch / "run", scratch / "unbroken"

    def fresh() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        verb.fill(folder)

    fresh()
    status, n_events = run(verb, folder)
    log = (scratch / "log.txt").read_text(errors="replace")[-500:]
    if status:
        yield f"{verb.name}: without a kill: exit status {os.waitstatus_to_exitcode(status)}: {log}"
        return
    yield from half_written(folder / verb.results)
    shutil.copytree(folder / verb.results, wanted)
    n_killed = 0
    for n in range(n_kills):
        fresh()
        pause_s = float(rng.choice([0.0, rng.uniform(0, _LONGEST_PAUSE_S)]))
        number = verb.signals[n % len(verb.signals)]
        moment = Moment(int(rng.integers(1, n_events + 1)), pause_s, number)
        status, _ = run(verb, folder, moment)
        n_killed += os.waitstatus_to_exitcode(status) in (-number, -signal.SIGALRM, _TERMINATED)
        when = f"{verb.name}: {number.name} {pause_s * 1000:.0f} ms after event {moment.event}"
        for problem in half_written(folder / verb.results):
            yield f"{when}: {problem}"
        status, _ = run(verb, folder)
        log = (scratch / "log.txt").read_text(errors="replace")[-500:]
        if status:
            yield f"{when}: the next run ends with status {status}: {log}"
        elif problem := difference(folder / verb.results, wanted):
            yield f"{when}: the next run is not as one without a kill: {problem}"
    if n_killed < n_kills / 2:
        yield f"{verb.name}: only {n_killed} of {n_kills} kills came before the end"


def warm_up() -> None:
    """Imports and compiles what the forked processes need, without starting any thread."""
    import av  # noqa: F401
    import cv2
    import torch

    import openpaf

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    poses = openpaf.Poses.from_keypoints(np.ones((1, 17, 3)), openpaf.Skeleton.COCO17)
    openpaf.decode(openpaf.encode_fields(poses, (64, 64)))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, help="of each verb (20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", default=",".join(VERBS), help="with commas (default: all)")
    arguments = parser.parse_args()
    warm_up()
    n_wrong = 0
    print("| verb | kills | half-written or not resumed |\n|---|---:|---:|")
    for name in arguments.verbs.split(","):
        rng = np.random.default_rng([arguments.seed, sorted(VERBS).index(name)])
        with tempfile.TemporaryDirectory(prefix="openpaf-kills-") as scratch:
            problems = list(kill(VERBS[name](), arguments.kills, rng, Path(scratch)))
        print(f"| {VERBS[name]().name} | {arguments.kills} | {len(problems)} |", flush=True)
        for problem in problems:
            print(problem, file=sys.stderr)
        n_wrong += len(problems)
    return int(n_wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
