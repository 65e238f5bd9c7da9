"""A process that tries inputs: one request a line on its input, one answer a line on its output.

    python -m fuzzing.worker SEED SCRATCH MEMORY_MB SECONDS

A request is ``prepare CLASS``, which imports and compiles what the class needs, or
``CLASS INDEX``: the input of that index is made in SCRATCH/input and tried. The answer is JSON. A
crash or a hang gives no answer, which the process that asked must see.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import json
import logging
import os
import resource
import shutil
import signal
import sys
import traceback
import warnings
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fuzzing import CLASSES, OWN_FAULTS
from fuzzing.case import outcome_of

_STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"}
_started: list[str] = []


def main() -> None:
    with contextlib.suppress(AttributeError, OSError):  # Linux: no worker outlives its master
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    seed, scratch = int(sys.argv[1]), Path(sys.argv[2])
    memory_mb, seconds = int(sys.argv[3]), float(sys.argv[4])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    log = open(scratch / "log.txt", "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    os.dup2(log.fileno(), 1)  # what an input prints is no answer
    os.dup2(log.fileno(), 2)
    faulthandler.enable(log)
    logging.disable(logging.CRITICAL)
    sys.addaudithook(_note_programs)
    modules: dict[str, ModuleType] = {}
    for line in sys.stdin:
        name, index = line.split()
        answer: dict[str, Any] = {}
        if name == "prepare":
            modules[index] = _prepared(index, 4 * memory_mb)
        else:
            log.seek(0)
            log.truncate()
            faulthandler.dump_traceback_later(0.9 * seconds, file=log)
            answer = _answer(modules[name], name, seed, int(index), scratch / "input", memory_mb)
            faulthandler.cancel_dump_traceback_later()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _prepared(name: str, memory_mb: int) -> ModuleType:
    """The module of a class, ready; the limit is beside what the libraries take by themselves."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    module = importlib.import_module((CLASSES | OWN_FAULTS)[name])
    getattr(module, "prepare", lambda: None)()
    _limit_memory(memory_mb)
    return module


def _answer(
    module: ModuleType, name: str, seed: int, index: int, folder: Path, memory_mb: int
) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), index])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case = module.make(rng, folder)
    except Exception:  # of the harness itself: it must not pass for a refusal
        return {"kind": "harness", "outcome": "traceback", "said": traceback.format_exc()[-2000:]}
    print(case.kind, flush=True)  # into the log, to be read if this process dies
    _started.clear()
    before = _reset_peak()
    outcome, said = outcome_of(case)
    taken_mb = (_status("VmHWM") - before) >> 20
    most_mb = memory_mb if case.most_mb is None else min(memory_mb, case.most_mb)
    if outcome == "memory" and said.startswith("VideoError") and taken_mb < most_mb / 10:
        outcome = "refused"  # FFmpeg asks for no absurd size that a file names, and says so
    if outcome in ("right", "refused") and taken_mb > most_mb:
        outcome, said = "memory", f"took {taken_mb} MB of {most_mb}; then {outcome} {said}"
    if outcome in ("right", "refused") and _started:
        outcome, said = "wrong", f"started a program: {_started[0]}; then {outcome} {said}"
    return {"kind": case.kind, "outcome": outcome, "said": said[:2000], "megabytes": taken_mb}


def _note_programs(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _STARTS:
        _started.append(f"{event} {arguments[0]!r}")


def _limit_memory(megabytes: int) -> None:
    """More than so much beside today's raises MemoryError instead of filling the machine."""
    with contextlib.suppress(ValueError, OSError):
        most = _status("VmSize") + (megabytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _reset_peak() -> int:
    """Today's memory in bytes, from which on the peak is counted."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    return 0


if __name__ == "__main__":
    main()
