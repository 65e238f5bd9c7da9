"""Images that come one at a time, several in one run of the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openpaf.estimator import PoseEstimator
from openpaf.estimator.batches import estimate_each
from openpaf.geometry import Letterbox
from openpaf.poses import Poses


class _Job(NamedTuple):
    image: NDArray[np.uint8]
    input_hw: tuple[int, int]
    arrived_s: float
    poses: Future[Poses]


class Batcher:
    """Finds the people of images in a thread of its own, in the order in which they come.

    The first image waits a bounded time for others whose network input has its shape; while the
    network runs, images gather without further waiting. A batch has 1, 2, 4, 8 ... images, as
    engines prepare themselves anew for each number.

    Args:
        estimator: Finds the people.
        max_batch: Images of one run of the network.
        max_wait_s: Longest time in s that an image waits for others while the network is idle.
        ran: Called after each run with the number of images and the time in s.
    """

    def __init__(
        self,
        estimator: PoseEstimator,
        *,
        max_batch: int = 8,
        max_wait_s: float = 0.005,
        ran: Callable[[int, float], None] | None = None,
    ) -> None:
        self.estimator, self.max_batch, self.max_wait_s = estimator, max_batch, max_wait_s
        self.image_s = 0.0
        self._ran = ran
        self._jobs: list[_Job] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether images are worked on."""
        return self._thread.is_alive()

    def submit(self, image: NDArray[np.uint8]) -> Future[Poses]:
        """Put an image in the queue.

        Args:
            image: RGB uint8 (H, W, 3).

        Returns:
            Gives its people, or the error with which the estimator failed; an image whose future
            is canceled before its turn is left out.

        Raises:
            RuntimeError: After :meth:`close`.
        """
        input_hw = Letterbox.fit(image.shape[:2], self.estimator.size).size_hw
        poses: Future[Poses] = Future()
        with self._changed:
            if self._is_closed:
                raise RuntimeError("the batcher is closed")
            self._jobs.append(_Job(image, input_hw, time.monotonic(), poses))
            self._changed.notify()
        return poses

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while jobs := self._take():
            running = [job for job in jobs if job.poses.set_running_or_notify_cancel()]
            started = time.perf_counter()
            results = estimate_each(self.estimator, [job.image for job in running])
            spent_s = time.perf_counter() - started
            for job, result in zip(running, results, strict=True):
                if isinstance(result, Exception):
                    job.poses.set_exception(result)
                else:
                    job.poses.set_result(result)
            if running:
                image_s = spent_s / len(running)
                self.image_s += (0.2 if self.image_s else 1.0) * (image_s - self.image_s)
                if self._ran is not None:
                    self._ran(len(running), spent_s)

    def _take(self) -> list[_Job]:
        """The next batch; none after the last one of a closed queue."""
        with self._changed:
            while True:
                self._jobs = [job for job in self._jobs if not job.poses.cancelled()]
                if not self._jobs:
                    if self._is_closed:
                        return []
                    self._changed.wait()
                    continue
                first = self._jobs[0]
                fitting = [job for job in self._jobs if job.input_hw == first.input_hw]
                left_s = first.arrived_s + self.max_wait_s - time.monotonic()
                if left_s <= 0 or len(fitting) >= self.max_batch or self._is_closed:
                    break
                self._changed.wait(left_s)
            n = min(len(fitting), self.max_batch)
            batch = fitting[: 1 << (n.bit_length() - 1)]
            taken = set(map(id, batch))
            self._jobs = [job for job in self._jobs if id(job) not in taken]
            return batch
