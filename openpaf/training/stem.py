"""The first convolution of a coarse network, from that of a fine one on a smaller picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_RATIO = 1.5  # of the fine picture's pixels to the coarse one's


@torch.no_grad()
def coarse_stem(fine: nn.Conv2d, coarse: nn.Conv2d) -> None:
    """Fill a convolution that takes three pixels at a time from one that takes two.

    Away from the borders, its first channels are then those that ``fine`` has of the picture made
    smaller by 2/3: to resize a picture and to convolve it are both linear, and one convolution
    does both. Channels that ``fine`` has not keep their weights.

    Args:
        fine: 3x3, of stride 2.
        coarse: 7x7, of stride 3, of at least as many channels.
    """
    taps = _resizing().to(fine.weight)
    n = fine.out_channels
    coarse.weight[:n] = torch.einsum("oiab,ay,bx->oiyx", fine.weight, taps, taps)
    assert coarse.bias is not None
    assert fine.bias is not None
    coarse.bias[:n] = fine.bias


def _resizing() -> Tensor:
    """What pixels -3 to 3 say of three pixels of the smaller picture, -1 to 1: (3, 7).

    Reference:
        Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981, equation 15; as
        wide as the coarse pixels, so that nothing is aliased, and cut off at the seven pixels.
    """
    places = (torch.arange(-1, 2) + 0.5) * _RATIO - 0.5
    t = (torch.arange(-3, 4)[None] - places[:, None]).abs() / _RATIO
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    taps = torch.where(t < 1, near, torch.where(t < 2, far, torch.zeros(())))
    return taps / taps.sum(1, keepdim=True)
