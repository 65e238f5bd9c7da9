"""The batches of a run, from where they are made to what the network learns from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path

import torch

from openpaf.training.checkpoints import comparable_config
from openpaf.training.config import TrainConfig
from openpaf.training.data.batches import Batch, BatchMaker
from openpaf.training.data.gpu.batches import DeviceBatchMaker, made_ahead, make_device_batches
from openpaf.training.distillation.cached_crops import ReusedCrops
from openpaf.training.distillation.feature_hints import Hints
from openpaf.training.distillation.target_resampling import as_the_network_sees
from openpaf.training.distributed import Processes
from openpaf.training.logging import Progress
from openpaf.training.losses import Teacher
from openpaf.training.optimizer import autocast


class Supply:
    """Gives a run its batches: made, taught, and as the network is to see them.

    Args:
        config: The run.
        processes: Those that it is shared by.
        maker: Makes the crops.
        rows: Which crops of every batch this process gets.
        teacher: Says what it sees in them, if there is one.
        hints: Keeps the teacher's features, if the run has hints.
        precision: What the teacher computes in.
    """

    def __init__(
        self,
        config: TrainConfig,
        processes: Processes,
        maker: BatchMaker,
        rows: range,
        *,
        teacher: Teacher | None,
        hints: Hints | None,
        precision: torch.dtype,
    ) -> None:
        self.config, self.processes, self.device = config, processes, processes.device
        self.rows = rows
        self.maker, self.teacher, self.hints = maker, teacher, hints
        self.precision = precision

    @property
    def makes_ahead(self) -> bool:
        """Whether another thread makes the batches ready, while the one that trains waits."""
        return self.device.type == "cuda"

    def batches(self, start: int, stop: int, progress: Progress) -> Generator[Batch]:
        """The batches of steps ``start`` to ``stop``, ready to learn from."""
        drawn = self._source().stream(start, stop, self.config.workers, rows=self.rows)
        steps = range(start, stop)
        with ExitStack() as to_close:
            to_close.enter_context(closing(drawn))
            if not self.makes_ahead:
                yield from map(self.ready, progress.timed(drawn), steps)
            elif self.hints is not None:  # which are those of the batch that the teacher saw last
                ahead = to_close.enter_context(closing(made_ahead(drawn, self.device)))
                yield from map(self.ready, progress.timed(ahead), steps)
            else:
                ready = map(self.ready, drawn, steps)
                ahead = to_close.enter_context(closing(made_ahead(ready, self.device)))
                yield from progress.timed(ahead)

    def ready(self, batch: Batch, step: int) -> Batch:
        """A batch on the device, with what the teacher says of it, as the network is to see it."""
        batch = batch.to(self.device)
        if step < self.config.feature_steps:
            return batch
        if self.teacher is not None and not self.config.reused_crops:
            with autocast(self.device, self.precision):
                batch = self.teacher.fill(batch)
        return as_the_network_sees(batch, self.config, step)

    def _source(self) -> BatchMaker | DeviceBatchMaker | ReusedCrops:
        """Where batches come from."""
        if not self.config.reused_crops:
            return make_device_batches(self.maker, self.device, self.config.data_on_device)
        crops = ReusedCrops(
            Path(self.config.output) / "crops",
            self.maker,
            self.config.reused_crops,
            self._taught,
            self.processes,
            json.dumps(
                {**comparable_config(self.config), "batch_size": self.config.batch_size},
                sort_keys=True,
            ),
        )
        crops.make(self.rows)
        return crops

    def _taught(self, batch: Batch) -> Batch:
        """A batch with what the teacher says of it."""
        if self.teacher is None:
            return batch
        with autocast(self.device, self.precision):
            batch = self.teacher.fill(batch)
        if self.hints is None:
            return batch
        return dataclasses.replace(batch, features=self.hints.teachers_features())
