"""PicoDet-S, second version: boxes of people in an image.

An LCNet trunk, a pyramid that goes down and up again (LC-PAN, four levels), and a head with
distribution focal boxes: the distance to each side of a box is the mean of a distribution over
whole numbers of cells. Batch norms are folded into the convolutions.

Reference:
    Yu et al., 2021: PP-PicoDet: A Better Real-Time Object Detector on Mobile Devices; sections 2.1
    to 2.3. Cui et al., 2021: PP-LCNet. Li et al., NeurIPS 2020: Generalized Focal Loss, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from openpaf.networks.folded import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Normalize,
    boxes_of_distances,
    cell_centers,
)
from openpaf.skeleton import Skeleton

_STRIDES = (8, 16, 32, 64)
_N_CHANNELS = 96  # of the pyramid and the head
# Of the hard sigmoid: 1 / 6, rounded as in the published files, of which the results are kept.
_SLOPE = 0.16662598
_N_DISTANCES = 8  # a side of a box lies 0 to 7 cells from the cell


class PicoDet(nn.Module):
    """PicoDet-S for one class, people.

    Args:
        skeleton: Not used: a detector knows no joints.

    Example:
        >>> network = PicoDet().eval()
        >>> boxes, scores = network(torch.zeros(1, 3, 192, 224))[-1]
        >>> boxes.shape, scores.shape
        (torch.Size([1, 894, 4]), torch.Size([1, 894]))
    """

    def __init__(self, skeleton: Skeleton | None = None) -> None:
        super().__init__()
        n = _N_CHANNELS
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.trunk = _LCNet()
        self.align = nn.ModuleList(_conv(n_in, n) for n_in in self.trunk.channels)
        self.top_down = nn.ModuleList(_merge(n) for _ in range(2))
        self.bottom_up = nn.ModuleList(_BottomUp(n) for _ in range(2))
        self.coarsest = nn.ModuleList(_separable(n, n, 5, 2) for _ in range(2))
        self.heads = nn.ModuleList(_Head(n, stride) for stride in _STRIDES)

    def forward(self, images: Tensor) -> list[tuple[Tensor, ...]]:
        """Boxes of people, before any suppression.

        Args:
            images: (B, 3, h, w), RGB of 0 to 1; h and w are multiples of 32.

        Returns:
            One stage: (boxes (B, N, 4), scores (B, N)): the borders x0, y0, x1, y1 in px, where
            pixel i reaches from i to i + 1, and 0 to 1; a box for each cell of the four levels.
        """
        levels = [
            align(x)
            for align, x in zip(self.align, self.trunk(self.normalize(images)), strict=True)
        ]
        boxes, scores = zip(
            *(head(x) for head, x in zip(self.heads, self._pyramid(levels), strict=True)),
            strict=True,
        )
        return [(torch.cat(boxes, 1), torch.cat(scores, 1))]

    def _pyramid(self, levels: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = levels
        middle = self.top_down[0](torch.cat([_double(coarse), middle], 1))
        fine = self.top_down[1](torch.cat([_double(middle), fine], 1))
        middle = self.bottom_up[0](fine, middle)
        last = self.bottom_up[1](middle, coarse)
        return [fine, middle, last, self.coarsest[0](coarse) + self.coarsest[1](last)]


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0)


def _conv(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 1), nn.Hardswish())


def _depthwise(n: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n, n, size, stride, size // 2, groups=n), nn.Hardswish())


def _separable(n_in: int, n_out: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_depthwise(n_in, size, stride), _conv(n_in, n_out))


def _merge(n: int) -> nn.Sequential:
    """Two levels that lie one upon the other become one."""
    return nn.Sequential(_separable(2 * n, 2 * n, 5), _separable(2 * n, n, 5))


class _SqueezeExcite(nn.Module):
    """Each channel is weighted by what all of the image says."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(n, n // 4, 1)
        self.excite = nn.Conv2d(n // 4, n, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.excite(functional.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x * (weights * _SLOPE + 0.5).clamp(0, 1)


class _LCNet(nn.Module):
    """The trunk, three quarters wide: levels at 1/8, 1/16 and 1/32 of the image."""

    channels = (96, 192, 384)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.Hardswish())
        self.fine = nn.Sequential(
            _separable(16, 24, 3),
            _separable(24, 48, 3, 2),
            _separable(48, 48, 3),
            _separable(48, 96, 3, 2),
            _separable(96, 96, 3),
        )
        self.middle = nn.Sequential(
            _separable(96, 192, 3, 2), *(_separable(192, 192, 5) for _ in range(5))
        )
        self.coarse = nn.Sequential(
            nn.Sequential(_depthwise(192, 5, 2), _SqueezeExcite(192), _conv(192, 384)),
            nn.Sequential(_depthwise(384, 5), _SqueezeExcite(384), _conv(384, 384)),
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.fine(self.stem(images))
        middle = self.middle(fine)
        return [fine, middle, self.coarse(middle)]


class _BottomUp(nn.Module):
    """A level of the pyramid takes what the finer one knows."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.down = _separable(n, n, 5, 2)
        self.merge = _merge(n)

    def forward(self, finer: Tensor, x: Tensor) -> Tensor:
        x = self.merge(torch.cat([self.down(finer), x], 1))
        return x


class _Head(nn.Module):
    """Boxes and scores of the cells of one level.

    A score is the geometric mean of how much the features of a cell say that a person is there,
    and how much a patch of cells does.
    """

    def __init__(self, n: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.features = nn.Sequential(_separable(n, n, 5), _separable(n, n, 5))
        self.excite = nn.Conv2d(n, n, 1)
        self.conv = _conv(n, n)
        self.scores = nn.Conv2d(n, 1, 1)
        self.distances = nn.Conv2d(n, 4 * _N_DISTANCES, 1)
        self.patches = nn.Sequential(
            nn.Conv2d(n, 1, 5, padding=2), nn.Hardswish(), nn.Conv2d(1, 1, 1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        weights = self.excite(features.mean((2, 3), keepdim=True)).sigmoid()
        cells = self.conv(features * weights)
        scores = (self.scores(cells).sigmoid() * self.patches(features).sigmoid()).sqrt()
        distribution = self.distances(cells).flatten(2).unflatten(1, (4, _N_DISTANCES)).softmax(2)
        whole = torch.arange(_N_DISTANCES, device=x.device, dtype=x.dtype)
        distances = torch.einsum("bsdn,d->bns", distribution, whole) * self.stride
        centers = cell_centers(scores, self.stride, self.stride / 2)
        return boxes_of_distances(centers, distances), scores.flatten(1)
