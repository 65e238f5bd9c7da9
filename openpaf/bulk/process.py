"""Images read, run, parsed and finished at the same time, in a pipeline of bounded memory."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from openpaf.bulk.inputs import Input, is_image_address
from openpaf.errors import ImageError, shown
from openpaf.estimator.batches import each, estimate_each
from openpaf.geometry import Letterbox
from openpaf.io.fetch import fetch_image
from openpaf.io.image_files import MAX_DECODE_BYTES, open_regular
from openpaf.io.images import decode_image, read_image
from openpaf.video.pipeline import overlap

#: Images in memory at a time, in bytes; a larger one is processed alone.
MAX_BYTES = 500_000_000
_WINDOW = 4  # images that wait for others of their shape, times those of a batch

Done = TypeVar("Done")


@dataclass(kw_only=True, eq=False)
class Result:
    """An image on its way through the pipeline.

    Args:
        input: What it is read from.
        image: RGB uint8 (H, W, 3), while it is needed.
        image_hw: Its height and width in px.
        found: Poses or objects; before, what the network gave.
        error: Why there is nothing.
        sha256: Of the file, in hex digits, if asked for.
    """

    input: Input
    image: NDArray[np.uint8] | None = None
    image_hw: tuple[int, int] | None = None
    found: Any = None
    error: Exception | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """How images are processed.

    Args:
        batch_size: Images that the network sees together, those of one shape.
        n_readers: Threads that read and decode.
        keeps_images: Whether what finishes a result needs the image.
        hashes: Whether to compute the SHA-256 of files.
        overlaps: Whether the steps work at the same time; if not, there are no threads.
    """

    batch_size: int = 1
    n_readers: int = 2
    keeps_images: bool = False
    hashes: bool = False
    overlaps: bool = True

    @property
    def n_waiting(self) -> int:
        """At most so many inputs are taken before the first result is there."""
        return 2 * self.n_readers + _WINDOW * self.batch_size + 8


@runtime_checkable
class _TwoSteps(Protocol):
    """An estimator whose network and parser can work at the same time."""

    method: Any

    def postprocess(self, inferred: Any, image_hw: tuple[int, int]) -> Any:
        """From what the network gave to people."""


def process(
    inputs: Iterable[Input],
    estimator: Any,
    finish: Callable[[Result], Done],
    config: PipelineConfig,
) -> Generator[Done, None, None]:
    """Finished results of images; errors of an image are in its result.

    Args:
        inputs: Read in a thread, a few ahead.
        estimator: A :class:`openpaf.PoseEstimator`, or anything that takes batches of images.
        finish: Called with each result, in one thread; what it returns is yielded, and an error of
            it is raised here.
        config: How.

    Yields:
        In the order of the inputs, but with batches as their images come together.
    """

    def finish_all(batch: list[Result]) -> list[Done]:
        done = [finish(result) for result in batch]
        budget.release(batch)
        return done

    infer, parse = _steps(estimator, config.keeps_images)
    budget = _Budget()
    if not config.overlaps:
        loaded: Iterable[Result] = (read_input(i, hashes=config.hashes) for i in inputs)
        for batch in _batches(loaded, config.batch_size, estimator):
            yield from finish_all(parse(infer(batch)))
        return
    batches = budget.taken(_batches(_read_ahead(inputs, config), config.batch_size, estimator))
    pipeline = overlap(overlap(batches), infer, parse, finish_all)
    try:
        for done in pipeline:
            yield from done
    finally:
        budget.close()
        pipeline.close()


def read_input(one: Input, *, hashes: bool = False) -> Result:
    """The image of an input, with its hash if asked for, or the error."""
    result = Result(input=one)
    try:
        if one.error is not None:
            raise ImageError(one.error)
        if one.image is not None:
            result.image = read_image(one.image)
            result.image_hw = (result.image.shape[0], result.image.shape[1])
            return result
        data = one.data
        if data is None and is_image_address(one.path, is_listed=True):
            data = fetch_image(one.path)
        if data is None and hashes:
            with open_regular(one.path, shown(one.path)) as file:
                data = file.read(MAX_DECODE_BYTES + 1)
        if hashes and data is not None:
            result.sha256 = hashlib.sha256(data).hexdigest()
        source = one.path if data is None else io.BytesIO(data)
        result.image = decode_image(source, shown(one.path))
        result.image_hw = (result.image.shape[0], result.image.shape[1])
    except (ImageError, OSError, MemoryError) as error:
        result.error = error
    return result


def _read_ahead(inputs: Iterable[Input], config: PipelineConfig) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(config.n_readers, thread_name_prefix="openpaf-read")
    try:
        for one in inputs:
            waiting.append(pool.submit(read_input, one, hashes=config.hashes))
            if len(waiting) >= 2 * config.n_readers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _batches(results: Iterable[Result], size: int, estimator: Any) -> Iterator[list[Result]]:
    """Results in batches of one shape of the network's input; failures go through at once."""
    short_side = getattr(estimator, "size", None)
    waiting: dict[tuple[int, int], list[Result]] = {}
    for result in results:
        if result.image_hw is None or size == 1:
            yield [result]
            continue
        shape = Letterbox.fit(result.image_hw, short_side).size_hw if short_side else (0, 0)
        batch = waiting.setdefault(shape, [])
        batch.append(result)
        if len(batch) == size:
            yield waiting.pop(shape)
        elif sum(map(len, waiting.values())) >= _WINDOW * size:
            yield waiting.pop(max(waiting, key=lambda shape: len(waiting[shape])))
    yield from waiting.values()


def _steps(
    estimator: Any, keeps_images: bool
) -> tuple[Callable[[list[Result]], list[Result]], Callable[[list[Result]], list[Result]]]:
    """Network and parser of an estimator; one that does both at once has no second step."""
    has_two = isinstance(estimator, _TwoSteps)

    def infer(batch: list[Result]) -> list[Result]:
        good = [result for result in batch if result.image is not None]
        images = [result.image for result in good if result.image is not None]
        run = each(estimator.method.infer, images) if has_two else estimate_each(estimator, images)
        for result, found in zip(good, run, strict=True):
            _set(result, found)
            if not keeps_images:
                result.image = None
        return batch

    def parse(batch: list[Result]) -> list[Result]:
        for result in batch:
            if has_two and result.error is None:
                try:
                    result.found = estimator.postprocess(result.found, result.image_hw)
                except Exception as error:
                    _set(result, error)
        return batch

    return infer, parse


def _set(result: Result, found: Any) -> None:
    if isinstance(found, Exception):
        result.found, result.error = None, found
    else:
        result.found = found


class _Budget:
    """Bytes of images that may be between reading and finishing."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_bytes, self._is_closed = 0, False

    def taken(self, batches: Iterable[list[Result]]) -> Iterator[list[Result]]:
        """The batches, each when there is room for it; any when there is no other."""
        for batch in batches:
            size = _n_bytes(batch)
            with self._changed:
                while self._n_bytes and self._n_bytes + size > MAX_BYTES and not self._is_closed:
                    self._changed.wait()
                self._n_bytes += size
            if self._is_closed:
                return
            yield batch

    def release(self, batch: list[Result]) -> None:
        """Give back the room of a batch."""
        with self._changed:
            self._n_bytes -= _n_bytes(batch)
            self._changed.notify()

    def close(self) -> None:
        """Let what waits go on."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()


def _n_bytes(batch: list[Result]) -> int:
    return sum(3 * r.image_hw[0] * r.image_hw[1] for r in batch if r.image_hw is not None)
