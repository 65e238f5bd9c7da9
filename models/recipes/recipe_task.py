"""Runs of the recipes: a library's run of fields, with the table ``[recipe]`` beside the others."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal, Protocol

import torch
from batches_ahead import made_ahead
from cached_crops import CachedCrops
from device_batches import make_device_batches
from feature_hints import Hints
from msgspec import Meta
from multi_scale_teacher import MultiScaleNetwork
from muon import Muon
from pasting import Pasting
from peak_weights import weight_peaks
from target_resampling import ImageScales
from teacher_engine import run_by_engine
from torch import Tensor

from openpaf.errors import WeightsError
from openpaf.fields import PAF_HALF_WIDTH_PX, SIGMA_PX
from openpaf.networks import LightweightNetwork
from openpaf.training.checkpoints import comparable_config
from openpaf.training.config import AugmentConfig, TrainConfig
from openpaf.training.data.batches import Batch
from openpaf.training.distributed import Processes
from openpaf.training.logging import Progress
from openpaf.training.optimizer import autocast, parameter_groups
from openpaf.training.part_affinity import PartAffinityTask, Transform
from openpaf.training.tables import CountOrZero, Positive, PositiveOrZero, Share, Table

_Scale = Annotated[float, Meta(gt=0, le=1)]
_OF_TEACHER = ("teacher_engine", "teacher_scales", "mirrored_scales")


class RecipeTable(Table, frozen=True, kw_only=True):
    """``[recipe]``: what a recipe adds to a run.

    Args:
        hint_weight: Weight of hidden features in the loss, drawn to the teacher's; see
            :class:`feature_hints.Hints`. Of a teacher in torch that sees each crop once.
        feature_steps: For so many steps at first, only the features that the stages share are
            drawn to the teacher's, which is much quicker than a whole step.
        image_scales: The network is shown each batch resized by one of these, above 0 and at most
            1, drawn at random, with targets from the crops as they are; see
            :mod:`target_resampling`.
        cached_crops: So many crops are made once, with the teacher's fields, kept in the folder
            ``crops`` of the output (0.8 MB a crop of 256 px), and used again and again; 0 makes
            every crop anew. See :class:`cached_crops.CachedCrops`.
        peak_weight: Cells at peaks, weak ones most, count up to so much more in the heatmaps'
            error; see :mod:`peak_weights`.
        frozen_layers: So many layers of the trunk, counted from the image, do not learn.
        muon: Whether :class:`muon.Muon` takes the place of AdamW.
        teacher_engine: What runs the teacher, of :func:`openpaf.engines.load.load_engine`; named
            and not measured, so that runs are alike. OpenVINO in bfloat16 takes half of the time on
            a CPU with AMX.
        teacher_scales: The teacher's fields are the mean over the crops resized by each of these;
            see :class:`multi_scale_teacher.MultiScaleNetwork`.
        mirrored_scales: And over their mirror images, resized by each of these.
        occluders: Probability of a crop with pieces of other images over joints; see
            :class:`pasting.Pasting`, which makes its crops on the CPU.
        paste_people: Probability of a crop with a person of another image pasted into it.
        on_device: ``"yes"`` holds all images on the device of the network, as uint8, and makes
            crops there; ``"no"`` makes them on the CPU; ``"auto"`` is yes on a GPU that has the
            memory. See :mod:`device_batches`.
    """

    hint_weight: PositiveOrZero = 0.0
    feature_steps: CountOrZero = 0
    image_scales: Annotated[tuple[_Scale, ...], Meta(min_length=1)] = (1.0,)
    cached_crops: CountOrZero = 0
    peak_weight: PositiveOrZero = 0.0
    frozen_layers: CountOrZero = 0
    muon: bool = False
    teacher_engine: Literal["torch", "onnx", "openvino", "openvino-bf16"] = "torch"
    teacher_scales: tuple[Positive, ...] = (1.0,)
    mirrored_scales: tuple[Positive, ...] = ()
    occluders: Share = 0.0
    paste_people: Share = 0.0
    on_device: Literal["auto", "yes", "no"] = "auto"

    def check(self) -> None:
        if self.hint_weight and self.resamples:
            raise ValueError("hint_weight: expected 0 beside image_scales other than 1")
        if self.feature_steps and not self.hint_weight:
            raise ValueError("feature_steps: expected a hint_weight above 0 beside it")
        if self.cached_crops and self.feature_steps:
            raise ValueError("cached_crops: expected no feature_steps beside it")
        if not (*self.teacher_scales, *self.mirrored_scales):
            raise ValueError("teacher_scales, mirrored_scales: expected at least one number")
        if self.hint_weight and (key := self.changed(*_OF_TEACHER)):
            raise ValueError(f"{key[0]}: expected the default beside hint_weight")
        if self.on_device == "yes" and (self.occluders or self.paste_people):
            raise ValueError('on_device: expected "auto" or "no" where pieces are pasted')

    @property
    def resamples(self) -> bool:
        """Whether the network is shown smaller crops than its teacher."""
        return set(self.image_scales) != {1.0}

    def pasting(self, augment: AugmentConfig) -> Pasting | None:
        """What is pasted into crops, if anything."""
        if not (self.occluders or self.paste_people):
            return None
        return Pasting(occluders=self.occluders, paste_people=self.paste_people, augment=augment)


class RecipeConfig(TrainConfig, frozen=True, kw_only=True):
    """A run with a table ``[recipe]``, of a network that gives fields."""

    recipe: RecipeTable = RecipeTable()

    def check(self) -> None:
        super().check()
        of_teacher = self.recipe.changed("hint_weight", *_OF_TEACHER)
        if of_teacher and not self.distillation.teacher:
            raise ValueError(f"recipe.{of_teacher[0]}: expected a [distillation] with a teacher")
        for key, width in {"sigma_px": SIGMA_PX, "paf_half_width_px": PAF_HALF_WIDTH_PX}.items():
            given = getattr(self.targets, key) or (None if self.network.weights else width)
            if given != width and self.recipe.resamples:
                raise ValueError(f"targets.{key}: expected {width:g} beside image_scales")


class BatchSource(Protocol):
    """Makes the batches of a run."""

    def stream(
        self, start: int, stop: int, workers: int = ..., *, rows: range | None = None
    ) -> Generator[Batch]:
        """The batches of steps ``start`` to ``stop``, or some of their crops."""


class RecipeTask(PartAffinityTask):
    """A run's task with what its recipe adds.

    Args:
        config: The run.
        processes: Those that it is shared by.

    Raises:
        WeightsError: If hints are asked of other networks than two lightweight ones.
    """

    def __init__(self, config: RecipeConfig, processes: Processes) -> None:
        super().__init__(config, processes)
        self.recipe = config.recipe
        self.maker.change_plan = self.recipe.pasting(config.augment)
        self.hints = self._hints() if self.recipe.hint_weight else None
        self._change_teacher()

    def _change_teacher(self) -> None:
        teacher, recipe, path = self.teacher, self.recipe, self.config.distillation.teacher
        if teacher is None or path is None:
            return
        if recipe.teacher_engine != "torch":
            run_by_engine(teacher, path, recipe.teacher_engine, self.device)
        views = recipe.teacher_scales, recipe.mirrored_scales
        if views != ((1.0,), ()):
            teacher.network = MultiScaleNetwork(
                teacher.network, teacher.skeleton, self.grids, *views
            )

    def _hints(self) -> Hints:
        theirs = None if self.teacher is None else self.teacher.network
        if not (
            isinstance(self.network, LightweightNetwork) and isinstance(theirs, LightweightNetwork)
        ):
            path = self.config.distillation.teacher
            raise WeightsError(f"{path}: hints need two lightweight networks")
        return Hints(self.network, theirs)

    def transforms(self) -> Sequence[Transform]:
        """What every batch goes through; cached crops have the teacher's fields already."""
        transforms: list[Transform] = [] if self.recipe.cached_crops else [self.teach]
        if self.recipe.resamples:
            scales, seed = self.recipe.image_scales, self.config.seed
            transforms.append(ImageScales(scales, self.grids, seed))
        if self.recipe.peak_weight:
            transforms.append(lambda batch, _: weight_peaks(batch, self.recipe.peak_weight))
        return transforms

    def teach(self, batch: Batch, step: int) -> Batch:
        """The teacher's fields, and its features; of the first steps, features alone."""
        if self.hints is None or self.teacher is None:
            return super().teach(batch, step)
        if step >= self.recipe.feature_steps:
            return self.hints.attach(super().teach(batch, step))
        with autocast(self.device, self.precision):
            return self.hints.attach_shared(batch, self.teacher.inputs(batch))

    def source(self) -> BatchSource:
        """Where batches come from; cached crops are made first, pieces are pasted on the CPU."""
        if not self.recipe.cached_crops:
            choice = "no" if self.maker.change_plan else self.recipe.on_device
            return make_device_batches(self.maker, self.device, choice)
        of_run = json.dumps(comparable_config(self.config), sort_keys=True)
        folder = Path(self.config.output) / "crops"
        crops = CachedCrops(folder, self.maker, self.recipe.cached_crops, self.processes, of_run)
        crops.make(self.teach)
        return crops

    def drawn(self, start: int, stop: int) -> Generator[Batch]:
        rows = self.processes.rows(self.config.optimizer.batch_size)
        return self.source().stream(start, stop, self.config.data.workers, rows=rows)

    @property
    def makes_ahead(self) -> bool:
        """Whether another thread makes the batches ready, while the one that trains waits."""
        return self.device.type == "cuda"

    def batches(self, start: int, stop: int, progress: Progress) -> Generator[Batch]:
        if not self.makes_ahead:
            yield from super().batches(start, stop, progress)
            return
        with closing(self.drawn(start, stop)) as drawn:
            ahead = made_ahead(map(self.ready, drawn, range(start, stop)), self.device)
            with closing(ahead):
                yield from progress.timed(ahead)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        if self.hints is not None and step < self.recipe.feature_steps:
            with autocast(self.device, self.precision):
                loss = self.hints.shared_loss(self.inputs(batch), batch)
            return loss, {"hints": loss.detach()}
        loss, parts = super().loss(batch, step)
        if self.hints is not None:
            extra = self.hints.loss(batch)
            loss, parts["hints"] = loss + self.recipe.hint_weight * extra, extra.detach()
        return loss, parts

    def make_optimizer(self) -> torch.optim.Optimizer:
        layers = [] if self.trunk is None else list(self.trunk.children())
        if (n_frozen := self.recipe.frozen_layers) > len(layers):
            raise ValueError(f"frozen_layers: expected 0 to {len(layers)}, got {n_frozen}")
        for layer in layers[:n_frozen]:
            layer.requires_grad_(False)
        if not self.recipe.muon:
            return super().make_optimizer()
        config = self.config.optimizer
        groups = parameter_groups(self.network, self.trunk, config.trunk_rate)
        # float16 has not the range for it.
        low = torch.bfloat16 if self.precision == torch.bfloat16 else torch.float32
        rate, decay = config.learning_rate, config.weight_decay
        return Muon(groups, lr=rate, weight_decay=decay, precision=low)
