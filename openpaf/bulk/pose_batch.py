"""A batch of images to a table: what Ray Data, Spark and Dask call on their machines."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openpaf.bulk.inputs import Input
from openpaf.bulk.process import PipelineConfig, Result, process
from openpaf.bulk.rows import row_of
from openpaf.bulk.workers import TIMEOUT_S, WorkerJob, WorkerPool
from openpaf.checks import import_extra
from openpaf.engines.load import choose_engine
from openpaf.estimator import PoseEstimator
from openpaf.skeleton import Skeleton
from openpaf.tables.schema import SPARK_SCHEMA, ImageRow, arrow_schema, arrow_table
from openpaf.weights.catalog import resolve

_BYTES = ("bytes", "content")  # names of columns with files: Ray's, Spark's
_load_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class PoseBatch:
    """Finds the people of a batch of images; picklable, so that clusters can send it around.

    The engine is chosen where this is made, and is the same in all processes that it is sent to.
    The estimator is made in a process when it is first needed, and kept for the next batch.

    Args:
        model: As for :class:`openpaf.PoseEstimator`; a file must be at the same path everywhere.
        weights: As for the estimator.
        size: As for the estimator.
        engine: As for the estimator; ``"auto"`` is decided here, once.
        device: As for the estimator.
        threads: Threads of a process for the network. One thread in each of many processes is
            quicker than many threads in one.
        threshold: People whose score is lower are left out; the default is that of
            ``openpaf predict``.
        scales: As for the estimator.
        flip: As for the estimator.
        config: As for the estimator.
        batch_size: Images that the network sees together, for a GPU.
        sha256: Whether to compute the SHA-256 of files.
        cache: A folder that all machines share, for the compiled parser and converted models; each
            machine's own if None.
        isolated: Whether a process of its own reads and runs the images, so that one that kills it
            has a row with an error, and the process that called goes on. It takes the memory of a
            second process, and a few seconds for its start.
        timeout_s: With ``isolated``: for how many seconds that process may give no result; an image
            that hangs in it for longer has a row with an error.

    Raises:
        ValueError: If an argument is unknown or out of range.
        WeightsError: If the model is missing or damaged.

    Example:
        >>> from openpaf.bulk import PoseBatch
        >>> batch = PoseBatch(model="fast", engine="torch", size=256)
        >>> batch(["data/photos/astronaut.jpg", "missing.jpg"]).column("n_people").to_pylist()
        [1, None]
    """

    model: str | Path | None = None
    weights: str | Path | None = None
    size: int = 368
    engine: str = "auto"
    device: str | None = None
    threads: int = 1
    threshold: float = 0.65
    scales: Sequence[float] = (1.0,)
    flip: bool = False
    config: Any = None
    batch_size: int = 1
    sha256: bool = False
    cache: str | Path | None = None
    isolated: bool = False
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))
        source = resolve(self.model, self.weights)
        engine = choose_engine(source, self.engine, self.device, threads=self.threads)
        object.__setattr__(self, "engine", engine)

    def __call__(self, batch: Any) -> Any:
        """The table of a batch.

        Args:
            batch: A list of paths or addresses, or of the contents of files; or a
                :class:`pyarrow.Table`, a :class:`pandas.DataFrame` or a dictionary of arrays with
                a column ``path``, ``bytes`` (or ``content``), or both.

        Returns:
            A :class:`pyarrow.Table` with a row for each image in their order, failures included,
            of the schema :attr:`schema`; a data frame where one is given.

        Raises:
            ValueError: If the batch is none of these.
        """
        rows = self.rows(_inputs(batch))
        table = arrow_table(rows, self.skeleton)
        return _to_pandas(table) if _is_frame(batch) else table

    def frames(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Data frames to data frames, for Spark's ``mapInPandas``, with :attr:`spark_schema`."""
        for batch in batches:
            yield self(batch)

    def rows(self, inputs: Iterable[Input]) -> list[ImageRow]:
        """The rows of inputs, in their order."""
        numbered = (replace(one, output=n) for n, one in enumerate(inputs))
        if self.isolated:
            done = _in_own_process(self, numbered)
        else:
            done = list(process(numbered, self.estimator, self._finish, self._config))
        return [row for _, row in sorted(done, key=lambda pair: pair[0])]

    def stop(self) -> None:
        """End the process of its own, where there is one; the next batch starts it again."""
        with _own_process_lock:
            _stop_own_process()

    @property
    def _config(self) -> PipelineConfig:
        return PipelineConfig(batch_size=self.batch_size, hashes=self.sha256)

    @property
    def _finish(self) -> Callable[[Result], tuple[int, ImageRow]]:
        name = resolve(self.model, self.weights).spec.name
        return functools.partial(_numbered_row, model=name, engine=self.engine)

    @property
    def estimator(self) -> PoseEstimator:
        """The estimator of this process."""
        with _load_lock:
            return _estimator(self)

    @property
    def skeleton(self) -> Skeleton:
        """The joints of the people."""
        spec = resolve(self.model, self.weights).spec
        return spec.result or spec.skeleton

    @property
    def schema(self) -> Any:
        """The :class:`pyarrow.Schema` of every table."""
        return arrow_schema(self.skeleton)

    @property
    def spark_schema(self) -> str:
        """The schema as Spark takes it."""
        return SPARK_SCHEMA

    def warm_up(self) -> None:
        """Load the model and compile the parser, once on each machine, before the work."""
        import numpy as np

        if not self.isolated:  # which need not load it
            self.estimator(np.zeros((64, 64, 3), np.uint8))


