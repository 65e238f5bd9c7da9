"""SIGTERM, as ``docker stop``, ``kill`` and Slurm send it, ends a command the way Ctrl-C does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

INTERRUPTED, TERMINATED = 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM came; what cleans up after Ctrl-C cleans up after this too."""


@contextmanager
def sigterm_like_ctrl_c() -> Iterator[None]:
    """Within the block SIGTERM raises :class:`Terminated`, a ``KeyboardInterrupt``.

    A second SIGTERM is not heard, so that nothing breaks off the cleaning up; a Ctrl-C is. Where
    SIGTERM is ignored it stays so, and outside the main thread, where Python allows no handlers,
    nothing changes.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """130 after Ctrl-C, 143 after SIGTERM: 128 and the signal's number, as shells have it."""
    return TERMINATED if isinstance(interrupt, Terminated) else INTERRUPTED


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        # A fork of ours, as packages make for their telemetry, has nothing to clean up.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    raise Terminated
