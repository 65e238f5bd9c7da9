"""The command line in this process: its exit status, and what it says on the error stream."""

from __future__ import annotations

import contextlib
import io
import logging

from fuzzing.case import Refusal, unclear
from openpaf.cli import main


def run(arguments: list[str]) -> str | None:
    """Run the command.

    Returns:
        None if it did its work, or what is wrong with how it failed.

    Raises:
        Refusal: If it refused its arguments or files, in one line.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as stop:
            return f"SystemExit({stop.code!r}) came out of main"
        finally:
            logging.getLogger().handlers.clear()  # it logs to this call's stream
    lines = err.getvalue().splitlines()
    if status == 0:
        return None
    if status not in (1, 2):
        return f"exit status {status}"
    said = [line.removeprefix("openpaf: ") for line in lines if line.startswith("openpaf: ")]
    others = [line for line in lines if not line.startswith("openpaf: ")]
    if others or not said:
        return f"exit status {status} and on the error stream: {err.getvalue()[-300:]!r}"
    if "OPENPAF_TRACEBACK=1" in err.getvalue():
        raise TypeError(said[-1])  # what would have been a traceback
    problem = unclear(said[-1])
    if problem:
        return f"{problem}: {said[-1]!r}"
    raise Refusal(said[-1])