@functools.lru_cache(maxsize=1)
def _estimator(batch: PoseBatch) -> PoseEstimator:
    if batch.cache is not None:
        os.environ["OPENPAF_CACHE"] = os.fspath(batch.cache)
    return PoseEstimator(
        batch.model, weights=batch.weights, size=batch.size, engine=batch.engine,
        device=batch.device, threads=batch.threads, scales=batch.scales, flip=batch.flip,
        min_score=batch.threshold, config=batch.config,
    )  # fmt: skip


def _numbered_row(result: Result, model: str, engine: str) -> tuple[int, ImageRow]:
    poses: Any = None if result.error is not None else result.found
    return result.input.output, row_of(result, poses, model=model, engine=engine)


_own_process: tuple[PoseBatch, WorkerPool[tuple[int, ImageRow]]] | None = None
_own_process_lock = threading.Lock()


def _in_own_process(batch: PoseBatch, inputs: Iterable[Input]) -> list[tuple[int, ImageRow]]:
    """Numbered rows of inputs from the process that is kept for a batch."""
    global _own_process
    if multiprocessing.current_process().daemon:
        raise ValueError(
            "isolated: this process may not start others; of Dask set distributed.worker.daemon to "
            "False"
        )
    with _own_process_lock:
        if _own_process is None or _own_process[0] != batch:
            _stop_own_process()
            job = WorkerJob(
                load=functools.partial(_estimator, batch), finish=batch._finish,
                config=batch._config, threads=batch.threads, timeout_s=batch.timeout_s,
            )  # fmt: skip
            _own_process = batch, WorkerPool(job, 1)
        try:
            return list(_own_process[1].run(inputs))
        except BaseException:
            _stop_own_process()
            raise


def _stop_own_process() -> None:
    global _own_process
    if _own_process is not None:
        _own_process[1].stop()
        _own_process = None


def _is_frame(batch: Any) -> bool:
    return type(batch).__name__ == "DataFrame"


def _inputs(batch: Any) -> list[Input]:
    """The images of a batch of any kind."""
    if _is_frame(batch):
        columns = {name: batch[name].tolist() for name in batch.columns}
    elif hasattr(batch, "column_names"):
        columns = batch.to_pydict()
    elif isinstance(batch, Mapping):
        columns = {name: list(values) for name, values in batch.items()}
    elif isinstance(batch, Iterable) and not isinstance(batch, (str, bytes, os.PathLike)):
        items = list(batch)
        is_bytes = bool(items) and all(isinstance(item, bytes) for item in items)
        columns = {"bytes" if is_bytes else "path": items}
    else:
        raise ValueError(f"batch: expected paths, files or a table, got {type(batch).__name__}")
    name = next((name for name in _BYTES if name in columns), None)
    if name is None and "path" not in columns:
        raise ValueError(f"batch: expected a column path or bytes, got {', '.join(columns)}")
    data = columns[name] if name is not None else [None] * len(columns["path"])
    paths = columns.get("path", [""] * len(data))
    return [
        Input(os.fspath(p), None if d is None else bytes(d))
        for p, d in zip(paths, data, strict=True)
    ]


def _to_pandas(table: Any) -> Any:
    """A data frame whose whole numbers are whole where some are missing, too."""
    pandas = import_extra("pandas", "tables", "batch")
    pa = import_extra("pyarrow", "tables", "batch")
    types = {pa.int32(): pandas.Int32Dtype(), pa.int64(): pandas.Int64Dtype()}
    return table.to_pandas(types_mapper=types.get)
