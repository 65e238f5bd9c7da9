"""Anchors: boxes of fixed sizes and aspect ratios at every cell, which the network regresses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def anchors_of(
    grid_hw: tuple[int, int],
    stride_hw: tuple[int, int],
    sizes: Sequence[int],
    ratios: Sequence[float],
    device: torch.device,
) -> Tensor:
    """The anchors of one level of the features.

    Args:
        grid_hw: Cells along y and x.
        stride_hw: Their distance in px.
        sizes: Square roots of the anchors' areas in px.
        ratios: Height over width.
        device: Device of the result.

    Returns:
        (H * W * A, 4) in px, A = number of ratios times number of sizes; cells in reading order,
        the anchors of a cell together.

    Reference:
        Ren et al., Faster R-CNN, NeurIPS 2015, section 3.1.1.
    """
    ratio = torch.tensor(ratios, device=device).sqrt()
    size = torch.tensor(sizes, dtype=torch.float32, device=device)
    width = ((1 / ratio)[:, None] * size).flatten()  # (A,)
    height = (ratio[:, None] * size).flatten()
    shapes = (torch.stack([-width, -height, width, height], dim=1) / 2).round()
    y = torch.arange(grid_hw[0], device=device) * stride_hw[0]
    x = torch.arange(grid_hw[1], device=device) * stride_hw[1]
    y, x = torch.meshgrid(y, x, indexing="ij")
    cells = torch.stack([x, y, x, y], dim=2)  # (H, W, 4)
    return (cells[:, :, None] + shapes).reshape(-1, 4)
