"""Training of networks that give heatmaps and part affinity fields."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from openpaf import weights
from openpaf.channels import CHANNEL_ORDERS, ChannelOrder
from openpaf.geometry import Grid
from openpaf.networks.fresh import fresh_weights
from openpaf.skeleton import Skeleton
from openpaf.training.config import SKELETONS, TrainConfig
from openpaf.training.data.batches import Batch, BatchMaker, load_sets
from openpaf.training.distillation import load_teacher
from openpaf.training.distributed import Processes
from openpaf.training.logging import Progress
from openpaf.training.losses import fields_loss
from openpaf.training.optimizer import (
    autocast,
    choose_precision,
    keep_gradients_exact,
    make_optimizer,
)
from openpaf.training.start import Start, read_start
from openpaf.training.style import target_style

_log = logging.getLogger(__name__)

MEAN, SCALE = 128.0, 255.0  # input normalization of the networks that are trained
_DRY_RUN_PX = 128
# True fields of people at stride 8 (63 images of COCO train2017) have AP 0.96 with 7 px, 0.95
# with 4, 0.94 with 3, 0.83 with 2.5 and 0.33 with 2.
_LEAST_SIGMA_CELLS = 0.375

#: Changes the batch of a step, e.g. adds what a teacher says of it.
Transform = Callable[[Batch, int], Batch]


class PartAffinityTask:
    """See :class:`openpaf.training.task.Task`.

    Args:
        config: The run.
        processes: Those that it is shared by.

    Raises:
        DatasetError: If a set is missing or without people.
        WeightsError: If the teacher's weights are missing or do not fit.
        ValueError: If the network is unknown, or gives no fields.
    """

    def __init__(self, config: TrainConfig, processes: Processes) -> None:
        self.config, self.processes, self.device = config, processes, processes.device
        self.start = read_start(config.network)
        self.network, self.maker = network_and_batches(config, self.start)
        self.labels, self.skeleton = self.maker.labels, self.maker.skeleton
        self.grids = self.maker.heatmap_grid, self.maker.paf_grid
        self.style = target_style(config, self.skeleton)
        self.images = self.maker.photos
        trunk = getattr(self.network, "trunk", None)
        self.trunk = trunk if isinstance(trunk, nn.Module) else None
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        keep_gradients_exact(self.network)
        name, crop_px = config.optimizer.precision, config.augment.crop_px
        self.precision = processes.agree(choose_precision(name, self.network, crop_px))
        self.teacher = load_teacher(config.distillation, self.skeleton, self.grids, self.device)

    def load_start(self) -> None:
        given = self.start.load(self.network, self.skeleton)
        if given is not None:
            heads = self.skeleton.n_joints + 1, 2 * self.skeleton.n_limbs
            images = self.inputs(self.maker.batch(0).to(self.device))
            fresh_weights(self.network, images, heads, given)

    def make_optimizer(self) -> torch.optim.Optimizer:
        return make_optimizer(self.network, self.trunk, self.config.optimizer)

    def transforms(self) -> Sequence[Transform]:
        """What every batch goes through in turn, on the device."""
        return [self.teach]

    def teach(self, batch: Batch, step: int) -> Batch:
        """The batch with the fields of the teacher, if there is one."""
        if self.teacher is None:
            return batch
        with autocast(self.device, self.precision):
            return self.teacher.fill(batch)

    def batches(self, start: int, stop: int, progress: Progress) -> Generator[Batch]:
        with closing(self.drawn(start, stop)) as drawn:
            yield from map(self.ready, progress.timed(drawn), range(start, stop))

    def drawn(self, start: int, stop: int) -> Generator[Batch]:
        """What this process takes of the batches of a run, not yet ready."""
        rows = self.processes.rows(self.config.optimizer.batch_size)
        return self.maker.stream(start, stop, self.config.data.workers, rows=rows)

    def ready(self, batch: Batch, step: int) -> Batch:
        """The batch of a step on the device, transformed."""
        batch = batch.to(self.device)
        for transform in self.transforms():
            batch = transform(batch, step)
        return batch

    def inputs(self, batch: Batch) -> Tensor:
        """The images as the network takes them: (B, 3, S, S), normalized."""
        spec, images = self.start.spec, batch.images
        mean, scale = (spec.mean, spec.scale) if spec else (MEAN, SCALE)
        if spec is not None and spec.bgr:
            images = images.flip(1)
        return ((images - mean) / scale).contiguous(memory_format=torch.channels_last)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config
        if self.channel_order is not None:
            batch = in_channel_order(batch, self.channel_order)
        with autocast(self.device, self.precision):
            stages = self.network(self.inputs(batch))
        # Gradients are averaged over the processes, whose slices may differ by a crop: each
        # divides by the mean size of a slice, so that the average is the whole batch's gradient.
        # Crops that were made smaller count by their area: every cell counts alike.
        share = (batch.images.shape[2] / config.augment.crop_px) ** 2
        return fields_loss(
            stages,
            batch,
            heatmap_weight=config.targets.heatmap_weight,
            n_crops=config.optimizer.batch_size / self.processes.n / share,
        )

    @property
    def channel_order(self) -> ChannelOrder | None:
        """Which channel of the network belongs to which joint and limb, if not in order."""
        name = self.start.spec.channel_order if self.start.spec else None
        return CHANNEL_ORDERS[name] if name and self.start.fits(self.skeleton) else None

    def spec(self, metrics: dict[str, Any]) -> weights.ModelSpec:
        start, order = self.start.spec, self.channel_order
        return weights.ModelSpec(
            name=self.config.name,
            builder=self.start.builder,
            options=self.start.options,
            skeleton=self.skeleton,
            heatmap_grid=self.grids[0],
            paf_grid=self.grids[1],
            mean=start.mean if start else MEAN,
            scale=start.scale if start else SCALE,
            bgr=start is not None and start.bgr,
            channel_order=order.name if order else None,
            licence=start.licence if start else "Apache-2.0",  # that of the start binds its heirs
            metrics=metrics,
            result=None if self.skeleton == self.labels else self.labels,
            sigma_px=self.style.sigma_px,
            paf_half_width_px=self.style.paf_half_width_px,
        )


def in_channel_order(batch: Batch, order: ChannelOrder) -> Batch:
    """A batch with its targets in the order of a network's channels."""
    heatmaps = torch.tensor(order.heatmaps).argsort()
    pafs = torch.tensor(order.pafs).flatten().argsort()
    return replace(
        batch,
        heatmaps=batch.heatmaps[:, heatmaps],
        heatmap_weights=batch.heatmap_weights[:, heatmaps],
        pafs=batch.pafs[:, pafs],
        paf_weights=batch.paf_weights[:, pafs],
    )


