"""Parts of a table made on Ray: on this machine, or on a cluster that shares a folder.

A part is written by the process that makes it, whole or not at all, under a name that says which
list of inputs it is of. So it does not matter how often Ray runs a part, as after a machine is
lost, and to go on is to run the parts that are not there.

Ray starts a process that dies again, without end, and gives it the same part. So each try of a part
is noted beside the lists; from the second on, a process of its own reads and runs the images, and
an image that kills it twice has a row with an error. A process in which an image hangs ends itself.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openpaf.bulk.inputs import Input, Listing, is_tar
from openpaf.bulk.lists import forget_tries, note_try, part_path, read_list
from openpaf.bulk.parts import DonePaths, table_path
from openpaf.bulk.pose_batch import PoseBatch
from openpaf.bulk.workers import WorkerError
from openpaf.checks import import_extra
from openpaf.errors import OpenpafError, shown
from openpaf.io.files import replacing
from openpaf.tables.files import TABLES, read_table

_ROWS = 500  # of a row group


@dataclass(frozen=True)
class PartTask:
    """Makes parts of a table; called by Ray with batches of their numbers.

    Args:
        folder: Of the table and its lists, the same on all machines.
        batch: Finds the people.
        retry_errors: Whether inputs of parts that are there are run again where they failed.
    """

    folder: Path
    batch: PoseBatch
    retry_errors: bool = False

    def __call__(self, parts: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Make parts, and say for each how many rows, people and failures it has; or, under
        ``error``, why it cannot be made, in one line in place of Ray's traces."""
        made = [self._make_or_tell(int(number)) for number in parts["part"]]
        names = ("part", "rows", "people", "failed", "error")
        return {name: [one[n] for one in made] for n, name in enumerate(names)}

    def _make_or_tell(self, number: int) -> tuple[int, int, int, int, str]:
        try:
            return (*self.make(number), "")
        except (OpenpafError, OSError, ValueError) as error:
            text = str(error)
            if isinstance(error, OSError) and error.filename:
                text = f"{shown(error.filename)}: {error.strerror}"
            return (number, 0, 0, 0, " ".join(text.split()) or type(error).__name__)

    def make(self, number: int) -> tuple[int, int, int, int]:
        """Make one part; one that is there stays as it is, or keeps its rows without an error.

        Of those that are missing when the run begins, one is there when its process was ended
        after writing it, before it could say so.
        """
        path = part_path(self.folder, number)
        if path.exists() and not self.retry_errors:
            rows = read_table(path).select(["n_people", "error"]).to_pylist()
            n_failed = sum(row["error"] is not None for row in rows)
            return number, len(rows), sum(row["n_people"] or 0 for row in rows), n_failed
        good = [r for r in read_table(path).to_pylist() if not r["error"]] if path.exists() else []
        done = DonePaths(row["path"] for row in good)
        inputs: Iterator[Input] = (
            one for one in _inputs(read_list(self.folder, number))
            if table_path(one.path) not in done
        )  # fmt: skip
        batch = replace(self.batch, isolated=note_try(self.folder, number) > 1)
        n_rows = n_people = n_failed = 0
        # Each process has a name of its own: Ray may run a part twice at the same time.
        with contextlib.ExitStack() as stack:
            stack.callback(batch.stop)
            place = stack.enter_context(replacing(path, sync=True))
            writer = stack.enter_context(
                contextlib.closing(TABLES["parquet"].open(place, batch.skeleton))
            )
            writer.write(good)
            if not batch.isolated:
                inputs = stack.enter_context(_ending_if_one_hangs(inputs, batch.timeout_s))
            for some in _chunks(inputs, _ROWS):
                rows = batch.rows(some)
                writer.write(rows)
                n_rows += len(rows)
                n_people += sum(row["n_people"] or 0 for row in rows)
                n_failed += sum(row["error"] is not None for row in rows)
        forget_tries(self.folder, number)
        return number, n_rows, n_people, n_failed


