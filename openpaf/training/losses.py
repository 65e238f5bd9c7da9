"""The loss of a staged network, and how another network's fields fill gaps in the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from openpaf.networks import LightweightNetwork
from openpaf.skeleton import Skeleton
from openpaf.training.data.batches import Batch

_WEAK = 0.15  # height of a peak that is easily lost


def fields_loss(
    stages: Sequence[tuple[Tensor, Tensor]],
    batch: Batch,
    *,
    heatmap_weight: float = 1.0,
    peak_weight: float = 0.0,
    n_crops: float | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared error of heatmaps and PAFs, summed over channels and stages, mean over cells.

    Args:
        stages: ``(heatmaps (B, K+1, h, w), pafs (B, 2L, h, w))`` of every stage.
        batch: Targets and weights.
        heatmap_weight: Factor on the heatmaps' error, of which there is less than of the PAFs'.
        peak_weight: Cells at peaks count up to so much more than others, see :func:`near_peaks`.
        n_crops: The mean is over the cells of so many crops; the batch's where not given.

    Returns:
        The loss, and its parts by name (``heatmaps_1``, ``pafs_1``, ...) for the log.

    Reference:
        Cao et al., CVPR 2017, equations 3 to 5.
    """
    parts: dict[str, Tensor] = {}
    heatmap_weights = batch.heatmap_weights
    if peak_weight:
        heatmap_weights = heatmap_weights * (1 + peak_weight * near_peaks(batch.heatmaps))
    for number, (heatmaps, pafs) in enumerate(stages, 1):
        cells = (n_crops or heatmaps.shape[0]) * heatmaps.shape[2] * heatmaps.shape[3]
        error = (heatmaps.float() - batch.heatmaps).square() * heatmap_weights
        parts[f"heatmaps_{number}"] = heatmap_weight * error.sum() / cells
        error = (pafs.float() - batch.pafs).square() * batch.paf_weights
        parts[f"pafs_{number}"] = error.sum() / cells
    total = torch.stack(list(parts.values())).sum()
    return total, {name: part.detach() for name, part in parts.items()}


def near_peaks(heatmaps: Tensor) -> Tensor:
    """How much a cell is at a peak that is easily lost, 0 to 1: most at heights of about 0.15.

    The squared error of a small network is least where it leaves joints that it is not sure of far
    too low, and half of the joints that a parser uses are of that kind. A strong one has a large
    error anyway.

    Args:
        heatmaps: (B, K+1, h, w), the targets; the background's weights are 0.
    """
    near = nn.functional.max_pool2d(heatmaps[:, :-1], 3, stride=1, padding=1).clamp(min=0)
    share = 4 * _WEAK * near / (near + _WEAK).square()
    return torch.cat([share, torch.zeros_like(share[:, :1])], 1)


Channels = dict[str, list[tuple[int, int, float]]]


def own_channels(skeleton: Skeleton) -> Channels:
    """The channels that two networks of one skeleton share: all, as they are."""
    return {
        "heatmaps": [(channel, channel, 1.0) for channel in range(skeleton.n_joints + 1)],
        "pafs": [(channel, channel, 1.0) for channel in range(2 * skeleton.n_limbs)],
    }


