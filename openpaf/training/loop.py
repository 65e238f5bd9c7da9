"""The training run: batches, loss, optimiser, running average, checkpoints."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from openpaf import weights
from openpaf.errors import WeightsError
from openpaf.geometry import Grid
from openpaf.networks import LightweightNetwork
from openpaf.skeleton import Skeleton
from openpaf.training.batch_norm import add_batch_norm, folded
from openpaf.training.batches import LABELS, Batch, BatchMaker
from openpaf.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from openpaf.training.config import SKELETONS, SetConfig, TrainConfig
from openpaf.training.dataset import PhotoSet, load_photo_set
from openpaf.training.heads import fit_new_limbs
from openpaf.training.hints import Hints
from openpaf.training.losses import Teacher, fields_loss, own_channels
from openpaf.training.narrow import narrow
from openpaf.training.open_model_zoo import load_open_model_zoo, shared_channels
from openpaf.training.validation import validate

_log = logging.getLogger(__name__)
_MEAN, _SCALE = 128.0, 255.0
#: Steps from here on give crops for what is not training: no run has that many.
_BEYOND = 10**9
_NARROW_BATCHES = 6


def train(config: TrainConfig, *, max_minutes: float | None = None) -> Path:
    """Train a lightweight network; goes on where an earlier call with the same config stopped.

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
    """
    run = _Run(config)
    run.resume_or_start()
    run.go(None if max_minutes is None else time.monotonic() + 60 * max_minutes)
    return run.weights_file


class _Run:
    """State of one run; :meth:`go` is the loop."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.skeleton = SKELETONS[config.skeleton]
        self.output = Path(config.output)
        self.output.mkdir(parents=True, exist_ok=True)
        self.checkpoint_file = self.output / "checkpoint.pt"
        self.weights_file = self.output / f"{config.name}.safetensors"
        self.log_file = self.output / "log.jsonl"
        torch.manual_seed(config.seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.maker = make_batches(config)
        self.options: dict[str, Any] = {
            "n_refinement_stages": config.n_refinement_stages,
            "width": config.width,
            "inner_width": config.inner_width,
            "hidden_width": config.hidden_width,
            "trunk_widths": list(config.trunk_widths),
        }
        self.network = LightweightNetwork(self.skeleton, **self.options)
        self.teacher = (
            load_teacher(config.teacher, self.skeleton, self.device, config.teacher_share)
            if config.teacher
            else None
        )
        self.normed: list[str] = []  # convolutions that have a batch norm while they train
        self.hints = self._hints() if config.hint_weight else None
        self.step, self.best = 0, -1.0
        self.precision = torch.float32

    def _hints(self) -> Hints:
        assert self.teacher is not None  # the configuration sees to that
        teacher = self.teacher.network
        if not isinstance(teacher, LightweightNetwork):
            raise WeightsError(f"{self.config.teacher}: hints need a lightweight network")
        return Hints(self.network, teacher)

    def resume_or_start(self) -> None:
        """Load the checkpoint if there is one, the initial weights if not."""
        if self.checkpoint_file.exists():
            state = load_checkpoint(self.checkpoint_file)
            self._refuse_other_config(state["config"])
            if self.config.batch_norm:
                self._add_batch_norm(1)  # its statistics are in the checkpoint
            self.network.load_state_dict(state["network"])
            self._prepare()
            self.average = state["average"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.best = state["step"], state["best"]
            _log.info("resumed at step %d of %d", self.step, self.config.steps)
            return
        if self.config.init:
            weights.load(self.network, self.config.init)
        elif self.config.open_model_zoo:
            self._start_from_open_model_zoo(self.config.open_model_zoo)
        elif self.config.narrow:
            self._start_from_wider(self.config.narrow)
        if self.config.batch_norm:
            self._add_batch_norm(_NARROW_BATCHES)
        self._prepare()
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}

    def _start_from_open_model_zoo(self, path: str) -> None:
        load_open_model_zoo(self.network, path, self.skeleton)
        zoo = _zoo_network(path)
        filler = Teacher(zoo, self.skeleton, shared_channels(self.skeleton))
        first, last = _BEYOND, _BEYOND + self.config.fit_batches
        fit_new_limbs(
            self.network,
            zoo,
            self.skeleton,
            lambda: map(filler.fill, self.maker.stream(first, last)),
        )

    def _start_from_wider(self, path: str) -> None:
        wide, row = weights.load_model(path)
        if not isinstance(wide, LightweightNetwork) or row.skeleton != self.skeleton:
            raise WeightsError(f"{path}: narrow expects a lightweight network of the skeleton")
        narrow(wide, self.network, torch.cat(self._crops(_NARROW_BATCHES)))

    def _add_batch_norm(self, n_batches: int) -> None:
        self.normed = add_batch_norm(self.network.eval(), self._crops(n_batches))
        self.network.train()

    def _crops(self, n_batches: int) -> list[Tensor]:
        """Normalised crops for what is not training."""
        crops = (self.maker.batch(_BEYOND + i).images for i in range(n_batches))
        return [(images - _MEAN) / _SCALE for images in crops]

    def _refuse_other_config(self, saved: dict[str, Any]) -> None:
        ours = _comparable(self.config)
        different = sorted(key for key in ours if ours[key] != saved.get(key))
        if different:
            rows = "; ".join(f"{key}: {saved.get(key)!r} -> {ours[key]!r}" for key in different)
            raise CheckpointError(
                f"{self.checkpoint_file}: made with another configuration ({rows}); "
                "choose another output folder to start anew"
            )

    def _prepare(self) -> None:
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        trunk = list(self.network.trunk.parameters())
        in_trunk = {id(parameter) for parameter in trunk}
        rest = [p for p in self.network.parameters() if id(p) not in in_trunk]
        if self.config.trunk_rate == 0:
            self.network.trunk.requires_grad_(False)
        groups = [{"params": rest, "factor": 1.0}]
        if self.config.trunk_rate > 0:
            groups.append({"params": trunk, "factor": self.config.trunk_rate})
        self.optimizer = torch.optim.AdamW(
            groups, lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        if self.config.precision == "auto":
            self.precision = _fastest_precision(self.network, self.maker.augment.crop_px)
        elif self.config.precision == "bfloat16":
            self.precision = torch.bfloat16

    def go(self, deadline: float | None) -> None:
        """Train to the last step, or to the deadline."""
        if self.step >= self.config.steps:
            return
        batches = self.maker.stream(self.step, self.config.steps, self.config.workers)
        bar = tqdm(
            total=self.config.steps, initial=self.step, unit="step", disable=None, leave=True
        )
        waited, since = 0.0, time.monotonic()
        started, first = since, self.step
        with bar:
            while self.step < self.config.steps:
                asked = time.monotonic()
                batch = next(batches)
                waited += time.monotonic() - asked
                parts = self._one_step(batch)
                self.step += 1
                bar.update()
                spent = time.monotonic() - since
                late = deadline is not None and time.monotonic() > deadline
                if self.step % 20 == 0:
                    images = (self.step - first) * self.config.batch_size
                    rate = images / (time.monotonic() - started)
                    bar.set_postfix_str(f"{rate:.1f} images/s, {waited / spent:.0%} waiting")
                    self._write_log(step=self.step, images_per_s=rate, waiting=waited / spent,
                                    **parts)  # fmt: skip
                last = self.step == self.config.steps
                if self.step % self.config.validate_every == 0 or last:
                    self._validate()
                if self.step % self.config.checkpoint_every == 0 or last or late:
                    self._save()
                if late and not last:
                    _log.info("stopped after the given time at step %d", self.step)
                    batches.close()
                    return

    def _one_step(self, batch: Batch) -> dict[str, float]:
        batch = _to(batch, self.device)
        if self.teacher is not None:
            batch = self.teacher.fill(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(self.config, self.step)
        images = ((batch.images - _MEAN) / _SCALE).contiguous(memory_format=torch.channels_last)
        half = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision, enabled=half):
            stages = self.network(images)
        loss, parts = fields_loss(stages, batch, heatmap_weight=self.config.heatmap_weight)
        if self.hints is not None:
            hint = self.hints.loss()
            loss, parts["hints"] = loss + self.config.hint_weight * hint, float(hint.detach())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        if not math.isfinite(float(norm)):
            _log.warning("step %d: the gradient is not finite; the step is left out", self.step)
            return {**parts, "loss": float(loss.detach()), "skipped": 1.0}
        self.optimizer.step()
        # The average follows quickly at first, so that it does not remember the start for long.
        decay = min(self.config.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for key, value in self.network.state_dict().items():
                self.average[key].lerp_(value, 1 - decay)
        return {**parts, "loss": float(loss.detach()), "gradient": float(norm)}

    def _validate(self) -> None:
        row = self._row({})
        if self.config.validation is None:
            weights.save(folded(self.average, self.normed), self.weights_file, row)
            return
        state = folded(self.average, self.normed)
        figures = validate(state, row, self.config.validation, self.config.size)
        self._write_log(step=self.step, **{f"val_{k}": v for k, v in figures.items()})
        _log.info("step %d: validation AP %.3f", self.step, figures["AP"])
        if figures["AP"] > self.best:
            self.best = figures["AP"]
            weights.save(state, self.weights_file, self._row({"validation": figures}))

    def _row(self, metrics: dict[str, Any]) -> weights.Weights:
        return weights.Weights(
            name=self.config.name,
            builder="lightweight",
            options=self.options,
            skeleton=self.skeleton,
            heatmap_grid=self.maker.heatmap_grid,
            paf_grid=self.maker.paf_grid,
            mean=_MEAN,
            scale=_SCALE,
            licence="Apache-2.0",
            metrics={"step": self.step, **metrics},
            result=None if self.skeleton == LABELS else LABELS,
        )

    def _save(self) -> None:
        save_checkpoint(
            {
                "config": _comparable(self.config),
                "network": self.network.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "best": self.best,
            },
            self.checkpoint_file,
        )

    def _write_log(self, **row: Any) -> None:
        with self.log_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({k: _rounded(v) for k, v in row.items()}) + "\n")


def learning_rate(config: TrainConfig, step: int) -> float:
    """The rate at a step: a linear rise, then half a cosine down to a twentieth."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)


def _load(row: SetConfig) -> PhotoSet:
    return load_photo_set(
        row.annotations,
        row.images,
        name=row.name,
        weight=row.weight,
        trusted=row.trusted,
        min_agreement=row.min_agreement,
        holdout=row.holdout,
    )


def make_batches(config: TrainConfig) -> BatchMaker:
    """The batches of a run.

    Raises:
        DatasetError: If a set is missing or without people.
    """
    return BatchMaker(
        [_load(row) for row in config.sets],
        batch_size=config.batch_size,
        augment=config.augment,
        skeleton=SKELETONS[config.skeleton],
        heatmap_grid=Grid(8, config.heatmap_offset),
        paf_grid=Grid(8, config.paf_offset),
        seed=config.seed,
    )


def load_teacher(
    path: str, skeleton: Skeleton, device: torch.device, share: float = 0.0
) -> Teacher:
    """The teacher of a run.

    Raises:
        WeightsError: If the file is missing or damaged, or knows another skeleton.
    """
    if path.endswith(".npz"):
        return Teacher(
            _zoo_network(path).to(device), skeleton, shared_channels(skeleton), share=share
        )
    network, row = weights.load_model(path)
    if row.skeleton != skeleton:
        raise WeightsError(
            f"{path}: a teacher must know the skeleton {skeleton.name!r}, "
            f"this one knows {row.skeleton.name!r}"
        )
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    channels = own_channels(skeleton)
    return Teacher(network, skeleton, channels, mean=row.mean, scale=row.scale, share=share)


def _zoo_network(path: str) -> LightweightNetwork:
    network = LightweightNetwork(Skeleton.COCO18)
    load_open_model_zoo(network, path, Skeleton.COCO18)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _comparable(config: TrainConfig) -> dict[str, Any]:
    """The configuration as plain values, without what may differ in a resumed run."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    for free in ("output", "workers", "checkpoint_every", "precision"):
        del values[free]
    return values


def _to(batch: Batch, device: torch.device) -> Batch:
    moved: dict[str, Tensor] = {
        entry.name: getattr(batch, entry.name).to(device, non_blocking=True)
        for entry in dataclasses.fields(batch)
    }
    return Batch(**moved)


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _fastest_precision(network: nn.Module, crop_px: int) -> torch.dtype:
    """bfloat16 where it beats float32 on this very device; on many CPUs it is far slower."""
    device = next(network.parameters()).device
    images = torch.zeros(2, 3, crop_px, crop_px, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        for attempt in range(2):  # the first warms up
            start = time.monotonic()
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                stages = network(images)
            sum(h.float().mean() + p.float().mean() for h, p in stages).backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[dtype] = time.monotonic() - start
            if attempt == 0 and seconds[dtype] > 4 * seconds.get(torch.float32, math.inf):
                break  # so slow that there is no need to measure again
    network.zero_grad(set_to_none=True)
    best = torch.bfloat16 if seconds[torch.bfloat16] < 0.9 * seconds[torch.float32] else None
    return best or torch.float32
