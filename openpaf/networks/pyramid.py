"""A feature pyramid: brings coarse features to a finer grid, with the help of finer features."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pyramid(nn.Module):
    """Top-down steps from coarse features to the finest; with no step the features as they are.

    Args:
        width: Channels of the features.
        n_channels: Channels of the finer features, fine to coarse, each half as fine as the next.

    Input: features (B, width, h, w), and the finer ones (B, n, h', w'), fine to coarse, each of
    one or no cell less than twice the size of the coarser.
    Output: features (B, width, h', w') of the size of the finest.

    Reference:
        Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017, figure 3.
    """

    def __init__(self, width: int, n_channels: list[int]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(PyramidStep(width, n) for n in reversed(n_channels))

    def forward(self, x: Tensor, finer: list[Tensor]) -> Tensor:
        for i, step in enumerate(self.steps):
            x = step(x, finer[len(finer) - 1 - i])
        return x


class PyramidStep(nn.Module):
    """Doubles the grid: repeats each cell, adds the finer features, and smooths their sum."""

    def __init__(self, width: int, n_channels: int) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(n_channels, width, 1)
        self.smooth = nn.Conv2d(width, width, 3, padding=1)

    @torch.no_grad()
    def interpolate(self) -> None:
        """Let it begin as linear interpolation of what is not negative, without finer features."""
        for parameter in self.parameters():
            parameter.zero_()
        # Cells of both grids coincide at even indices: after each cell is repeated, the mean of
        # a cell and the next is that cell itself, or lies half way to the next.
        width = len(self.smooth.weight)
        self.smooth.weight[range(width), range(width), 1:, 1:] = 0.25

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        # Doubled exactly and cropped, not resized to the finer size, so that cells keep their
        # places where that size is odd.
        x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
        x = x[:, :, : finer.shape[2], : finer.shape[3]]
        return nn.functional.relu(self.smooth(x + self.lateral(finer)))
