"""What ``[distillation]`` adds to a run: transforms of its batches, and a loss."""

from __future__ import annotations

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
    """Parts of a run that learns from another network.

    Args:
        transforms: What each batch goes through before the network sees it, in turn.
        teach: Gives a batch what the teacher says of it; one of the transforms, or for crops that
            are made before the run.
        hints: An extra loss of hidden features, if there is one.
    """

    transforms: tuple[Transform, ...]
    teach: Transform
    hints: Hints | None


def build_distillation(
    config: TrainConfig,
    network: nn.Module,
    grids: tuple[Grid, Grid],
    device: torch.device,
    precision: torch.dtype,
) -> Distillation:
    """The parts that a run asks for; none by default.

    Raises:
        WeightsError: If the teacher's weights are missing or do not fit.
    """
    table = config.distillation
    transforms: list[Transform] = []
    teach: Transform = _unchanged
    hints = None
    if table.teacher is not None:
        teacher = load_teacher(table, SKELETONS[config.targets.skeleton], grids, device)
        hints = _hints(table.teacher, network, teacher) if table.hint_weight else None
        teach = _teaching(teacher, hints, table.feature_steps, device, precision)
        if not table.cached_crops:  # which are kept as they are taught
            transforms.append(teach)
    if table.resamples:
        transforms.append(ImageScales(table.image_scales, grids, config.seed))
    return Distillation(transforms=tuple(transforms), teach=teach, hints=hints)


def _unchanged(batch: Batch, step: int) -> Batch:
    return batch


def _teaching(
    teacher: Teacher,
    hints: Hints | None,
    feature_steps: int,
    device: torch.device,
    precision: torch.dtype,
) -> Transform:
    """The teacher's fields for a batch, and its features; of the first steps, features alone."""

    def teach(batch: Batch, step: int) -> Batch:
        with autocast(device, precision):
            if hints is not None and step < feature_steps:
                return hints.attach_shared(batch, teacher.inputs(batch))
            batch = teacher.fill(batch)
            return batch if hints is None else hints.attach(batch)

    return teach


def _hints(path: str, network: nn.Module, teacher: Teacher) -> Hints:
    theirs = teacher.network
    if not isinstance(network, LightweightNetwork) or not isinstance(theirs, LightweightNetwork):
        raise WeightsError(f"{path}: hints need two lightweight networks")
    return Hints(network, theirs)
