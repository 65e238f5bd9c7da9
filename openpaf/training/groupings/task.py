"""The task of every grouping whose network gives arrays of the whole image."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from openpaf import weights
from openpaf.geometry import Grid
from openpaf.networks.fresh import HEAD_STD, fresh_weights
from openpaf.training.config import DistillationConfig, TrainConfig
from openpaf.training.data.batches import BatchMaker, CropMaker, load_sets
from openpaf.training.distributed import Processes
from openpaf.training.groupings.grouping import Grouping
from openpaf.training.logging import Progress
from openpaf.training.optimizer import (
    PRECISIONS,
    autocast,
    keep_gradients_exact,
    make_optimizer,
)
from openpaf.training.part_affinity import MEAN, SCALE
from openpaf.training.start import read_start
from openpaf.training.style import target_style
from openpaf.weights.spec import OUTPUTS

_DRY_RUN_PX = 128

#: Images (B, 3, S, S), RGB of 0 to 255, and targets by name.
Batch = tuple[Tensor, dict[str, Tensor]]


@dataclass
class _Batches(CropMaker[Batch]):
    """Makes batches of a grouping's targets."""

    grouping: Grouping | None = None

    def batch(self, step: int, rows: range | None = None) -> Batch:
        assert self.grouping is not None
        images, plans = self.crops(step, rows)
        targets = [self.grouping.targets(plan) for plan in plans]
        return images, {
            name: torch.from_numpy(np.stack([one[name] for one in targets])) for name in targets[0]
        }


