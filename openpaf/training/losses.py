"""The loss of a network that gives heatmaps and part affinity fields in stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from openpaf.training.data.batches import Batch


def fields_loss(
    stages: Sequence[tuple[Tensor, Tensor]],
    batch: Batch,
    *,
    heatmap_weight: float = 1.0,
    n_crops: float | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared error of heatmaps and PAFs, summed over channels and stages, mean over cells.

    Args:
        stages: ``(heatmaps (B, K+1, h, w), pafs (B, 2L, h, w))`` of every stage. A stage that
            computes one of both alone hands on the very tensor of the other; it counts once.
        batch: Targets and weights.
        heatmap_weight: Factor on the heatmaps' error, of which there is less than of the PAFs'.
        n_crops: The mean is over the cells of so many crops; the batch's where not given.

    Returns:
        The loss, and its parts by name (``heatmaps_1``, ``pafs_1``, ...) for the log.

    Reference:
        Cao et al., CVPR 2017, equations 3 to 5; TPAMI 2019, equations 4 to 6.
    """
    parts: dict[str, Tensor] = {}
    counted: set[int] = set()
    for number, (heatmaps, pafs) in enumerate(stages, 1):
        cells = (n_crops or heatmaps.shape[0]) * heatmaps.shape[2] * heatmaps.shape[3]
        if id(heatmaps) not in counted:
            error = (heatmaps.float() - batch.heatmaps).square() * batch.heatmap_weights
            parts[f"heatmaps_{number}"] = heatmap_weight * error.sum() / cells
        if id(pafs) not in counted:
            error = (pafs.float() - batch.pafs).square() * batch.paf_weights
            parts[f"pafs_{number}"] = error.sum() / cells
        counted |= {id(heatmaps), id(pafs)}
    total = torch.stack(list(parts.values())).sum()
    return total, {name: part.detach() for name, part in parts.items()}