def has_failures(path: Path) -> bool:
    """Whether a part has a row with an error.

    Raises:
        OSError: If it cannot be read.
    """
    parquet = import_extra("pyarrow.parquet", "ray", "bulk")
    errors = parquet.read_table(path, columns=["error"])["error"]
    return bool(errors.null_count < len(errors))


def run_on_ray(
    parts: Sequence[int],
    task: PartTask,
    *,
    on_part: Callable[[Mapping[str, int]], None],
    address: str | None = None,
    actors: int | None = None,
    gpus: float = 0.0,
) -> None:
    """Make parts on Ray.

    Args:
        parts: Their numbers.
        task: Makes them.
        on_part: Called with the numbers of each when it is there.
        address: Of a cluster, or ``"auto"`` for the one that this machine belongs to; Ray is
            started on this machine if None.
        actors: Processes; as many as the processors allow if None.
        gpus: GPUs of a process, which may be a fraction.

    Raises:
        ValueError: If Ray, the extra ``ray``, is not installed.
        WorkerError: If a part cannot be made, as on a full disk.
    """
    ray, data = _quiet_ray()
    own = {} if address else {"include_dashboard": False}
    with _handlers_kept():
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **own)
    try:
        data.DataContext.get_current().enable_progress_bars = False
        threads = task.batch.threads
        if actors is None:
            resources = ray.cluster_resources()
            actors = int(resources.get("GPU", 0) / gpus if gpus else resources["CPU"] / threads)
        actors = max(1, min(actors, len(parts)))
        dataset = data.from_items(
            [{"part": number} for number in parts], override_num_blocks=min(len(parts), 10_000)
        )
        done = dataset.map_batches(
            _PartActor,
            fn_constructor_args=(task,),
            batch_size=1,
            num_cpus=threads,
            num_gpus=gpus or None,
            compute=data.ActorPoolStrategy(size=actors),
        )
        for summary in done.iter_rows():
            if summary["error"]:
                raise WorkerError(summary["error"])
            on_part(summary)
    finally:
        ray.shutdown()


def _quiet_ray() -> tuple[Any, Any]:
    """Ray and Ray Data, which tell errors only."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = import_extra("ray", "ray", "bulk")
    data = import_extra("ray.data", "ray", "bulk")
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return ray, data


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """What the block makes of SIGTERM is undone: Ray's handler aborts with a trace of C++."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


class _PartActor:
    """A process of Ray, which is warm before its first part."""

    def __init__(self, task: PartTask) -> None:
        task.batch.warm_up()
        self._task = task

    def __call__(self, parts: Mapping[str, Any]) -> dict[str, list[Any]]:
        return self._task(parts)


def _inputs(paths: Sequence[str]) -> Iterator[Input]:
    for path in paths:
        if is_tar(path) and os.path.isfile(path):
            yield from Listing(sources=(path,))
        else:
            yield Input(path)


@contextlib.contextmanager
def _ending_if_one_hangs(inputs: Iterator[Input], timeout_s: float) -> Iterator[Iterator[Input]]:
    """The inputs; this process ends if, within the block, no further one is taken for a time.

    The clock is faulthandler's, which goes on where a library holds the interpreter's lock.
    """
    with open(os.devnull, "w") as nowhere:

        def watched() -> Iterator[Input]:
            for one in inputs:
                faulthandler.dump_traceback_later(timeout_s, exit=True, file=nowhere)
                yield one

        try:
            yield watched()
        finally:
            faulthandler.cancel_dump_traceback_later()


def _chunks(inputs: Iterator[Input], size: int) -> Iterator[Iterator[Input]]:
    """Inputs in groups, each to be used up before the next is asked for."""
    for first in inputs:
        yield _and_more(first, inputs, size - 1)


def _and_more(first: Input, rest: Iterator[Input], n_more: int) -> Iterator[Input]:
    yield first
    for _ in range(n_more):
        one = next(rest, None)
        if one is None:
            return
        yield one