class GroupingTask:
    """See :class:`openpaf.training.task.Task`.

    A network may have ``stages`` beside ``forward``: what the loss compares, if that is not the
    result alone; and ``INPUT``, mean and scale of the images that its published weights take.

    Args:
        grouping: What is learned.
        config: The run.
        processes: Those that it is shared by.

    Raises:
        DatasetError: If a set is missing or without people.
        ValueError: If the network is unknown, or not one of the grouping, or a key of PAFs is
            given.
    """

    def __init__(self, grouping: type[Grouping], config: TrainConfig, processes: Processes) -> None:
        self.config, self.device = config, processes.device
        self.start = read_start(config.network)
        batch_size = config.optimizer.batch_size
        self.batch_maker = _Batches(
            load_sets(config.data), batch_size=batch_size, augment=config.augment, seed=config.seed
        )
        self.labels, self.images = self.batch_maker.labels, self.batch_maker.photos
        network = self.start.build(self.labels)
        self.network: nn.Module = network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        keep_gradients_exact(self.network)
        self.grids, of_stages = self._grids(grouping)
        _refuse_keys_of_pafs(config, grouping.method)
        if grouping.takes_crops:
            _check_crops(config)
        self.sigma_px = target_style(config, self.labels).sigma_px
        makers = {grid: self._maker(grid) for grids in of_stages for grid in grids}
        self.grouping = grouping(self.labels, of_stages, makers)
        self.batch_maker.grouping = self.grouping
        self.rows = processes.rows(batch_size)
        # Parts of the loss are means over a slice, and slices may differ by a crop.
        self.share = len(self.rows) * processes.n / batch_size
        self.precision = PRECISIONS.get(config.optimizer.precision, torch.float32)
        trunk = getattr(network, "trunk", None)
        self.trunk = trunk if isinstance(trunk, nn.Module) else None

    @torch.no_grad()
    def _grids(self, grouping: type[Grouping]) -> tuple[list[Grid], list[list[Grid]]]:
        """Grids of the arrays of the network's result, and of each of its stages.

        Raises:
            ValueError: If its arrays are not those of the grouping.
        """
        image = torch.zeros(1, 3, _DRY_RUN_PX, _DRY_RUN_PX, device=self.device)
        result, stages = self.network.eval()(image)[-1], self._stages(image)
        self.network.train()
        channels = grouping.channels(self.labels)
        if any(tuple(part.shape[1] for part in one) != channels for one in (result, *stages)):
            names = ", ".join(grouping.outputs or OUTPUTS[grouping.method])
            raise ValueError(
                f"network.name: expected a network that gives {names} of {self.labels.name!r}, got "
                f"{self.start.builder!r}"
            )
        known = self.start.spec.heatmap_grid if self.start.spec else None
        return (
            [_grid(part, known) for part in result],
            [[_grid(part, known) for part in stage] for stage in stages],
        )

    def _maker(self, grid: Grid) -> BatchMaker:
        """What makes heatmaps of a grid."""
        return BatchMaker(
            self.batch_maker.sets,
            batch_size=1,
            augment=self.config.augment,
            skeleton=replace(self.labels, limbs=()),
            heatmap_grid=grid,
            paf_grid=grid,
            sigma_px=self.sigma_px,
        )

    def _stages(self, images: Tensor) -> Sequence[tuple[Tensor, ...]]:
        run = getattr(self.network, "stages", None)
        if run is None or isinstance(run, nn.Module):  # a part of the network
            run = self.network
        stages: Sequence[tuple[Tensor, ...]] = run(images)
        return stages

    def _normalization(self) -> tuple[float, float]:
        """Mean and scale of the network's input."""
        if self.start.spec is not None:
            return self.start.spec.mean, self.start.spec.scale
        mean, scale = getattr(self.network, "INPUT", (MEAN, SCALE))
        return mean, scale

    def load_start(self) -> None:
        given = self.start.load(self.network, self.labels)
        if given is not None:
            channels = self.grouping.channels(self.labels)
            images, _ = self.batch_maker.batch(0)
            # Layers inside of a network may have as many channels as an array: where the heads are
            # known, they alone are filled as heads.
            heads = getattr(self.network, "heads", ())
            numbers = () if heads else {*channels, sum(channels)}  # one may give all arrays
            fresh_weights(self.network, self._inputs(images), numbers, given)
            for i, head in enumerate(heads):
                if f"heads.{i}.out" not in given:
                    nn.init.normal_(head.out.weight, std=HEAD_STD)
                    nn.init.zeros_(head.out.bias)

    def make_optimizer(self) -> torch.optim.Optimizer:
        return make_optimizer(self.network, self.trunk, self.config.optimizer)

    def batches(self, start: int, stop: int, progress: Progress) -> Generator[Batch]:
        workers = self.config.data.workers
        yield from progress.timed(self.batch_maker.stream(start, stop, workers, rows=self.rows))

    def _inputs(self, images: Tensor) -> Tensor:
        mean, scale = self._normalization()
        inputs = (images.to(self.device) - mean) / scale
        return inputs.contiguous(memory_format=torch.channels_last)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        images, targets = batch
        with autocast(self.device, self.precision):
            stages = self._stages(self._inputs(images))
        stages = [tuple(part.float() for part in stage) for stage in stages]
        on_device = {name: target.to(self.device) for name, target in targets.items()}
        parts = self.grouping.loss(stages, on_device)
        total = self.share * torch.stack(list(parts.values())).sum()
        return total, {name: part.detach() for name, part in parts.items()}

    def spec(self, metrics: dict[str, Any]) -> weights.ModelSpec:
        mean, scale = self._normalization()
        return weights.ModelSpec(
            name=self.config.name,
            builder=self.start.builder,
            options=self.start.options,
            skeleton=self.labels,
            heatmap_grid=self.grids[0],
            paf_grid=self.grids[1] if len(self.grids) > 1 else self.grids[0],
            mean=mean,
            scale=scale,
            bgr=False,
            licence=self.start.spec.licence if self.start.spec else "Apache-2.0",
            metrics=metrics,
            method=self.grouping.method,
            outputs=self.grouping.outputs,
            size_hw=2 * (self.config.augment.crop_px,) if self.grouping.takes_crops else None,
            sigma_px=self.sigma_px,
        )


def _refuse_keys_of_pafs(config: TrainConfig, method: str) -> None:
    if config.distillation != DistillationConfig():
        raise ValueError(f"distillation: not for networks of {method}")
    keys = config.targets.changed("grid_offsets", "paf_half_width_px", "heatmap_weight")
    if keys:
        raise ValueError(f"targets.{keys[0]}: not for networks of {method}")


def _check_crops(config: TrainConfig) -> None:
    """See that a run of a network of one person has what such networks are used with."""
    if config.data.validation is not None:
        raise ValueError("data.validation: not for a network of one person, a part of a pair")
    if config.augment.crop_px % 32:
        raise ValueError(
            f"augment.crop_px: expected a multiple of 32, got {config.augment.crop_px}"
        )


def _grid(part: Tensor, known: Grid | None) -> Grid:
    """The grid of an array of a dry run; in line with the known one of another stride."""
    stride = _DRY_RUN_PX // part.shape[2]
    if known is None:
        return Grid(stride)
    return Grid(stride, known.offset_px + (stride - known.stride) / 2)
