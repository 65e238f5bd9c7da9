"""The pipeline in several processes, of which one that dies takes no others with it.

Two processes of one thread each use two cores better than one process of two threads: most layers
of a network are too small to be worth sharing.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from openpaf.bulk.inputs import Input
from openpaf.bulk.process import PipelineConfig, Result, process
from openpaf.errors import OpenpafError

Done = TypeVar("Done")

_THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_POLL_S = 0.5
#: A process is ended that gives no result for so many seconds: longer than three tries of an
#: address take, and the first image, for which the parser may be compiled.
TIMEOUT_S = 300.0
_MAX_FAILED_STARTS = 3  # one after the other: a machine that is short of memory for a moment


@dataclass(frozen=True, kw_only=True)
class WorkerJob(Generic[Done]):
    """What each process does; it must pickle.

    Args:
        load: Makes the estimator.
        finish: From a result to what the caller gets.
        config: Of the pipeline.
        threads: Threads of a process for the network.
        timeout_s: For how many seconds a process may give no result while it has images; it is
            ended then, as an image hangs in it.
    """

    load: Callable[[], Any]
    finish: Callable[[Result], Done]
    config: PipelineConfig
    threads: int = 1
    timeout_s: float = TIMEOUT_S


class WorkerError(OpenpafError):
    """A process cannot work at all; the message says why."""


def process_in_workers(
    inputs: Iterable[Input], job: WorkerJob[Done], n_workers: int
) -> Generator[Done, None, None]:
    """Finished results of images from several processes, in the order in which they come.

    An image during which a process dies or hangs twice, the second time alone in it, is finished
    with an error; another process takes the place of that one.

    Args:
        inputs: Read in this process, as they are needed.
        job: What the processes do.
        n_workers: How many there are.

    Raises:
        WorkerError: If the estimator cannot be made, or ``finish`` raises an error.
    """
    pool = WorkerPool(job, n_workers)
    try:
        yield from pool.run(inputs)
    finally:
        pool.stop()


class _Worker:
    """A process, and what it works on."""

    def __init__(self, job: WorkerJob[Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, job), daemon=True)
        with _limited_threads(job.threads), _no_interrupt_of_children():
            self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self.in_work: dict[int, Input] = {}
        self.is_ready = self.has_suspect = self.hangs = False
        self.silent_s = 0.0

    def send(self, number: int, one: Input) -> None:
        """Give it an input; a process that is dead is noticed when it is waited for."""
        self.in_work[number] = one
        self.silent_s = 0.0
        with contextlib.suppress(OSError):
            self.connection.send((number, one))

    def flush(self) -> None:
        """Let it finish what it has; it need not wait for others of the same shape."""
        with contextlib.suppress(OSError):
            self.connection.send(None)

    def stop(self) -> None:
        """End it; it writes whole files only, so that it may be killed at any moment."""
        self.process.kill()
        self.process.join(timeout=5)
        self.connection.close()


class WorkerPool(Generic[Done]):
    """Processes that stay for one run after the other, until they are stopped.

    Args:
        job: What they do.
        n_workers: How many there are.
    """

    def __init__(self, job: WorkerJob[Done], n_workers: int) -> None:
        self._job = job
        self._workers = [_Worker(job) for _ in range(n_workers)]
        self._numbers = itertools.count()
        # Inputs that were in the work of a process that died: each is tried alone.
        self._suspects: deque[tuple[int, Input]] = deque()
        self._has_more = False
        self._n_failed_starts = 0

    def run(self, inputs: Iterable[Input]) -> Iterator[Done]:
        """As :func:`process_in_workers`; to the end, or else the pool is of no more use."""
        self._has_more, rest = True, iter(inputs)
        while True:
            for worker in self._workers:
                self._feed(worker, rest)
            if not any(worker.in_work for worker in self._workers) and not self._suspects:
                return
            connections = {worker.connection: worker for worker in self._workers}
            started = time.monotonic()
            answers = wait(list(connections), timeout=_POLL_S)
            self._end_silent([connections[c] for c in connections if c not in answers], started)
            for answer in answers:
                assert isinstance(answer, Connection)
                yield from self._take(connections[answer])

    def stop(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.stop()

    def _feed(self, worker: _Worker, inputs: Iterator[Input]) -> None:
        if worker.has_suspect:
            return
        if self._suspects and not worker.in_work:
            worker.has_suspect = True
            worker.send(*self._suspects.popleft())
            worker.flush()
            return
        while self._has_more and len(worker.in_work) < self._job.config.n_waiting:
            one = next(inputs, None)
            if one is None:
                self._has_more = False
                for other in self._workers:
                    other.flush()
                return
            worker.send(next(self._numbers), one)

    def _end_silent(self, workers: Iterable[_Worker], since: float) -> None:
        """End those that have said nothing for too long; that they are dead is noticed next.

        Only the time in which this process waits for them counts: they may wait for it, too.
        """
        for worker in workers:
            worker.silent_s += time.monotonic() - since
            if worker.is_ready and worker.in_work and worker.silent_s > self._job.timeout_s:
                worker.hangs = True
                worker.process.kill()

    def _take(self, worker: _Worker) -> Iterator[Done]:
        """What a worker says, or what is to be done as it is dead."""
        worker.silent_s = 0.0
        try:
            number, done, error = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if error is not None:
            raise WorkerError(error)
        worker.is_ready, self._n_failed_starts = True, 0
        if number is not None:
            del worker.in_work[number]
            worker.has_suspect = False
            yield done

    def _replace(self, worker: _Worker) -> Iterator[Done]:
        worker.process.join(timeout=5)
        self._n_failed_starts += not worker.is_ready
        if self._n_failed_starts == _MAX_FAILED_STARTS:
            raise WorkerError(f"a process ends at its start ({_how(worker.process.exitcode)})")
        if worker.has_suspect and worker.is_ready:
            ((_, one),) = worker.in_work.items()
            yield self._job.finish(Result(input=one, error=self._error(worker)))
        else:
            self._suspects.extend(worker.in_work.items())
        worker.stop()
        self._workers[self._workers.index(worker)] = _Worker(self._job)

    def _error(self, worker: _Worker) -> Exception:
        if worker.hangs:
            return TimeoutError(f"no result within {self._job.timeout_s:g} s")
        return RuntimeError(f"the process died of it ({_how(worker.process.exitcode)})")


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-exit_code).name
    return f"exit status {exit_code}"


@contextlib.contextmanager
def _limited_threads(threads: int) -> Iterator[None]:
    """Processes that start within the block have this many threads in libraries, too."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def _no_interrupt_of_children() -> Iterator[None]:
    """Processes that start within the block never hear Ctrl-C, which is for this one, not even
    before they can say so; here it is heard after the block."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # its start lets interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In the process


def _work(connection: Connection, job: WorkerJob[Any]) -> None:
    """Never raises: what is wrong is told through the pipe, whose other end may be gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this
    with contextlib.suppress(OSError):
        try:
            _answer(connection, job)
        except OSError:
            raise
        except BaseException as error:
            connection.send((None, None, f"{type(error).__name__}: {error}"))


