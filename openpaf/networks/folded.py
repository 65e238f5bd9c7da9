"""What networks share whose batch norms are folded into their convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: Of RGB of 0 to 1 in the photos of ImageNet.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """Subtract the mean of each channel and divide by its standard deviation.

    Args:
        mean: Of each channel, as the network takes them.
        std: Their standard deviations.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, h, w), normalized."""
        return (images - self.mean) / self.std


def cell_centers(cells: Tensor, stride: int, offset: float) -> Tensor:
    """The points that the cells of a map stand for, in px of the image, as (h * w, 2).

    Args:
        cells: Any map (..., h, w); only its size counts.
        stride: Px from a cell to the next.
        offset: Of the first cell in px.
    """
    x = torch.arange(cells.shape[-1], device=cells.device, dtype=torch.float32) * stride + offset
    y = torch.arange(cells.shape[-2], device=cells.device, dtype=torch.float32) * stride + offset
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], 1)


def boxes_of_distances(centers: Tensor, distances: Tensor) -> Tensor:
    """Boxes (B, N, 4), x0 y0 x1 y1, of points (N, 2) and distances to left, top, right, bottom."""
    return torch.cat([centers - distances[..., :2], centers + distances[..., 2:]], -1)
