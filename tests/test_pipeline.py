"""Steps that overlap: order, errors, and a clean end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openpaf.video.pipeline import overlap


@pytest.fixture(autouse=True)
def own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """``running`` counts from here: of another file, a pipeline may wait for the garbage collector.

    An error's traceback holds the frames that it went through, and with them their pipeline.
    """
    monkeypatch.setattr(f"{__name__}.before", set(threading.enumerate()))


before: set[threading.Thread] = set()


def running() -> int:
    """Number of threads of pipelines that were begun in this test and are still alive."""
    return sum(thread.name == "openpaf" for thread in set(threading.enumerate()) - before)


@settings(max_examples=20)
@given(st.lists(st.integers(), max_size=12), st.integers(0, 4), st.integers(1, 3))
def test_results_are_those_of_a_plain_loop(items: list[int], n_steps: int, depth: int) -> None:
    steps = [lambda value, n=n: 3 * value + n for n in range(n_steps)]
    expected = items
    for step in steps:
        expected = [step(value) for value in expected]
    assert list(overlap(items, *steps, depth=depth)) == expected
    assert running() == 0


def test_steps_work_at_the_same_time() -> None:
    """Each step waits until the other has begun the next item: alone it would wait in vain."""
    meeting = threading.Barrier(2, timeout=20)

    def first(value: int) -> int:
        if value > 0:
            meeting.wait()
        return value

    def second(value: int) -> int:
        if value < 4:
            meeting.wait()
        return value

    assert list(overlap(range(5), first, second)) == [0, 1, 2, 3, 4]


def test_no_more_items_are_on_their_way_than_allowed() -> None:
    read, used = 0, 0

    def source() -> Iterator[int]:
        nonlocal read
        for n in range(12):
            read += 1
            assert read - used <= 2
            yield n

    for result in overlap(source(), lambda n: n, lambda n: n, most_at_once=2):
        time.sleep(0.01)  # the slowest of all
        assert result == used
        used += 1
    assert used == 12


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_an_error_comes_after_the_results_before_it(broken: int) -> None:
    def step(n: int) -> object:
        def run(value: int) -> int:
            if n == broken and value == 3:
                raise RuntimeError(f"step {n}")
            return value

        return run

    results = overlap(range(10), *map(step, range(3)))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match=f"step {broken}"):
        next(results)
    assert running() == 0


def test_an_error_of_the_source() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("unplugged")

    results = overlap(source(), str)
    assert next(results) == "1"
    with pytest.raises(OSError, match="unplugged"):
        next(results)


def test_threads_end_where_one_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    start, n_started = threading.Thread.start, 0

    def start_one(thread: threading.Thread) -> None:
        nonlocal n_started
        n_started += 1
        if n_started > 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with pytest.raises(RuntimeError, match="start new thread"):
        next(overlap(range(10), str, str))
    assert running() == 0


def test_closing_stops_an_endless_source() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            n = 0
            while True:
                yield n
                n += 1
        finally:
            closed.set()

    results = overlap(source(), lambda n: n, lambda n: n)
    assert next(results) == 0
    results.close()
    assert closed.wait(5)
    assert running() == 0


def test_little_waits_in_between() -> None:
    """Back-pressure: a caller that stops taking stops the source after a few items."""
    taken = []

    def source() -> Iterator[int]:
        for n in range(1000):
            taken.append(n)
            yield n

    results = overlap(source(), lambda n: n, lambda n: n)
    next(results)
    time.sleep(0.3)
    assert len(taken) <= 6
    results.close()
