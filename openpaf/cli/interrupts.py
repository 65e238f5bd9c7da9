"""Ctrl-C and SIGTERM that come at a moment when Python cannot raise them are raised soon after."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from openpaf.cli.signals import Terminated, _terminate

_PAUSE_S = 0.05  # until the code that swallowed the interrupt has returned

_terminated = threading.Event()


@contextmanager
def no_interrupt_is_swallowed() -> Iterator[None]:
    """Within the block a ``KeyboardInterrupt`` that was raised where none can be is raised again.

    LLVM calls back into Python while numba compiles the parser. An exception cannot pass through
    C, so Python writes it to the error stream and goes on as if no key had been pressed. A
    library may swallow one without a word, too: :func:`raise_if_terminated` knows of it. And Python
    itself makes another error of one, as while it creates a class; that is made undone.
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

    _terminated.clear()
    _note_sigterm()
    sys.unraisablehook = hook
    try:
        yield
    except Exception as error:
        interrupt = _interrupt_behind(error)
        if interrupt is None:
            raise
        raise interrupt from error
    finally:
        sys.unraisablehook = before
        late, pending[:] = pending[:1], []
    if late:
        raise late[0]


def raise_if_terminated() -> None:
    """End what goes on although SIGTERM came; for loops, between one piece of work and the next.

    SIGTERM is sent once; a Ctrl-C that is lost, the user presses again.

    Raises:
        Terminated: If it came.
    """
    if _terminated.is_set():
        raise Terminated


def _interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that an error was made of; not one during whose cleaning up it happened."""
    if (made_of := _first_interrupt(error, "__cause__")) is not None:
        return made_of
    # C code that imports modules forgets the interrupt and says that the import has failed.
    is_of_cleaning_up = _first_interrupt(error, "__context__") is not None
    return Terminated() if _terminated.is_set() and not is_of_cleaning_up else None


def _first_interrupt(error: BaseException | None, link: str) -> KeyboardInterrupt | None:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = getattr(error, link)
    return error


def _note_sigterm() -> None:
    """Let the handler that raises on SIGTERM, where there is one, also leave a note."""

    def note(number: int, frame: FrameType | None) -> NoReturn:
        _terminated.set()
        _terminate(number, frame)

    if signal.getsignal(signal.SIGTERM) is _terminate:  # which takes the note away, too
        signal.signal(signal.SIGTERM, note)


def _raise_in_main_thread(pending: list[type[BaseException]]) -> None:
    if pending:
        main_thread = ctypes.c_ulong(threading.main_thread().ident or 0)
        kind = ctypes.py_object(pending.pop())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(main_thread, kind)
