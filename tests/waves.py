"""Weights for networks whose published file is not at hand: the same numbers in any program."""

from __future__ import annotations

import torch
from torch import Tensor


def waves(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Numbers of the same shapes, in order of the keys, that make signals neither fade nor grow."""
    filled = {}
    for i, (key, value) in enumerate(sorted(state.items())):
        if not value.is_floating_point():
            filled[key] = value
            continue
        places = torch.arange(value.numel(), dtype=torch.float64)
        wave = torch.sin(0.37 * places + i).reshape(value.shape)
        if value.ndim == 4:
            wave = wave * (3 / value[0].numel()) ** 0.5
        else:
            wave = 1 + 0.3 * wave if key.endswith(("running_var", "weight")) else 0.1 * wave
        filled[key] = wave.float()
    return filled
