"""Cells at weak peaks count more than others in the heatmaps' error.

The squared error of a small network is least where it leaves joints that it is not sure of far too
low, and half of the joints that a parser uses are of that kind. A strong one has a large error
anyway.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from openpaf.training.data.batches import Batch

_WEAK = 0.15  # height of a peak that is easily lost


def weight_peaks(batch: Batch, weight: float) -> Batch:
    """The batch, in whose heatmaps cells at peaks count up to ``weight`` more than others."""
    weights = batch.heatmap_weights * (1 + weight * near_peaks(batch.heatmaps))
    return replace(batch, heatmap_weights=weights)


def near_peaks(heatmaps: Tensor) -> Tensor:
    """How much a cell is at a peak that is easily lost, 0 to 1: most at heights of about 0.15.

    Args:
        heatmaps: (B, K+1, h, w), the targets; the background's weights are 0.
    """
    near = nn.functional.max_pool2d(heatmaps[:, :-1], 3, stride=1, padding=1).clamp(min=0)
    share = 4 * _WEAK * near / (near + _WEAK).square()
    return torch.cat([share, torch.zeros_like(share[:, :1])], 1)
