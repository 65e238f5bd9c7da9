"""Several workers, watched: what crashes or hangs is killed and noted, and a new one goes on."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fuzzing.case import FAILURES

_BENCHMARKS = Path(__file__).resolve().parent.parent
_START_S = 600  # imports and, the first time, the compiling of the parser


class Tried(NamedTuple):
    """What came of an input; its ``outcome`` is one of fuzzing.case.OUTCOMES."""

    name: str
    index: int
    kind: str
    outcome: str
    said: str


class Limits(NamedTuple):
    """What an input may take: megabytes beside what the process has, and seconds."""

    memory_mb: int = 1500
    seconds: float = 30.0


class Worker:
    """A process of fuzzing.worker, started again after each crash and hang."""

    def __init__(self, seed: int, folder: Path, limits: Limits, keep: Path | None) -> None:
        self.seed, self.folder, self.limits, self.keep = seed, folder, limits, keep
        folder.mkdir(parents=True)
        self._process: subprocess.Popen[str] | None = None
        self._prepared: set[str] = set()
        self._hang: set[str] = set()

    def try_input(self, name: str, index: int) -> Tried:
        """An input; the first of a kind that took too long gets three times the time once."""
        tried = self._once(name, index, self.limits.seconds)
        if tried.outcome == "hang" and tried.kind not in self._hang:
            tried = self._once(name, index, 3 * self.limits.seconds)
            if tried.outcome == "hang":
                self._hang.add(tried.kind)
        if self.keep is not None and tried.outcome in FAILURES:
            self._keep(tried, self.keep)
        return tried

    def _once(self, name: str, index: int, seconds: float) -> Tried:
        if name not in self._prepared:
            answer = self._ask(f"prepare {name}", _START_S)
            if answer != {}:
                raise RuntimeError(f"a worker cannot begin with {name}: {answer} {self._log()}")
            self._prepared.add(name)
        answer = self._ask(f"{name} {index}", seconds)
        if isinstance(answer, dict):
            return Tried(name, index, answer["kind"], answer["outcome"], answer["said"])
        outcome = "hang" if answer.startswith("longer") else "crash"
        kind, _, log = self._log().partition("\n")
        return Tried(name, index, kind or "?", outcome, f"{answer}: {_places(log)}")

    def _ask(self, request: str, seconds: float) -> dict[str, Any] | str:
        """The answer of the process; in words how it ended if it gave none."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(request + "\n")
            process.stdin.flush()
        if not select.select([process.stdout], [], [], seconds)[0]:
            self.close()
            return f"longer than {seconds:g} s"
        line = process.stdout.readline()
        if line.endswith("\n"):
            answer: dict[str, Any] = json.loads(line)
            return answer
        status = process.wait()
        self.close()
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def _start(self) -> subprocess.Popen[str]:
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "gs").write_text("#!/bin/sh\nexit 1\n")  # so that starting it can be seen
        (programs / "gs").chmod(0o755)
        paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(_BENCHMARKS), *map(os.path.abspath, paths)]),
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
            "OPENPAF_CACHE": str(self.folder / "cache"),
            "OPENPAF_RUNTIME": "torch",
            "MALLOC_ARENA_MAX": "2",  # memory that threads only reserve would count as taken
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzzing.worker", str(self.seed), str(self.folder),
             str(self.limits.memory_mb), str(self.limits.seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, text=True,
            env=environment, cwd=self.folder, start_new_session=True,
        )  # fmt: skip
        return self._process

    def _log(self) -> str:
        """What the process said: the input's kind, and after a crash where it was."""
        with contextlib.suppress(OSError):
            return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        return ""

    def _keep(self, tried: Tried, keep: Path) -> None:
        place = keep / f"{tried.outcome}-{tried.name}-{tried.index}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for path in sorted(self.folder.joinpath("input").rglob("*")):
            if path.is_file() and not path.is_symlink():  # a pipe would never end
                target = place / path.relative_to(self.folder / "input")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        (place / "REPRODUCE.txt").write_text(
            f"python benchmarks/fuzz.py --seed {self.seed} --only {tried.name}:{tried.index}\n"
            f"{tried.kind}: {tried.outcome}: {tried.said}\n",
            encoding="utf-8",
            errors="backslashreplace",
        )

    def close(self) -> None:
        """End the process and what it may have started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
        self._process, self._prepared = None, set()


def _places(log: str) -> str:
    """Where the process was, from what faulthandler wrote."""
    log = log[max(log.find("Current thread"), 0) :]
    places = re.findall(r'File ".*?([^/"]+)", line (\d+) in (\w+)', log)
    if not places:
        return " ".join(log.split())[-500:]
    return ", ".join(f"{file}:{line} {function}" for file, line, function in places[:8])


def try_all(
    inputs: Iterator[tuple[str, int]],
    *,
    seed: int,
    scratch: Path,
    n_workers: int,
    limits: Limits,
    keep: Path | None = None,
) -> Iterator[Tried]:
    """Try inputs, named by class and index, in several processes; results as they come."""
    results: queue.Queue[Tried | BaseException | None] = queue.Queue()
    lock, stop = threading.Lock(), threading.Event()

    def work(number: int) -> None:
        worker = Worker(seed, scratch / f"worker-{number}", limits, keep)
        try:
            while not stop.is_set():
                with lock:
                    one = next(inputs, None)
                if one is None:
                    break
                results.put(worker.try_input(*one))
        except BaseException as error:  # a fault of the harness ends the run
            results.put(error)
        finally:
            worker.close()
            results.put(None)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(n_workers)]
    for thread in threads:
        thread.start()
    try:
        n_left = n_workers
        while n_left:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                n_left -= 1
            else:
                yield result
    finally:
        stop.set()
        for thread in threads:
            thread.join()
