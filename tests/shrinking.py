"""What the tests of smaller networks from trained ones share."""

from __future__ import annotations

import torch
from torch import Tensor

from openpaf.networks import LightweightNetwork


def noise(n: int = 3, seed: int = 1) -> Tensor:
    """(n, 3, 64, 64) pictures of noise, normalised."""
    return torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def share_lost(wide: LightweightNetwork, slim: LightweightNetwork) -> float:
    """The squared error of the last fields, as a share of their variance."""
    with torch.no_grad():
        wanted, got = (torch.cat(network(noise())[-1], 1) for network in (wide, slim))
    return float((got - wanted).square().sum() / (wanted - wanted.mean()).square().sum())
