"""A teacher: another network, whose fields stand in where labels say nothing."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from openpaf import weights
from openpaf.engines.load import Engine, load_engine
from openpaf.errors import WeightsError
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton
from openpaf.training.config import DistillationConfig
from openpaf.training.data.batches import Batch
from openpaf.training.distillation.multi_scale_teacher import MultiScaleNetwork

_UNSURE = 0.1  # the teacher sees a person where its background is below 1 less this

Channels = dict[str, list[tuple[int, int, float]]]


class Teacher:
    """Mixes another network's fields into labels that miss people.

    Where an image is not fully annotated, the teacher's own fields stand in for every cell that no
    label reaches, so that a person whom the labels miss is not learned as background. Limbs that
    the teacher does not know do not count there wherever it sees a person.

    Args:
        network: The teacher: its last stage gives heatmaps and PAFs on the grids of ours.
        skeleton: Ours.
        channels: As :func:`shared_channels` gives them.
        mean: Subtracted from the pixels (0 to 255) before the teacher sees them.
        scale: Divides them then.
        weight: The teacher's share in the targets of every cell, the labels' being the rest; 0
            leaves labels, and the background of fully annotated images, as they are. Only for a
            teacher that knows every limb.
        inside_ignore_regions: Whether the teacher's fields alone are the targets inside ignore
            regions and at uncertain joints. Only for a teacher that knows every limb.

    Raises:
        ValueError: If the teacher lacks channels that it is to teach.
    """

    def __init__(
        self,
        network: nn.Module,
        skeleton: Skeleton,
        channels: Channels,
        *,
        mean: float = 128.0,
        scale: float = 255.0,
        weight: float = 0.0,
        inside_ignore_regions: bool = False,
    ) -> None:
        if (weight or inside_ignore_regions) and len(channels["pafs"]) != 2 * skeleton.n_limbs:
            raise ValueError(
                "weight, inside_ignore_regions: expected a teacher that knows every limb of the "
                "network"
            )
        self.network = network.eval().requires_grad_(False)
        self.mean, self.scale = mean, scale
        self.weight, self.inside_ignore_regions = weight, inside_ignore_regions
        self._background = channels["heatmaps"][-1][1]
        self._heatmaps = torch.tensor([pair[:2] for pair in channels["heatmaps"][:-1]])
        self._pafs = torch.tensor([pair[:2] for pair in channels["pafs"]])
        self._signs = torch.tensor([pair[2] for pair in channels["pafs"]])

    def inputs(self, batch: Batch) -> Tensor:
        """The images as the teacher takes them: (B, 3, S, S)."""
        return (batch.images - self.mean) / self.scale

    @torch.no_grad()
    def fill(self, batch: Batch) -> Batch:
        """The batch with the teacher's fields where labels say nothing."""
        heatmaps, pafs = (fields.float() for fields in self.network(self.inputs(batch))[-1])
        incomplete = ~batch.fully_annotated[:, None, None, None]

        ours, theirs = self._heatmaps.T
        labels = batch.heatmaps[:, ours]
        is_silent = incomplete & (labels == 0)
        target_heatmaps = batch.heatmaps.clone()
        target_heatmaps[:, ours] = self._mixed(
            labels, heatmaps[:, theirs].clamp(0, 1), is_silent, batch.heatmap_weights[:, ours]
        )
        target_heatmaps[:, -1] = 1 - target_heatmaps[:, :-1].amax(dim=1)

        # A limb's label reaches a cell where either of its two channels is not zero.
        pairs = batch.pafs.unflatten(1, (-1, 2))
        is_silent = incomplete & (pairs == 0).all(dim=2).repeat_interleave(2, dim=1)
        ours, theirs = self._pafs.T
        taught = pafs[:, theirs] * self._signs[:, None, None].to(pafs.device)
        target_pafs = batch.pafs.clone()
        target_pafs[:, ours] = self._mixed(
            batch.pafs[:, ours], taught, is_silent[:, ours], batch.paf_weights[:, ours]
        )
        batch = replace(batch, heatmaps=target_heatmaps, pafs=target_pafs)
        if self.inside_ignore_regions:
            everywhere = map(torch.ones_like, (batch.heatmap_weights, batch.paf_weights))
            return replace(batch, heatmap_weights=next(everywhere), paf_weights=next(everywhere))
        unknown = torch.ones(batch.pafs.shape[1], dtype=torch.bool)
        unknown[ours] = False
        sees_person = (1 - heatmaps[:, self._background, None]) > _UNSURE  # (B, 1, h, w)
        sees_person = nn.functional.max_pool2d(sees_person.float(), 5, 1, 2) > 0
        paf_weights = batch.paf_weights.clone()
        paf_weights[:, unknown] *= (~(is_silent & sees_person))[:, unknown]
        return replace(batch, paf_weights=paf_weights)

    def _mixed(self, labels: Tensor, taught: Tensor, is_silent: Tensor, weights: Tensor) -> Tensor:
        """The teacher's fields where labels say nothing, a mixture of both elsewhere."""
        if self.inside_ignore_regions:
            is_silent = is_silent | (weights == 0)
        return torch.where(is_silent, taught, labels + self.weight * (taught - labels))


