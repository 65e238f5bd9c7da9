"""What a run starts from: photo sets, a teacher, and the first weights."""

from __future__ import annotations

import torch

from openpaf import weights
from openpaf.errors import WeightsError
from openpaf.geometry import Grid
from openpaf.networks import LightweightNetwork
from openpaf.skeleton import Skeleton
from openpaf.training.batches import BatchMaker
from openpaf.training.config import SKELETONS, SetConfig, TrainConfig
from openpaf.training.dataset import PhotoSet, load_photo_set
from openpaf.training.heads import fit_new_limbs
from openpaf.training.losses import Teacher, own_channels
from openpaf.training.open_model_zoo import load_open_model_zoo, shared_channels


def load_sets(config: TrainConfig) -> list[PhotoSet]:
    """The photo sets of a run.

    Raises:
        DatasetError: If a set is missing or without people.
    """
    return [_load(row) for row in config.sets]


def _load(row: SetConfig) -> PhotoSet:
    return load_photo_set(
        row.annotations,
        row.images,
        name=row.name,
        weight=row.weight,
        trusted=row.trusted,
        min_agreement=row.min_agreement,
        holdout=row.holdout,
        masks=row.masks,
    )


def make_batches(config: TrainConfig) -> BatchMaker:
    """The batches of a run.

    Raises:
        DatasetError: If a set is missing or without people.
    """
    return BatchMaker(
        load_sets(config),
        batch_size=config.batch_size,
        augment=config.augment,
        skeleton=SKELETONS[config.skeleton],
        heatmap_grid=Grid(8, config.heatmap_offset),
        paf_grid=Grid(8, config.paf_offset),
        seed=config.seed,
    )


def load_teacher(path: str, skeleton: Skeleton, device: torch.device) -> Teacher:
    """The teacher of a run.

    Raises:
        WeightsError: If the file is missing or damaged, or knows another skeleton.
    """
    if path.endswith(".npz"):
        return Teacher(_zoo_network(path).to(device), skeleton, shared_channels(skeleton))
    network, row = weights.load_model(path)
    if row.skeleton != skeleton:
        raise WeightsError(
            f"{path}: a teacher must know the skeleton {skeleton.name!r}, "
            f"this one knows {row.skeleton.name!r}"
        )
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(network, skeleton, own_channels(skeleton), mean=row.mean, scale=row.scale)


def load_first_weights(network: LightweightNetwork, config: TrainConfig, maker: BatchMaker) -> None:
    """Fill a network with what the run is to start from; without that it stays as it is.

    Raises:
        WeightsError: If the file is missing, damaged, or does not fit.
    """
    if config.init:
        weights.load(network, config.init)
    elif config.open_model_zoo:
        skeleton = SKELETONS[config.skeleton]
        load_open_model_zoo(network, config.open_model_zoo, skeleton)
        zoo = _zoo_network(config.open_model_zoo)
        filler = Teacher(zoo, skeleton, shared_channels(skeleton))
        # Steps below zero do not exist, so these crops are drawn far beyond the run's end.
        first = 10**9
        last = first + config.fit_batches
        fit_new_limbs(network, zoo, skeleton, lambda: map(filler.fill, maker.stream(first, last)))


def _zoo_network(path: str) -> LightweightNetwork:
    network = LightweightNetwork(Skeleton.COCO18)
    load_open_model_zoo(network, path, Skeleton.COCO18)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
