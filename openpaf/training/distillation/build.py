"""What ``[distillation]`` adds to a run: transforms of its batches, and losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from openpaf.errors import WeightsError
from openpaf.geometry import Grid
from openpaf.networks import LightweightNetwork
from openpaf.training.config import SKELETONS, TrainConfig
from openpaf.training.data.batches import Batch
from openpaf.training.data.stream import Transform
from openpaf.training.distillation.feature_hints import Hints
from openpaf.training.distillation.target_resampling import ImageScales
from openpaf.training.distillation.teacher import Teacher, load_teacher
from openpaf.training.optimizer import autocast


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Parts of a run that learns from another network; none by default.

    Args:
        transforms: What each batch goes through before the network sees it, in turn.
        teach: Gives a batch, made before the run, what the teacher says of it.
        hints: An extra loss of hidden features, if there is one.
    """

    transforms: tuple[Transform, ...]
    teach: Callable[[Batch], Batch]
    hints: Hints | None

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        network: nn.Module,
        grids: tuple[Grid, Grid],
        device: torch.device,
        precision: torch.dtype,
    ) -> Distillation:
        """The parts that a run asks for.

        Raises:
            WeightsError: If the teacher's weights are missing or do not fit.
        """
        table = config.distillation
        skeleton = SKELETONS[config.targets.skeleton]
        transforms: list[Transform] = []
        teach, hints = _unchanged, None
        if table.teacher is not None:
            teacher = load_teacher(table, skeleton, grids, device)
            hints = _hints(config, network, teacher) if table.hint_weight else None
            teaching = Teaching(teacher, hints, table.feature_steps, device, precision)
            teach = teaching.teach
            if not table.cached_crops:  # which are kept with what the teacher says of them
                transforms.append(teaching)
        if table.resamples:
            transforms.append(ImageScales(table.image_scales, grids, config.seed))
        return cls(transforms=tuple(transforms), teach=teach, hints=hints)


class Teaching:
    """Gives batches the teacher's fields, and its hidden features where there are hints.

    Args:
        teacher: The teacher.
        hints: Take the features from the teacher as its fields are computed.
        feature_steps: For so many steps at first, only features are given.
        device: Where the teacher is.
        precision: What it computes in.
    """

    def __init__(
        self,
        teacher: Teacher,
        hints: Hints | None,
        feature_steps: int,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        self.teacher, self.hints, self.feature_steps = teacher, hints, feature_steps
        self.device, self.precision = device, precision

    def __call__(self, batch: Batch, step: int) -> Batch:
        """The batch of a step, taught."""
        if self.hints is not None and step < self.feature_steps:
            with autocast(self.device, self.precision):
                return self.hints.attach_shared(batch, self.teacher.inputs(batch))
        return self.teach(batch)

    def teach(self, batch: Batch) -> Batch:
        """A batch with fields, and features where there are hints."""
        with autocast(self.device, self.precision):
            batch = self.teacher.fill(batch)
        return batch if self.hints is None else self.hints.attach(batch)


def _unchanged(batch: Batch) -> Batch:
    return batch


def _hints(config: TrainConfig, network: nn.Module, teacher: Teacher) -> Hints:
    theirs = teacher.network
    if not isinstance(network, LightweightNetwork) or not isinstance(theirs, LightweightNetwork):
        raise WeightsError(f"{config.distillation.teacher}: hints need two lightweight networks")
    return Hints(network, theirs)