class Teacher:
    """Mixes another network's fields into labels that miss people.

    Where a photo's background is not to be trusted, the teacher's own fields stand in for every
    cell that no label reaches: a person whom the labels miss stays as visible as the teacher
    finds him, instead of being taught away. Limbs that the teacher does not know are left out
    there wherever it sees anybody.

    Args:
        network: The teacher: its last stage gives heatmaps and PAFs on the grids of ours.
        skeleton: Ours.
        channels: For ``"heatmaps"`` (the background among them) and ``"pafs"`` rows of our
            channel, the teacher's, and the sign of the latter.
        mean: Subtracted from the pixels (0 to 255) before the teacher sees them.
        scale: Divides them then.
        unsure: The teacher sees somebody where its background is below ``1 - unsure``.
        share: The teacher's share in the targets of every cell, the labels' being the rest; 0
            leaves labels, and background that is to be trusted, as they are. Only for a teacher
            that knows every channel.
        unmasks: Whether the teacher's fields alone are taught where labels are unsure or ignored,
            instead of nothing. Only for a teacher that knows every channel.

    Raises:
        ValueError: If the share is not 0 to 1, or the teacher lacks channels that it is to teach.
    """

    def __init__(
        self,
        network: nn.Module,
        skeleton: Skeleton,
        channels: Channels,
        *,
        mean: float = 128.0,
        scale: float = 255.0,
        unsure: float = 0.1,
        share: float = 0.0,
        unmasks: bool = False,
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share: expected 0 to 1, got {share}")
        if (share or unmasks) and len(channels["pafs"]) != 2 * skeleton.n_limbs:
            raise ValueError(
                "share, unmasks: expected a teacher that knows every limb of the network"
            )
        self.network = network.eval().requires_grad_(False)
        self.mean, self.scale, self.unsure = mean, scale, unsure
        self.share, self.unmasks = share, unmasks
        self.background = next(
            theirs for ours, theirs, _ in channels["heatmaps"] if ours == skeleton.n_joints
        )
        self._heatmaps = torch.tensor([row[:2] for row in channels["heatmaps"][:-1]])
        self._pafs = torch.tensor([row[:2] for row in channels["pafs"]])
        self._signs = torch.tensor([row[2] for row in channels["pafs"]])

    def _input(self, batch: Batch) -> Tensor:
        return (batch.images - self.mean) / self.scale

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """What the stages of the teacher, a lightweight network, share: (B, width, h, w)."""
        features: Tensor = cast(LightweightNetwork, self.network).features(self._input(batch))
        return features

    @torch.no_grad()
    def fill(self, batch: Batch) -> Batch:
        """The batch with the teacher's fields where labels are silent and not to be trusted."""
        heatmaps, pafs = (fields.float() for fields in self.network(self._input(batch))[-1])
        open_ = ~batch.fully_annotated[:, None, None, None]

        target_heatmaps = batch.heatmaps.clone()
        ours, theirs = self._heatmaps.T
        taught = heatmaps[:, theirs].clamp(0, 1)
        labelled = batch.heatmaps[:, ours]
        mixed = labelled + self.share * (taught - labelled)
        alone = open_ & (labelled == 0)
        if self.unmasks:
            alone = alone | (batch.heatmap_weights[:, ours] == 0)
        target_heatmaps[:, ours] = torch.where(alone, taught, mixed)
        target_heatmaps[:, -1] = 1 - target_heatmaps[:, :-1].amax(dim=1)

        # A limb's label reaches a cell where either of its two channels is not zero.
        b, channels, h, w = batch.pafs.shape
        pairs = batch.pafs.view(b, channels // 2, 2, h, w)
        covered = (pairs != 0).any(dim=2).repeat_interleave(2, dim=1)  # (B, 2L, h, w)
        silent = open_ & ~covered
        target_pafs = batch.pafs.clone()
        ours, theirs = self._pafs.T
        taught = pafs[:, theirs] * self._signs[:, None, None].to(pafs.device)
        mixed = batch.pafs[:, ours] + self.share * (taught - batch.pafs[:, ours])
        alone = silent[:, ours]
        if self.unmasks:
            alone = alone | (batch.paf_weights[:, ours] == 0)
        target_pafs[:, ours] = torch.where(alone, taught, mixed)
        if self.unmasks:
            return replace(
                batch,
                heatmaps=target_heatmaps,
                pafs=target_pafs,
                heatmap_weights=torch.ones_like(batch.heatmap_weights),
                paf_weights=torch.ones_like(batch.paf_weights),
            )
        new = torch.ones(channels, dtype=torch.bool)
        new[ours] = False
        seen = (1 - heatmaps[:, self.background, None]) > self.unsure  # (B, 1, h, w)
        seen = nn.functional.max_pool2d(seen.float(), 5, 1, 2) > 0
        paf_weights = batch.paf_weights.clone()
        paf_weights[:, new] *= (~(silent & seen))[:, new]
        return replace(batch, heatmaps=target_heatmaps, pafs=target_pafs, paf_weights=paf_weights)
