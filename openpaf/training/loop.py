"""The training run: steps, running average, checkpoints; what is learned is a task."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openpaf.errors import OpenpafError
from openpaf.training.best import BestWeights
from openpaf.training.checkpoints import load_checkpoint, refuse_other_config, save_checkpoint
from openpaf.training.config import TrainConfig
from openpaf.training.distributed import Processes, join
from openpaf.training.groupings.table import GROUPINGS
from openpaf.training.groupings.task import GroupingTask
from openpaf.training.interrupts import HeldSignals
from openpaf.training.logging import Journal, Progress
from openpaf.training.optimizer import learning_rate
from openpaf.training.part_affinity import PartAffinityTask
from openpaf.training.rcnn.detection import DetectionTask
from openpaf.training.start import read_start
from openpaf.training.tables import plain
from openpaf.training.task import Task
from openpaf.weights import ModelSpec

_log = logging.getLogger(__name__)
_LOG_EVERY = 20
_MAX_BAD_STEPS = 10
# A new method is a file with a task, and a row here; the networks of others are to give fields.
_TASKS: dict[str, Callable[[TrainConfig, Processes], Task]] = {
    "mask_rcnn": DetectionTask,
    "objects": DetectionTask,
    **{name: partial(GroupingTask, grouping) for name, grouping in GROUPINGS.items()},
}


class TrainingError(OpenpafError):
    """A run diverged; its last checkpoint is untouched."""


def train(
    config: TrainConfig,
    *,
    max_minutes: float | None = None,
    task: Callable[[Processes], Task] | None = None,
) -> Path:
    """Train a network; resumes where an earlier call with the same config stopped.

    Under ``torchrun`` the processes share every batch: the gradients are those of one process.

    Args:
        config: The run.
        max_minutes: Stop after this time, with a checkpoint, to resume later. The validation of
            the last weights is within it.
        task: Makes another task than that of the network's method, e.g. one with losses of its own.

    Returns:
        The file of the weights: those with the best AP on the validation images, or the last
        where there are none.

    Raises:
        DatasetError: If a set is missing or without people, or too many images are unreadable.
        CheckpointError: If the output folder holds a run with another configuration.
        WeightsError: If the initial weights are missing or do not fit.
        ValueError: If the network is unknown, or cannot be trained.
        TrainingError: If loss, gradient or weights are not finite for many steps.
        OSError: If a file cannot be written, e.g. on a full disk; the old one survives.
    """
    deadline = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
    with join() as processes:
        run = Run(config, processes, task)
        run.resume_or_start()
        run.go(deadline)
        return run.best.file


class Run:
    """State of one run; :meth:`go` is the loop.

    Args:
        config: The run.
        processes: Those that it is shared by.
        task: As of :func:`train`.
    """

    def __init__(
        self,
        config: TrainConfig,
        processes: Processes,
        task: Callable[[Processes], Task] | None = None,
    ) -> None:
        self.config, self.processes, self.device = config, processes, processes.device
        self.settings = config.optimizer
        self.output = Path(config.output)
        self.output.mkdir(parents=True, exist_ok=True)
        self.checkpoint_file = self.output / "checkpoint.pt"
        torch.manual_seed(config.seed)
        self.signals = HeldSignals()
        if task is None:
            make = _TASKS.get(read_start(config.network).method, PartAffinityTask)
            task = partial(make, config)
        self.task = task(processes)
        self.best = BestWeights(config, self.signals, self.task.labels)
        self.network = self.task.network
        self.step, self.bad_steps = 0, 0
        self.journal: Journal | None = None

    def resume_or_start(self) -> None:
        """Load the checkpoint if there is one, the initial weights if not."""
        state = load_checkpoint(self.checkpoint_file) if self.checkpoint_file.exists() else None
        if state is None:
            self.task.load_start()
        else:
            refuse_other_config(self.config, state, self.checkpoint_file)
            self.network.load_state_dict(state["network"])
        self.processes.share_weights(self.network)
        self.optimizer = self.task.make_optimizer()
        is_scaled = self.task.precision == torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, init_scale=1024.0, enabled=is_scaled)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        if state is None:
            return
        for key, value in state["average"].items():
            self.average[key].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty in a run that is not in float16
            self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.best.load(state, writes=self.processes.writes)
        _log.info("resumed at step %d of %d", self.step, self.settings.steps)

    def go(self, deadline: float) -> None:
        """Train to the last step, or to the deadline.

        Raises:
            KeyboardInterrupt: After Ctrl-C or SIGTERM; the checkpoint is written before.
        """
        steps, writes = self.settings.steps, self.processes.writes
        if self.step >= steps and not self.best.is_due(self.step):
            return
        if writes:
            self.journal = Journal(self.output, self.step)
        is_single = self.processes.n == 1
        batch_size = self.settings.batch_size
        progress = Progress(self.step, steps, batch_size, shown=writes, deadline=deadline)
        batches = self.task.batches(self.step, steps, progress)
        try:
            with self.signals.held(not is_single):  # several processes stop after the same step
                if writes and self.best.is_due(self.step):
                    self._validate()  # the start, or what an interruption left out
                    if self.step:
                        self._save()
                self._steps(batches, progress, deadline)
        except KeyboardInterrupt:
            if is_single and not self.bad_steps:  # several have saved by themselves
                self._refuse_bad_weights()
                self._save()
                _log.info("interrupted at step %d; the same call resumes from there", self.step)
            raise
        finally:
            batches.close()
            progress.close()
            if self.journal is not None:
                self.journal.close()
                self.best.report()
            if self.task.images.bad_files:
                _log.warning("%d images could not be read", len(self.task.images.bad_files))

    def _steps(self, batches: Iterator[Any], progress: Progress, deadline: float) -> None:
        """Step after step, until all are made or the run is to stop."""
        steps = self.settings.steps
        while self.step < steps:
            batch = next(batches)
            with self.signals.held():
                figures = self.learn(batch)
                self.step += 1
                progress.step()
                if self.step % _LOG_EVERY == 0 or self.step == steps:
                    self._write_figures(figures, progress.figures())
            late = time.monotonic() > deadline - self.best.seconds
            stop = self.processes.any(late or self.signals.pending is not None)
            self._keep(stop, late)
            if self.step % self.settings.validate_every == 0:
                progress.restart()
            if stop and self.step < steps:
                why = "after the given time" if late else "by a signal"
                text = "stopped %s at step %d of %d, over which the learning rate falls"
                _log.info(text, why, self.step, steps)
                return

    def _keep(self, stop: bool, late: bool = False) -> None:
        """Validate and save where it is time to."""
        to_validate = self.best.is_due(self.step, is_last=late)
        is_due = self.step % self.settings.checkpoint_every == 0
        to_save = is_due or stop or self.step == self.settings.steps
        # Weights that give nothing finite must not take the place of those that did.
        if not self.processes.writes or not (to_validate or to_save) or self.bad_steps:
            return
        self._refuse_bad_weights()
        if to_validate:
            self._validate()
        if to_save:
            self._save()

    def learn(self, batch: Any) -> dict[str, Tensor]:
        """Learn from a batch that is ready; gives the figures for the log, still on the device."""
        rate = learning_rate(self.settings, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * rate
        loss, parts = self.task.loss(batch, self.step)
        norm = self._descend(loss)
        if math.isfinite(norm):
            self.bad_steps = 0
        else:
            self._count_bad_step()
        extra = {"gradient": norm} if math.isfinite(norm) else {"skipped": 1.0}
        figures = {name: torch.as_tensor(value) for name, value in {"rate": rate, **extra}.items()}
        return {**parts, "loss": loss.detach(), **figures}

    def _descend(self, loss: Tensor) -> float:
        """A step of the optimizer, if the gradient is finite; the norm of the gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.processes.average_gradients(self.network)
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip))
        if math.isfinite(norm):
            self.scaler.step(self.optimizer)
            self._move_average()
        self.scaler.update()
        return norm

    def _count_bad_step(self) -> None:
        """Leave out single bad steps, and stop where there is no end of them."""
        self.bad_steps += 1
        _log.warning("step %d: the gradient is not finite; the step is left out", self.step)
        is_last = self.step + 1 == self.settings.steps
        if self.bad_steps >= _MAX_BAD_STEPS or is_last:
            raise self._diverged(f"the gradient was not finite {self.bad_steps} times in a row")

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f"step {self.step}: {what}; {self.checkpoint_file} is untouched: try a lower "
            "learning_rate, or precision float32"
        )

    def _refuse_bad_weights(self) -> None:
        states = [*self.network.state_dict().values(), *self.average.values()]
        total = torch.stack([state.double().sum() for state in states]).sum()
        if not math.isfinite(float(total)):
            raise self._diverged("the weights are no longer finite")

    @torch.no_grad()
    def _move_average(self) -> None:
        # The average follows quickly at first, so that it does not remember the start for long.
        decay = min(self.settings.average, (self.step + 1) / (self.step + 10))
        state = self.network.state_dict()
        # Whole numbers stay: how many batches a batch norm has seen is of no use to its weights.
        floats = [key for key, value in state.items() if value.is_floating_point()]
        averages, values = ([of[key] for key in floats] for of in (self.average, state))
        torch._foreach_lerp_(averages, values, 1 - decay)

    def _validate(self) -> None:
        def spec(metrics: dict[str, Any]) -> ModelSpec:
            return self.task.spec({"step": self.step, **metrics})

        figures = self.best.consider(self.step, self.average, spec)
        if figures and self.journal is not None:
            self.journal.write(self.step, **{f"val_{k}": v for k, v in figures.items()})

    def _save(self) -> None:
        state = {
            "config": plain(self.config),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
        }
        save_checkpoint({**state, **self.best.state()}, self.checkpoint_file)

    def _write_figures(self, figures: dict[str, Tensor], speed: dict[str, float]) -> None:
        values = torch.stack([value.to(self.device, torch.float64) for value in figures.values()])
        means = self.processes.mean(values).tolist()
        if self.journal is not None:
            self.journal.write(self.step, **dict(zip(figures, means, strict=True)), **speed)
