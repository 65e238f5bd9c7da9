"""Ctrl-C and SIGTERM, held back while something must not be broken off."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HeldSignals:
    """Signals that would raise an exception come when a block is done, not in its middle.

    A step of training that is half made could neither be saved nor taken back. Only signals with
    a handler of Python's are held; those that are ignored, or end the process at once, are as
    they were. Outside the main thread, which gets no signals, nothing is held.
    """

    def __init__(self) -> None:
        self.pending: int | None = None  # the number of a signal that came
        self._depth = 0

    @contextmanager
    def held(self, enabled: bool = True) -> Iterator[None]:
        """Hold signals back until the end of the block; blocks may be inside of others."""
        if not enabled or threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = self._hold() if self._depth == 0 else {}
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._let_go(handlers)

    def _hold(self) -> dict[int, Any]:
        every: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}
        handlers = {number: handler for number, handler in every.items() if callable(handler)}
        for number in handlers:
            signal.signal(number, self._remember)
        return handlers

    def _let_go(self, handlers: dict[int, Any]) -> None:
        number, self.pending = self.pending, None
        for held, handler in handlers.items():
            signal.signal(held, handler)
        if number is not None:
            signal.raise_signal(number)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self.pending = number
