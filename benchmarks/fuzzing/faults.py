"""Faults made on purpose, one of each kind: the harness must see every one."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from pathlib import Path

import numpy as np

from fuzzing.case import Case


def make(rng: np.random.Generator, folder: Path) -> Case:
    """The kind is told by a number of its own, so that a few dozen inputs have them all."""
    kind, check = _FAULTS[int(rng.integers(len(_FAULTS)))]
    (folder / "input.txt").write_text(kind)
    return Case(kind=kind, check=check, name="input.txt")


def _refuse() -> None:
    raise ValueError("input.txt: expected another, got this")


def _say_nothing() -> None:
    raise ValueError("wrong")


def _say_lines() -> None:
    raise ValueError("input.txt:\nmany\nlines")


def _raise() -> None:
    raise TypeError("a fault of the program")


def _crash() -> None:
    ctypes.string_at(0)


def _abort() -> None:
    os.abort()


def _hang() -> None:
    threading.Event().wait()


def _take_memory() -> None:
    np.ones(200 << 20, np.uint8)


def _take_all_memory() -> None:
    try:
        np.ones(64 << 30, np.uint8)
    except MemoryError as error:
        raise ValueError("input.txt: cannot be read") from error


def _start_a_program() -> None:
    subprocess.run(["true"], check=True)


_FAULTS = (
    ("right", lambda: None),
    ("refused", _refuse),
    ("unclear", _say_nothing),
    ("unclear lines", _say_lines),
    ("traceback", _raise),
    ("crash", _crash),
    ("crash by abort", _abort),
    ("hang", _hang),
    ("memory", _take_memory),
    ("memory, all", _take_all_memory),
    ("wrong", lambda: "another answer"),
    ("wrong, a program", _start_a_program),
)