def shared_channels(ours: Skeleton, theirs: Skeleton) -> Channels:
    """The channels that networks of two skeletons share, joints and limbs being told by name.

    Returns:
        For ``"heatmaps"`` (the background last) and ``"pafs"`` rows of our channel, theirs, and the
        sign of theirs: -1 where a limb runs the other way.
    """
    heatmaps = [
        (k, theirs.index(name), 1.0) for k, name in enumerate(ours.joints) if name in theirs.joints
    ]
    numbers = {(theirs.joints[a], theirs.joints[b]): i for i, (a, b) in enumerate(theirs.limbs)}
    pafs = []
    for i, (a, b) in enumerate(ours.limbs):
        limb = ours.joints[a], ours.joints[b]
        for pair, sign in ((limb, 1.0), (limb[::-1], -1.0)):
            if pair in numbers:
                pafs += [(2 * i + axis, 2 * numbers[pair] + axis, sign) for axis in (0, 1)]
                break
    return {"heatmaps": [*heatmaps, (ours.n_joints, theirs.n_joints, 1.0)], "pafs": pafs}


def load_teacher(
    config: DistillationConfig, skeleton: Skeleton, grids: tuple[Grid, Grid], device: torch.device
) -> Teacher:
    """A teacher from its weights.

    Args:
        config: Which, run by what, over which views.
        skeleton: Of the network in training.
        grids: Of its heatmaps and PAFs.
        device: Where the teacher computes.

    Raises:
        ValueError: If the engine is not installed, or cannot run on the device.
        WeightsError: If the file is missing or damaged, or the teacher's grids are others.
    """
    path = str(config.teacher)
    network: nn.Module
    if config.engine == "torch":
        network, spec = weights.load_model(path)
        mean, scale = spec.mean, spec.scale
        if spec.bgr or spec.channel_order is not None:
            raise WeightsError(f"{path}: a teacher in torch must take RGB, in the skeleton's order")
    else:
        engine, spec = load_engine(path, config.engine, str(device))
        network, mean, scale = _EngineNetwork(engine), 0.0, 1.0  # it normalizes by itself
    if (spec.heatmap_grid, spec.paf_grid) != grids:
        raise WeightsError(
            f"{path}: a teacher's grids must be those of the targets, {grids[0]} and {grids[1]}, "
            f"got {spec.heatmap_grid} and {spec.paf_grid}"
        )
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    views = config.scales, config.mirrored_scales
    if views != ((1.0,), ()):
        network = MultiScaleNetwork(network, spec.skeleton, grids, *views)
    return Teacher(
        network,
        skeleton,
        shared_channels(skeleton, spec.skeleton),
        mean=mean,
        scale=scale,
        weight=config.weight,
        inside_ignore_regions=config.inside_ignore_regions,
    )


class _EngineNetwork(nn.Module):
    """A network of one stage, run by an engine."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        fields = self.engine(images.contiguous().numpy())
        return [(torch.from_numpy(fields[0]), torch.from_numpy(fields[1]))]
