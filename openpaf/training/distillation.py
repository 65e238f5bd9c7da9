"""A teacher: another network, whose fields stand in where labels say nothing."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from openpaf import weights
from openpaf.errors import WeightsError
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton
from openpaf.training.config import DistillationConfig
from openpaf.training.data.batches import Batch

_UNSURE = 0.1  # the teacher sees a person where its background is below 1 less this


class Teacher:
    """Mixes another network's fields into labels that miss people.

    Where an image is not fully annotated, the teacher's own fields stand in for every cell that no
    label reaches, so that a person whom the labels miss is not learned as background. Limbs that
    the teacher does not know do not count there wherever it sees a person.

    Args:
        network: The teacher: its last stage gives heatmaps and PAFs on the grids of ours.
        ours: The skeleton of the network in training.
        theirs: The teacher's, whose joints and limbs are told by name.
        config: How it is used: its ``weight`` and ``inside_ignore_regions``.
        mean: Subtracted from the pixels (0 to 255) before the teacher sees them.
        scale: Divides them then.

    Raises:
        ValueError: If either of these is asked of a teacher that does not know every limb.
    """

    def __init__(
        self,
        network: nn.Module,
        ours: Skeleton,
        theirs: Skeleton,
        config: DistillationConfig,
        *,
        mean: float = 128.0,
        scale: float = 255.0,
    ) -> None:
        self._joints, self._pafs, self._signs = map(torch.tensor, shared_channels(ours, theirs))
        if (config.weight or config.inside_ignore_regions) and (self._pafs < 0).any():
            raise ValueError("weight, inside_ignore_regions: expected a teacher of every limb")
        self.network, self.skeleton = network.eval().requires_grad_(False), theirs
        self.config, self.mean, self.scale = config, mean, scale

    def inputs(self, batch: Batch) -> Tensor:
        """The images as the teacher takes them: (B, 3, S, S)."""
        return (batch.images - self.mean) / self.scale

    @torch.no_grad()
    def fill(self, batch: Batch) -> Batch:
        """The batch with the teacher's fields where labels say nothing."""
        heatmaps, pafs = (fields.float() for fields in self.network(self.inputs(batch))[-1])
        signs = self._signs[:, None, None].to(pafs.device)
        incomplete = ~batch.fully_annotated[:, None, None, None]
        joints = batch.heatmaps[:, :-1]
        # A limb's label reaches a cell where either of its two channels is not zero.
        pairs = batch.pafs.unflatten(1, (-1, 2))
        silent = incomplete & (pairs == 0).all(dim=2).repeat_interleave(2, dim=1)
        joint_weights, weights = batch.heatmap_weights[:, :-1], batch.paf_weights
        taught = heatmaps[:, self._joints].clamp(0, 1)
        joints = self._mixed(
            joints, taught, self._joints, incomplete & (joints == 0), joint_weights
        )
        limbs = self._mixed(batch.pafs, pafs[:, self._pafs] * signs, self._pafs, silent, weights)
        joints = torch.cat([joints, 1 - joints.amax(1, keepdim=True)], 1)
        if self.config.inside_ignore_regions:
            heatmap_weights, weights = map(torch.ones_like, (batch.heatmap_weights, weights))
        else:
            sees_person = (1 - heatmaps[:, -1:] > _UNSURE).float()  # (B, 1, h, w)
            sees_person = nn.functional.max_pool2d(sees_person, 5, 1, 2) > 0
            unknown = (self._pafs < 0)[:, None, None].to(pafs.device)
            heatmap_weights = batch.heatmap_weights
            weights = weights * ~(unknown & silent & sees_person)
        return replace(
            batch, heatmaps=joints, pafs=limbs, heatmap_weights=heatmap_weights, paf_weights=weights
        )

    def _mixed(
        self, labels: Tensor, taught: Tensor, channels: Tensor, silent: Tensor, weights: Tensor
    ) -> Tensor:
        """The teacher's fields where labels say nothing, a mixture of both elsewhere."""
        taught = torch.where((channels >= 0)[:, None, None].to(taught.device), taught, labels)
        if self.config.inside_ignore_regions:
            silent = silent | (weights == 0)
        return torch.where(silent, taught, labels + self.config.weight * (taught - labels))


def shared_channels(ours: Skeleton, theirs: Skeleton) -> tuple[list[int], list[int], list[float]]:
    """Where another skeleton has our channels, joints and limbs being told by name.

    Returns:
        For each of our joints (K) the channel of its heatmap, and for each of our PAFs (2L) its
        channel, -1 where there is none, and its sign: -1 where the limb runs the other way.
    """
    joints = [theirs.index(name) if name in theirs.joints else -1 for name in ours.joints]
    numbers = {limb: i for i, limb in enumerate(theirs.limbs)}
    pafs, signs = [], []
    for a, b in ours.limbs:
        limb = joints[a], joints[b]
        number = numbers.get(limb, numbers.get(limb[::-1], -1))
        pafs += [2 * number, 2 * number + 1] if number >= 0 else [-1, -1]
        signs += 2 * [1.0 if limb in numbers else -1.0]
    return joints, pafs, signs


def load_teacher(
    config: DistillationConfig, skeleton: Skeleton, grids: tuple[Grid, Grid], device: torch.device
) -> Teacher | None:
    """A teacher from its weights; None where there is to be none.

    Args:
        config: Which, and what it is used for.
        skeleton: Of the network in training.
        grids: Of its heatmaps and PAFs.
        device: Where the teacher computes.

    Raises:
        WeightsError: If the file is missing or damaged, or the teacher's grids are others.
    """
    if not config.teacher:
        return None
    network, spec = weights.load_model(config.teacher)
    if spec.bgr or spec.channel_order is not None:
        raise WeightsError(
            f"{config.teacher}: a teacher must take RGB, in the skeleton's order of channels"
        )
    if (spec.heatmap_grid, spec.paf_grid) != grids:
        raise WeightsError(
            f"{config.teacher}: a teacher's grids must be those of the targets, {grids[0]} and "
            f"{grids[1]}, got {spec.heatmap_grid} and {spec.paf_grid}"
        )
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(network, skeleton, spec.skeleton, config, mean=spec.mean, scale=spec.scale)
