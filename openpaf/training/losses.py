"""The loss of a network that gives heatmaps and part affinity fields in stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

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
