"""Losses of maps (B, C, h, w) whose targets are NaN where nothing is asked for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The error of peaks that are few among many cells, divided by their number.

    A cell of target 1 counts the less the surer it is; another one the less the closer it is to a
    peak.

    Args:
        logits: Of the heatmaps.
        target: 1 at peaks, Gaussians around them, NaN where no error counts.

    Reference:
        Zhou et al., 2019: Objects as Points, equation 1, with alpha 2 and beta 4.
    """
    counts = target.isfinite()
    aim = target.nan_to_num()
    chance = torch.sigmoid(logits)
    is_peak = aim == 1
    at_peaks = functional.softplus(-logits) * (1 - chance) ** 2
    beside = functional.softplus(logits) * chance**2 * (1 - aim) ** 4
    error = torch.where(is_peak, at_peaks, beside) * counts
    return error.sum() / (is_peak & counts).sum().clamp(min=1)


def logistic_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The mean logistic error of the cells that count.

    Args:
        logits: Of the heatmaps.
        target: 0 to 1, NaN where no error counts.
    """
    counts = target.isfinite()
    error = functional.binary_cross_entropy_with_logits(
        logits, target.nan_to_num(), reduction="none"
    )
    return (error * counts).sum() / counts.sum().clamp(min=1)


def offset_loss(offsets: Tensor, target: Tensor) -> Tensor:
    """The mean absolute difference where there is a target.

    Args:
        offsets: What the network gives, in any unit.
        target: In the same unit, NaN where there is none.
    """
    counts = target.isfinite()
    error = (offsets - target.nan_to_num()).abs() * counts
    return error.sum() / counts.sum().clamp(min=1)