def network_skeleton(config: TrainConfig, start: Start, labels: Skeleton) -> Skeleton:
    """The skeleton of the network of a run.

    Args:
        config: The run.
        start: What it starts from: a model that knows the joints of the labels has its own limbs.
        labels: The joints of its labels.

    Raises:
        ValueError: If the labels' skeleton has no limbs, or the run names one of people and they
            have other joints.
    """
    name = config.data.skeleton or ""
    if name in SKELETONS and labels.joints != Skeleton.COCO17.joints:
        raise ValueError(
            f"data.skeleton: {name!r} is of people, expected a file, or none, for labels of "
            f"{', '.join(labels.joints)}"
        )
    model = start.spec and start.spec.skeleton
    if model and set(labels.joints) <= set(model.joints) and not name:
        return model
    skeleton = SKELETONS.get(name, labels)
    if not skeleton.limbs:
        raise ValueError(
            f"skeleton {skeleton.name!r}: expected limbs that connect its joints, got none; "
            "`openpaf skeleton suggest ANNOTATIONS --output FILE` chooses some for data.skeleton"
        )
    apart = skeleton.unconnected
    if apart:
        _log.warning(
            "skeleton %r: no limbs connect %s to the others; they will be other people",
            skeleton.name, ", ".join(apart),
        )  # fmt: skip
    return skeleton


