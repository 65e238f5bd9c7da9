"""From a request to its answer, within limits."""

from __future__ import annotations

import asyncio
import logging
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException
from starlette.requests import Request

from openpaf.errors import printable
from openpaf.estimator import PoseEstimator
from openpaf.poses import Poses
from openpaf.serving.answers import Format, encode
from openpaf.serving.batching import Batcher
from openpaf.serving.bodies import decode_body, drop_body, read_body
from openpaf.serving.limits import Limits
from openpaf.serving.metrics import Metrics

_log = logging.getLogger(__name__)
_CHECK_S = 0.5  # how often it is seen whether a client that waits is still there


class Service:
    """What all requests share: the queue, threads that decode and draw, and figures.

    Args:
        estimator: Finds the people.
        limits: Limits for requests.
    """

    def __init__(self, estimator: PoseEstimator, limits: Limits) -> None:
        self.limits = limits
        self.n_inside = 0  # changed in the event loop only
        self.metrics = Metrics(lambda: self.n_inside)
        self.batcher = Batcher(
            estimator,
            max_batch=limits.max_batch,
            max_wait_s=limits.max_wait_s,
            ran=self.metrics.ran,
        )
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="images")

    async def answer(self, request: Request, format: Format, threshold: float) -> bytes:
        """The body of the answer to a request.

        Raises:
            HTTPException: If the request is refused, or has no image that can be read.
        """
        if self.n_inside >= self.limits.max_queue:
            retry_s = max(1, math.ceil(self.n_inside * self.batcher.image_s))
            await drop_body(request, self.limits)
            raise HTTPException(
                503, f"the queue is full; try again in {retry_s} s", {"Retry-After": str(retry_s)}
            )
        self.n_inside += 1
        try:
            return await self._answer(request, format, threshold)
        except (HTTPException, asyncio.CancelledError):
            raise
        except Exception as error:  # no image stops the server
            _log.error("an image failed: %s: %s", type(error).__name__, printable(error, 300))
            raise HTTPException(500, "the server failed on this image") from None
        finally:
            self.n_inside -= 1

    async def _answer(self, request: Request, format: Format, threshold: float) -> bytes:
        loop = asyncio.get_running_loop()
        body = await read_body(request, self.limits)
        image = await loop.run_in_executor(self._threads, decode_body, body, self.limits)
        del body
        poses = await self._find(image, request)
        poses = poses[poses.person_scores >= threshold]
        content = await loop.run_in_executor(self._threads, encode, image, poses, format)
        self.metrics.found(len(poses))
        return content

    async def _find(self, image: NDArray[np.uint8], request: Request) -> Poses:
        """The people of an image; of a client who has gone it leaves the queue."""
        queued = self.batcher.submit(image)
        found = asyncio.wrap_future(queued)
        while not (await asyncio.wait({found}, timeout=_CHECK_S))[0]:
            if await request.is_disconnected():
                queued.cancel()
                raise HTTPException(400, "the client disconnected")
        return found.result()

    def close(self) -> None:
        """Finish what is queued, and end the threads."""
        self.batcher.close()
        self._threads.shutdown()
