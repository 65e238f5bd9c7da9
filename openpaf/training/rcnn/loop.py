"""The training run of a detector: losses, optimiser, running average, checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openpaf import weights
from openpaf.geometry import Grid
from openpaf.networks import build
from openpaf.networks.rcnn.mask_rcnn import MaskRCNN
from openpaf.networks.rcnn.mobilenet import MobileNetV2
from openpaf.skeleton import Skeleton
from openpaf.training.best import BestWeights
from openpaf.training.checkpoints import (
    config_state,
    load_checkpoint,
    refuse_other_config,
    save_checkpoint,
)
from openpaf.training.interrupts import HeldSignals
from openpaf.training.logging import Journal, Progress
from openpaf.training.optimizer import learning_rate
from openpaf.training.rcnn.config import TopDownTrainConfig
from openpaf.training.rcnn.targets import HALF_PX, DetectionBatch, DetectionBatches
from openpaf.training.sources import load_set
from openpaf.training.validation import Validation
from openpaf.weights.imagenet import load_imagenet

_log = logging.getLogger(__name__)


def train(config: TopDownTrainConfig, *, max_minutes: float | None = None) -> Path:
    """Train a detector; goes on where an earlier call with the same config stopped.

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
        ValueError: If the detector is unknown or finds no joints.
    """
    run = _Run(config)
    run.resume_or_start()
    run.go(None if max_minutes is None else time.monotonic() + 60 * max_minutes)
    return run.weights_file


class _Run:
    """State of one run; :meth:`go` is the loop."""

    def __init__(self, config: TopDownTrainConfig) -> None:
        self.config = config
        self.output = Path(config.output)
        self.weights_file = self.output / f"{config.name}.safetensors"
        self.signals = HeldSignals()
        self.best = BestWeights(
            self.weights_file,
            None if config.validation is None else Validation(config.validation, config.size),
            every=config.validate_every,
            steps=config.steps,
            signals=self.signals,
        )
        torch.manual_seed(config.seed)
        network = build(config.network, Skeleton.COCO17, **config.options)
        if not isinstance(network, MaskRCNN) or not network.config.num_keypoints:
            raise ValueError(f"network: expected a detector of keypoints, got {config.network!r}")
        self.network = network
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.batches = _make_batches(config, network)
        self.output.mkdir(parents=True, exist_ok=True)
        self.checkpoint_file = self.output / "checkpoint.pt"
        self.step = 0

    def resume_or_start(self) -> None:
        """Load the checkpoint if there is one, the initial weights if not."""
        if self.checkpoint_file.exists():
            state = load_checkpoint(self.checkpoint_file)
            refuse_other_config(self.config, state, self.checkpoint_file)
            self.network.load_state_dict(state["network"])
            self._prepare()
            self.average = {k: v.to(self.device) for k, v in state["average"].items()}
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
            self.best.load(state)
            _log.info("resumed at step %d of %d", self.step, self.config.steps)
            return
        if self.config.init:
            weights.load(self.network, self.config.init)
        elif self.config.imagenet:
            trunk = self.network.backbone.body
            if not isinstance(trunk, MobileNetV2):
                raise ValueError("imagenet: expected a MobileNetV2 network to start with it")
            load_imagenet(trunk, self.config.imagenet)
        self._prepare()
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}

    def _prepare(self) -> None:
        self.network.to(self.device).train()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        trunk = list(self.network.backbone.body.parameters())
        in_trunk = {id(parameter) for parameter in trunk}
        groups = [
            {
                "params": [p for p in self.network.parameters() if id(p) not in in_trunk],
                "factor": 1.0,
            }
        ]
        if self.config.trunk_rate > 0:
            groups.append({"params": trunk, "factor": self.config.trunk_rate})
        else:
            self.network.backbone.body.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            groups, lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )

    def go(self, deadline: float | None) -> None:
        """Train to the last step, or to the deadline.

        Raises:
            KeyboardInterrupt: After Ctrl-C or SIGTERM; the checkpoint is written before.
        """
        if self.step >= self.config.steps and not self.best.is_due(self.step):
            return
        self.journal = Journal(self.output, self.step, tensorboard=False)
        batches = self.batches.stream(self.step, self.config.steps, self.config.workers)
        progress = Progress(self.step, self.config.steps, self.config.batch_size, shown=True)
        try:
            if self.best.is_due(self.step):  # the start, or what an interruption left out
                self._validate()
                if self.step:
                    self._save()
            self._steps(progress.timed(batches), progress, deadline)
        except KeyboardInterrupt:
            self._save()
            _log.info("interrupted at step %d; the same call goes on from there", self.step)
            raise
        finally:
            batches.close()
            progress.close()
            if self.batches.photos.bad_files:
                _log.warning("%d photos could not be read", len(self.batches.photos.bad_files))

    def _steps(
        self, batches: Iterator[DetectionBatch], progress: Progress, deadline: float | None
    ) -> None:
        """Step after step, until all are made or the time is over."""
        config = self.config
        while self.step < config.steps:
            batch = next(batches)
            with self.signals.held():
                figures = self._one_step(batch)
                self.step += 1
                progress.step()
                if self.step % 20 == 0:
                    self.journal.write(self.step, **progress.figures(), **figures)
            late = deadline is not None and time.monotonic() > deadline
            last = self.step == config.steps
            if self.best.is_due(self.step):
                self._validate()
                progress.pause()
            if self.step % config.checkpoint_every == 0 or last or late:
                self._save()
            if late and not last:
                _log.info("stopped after the given time at step %d", self.step)
                return

    def _one_step(self, batch: DetectionBatch) -> dict[str, float]:
        # Which anchors the losses look at is drawn anew, so a resumed run draws the same.
        torch.manual_seed((self.config.seed << 32) + self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(self.config, self.step)
        images = list(batch.images.to(self.device))
        targets = [{k: v.to(self.device) for k, v in row.items()} for row in batch.targets]
        losses = self.network.losses(images, targets, resize=False)
        factors = {"loss_keypoint": self.config.keypoint_weight}
        loss = torch.stack([factors.get(k, 1.0) * v for k, v in losses.items()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        parts = {k: float(v.detach()) for k, v in losses.items()}
        parts |= {"loss": float(loss.detach()), "gradient": float(norm)}
        if not math.isfinite(parts["gradient"]):
            _log.warning("step %d: the gradient is not finite; the step is left out", self.step)
            return {**parts, "skipped": 1.0}
        self.optimizer.step()
        # The average follows quickly at first, so that it does not remember the start for long.
        decay = min(self.config.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for key, value in self.network.state_dict().items():
                self.average[key].lerp_(value, 1 - decay)
        return parts

    def _validate(self) -> None:
        figures = self.best.consider(self.step, self.average, self._row)
        if figures:
            self.journal.write(self.step, **{f"val_{k}": v for k, v in figures.items()})

    def _row(self, metrics: dict[str, Any]) -> weights.ModelSpec:
        grid = Grid(1, -HALF_PX)
        return weights.ModelSpec(
            name=self.config.name,
            builder=self.config.network,
            options=self.config.options,
            skeleton=Skeleton.COCO17,
            heatmap_grid=grid,
            paf_grid=grid,
            mean=0.0,
            scale=255.0,
            licence="Apache-2.0",
            metrics={"step": self.step, **metrics},
        )

    def _save(self) -> None:
        save_checkpoint(
            {
                "config": config_state(self.config),
                "network": self.network.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                **self.best.state(),
            },
            self.checkpoint_file,
        )


def _make_batches(config: TopDownTrainConfig, network: MaskRCNN) -> DetectionBatches:
    return DetectionBatches(
        [load_set(row) for row in config.sets],
        batch_size=config.batch_size,
        augment=config.augment,
        masks=network.config.masks,
        seed=config.seed,
    )
