"""What the verbs of the command line share: messages, and types of arguments."""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from openpaf.errors import OpenpafError
from openpaf.errors import shown as shown
from openpaf.io.addresses import without_passwords

#: Smallest person score that is shown: of images, where held-out people of each model at each size
#: have a precision of 0.9; and of videos, whose tracker drops false detections of single frames.
IMAGE_THRESHOLD, VIDEO_THRESHOLD = 0.65, 0.1
#: The same of objects, whose scores are the network's own.
OBJECT_THRESHOLD = 0.5
_WAIT_S = 1.0  # what takes longer is told
_log = logging.getLogger("openpaf.waiting")  # shown on terminals


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on a terminal what is going on, if it takes over a second.

    Args:
        what: Is going on, such as "loading the model".
    """
    timer = threading.Timer(_WAIT_S, _log.info, (f"{what} ...",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def report(message: str) -> None:
    """One line on the standard error stream, above the progress bar if there is one.

    What is wrong with an address may be told by any part of the library, or by another: passwords
    are taken out here, too.
    """
    from tqdm import tqdm

    with contextlib.suppress(OSError):  # where there is no stream left
        tqdm.write(f"openpaf: {without_passwords(message)}", file=sys.stderr)


def say(message: str) -> None:
    """One line on the standard output stream, above the progress bar if there is one."""
    from tqdm import tqdm

    tqdm.write(message, file=sys.stdout)
    sys.stdout.flush()  # a line is seen when it is made, also through a pipe


def one_line(error: BaseException | str) -> str:
    """What an error says, in one line of bounded length, without control characters."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{shown(error.filename)}: "
        return (where if len(where) <= 400 else where[:397] + "...: ") + error.strerror
    # What a file holds may be in it: no control characters on anyone's terminal.
    text = shown(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 500 else text[:497] + "..."


def described(error: BaseException) -> str:
    """What an error says, with its type where that was not made to be read by users."""
    readable = isinstance(error, (OpenpafError, ValueError, OSError, ImportError, MemoryError))
    if readable:
        return one_line(error)
    return f"{type(error).__name__}: {one_line(error)} (OPENPAF_TRACEBACK=1 shows where)"


def traceback_wanted() -> bool:
    """Whether the user asked to see where errors come from."""
    return bool(os.environ.get("OPENPAF_TRACEBACK"))


def counted(n: int, one: str, many: str) -> str:
    """A number with its noun: ``1 person``, ``2 people``."""
    return f"{n} {one if n == 1 else many}"


def path_argument(text: str) -> Path:
    """A path; an empty one, as an unset variable of the shell gives, is refused."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got nothing")
    return Path(text)


def source_argument(text: str) -> str:
    """A file, folder or glob, as text; an empty one is refused."""
    return text if text.strip() else str(path_argument(""))


def positive_integer(text: str) -> int:
    """A whole number above 0."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def port_argument(text: str) -> int:
    """A port; 0 takes a free one."""
    if not (text.isascii() and text.isdecimal() and int(text[:6]) < 65536):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 65535, got {text!r}")
    return int(text)


def number_argument(text: str) -> float:
    """A finite number, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number, 0 or more, got {text!r}")
    return value


def score_argument(text: str) -> float:
    """A score, 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value
