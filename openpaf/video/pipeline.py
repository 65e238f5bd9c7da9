"""Overlapping steps: each in its own thread, frames in order, short queues between them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from typing import Any

_END = object()
_POLL_S = 0.05  # interval at which a waiting thread checks for the stop


class _Failure:
    """An error to be raised in the caller after the results before it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def overlap(
    items: Iterable[Any],
    *steps: Callable[[Any], Any],
    depth: int = 1,
    most_at_once: int | None = None,
) -> Generator[Any, None, None]:
    """Results of a chain of steps that work on different items at the same time.

    While the caller uses one result, the last step computes the next, the step before it the one
    after that, and so on. NumPy, OpenCV, the engines and the parser release Python's lock, so all
    cores are used.

    Args:
        items: The inputs. They are read in the thread of the first step, when it is free: from a
            live source that is the newest frame. Without steps, a thread only reads ahead.
        steps: Functions of one item; each takes the result of the one before.
        depth: Number of results that may wait between two threads.
        most_at_once: The next item is read when fewer than this are on their way, the one that
            the caller uses included, so that none waits long where a late step is the slowest; no
            limit if None.

    Yields:
        Results in the order of the items. An error of a step or of ``items`` is raised here,
        after the results before it. Closing the generator stops all threads.
    """
    stop = threading.Event()
    queues: list[queue.Queue[Any]] = [queue.Queue(depth) for _ in range(max(len(steps), 1))]
    first = steps[0] if steps else None
    room = None if most_at_once is None else threading.Semaphore(most_at_once)
    threads: list[threading.Thread] = []
    try:
        threads.append(_start(_feed, items, first, queues[0], stop, room))
        for n, step in enumerate(steps[1:]):
            threads.append(_start(_work, queues[n], step, queues[n + 1], stop))
        while True:
            result = _get(queues[-1], stop)
            if result is _END:
                return
            if isinstance(result, _Failure):
                raise result.error
            yield result
            if room is not None:
                room.release()
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=5)  # a source that hangs must not block the caller


def _start(target: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name="openpaf", daemon=True)
    thread.start()
    return thread


def _feed(
    items: Iterable[Any],
    step: Callable[[Any], Any] | None,
    results: queue.Queue[Any],
    stop: threading.Event,
    room: threading.Semaphore | None,
) -> None:
    iterator: Iterator[Any] | None = None
    try:
        iterator = iter(items)
        while _wait_for(room, stop):
            item = next(iterator, _END)
            if stop.is_set():
                break
            result = step(item) if step and item is not _END else item
            if not _put(results, result, stop) or item is _END:
                break
    except BaseException as error:  # raised in the caller
        _put(results, _Failure(error), stop)
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            with suppress(Exception):
                close()


def _work(
    inputs: queue.Queue[Any],
    step: Callable[[Any], Any],
    results: queue.Queue[Any],
    stop: threading.Event,
) -> None:
    while True:
        item = _get(inputs, stop)
        if item is _END or isinstance(item, _Failure):
            _put(results, item, stop)
            return
        try:
            result = step(item)
        except BaseException as error:
            result = _Failure(error)
        if not _put(results, result, stop) or isinstance(result, _Failure):
            return


def _wait_for(room: threading.Semaphore | None, stop: threading.Event) -> bool:
    """Wait until there is room for another item; False if there will be none."""
    while not stop.is_set():
        if room is None or room.acquire(timeout=_POLL_S):
            return True
    return False


def _get(source: queue.Queue[Any], stop: threading.Event) -> Any:
    while not stop.is_set():
        with suppress(queue.Empty):
            return source.get(timeout=_POLL_S)
    return _END


def _put(target: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    while not stop.is_set():
        with suppress(queue.Full):
            target.put(item, timeout=_POLL_S)
            return True
    return False


def uninterrupted(function: Callable[[], None]) -> None:
    """Call a function that must not be interrupted; Ctrl-C is raised when it is done.

    It runs in its own thread, as Python raises ``KeyboardInterrupt`` only in the main one.
    """
    errors: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:  # raised in the caller
            errors.append(error)

    thread = threading.Thread(target=call, name="openpaf", daemon=True)
    while True:
        try:
            if thread.ident is None:
                thread.start()
            thread.join()
            break
        except KeyboardInterrupt as interrupt:
            errors.append(interrupt)
    if errors:
        raise errors[0]
