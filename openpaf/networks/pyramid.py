"""Upsamples features to a finer grid, with the finer features of the trunk."""

from __future__ import annotations

from torch import Tensor, nn


class Pyramid(nn.Module):
    """Doubles the grid of features once for each finer feature map; the identity without any.

    Each of a cell's channels becomes a channel of one of the four finer cells that it covers, so
    that a coarse cell encodes positions inside it; the finer features of the trunk are added.
    (Reducing to ``width`` channels first, and then upsampling and smoothing, was much less
    accurate: a coarse cell then has as many numbers for four cells as each of them has.)

    Args:
        width: Channels of the result.
        n_channels: Channels of the finer features, fine to coarse.

    Input: features (B, 4 * width, h, w), or (B, width, h, w) without finer ones; and the finer
    ones (B, n, h', w'), fine to coarse, each of twice the size of the coarser or one cell less.
    Output: (B, width, h', w') of the size of the finest, without an activation.

    Reference:
        Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
        Convolutional Neural Network, CVPR 2016, equation 4 (channels to cells); Lin et al., Feature
        Pyramid Networks for Object Detection, CVPR 2017, figure 3 (what is added).
    """

    def __init__(self, width: int, n_channels: list[int]) -> None:
        super().__init__()
        last = len(n_channels) - 1
        self.steps = nn.ModuleList(
            PyramidStep(width, n, is_last=i == last) for i, n in enumerate(reversed(n_channels))
        )

    def forward(self, x: Tensor, finer: list[Tensor]) -> Tensor:
        for i, step in enumerate(self.steps):
            x = step(x, finer[len(finer) - 1 - i])
        return x


class PyramidStep(nn.Module):
    """Channels to cells, plus the finer features; then channels for the next step, if any."""

    def __init__(self, width: int, n_channels: int, *, is_last: bool) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(n_channels, width, 1, bias=False)
        self.widen = (
            nn.Identity() if is_last else nn.Sequential(nn.ReLU(), nn.Conv2d(width, 4 * width, 1))
        )

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        # Doubled exactly and cropped, not resized to the finer size, so that cells are not shifted
        # where that size is odd.
        x = nn.functional.pixel_shuffle(x, 2)[:, :, : finer.shape[2], : finer.shape[3]]
        return self.widen(x + self.lateral(finer))
