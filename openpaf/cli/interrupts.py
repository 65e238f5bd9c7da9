"""Ctrl-C and SIGTERM that come at a moment when Python cannot raise them are raised soon after."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PAUSE_S = 0.05  # until whoever swallowed the interrupt has returned


@contextmanager
def no_interrupt_is_swallowed() -> Iterator[None]:
    """Within the block a ``KeyboardInterrupt`` that was raised where none can be is raised again.

    LLVM calls back into Python while numba compiles the parser. An exception cannot pass through
    C, so Python writes it to the error stream and goes on as if nobody had pressed a key.
    """
    pending: list[type[BaseException]] = []
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            before(unraisable)
            return
        pending.append(unraisable.exc_type)
        timer = threading.Timer(_PAUSE_S, _raise_in_main_thread, (pending,))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        late, pending[:] = pending[:1], []
    if late:
        raise late[0]


def _raise_in_main_thread(pending: list[type[BaseException]]) -> None:
    if pending:
        main_thread = ctypes.c_ulong(threading.main_thread().ident or 0)
        kind = ctypes.py_object(pending.pop())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(main_thread, kind)
