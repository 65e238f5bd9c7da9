"""The batches of a run, from where they are made to what the network learns from."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Protocol

import torch

from openpaf.training.data.batches import Batch
from openpaf.training.data.gpu.batches import made_ahead
from openpaf.training.logging import Progress

#: Changes the batch of a step, e.g. adds what a teacher says of it.
Transform = Callable[[Batch, int], Batch]


class BatchSource(Protocol):
    """Makes the batches of a run."""

    def stream(
        self, start: int, stop: int, workers: int = ..., *, rows: range | None = None
    ) -> Generator[Batch]:
        """The batches of steps ``start`` to ``stop``, or some of their crops."""


@dataclass(frozen=True, kw_only=True)
class BatchStream:
    """Gives a run its batches, on its device and transformed.

    Args:
        source: Makes them.
        transforms: What each goes through in turn.
        device: Of the network.
        workers: Threads or processes of the source.
        rows: Which crops of every batch this process gets.
    """

    source: BatchSource
    transforms: Sequence[Transform]
    device: torch.device
    workers: int
    rows: range

    @property
    def makes_ahead(self) -> bool:
        """Whether another thread makes the batches ready, while the one that trains waits."""
        return self.device.type == "cuda"

    def batches(self, start: int, stop: int, progress: Progress) -> Generator[Batch]:
        """The batches of steps ``start`` to ``stop``, ready to learn from."""
        steps = range(start, stop)
        with ExitStack() as to_close:
            drawn = self.source.stream(start, stop, self.workers, rows=self.rows)
            to_close.enter_context(closing(drawn))
            if not self.makes_ahead:
                yield from map(self.ready, progress.timed(drawn), steps)
                return
            ahead = made_ahead(map(self.ready, drawn, steps), self.device)
            yield from progress.timed(to_close.enter_context(closing(ahead)))

    def ready(self, batch: Batch, step: int) -> Batch:
        """The batch of a step on the device, transformed."""
        batch = batch.to(self.device)
        for transform in self.transforms:
            batch = transform(batch, step)
        return batch
