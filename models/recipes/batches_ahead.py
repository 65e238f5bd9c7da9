"""Batches that another thread makes ready, while the one that trains waits for the GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from openpaf.training.data.batches import Batch


def made_ahead(
    batches: Iterator[Batch], device: torch.device, n_ahead: int = 2
) -> Generator[Batch]:
    """The same batches, made ahead by a thread of its own, on a GPU in a stream of its own.

    What the GPU has to do for the next batches then fills its pauses between the steps.

    Args:
        batches: Made on the device; the thread alone asks for them.
        device: Where.
        n_ahead: How many are made ahead at most.
    """
    on_gpu = device.type == "cuda"
    stream = torch.cuda.Stream(device) if on_gpu else None
    if stream is not None:
        stream.wait_stream(torch.cuda.current_stream(device))  # photos and teacher are there

    def one() -> tuple[Batch | None, torch.cuda.Event | None]:
        with torch.cuda.stream(stream):
            batch = next(batches, None)
            return batch, None if stream is None else stream.record_event()

    pool = ThreadPoolExecutor(1)
    try:
        ahead = deque(pool.submit(one) for _ in range(n_ahead))
        while True:
            batch, made = ahead.popleft().result()
            if batch is None:
                return
            ahead.append(pool.submit(one))
            if made is not None:
                here = torch.cuda.current_stream(device)
                here.wait_event(made)
                for part in vars(batch).values():
                    part.record_stream(here)  # its memory is in use until then
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)