def _answer(connection: Connection, job: WorkerJob[Any]) -> None:
    import cv2

    cv2.setNumThreads(job.threads)
    inputs = _Received(connection)
    try:
        estimator = job.load()
    except Exception as error:
        connection.send((None, None, str(error)))
        return
    connection.send((None, None, None))

    def finish(result: Result) -> tuple[int, Any]:
        number = result.input.output[0]
        result.input = _with_output(result.input, result.input.output[1])
        return number, job.finish(result)

    while not inputs.has_ended:
        for number, done in process(inputs, estimator, finish, job.config):
            connection.send((number, done, None))


class _Received:
    """Inputs from the pipe, until the first pause: a None, or the end of the pipe."""

    def __init__(self, connection: Connection) -> None:
        self.has_ended = False
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # The pipe is always read, so that the other end never waits for this one to write.
        threading.Thread(target=self._receive, args=(connection,), daemon=True).start()

    def _receive(self, connection: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._items.put(connection.recv())
        self._items.put("end")

    def __iter__(self) -> Iterator[Input]:
        while (item := self._items.get()) is not None:
            if item == "end":
                self.has_ended = True
                return
            number, one = item
            yield _with_output(one, (number, one.output))


def _with_output(one: Input, output: Any) -> Input:
    return Input(one.path, one.data, one.error, output)
