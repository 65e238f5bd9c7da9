"""Training of networks that give heatmaps and part affinity fields."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from openpaf import weights
from openpaf.fields import PAF_HALF_WIDTH_PX, SIGMA_PX
from openpaf.geometry import Grid
from openpaf.networks import build
from openpaf.skeleton import Skeleton
from openpaf.training.config import SKELETONS, TrainConfig
from openpaf.training.data.batches import LABELS, Batch, BatchMaker, load_sets
from openpaf.training.data.gpu.batches import made_ahead, make_device_batches
from openpaf.training.distillation import load_teacher
from openpaf.training.distributed import Processes
from openpaf.training.logging import Progress
from openpaf.training.losses import fields_loss
from openpaf.training.optimizer import autocast, choose_precision, make_optimizer

MEAN, SCALE = 128.0, 255.0  # input normalization of the networks that are trained
_DRY_RUN_PX = 128
#: Changes the batch of a step, e.g. adds what a teacher says of it.
Transform = Callable[[Batch, int], Batch]


class BatchSource(Protocol):
    """Makes the batches of a run."""

    def stream(
        self, start: int, stop: int, workers: int = ..., *, rows: range | None = None
    ) -> Generator[Batch]:
        """The batches of steps ``start`` to ``stop``, or some of their crops."""


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
        self.skeleton = SKELETONS[config.targets.skeleton]
        self.network = build_network(config, self.skeleton)
        self.grids = target_grids(config, self.network)
        self.style = target_style(config)
        self.maker = make_batches(config, self.grids)
        self.images = self.maker.photos
        trunk = getattr(self.network, "trunk", None)
        self.trunk = trunk if isinstance(trunk, nn.Module) else None
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        name, crop_px = config.optimizer.precision, config.augment.crop_px
        self.precision = processes.agree(choose_precision(name, self.network, crop_px))
        self.teacher = load_teacher(config.distillation, self.skeleton, self.grids, self.device)

    def load_start(self) -> None:
        if self.config.network.weights:
            weights.load(self.network, self.config.network.weights)

    def make_optimizer(self) -> torch.optim.Optimizer:
        return make_optimizer(self.network, self.trunk, self.config.optimizer)

    def source(self) -> BatchSource:
        """Where batches come from."""
        return make_device_batches(self.maker, self.device, self.config.data.on_device)

    def transforms(self) -> Sequence[Transform]:
        """What every batch goes through in turn, on the device."""
        return [self.teach]

    def teach(self, batch: Batch, step: int) -> Batch:
        """The batch with the fields of the teacher, if there is one."""
        if self.teacher is None:
            return batch
        with autocast(self.device, self.precision):
            return self.teacher.fill(batch)

    @property
    def makes_ahead(self) -> bool:
        """Whether another thread makes the batches ready, while the one that trains waits."""
        return self.device.type == "cuda"

    def batches(self, start: int, stop: int, progress: Progress) -> Generator[Batch]:
        steps, workers = range(start, stop), self.config.data.workers
        rows = self.processes.rows(self.config.optimizer.batch_size)
        with ExitStack() as to_close:
            drawn = self.source().stream(start, stop, workers, rows=rows)
            to_close.enter_context(closing(drawn))
            if not self.makes_ahead:
                yield from map(self.ready, progress.timed(drawn), steps)
                return
            ahead = made_ahead(map(self.ready, drawn, steps), self.device)
            yield from progress.timed(to_close.enter_context(closing(ahead)))

    def ready(self, batch: Batch, step: int) -> Batch:
        """The batch of a step on the device, transformed."""
        batch = batch.to(self.device)
        for transform in self.transforms():
            batch = transform(batch, step)
        return batch

    def inputs(self, batch: Batch) -> Tensor:
        """The images as the network takes them: (B, 3, S, S), normalized."""
        return ((batch.images - MEAN) / SCALE).contiguous(memory_format=torch.channels_last)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config
        with autocast(self.device, self.precision):
            stages = self.network(self.inputs(batch))
        # Gradients are averaged over the processes, whose slices may differ by a crop: each
        # divides by the mean size of a slice, so that the average is the whole batch's gradient.
        # Crops that were made smaller count by their area: every cell counts alike.
        share = (batch.images.shape[2] / config.augment.crop_px) ** 2
        return fields_loss(
            stages,
            batch,
            heatmap_weight=self.style.heatmap_weight,
            n_crops=config.optimizer.batch_size / self.processes.n / share,
        )

    def spec(self, metrics: dict[str, Any]) -> weights.ModelSpec:
        return weights.ModelSpec(
            name=self.config.name,
            builder=self.config.network.name,
            options=self.config.network.options,
            skeleton=self.skeleton,
            heatmap_grid=self.grids[0],
            paf_grid=self.grids[1],
            mean=MEAN,
            scale=SCALE,
            licence="Apache-2.0",
            metrics=metrics,
            result=None if self.skeleton == LABELS else LABELS,
            sigma_px=self.style.sigma_px,
            paf_half_width_px=self.style.paf_half_width_px,
        )


def build_network(config: TrainConfig, skeleton: Skeleton) -> nn.Module:
    """The network of a run, with fresh weights.

    Raises:
        ValueError: If it is unknown, or has no such options.
    """
    try:
        return build(config.network.name, skeleton, **config.network.options)
    except (OverflowError, RuntimeError, TypeError, ValueError) as error:  # torch's among them
        raise ValueError(f"[network] {error}") from error


@torch.no_grad()
def target_grids(config: TrainConfig, network: nn.Module) -> tuple[Grid, Grid]:
    """Grids of heatmaps and PAFs, of a run's targets and of its network, whose stride they have.

    Raises:
        ValueError: If a dry run of the network does not give fields of the run's skeleton.
    """
    skeleton, targets = SKELETONS[config.targets.skeleton], config.targets
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
            f"got {config.network.name!r}"
        )
    stride = _DRY_RUN_PX // n_cells
    if targets.grid_offsets is None:
        return Grid(stride), Grid(stride)
    of_heatmaps, of_pafs = targets.grid_offsets
    return Grid(stride, of_heatmaps), Grid(stride, of_pafs)


class Style(NamedTuple):
    """What targets are drawn with in px, and how much heatmaps count beside PAFs."""

    sigma_px: float
    paf_half_width_px: float
    heatmap_weight: float


_FRESH = Style(SIGMA_PX, PAF_HALF_WIDTH_PX, 1.0)
# Of weights whose file does not say it. With these widths the error of the shipped default asks for
# neither higher nor lower heatmaps and limbs of the tree, and with this weight its PAFs, whose
# error is twenty times that of the heatmaps, do not rule (models/recipes/NOTES.md).
_UNKNOWN = Style(7.5, 10.0, 10.0)


def target_style(config: TrainConfig) -> Style:
    """The style of a run's targets; what the configuration leaves out is that of its start.

    Targets of another style, or a loss that the PAFs rule, would at first cost AP, even on the
    images that are learned.

    Raises:
        WeightsError: If the initial weights are damaged.
    """
    targets, file = config.targets, config.network.weights
    style = _FRESH
    if file is not None and file.endswith(".safetensors"):
        start = weights.read_header(file)
        style = _UNKNOWN._replace(
            sigma_px=start.sigma_px or _UNKNOWN.sigma_px,
            paf_half_width_px=start.paf_half_width_px or _UNKNOWN.paf_half_width_px,
        )
    given = {key: getattr(targets, key) for key in Style._fields}
    return style._replace(**{key: value for key, value in given.items() if value is not None})


def make_batches(config: TrainConfig, grids: tuple[Grid, Grid] | None = None) -> BatchMaker:
    """The batches of a run, with labels alone.

    Args:
        config: The run.
        grids: Of heatmaps and PAFs; those of the run's network if None.

    Raises:
        DatasetError: If a set is missing or without people.
    """
    skeleton = SKELETONS[config.targets.skeleton]
    heatmap_grid, paf_grid = grids or target_grids(config, build_network(config, skeleton))
    style = target_style(config)
    return BatchMaker(
        load_sets(config.data),
        batch_size=config.optimizer.batch_size,
        augment=config.augment,
        skeleton=skeleton,
        heatmap_grid=heatmap_grid,
        paf_grid=paf_grid,
        sigma_px=style.sigma_px,
        paf_half_width_px=style.paf_half_width_px,
        seed=config.seed,
    )