@torch.no_grad()
def target_grids(
    config: TrainConfig, start: Start, network: nn.Module, skeleton: Skeleton
) -> tuple[Grid, Grid]:
    """Grids of heatmaps and PAFs, of a run's targets and of its network, whose stride they have.

    Raises:
        ValueError: If a dry run of the network does not give fields of the run's skeleton.
    """
    targets = config.targets
    stages = network.eval()(torch.zeros(1, 3, _DRY_RUN_PX, _DRY_RUN_PX))
    network.train()
    try:
        shapes = {tuple(tuple(part.shape) for part in stage) for stage in stages}
        n_cells = max(shapes)[0][2]
    except (AttributeError, IndexError, TypeError, ValueError):
        shapes, n_cells = set(), 1
    size = n_cells, n_cells
    if shapes != {((1, skeleton.n_joints + 1, *size), (1, 2 * skeleton.n_limbs, *size))}:
        raise ValueError(
            f"network.name: expected a network that gives heatmaps and PAFs of {skeleton.name!r}, "
            f"got {start.builder!r}"
        )
    if start.spec is not None and start.fits(skeleton):
        grids = start.spec.heatmap_grid, start.spec.paf_grid
        offsets = grids[0].offset, grids[1].offset
        if targets.grid_offsets not in (None, offsets):
            raise ValueError(
                f"targets.grid_offsets: expected {list(offsets)}, those of "
                f"{config.network.weights}, got {list(targets.grid_offsets)}"
            )
        return grids
    stride = _DRY_RUN_PX // n_cells
    if targets.grid_offsets is None:
        return Grid(stride), Grid(stride)
    of_heatmaps, of_pafs = targets.grid_offsets
    return Grid(stride, of_heatmaps), Grid(stride, of_pafs)


def make_batches(config: TrainConfig) -> BatchMaker:
    """The batches of a run, with labels alone; errors as :func:`network_and_batches`."""
    return network_and_batches(config, read_start(config.network))[1]


def network_and_batches(config: TrainConfig, start: Start) -> tuple[nn.Module, BatchMaker]:
    """The network of a run, with fresh weights, and its batches.

    Raises:
        DatasetError: If a set is missing or without people.
        ValueError: As :func:`network_skeleton`, :meth:`Start.build` and :func:`target_grids`.
    """
    sets = load_sets(config.data)
    skeleton = network_skeleton(config, start, sets[0].skeleton)
    network = start.build(skeleton)
    heatmap_grid, paf_grid = target_grids(config, start, network, skeleton)
    style = target_style(config, skeleton)
    _warn_of_narrow_peaks(style.sigma_px, heatmap_grid.stride)
    maker = BatchMaker(
        sets,
        batch_size=config.optimizer.batch_size,
        augment=config.augment,
        skeleton=skeleton,
        heatmap_grid=heatmap_grid,
        paf_grid=paf_grid,
        sigma_px=style.sigma_px,
        paf_half_width_px=style.paf_half_width_px,
        is_taught=config.distillation.teacher is not None,
        seed=config.seed,
    )
    return network, maker


def _warn_of_narrow_peaks(sigma_px: float, stride: int) -> None:
    """Say it where peaks fall between the cells, so that even of true fields few are found."""
    least_px = _LEAST_SIGMA_CELLS * stride
    if sigma_px < least_px:
        _log.warning(
            "targets.sigma_px: %g px are so narrow at a stride of %d px that peaks are lost "
            "between the cells; expected at least %g px, or a network of a smaller stride",
            sigma_px, stride, least_px,
        )  # fmt: skip
