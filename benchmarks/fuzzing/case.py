"""An input with what must come of it, and the judgement of what came."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from typing import NamedTuple

from openpaf.errors import OpenpafError

#: Ends of an input in the order of the table. All after the second are failures.
OUTCOMES = ("refused", "right", "unclear", "traceback", "crash", "hang", "memory", "wrong")
FAILURES = OUTCOMES[2:]

#: What the library says to users; any other type is a fault of the program.
READABLE = (OpenpafError, ValueError, OSError, ImportError)
_NO_MEMORY = re.compile(
    r"(not enough|out of|can't allocate) memory|cannot allocate|unable to allocate|bad_alloc",
    re.IGNORECASE,
)
_LONGEST = 20_000  # characters of a message; the command line prints 500 of them


class Refusal(Exception):
    """What a check raises where openpaf refused an input otherwise than by an exception."""


class Case(NamedTuple):
    """An input.

    Args:
        kind: What it is, in a few words.
        check: Tries it. Returns None where all is right, or what is wrong. What it raises is
            judged.
        name: Text that a refusal must have in it, such as the file's name.
        is_good: Nothing is wrong with the input, so it may not be refused.
        must_refuse: An answer would be wrong, whatever it is.
        strict: A warning is a fault.
        most_mb: What it may take of memory, where that is less than any input may.
    """

    kind: str
    check: Callable[[], str | None]
    name: str = ""
    is_good: bool = False
    must_refuse: bool = False
    strict: bool = False
    most_mb: int | None = None


def outcome_of(case: Case) -> tuple[str, str]:
    """Try an input: one of OUTCOMES, and what is to be said about it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error" if case.strict else "ignore")
            wrong = case.check()
    except Exception as error:
        return judged(case, error)
    if wrong is not None:
        return "wrong", wrong
    return ("wrong", "taken, though it must be refused") if case.must_refuse else ("right", "")


def judged(case: Case, error: Exception) -> tuple[str, str]:
    """What an error is: a clear refusal, an unclear one, or a fault."""
    said = f"{type(error).__name__}: {error}"
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(e, MemoryError) or _NO_MEMORY.search(str(e)) for e in chain):
        return "memory", said
    if not isinstance(error, (*READABLE, Refusal)):
        return "traceback", said
    message = as_user_reads(error)
    if case.is_good:
        return "wrong", f"refused, though nothing is wrong with it: {message}"
    problem = unclear(message)
    if problem is None and case.name and case.name not in message:
        problem = f"does not name {case.name!r}"
    return ("refused", message) if problem is None else ("unclear", f"{problem}: {said}")


def as_user_reads(error: BaseException) -> str:
    """The message of an error, with the file name of the system's errors."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def unclear(message: str) -> str | None:
    """Why a message does not tell a reader much, or None."""
    if not message.strip():
        return "an empty message"
    if len(message) > _LONGEST:
        return f"a message of {len(message)} characters"
    if "\n" in message:
        return "several lines"
    stray = [c for c in message if not c.isprintable()]
    return f"control characters ({stray[0]!r})" if stray else None
