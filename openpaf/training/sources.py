"""What a run starts from: photo sets, a teacher, and the first weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openpaf import weights
from openpaf.engines.base import Engine
from openpaf.engines.load import load_engine
from openpaf.errors import WeightsError
from openpaf.networks import LightweightNetwork
from openpaf.skeleton import Skeleton
from openpaf.training.config import SKELETONS, SetConfig, TrainConfig, target_grids
from openpaf.training.data.batches import BatchMaker
from openpaf.training.data.dataset import PhotoSet, load_photo_set
from openpaf.training.distillation.multi_scale_teacher import SeveralLooks
from openpaf.training.losses import Teacher, own_channels

MEAN, SCALE = 128.0, 255.0  # of the input of our own networks


def load_sets(config: TrainConfig) -> list[PhotoSet]:
    """The photo sets of a run.

    Raises:
        DatasetError: If a set is missing or without people.
    """
    return [load_set(row) for row in config.sets]


def load_set(row: SetConfig) -> PhotoSet:
    """One photo set of a run.

    Raises:
        DatasetError: If it is missing or without people.
    """
    return load_photo_set(
        row.annotations,
        row.images,
        name=row.name,
        weight=row.weight,
        fully_annotated=row.fully_annotated,
        min_agreement=row.min_agreement,
        holdout=row.holdout,
        masks=row.masks,
    )


def make_batches(config: TrainConfig) -> BatchMaker:
    """The batches of a run.

    Raises:
        DatasetError: If a set is missing or without people.
    """
    heatmap_grid, paf_grid = target_grids(config)
    return BatchMaker(
        load_sets(config),
        batch_size=config.batch_size,
        augment=config.augment,
        skeleton=SKELETONS[config.skeleton],
        heatmap_grid=heatmap_grid,
        paf_grid=paf_grid,
        sigma_px=config.sigma_px,
        paf_half_width_px=config.paf_half_width_px,
        seed=config.seed,
    )


def teacher_of(config: TrainConfig, device: torch.device) -> Teacher | None:
    """The teacher of a run, if it has one; errors as of :func:`load_teacher`."""
    if not config.teacher:
        return None
    skeleton = SKELETONS[config.skeleton]
    teacher = load_teacher(
        config.teacher,
        skeleton,
        device,
        config.teacher_share,
        config.teacher_runtime,
        unmasks=config.teacher_unmasks,
    )
    looks = config.teacher_scales, config.teacher_mirrored
    if looks != ((1.0,), ()):
        teacher.network = SeveralLooks(teacher.network, skeleton, target_grids(config), *looks)
    return teacher


def load_teacher(
    path: str,
    skeleton: Skeleton,
    device: torch.device,
    share: float = 0.0,
    runtime: str = "torch",
    *,
    unmasks: bool = False,
) -> Teacher:
    """A teacher from its weights.

    Args:
        path: Its weights.
        skeleton: Of the run's network.
        device: Where it computes.
        share: See :class:`Teacher`.
        runtime: What runs a teacher of this library; see :func:`openpaf.engines.load.load_engine`.
        unmasks: See :class:`Teacher`.

    Raises:
        ValueError: If the runtime is not installed, or cannot run on the device.
        WeightsError: If the file is missing or damaged, or knows another skeleton.
    """
    network: nn.Module
    if runtime == "torch":
        network, row = weights.load_model(path)
        mean, scale = row.mean, row.scale
    else:
        engine, row = load_engine(path, runtime, str(device))
        network, mean, scale = _EngineNetwork(engine), 0.0, 1.0  # it normalises by itself
    if row.skeleton != skeleton:
        raise WeightsError(
            f"{path}: a teacher must know the skeleton {skeleton.name!r}, "
            f"this one knows {row.skeleton.name!r}"
        )
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    channels = own_channels(skeleton)
    return Teacher(
        network, skeleton, channels, mean=mean, scale=scale, share=share, unmasks=unmasks
    )


class _EngineNetwork(nn.Module):
    """A network of one stage, run by an engine."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        fields = self.engine(images.contiguous().numpy())
        return [(torch.from_numpy(fields["heatmaps"]), torch.from_numpy(fields["pafs"]))]


def load_first_weights(network: LightweightNetwork, config: TrainConfig) -> None:
    """Fill a network with what the run is to start from; without that it stays as it is.

    Raises:
        WeightsError: If the file is missing, damaged, or does not fit.
    """
    if config.init:
        weights.load(network, config.init)
