"""The training run: batches, loss, optimiser, running average, checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openpaf import weights
from openpaf.errors import OpenpafError, WeightsError
from openpaf.networks import LightweightNetwork
from openpaf.training.best import BestWeights
from openpaf.training.checkpoints import (
    config_state,
    load_checkpoint,
    refuse_other_config,
    save_checkpoint,
)
from openpaf.training.config import SKELETONS, TrainConfig, network_options, target_grids
from openpaf.training.data.batches import LABELS, Batch
from openpaf.training.data.stream import Supply
from openpaf.training.distillation.feature_hints import Hints
from openpaf.training.distributed import Processes, join
from openpaf.training.interrupts import HeldSignals
from openpaf.training.logging import Journal, Progress
from openpaf.training.losses import fields_loss
from openpaf.training.optimizer import (
    PRECISIONS,
    autocast,
    choose_precision,
    learning_rate,
    make_optimizer,
)
from openpaf.training.sources import (
    MEAN,
    SCALE,
    load_first_weights,
    make_batches,
    teacher_of,
)
from openpaf.training.validation import Validation

__all__ = ["Run", "TrainingError", "learning_rate", "make_batches", "train"]

_log = logging.getLogger(__name__)
_LOG_EVERY = 20
_MAX_BAD_STEPS = 10


class TrainingError(OpenpafError):
    """A run went astray; its last checkpoint is as it was."""


def train(config: TrainConfig, *, max_minutes: float | None = None) -> Path:
    """Train a lightweight network; goes on where an earlier call with the same config stopped.

    Under ``torchrun`` the processes share every batch: the gradients are those of one process.

    Args:
        config: The run.
        max_minutes: Stop after this time, with a checkpoint, to go on later.

    Returns:
        The file of the weights: those with the best AP on the validation photos, or the last
        where there are none.

    Raises:
        DatasetError: If a set is missing or without people, or too many photos are unreadable.
        CheckpointError: If the output folder holds a run with another configuration.
        WeightsError: If the initial weights are missing or do not fit.
        TrainingError: If loss, gradient or weights are not finite for many steps.
        OSError: If a file cannot be written, e.g. on a full disk; the old one survives.
    """
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    with join() as processes:
        run = Run(config, processes)
        run.resume_or_start()
        run.go(deadline)
        return run.weights_file


class Run:
    """State of one run; :meth:`go` is the loop.

    Args:
        config: The run.
        processes: Those that it is shared by.
    """

    def __init__(self, config: TrainConfig, processes: Processes) -> None:
        self.config, self.processes, self.device = config, processes, processes.device
        self.rows = processes.rows(config.batch_size)
        self.skeleton = SKELETONS[config.skeleton]
        self.output = Path(config.output)
        self.output.mkdir(parents=True, exist_ok=True)
        self.checkpoint_file = self.output / "checkpoint.pt"
        self.weights_file = self.output / f"{config.name}.safetensors"
        torch.manual_seed(config.seed)
        self.signals = HeldSignals()
        self.best = BestWeights(
            self.weights_file,
            None if config.validation is None else Validation(config.validation, config.size),
            every=config.validate_every,
            steps=config.steps,
            signals=self.signals,
        )
        self.maker = make_batches(config)
        self.network = LightweightNetwork(self.skeleton, **network_options(config))
        self.teacher = teacher_of(config, self.device)
        self.hints = self._hints() if config.hint_weight else None
        self.step, self.bad_steps = 0, 0
        self.journal: Journal | None = None

    def _hints(self) -> Hints:
        assert self.teacher is not None  # the configuration sees to that
        teacher = self.teacher.network
        if not isinstance(teacher, LightweightNetwork):
            raise WeightsError(f"{self.config.teacher}: hints need a lightweight network")
        return Hints(self.network, teacher)

    def resume_or_start(self) -> None:
        """Load the checkpoint if there is one, the initial weights if not."""
        state = load_checkpoint(self.checkpoint_file) if self.checkpoint_file.exists() else None
        if state is not None:
            refuse_other_config(self.config, state, self.checkpoint_file)
            self.network.load_state_dict(state["network"])
        elif self.processes.writes:  # the others are given the first one's weights
            load_first_weights(self.network, self.config)
        self._prepare()
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        if state is None:
            return
        for key, value in state["average"].items():
            self.average[key].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        if state.get("scaler"):  # as good as none in a run that is not in float16
            self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.best.load(state, writes=self.processes.writes)
        _log.info("resumed at step %d of %d", self.step, self.config.steps)

    def _prepare(self) -> None:
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        names = list(PRECISIONS.values())
        chosen = choose_precision(self.config.precision, self.network, self.config.augment.crop_px)
        self.precision = names[int(self.processes.agree(names.index(chosen)))]
        self.optimizer = make_optimizer(self.network, self.config, self.precision)
        half = self.precision == torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, init_scale=1024.0, enabled=half)
        self.shared = self.processes.wrap(self.network)
        self.supply = Supply(
            self.config,
            self.processes,
            self.maker,
            self.rows,
            teacher=self.teacher,
            hints=self.hints,
            precision=self.precision,
        )

    def go(self, deadline: float | None) -> None:
        """Train to the last step, or to the deadline.

        Raises:
            KeyboardInterrupt: After Ctrl-C or SIGTERM; the checkpoint is written before.
        """
        if self.step >= self.config.steps and not self.best.is_due(self.step):
            return
        writes, alone = self.processes.writes, self.processes.n == 1
        self.journal = (
            Journal(self.output, self.step, tensorboard=self.config.tensorboard) if writes else None
        )
        progress = Progress(self.step, self.config.steps, self.config.batch_size, shown=writes)
        batches = self.supply.batches(self.step, self.config.steps, progress)
        try:
            with self.signals.held(not alone):  # several processes stop after the same step
                if writes and self.best.is_due(self.step):
                    self._validate()  # the start, or what an interruption left out
                    if self.step:
                        self._save()
                self._steps(batches, progress, deadline)
        except KeyboardInterrupt:
            if alone and not self.bad_steps:  # several have saved by themselves
                self._refuse_bad_weights()
                self._save()
                _log.info("interrupted at step %d; the same call goes on from there", self.step)
            raise
        finally:
            batches.close()
            progress.close()
            if self.journal is not None:
                self.journal.close()
            if self.maker.photos.bad_files:
                _log.warning("%d photos could not be read", len(self.maker.photos.bad_files))

    def _steps(self, batches: Iterator[Batch], progress: Progress, deadline: float | None) -> None:
        """Step after step, until all are made or the run is to stop."""
        while self.step < self.config.steps:
            batch = next(batches)
            with self.signals.held():
                figures = self.learn(batch)
                self.step += 1
                progress.step()
                if self.step % _LOG_EVERY == 0 or self.step == self.config.steps:
                    self._write_figures(figures, progress.figures())
            late = deadline is not None and time.monotonic() > deadline
            stop = self.processes.any(late or self.signals.pending is not None)
            self._keep(stop)
            if self.step % self.config.validate_every == 0:
                progress.pause()
            if stop and self.step < self.config.steps:
                why = "after the given time" if late else "by a signal"
                _log.info("stopped %s at step %d", why, self.step)
                return

    def _keep(self, late: bool) -> None:
        """Validate and save where it is time to."""
        last = self.step == self.config.steps
        to_validate = self.best.is_due(self.step)
        to_save = self.step % self.config.checkpoint_every == 0 or last or late
        # Weights that give nothing finite must not take the place of those that did.
        if not self.processes.writes or not (to_validate or to_save) or self.bad_steps:
            return
        self._refuse_bad_weights()
        if to_validate:
            self._validate()
        if to_save:
            self._save()

    def learn(self, batch: Batch) -> dict[str, Tensor]:
        """Learn from a batch that is ready; gives the figures for the log, still on the device."""
        rate = learning_rate(self.config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * rate
        only_features = self.step < self.config.feature_steps
        images = ((batch.images - MEAN) / SCALE).contiguous(memory_format=torch.channels_last)
        loss, parts = (self._features_loss if only_features else self._loss)(images, batch)
        norm = self._descend(loss)
        finite = math.isfinite(norm)
        self._count_bad_steps(finite)
        extra = {"gradient": norm} if finite else {"skipped": 1.0}
        figures = {"rate": rate, **extra}
        return {
            **parts,
            "loss": loss.detach(),
            **{name: torch.as_tensor(value) for name, value in figures.items()},
        }

    def _features_loss(self, images: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """How far the features that the stages share are from the teacher's."""
        assert self.teacher is not None  # the configuration sees to that
        assert self.hints is not None  # and to that
        with autocast(self.device, self.precision):
            self.network.features(images)
            self.teacher.features(batch)
        loss = self.hints.of_features()
        return loss, {"hints": loss.detach()}

    def _loss(self, images: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the fields of all stages, and of hidden features where there are hints."""
        with autocast(self.device, self.precision):
            stages = self.shared(images)
        # Gradients are averaged over the processes, whose slices may differ by a crop: each
        # divides by the mean size of a slice, so that the average is the whole batch's gradient.
        # Crops that were made smaller count by their area: every cell counts alike.
        share = (images.shape[2] / self.config.augment.crop_px) ** 2
        loss, parts = fields_loss(
            stages,
            batch,
            heatmap_weight=self.config.heatmap_weight,
            peak_weight=self.config.peak_weight,
            n_crops=self.config.batch_size / self.processes.n / share,
        )
        if self.hints is not None:
            kept = batch.features
            hints = self.hints.loss() if kept is None else self.hints.of_kept(kept)
            loss, parts["hints"] = loss + self.config.hint_weight * hints, hints.detach()
        return loss, parts

    def _descend(self, loss: Tensor) -> float:
        """A step of the optimiser, if the gradient is finite; the norm of the gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.step < self.config.feature_steps:  # which goes past what shares gradients
            self.processes.average_gradients(self.network)
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip))
        if math.isfinite(norm):
            self.scaler.step(self.optimizer)
            self._move_average()
        self.scaler.update()
        return norm

    def _count_bad_steps(self, finite: bool) -> None:
        """Leave out single bad steps, and stop where there is no end of them."""
        if finite:
            self.bad_steps = 0
            return
        self.bad_steps += 1
        _log.warning("step %d: the gradient is not finite; the step is left out", self.step)
        if self.bad_steps >= _MAX_BAD_STEPS or self.step + 1 == self.config.steps:
            raise self._astray(f"the gradient was not finite {self.bad_steps} times in a row")

    def _astray(self, what: str) -> TrainingError:
        return TrainingError(
            f"step {self.step}: {what}; {self.checkpoint_file} is as it was: try a lower "
            "learning_rate, or precision float32"
        )

    def _refuse_bad_weights(self) -> None:
        states = [*self.network.state_dict().values(), *self.average.values()]
        total = torch.stack([state.double().sum() for state in states]).sum()
        if not math.isfinite(float(total)):
            raise self._astray("the weights are no longer finite")

    @torch.no_grad()
    def _move_average(self) -> None:
        # The average follows quickly at first, so that it does not remember the start for long.
        decay = min(self.config.average, (self.step + 1) / (self.step + 10))
        state = self.network.state_dict()
        averages, values = ([of[key] for key in state] for of in (self.average, state))
        torch._foreach_lerp_(averages, values, 1 - decay)

    def _validate(self) -> None:
        figures = self.best.consider(self.step, self.average, self._row)
        if figures and self.journal is not None:
            self.journal.write(self.step, **{f"val_{k}": v for k, v in figures.items()})

    def _row(self, metrics: dict[str, Any]) -> weights.ModelSpec:
        heatmap_grid, paf_grid = target_grids(self.config)
        return weights.ModelSpec(
            name=self.config.name,
            builder="lightweight",
            options=network_options(self.config),
            skeleton=self.skeleton,
            heatmap_grid=heatmap_grid,
            paf_grid=paf_grid,
            mean=MEAN,
            scale=SCALE,
            licence="Apache-2.0",
            metrics={"step": self.step, **metrics},
            result=None if self.skeleton == LABELS else LABELS,
        )

    def _save(self) -> None:
        save_checkpoint(
            {
                "config": config_state(self.config),
                "network": self.network.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "step": self.step,
                **self.best.state(),
            },
            self.checkpoint_file,
        )

    def _write_figures(self, figures: dict[str, Tensor], speed: dict[str, float]) -> None:
        values = torch.stack([value.to(self.device, torch.float64) for value in figures.values()])
        means = self.processes.mean(values).tolist()
        if self.journal is not None:
            self.journal.write(self.step, **dict(zip(figures, means, strict=True)), **speed)
