"""Lite-HRNet as PP-TinyPose has it: heatmaps of the one person in a crop.

Branches at 1/4, 1/8, 1/16 and 1/32 of the crop run side by side and exchange what they know after
each module. Batch norms are folded into the convolutions.

Reference:
    Yu et al., CVPR 2021: Lite-HRNet: A Lightweight High-Resolution Network; section 3.1, the naive
    form with shuffle blocks. PP-TinyPose of PaddleDetection adds the iterative head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from openpaf.networks.folded import IMAGENET_MEAN, IMAGENET_STD, Normalize
from openpaf.skeleton import Skeleton

# Modules of the stages of two, three and four branches.
_N_MODULES = (2, 4, 2)
_N_BLOCKS = 2
_N_STEM = 32  # channels


def _conv(n_in: int, n_out: int, *, relu: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(n_in, n_out, 1)]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


def _separable(n_in: int, n_out: int, stride: int = 1, *, relu: bool = True) -> nn.Sequential:
    """A depthwise convolution 3x3 and a pointwise one; nonlinear after the second only."""
    depthwise = nn.Conv2d(n_in, n_in, 3, stride, 1, groups=n_in)
    return nn.Sequential(depthwise, *_conv(n_in, n_out, relu=relu))


def _shuffle(x: Tensor) -> Tensor:
    """Interleave the two halves of the channels."""
    return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


class LiteHRNet(nn.Module):
    """PP-TinyPose: from crops of one person each to heatmaps at a quarter of their size.

    Args:
        skeleton: Its joints, a heatmap each.
        width: Channels of the finest branch; each coarser one has twice as many.

    Example:
        >>> network = LiteHRNet(Skeleton.COCO17).eval()
        >>> network(torch.zeros(2, 3, 128, 96))[-1][0].shape
        torch.Size([2, 17, 32, 24])
    """

    def __init__(self, skeleton: Skeleton, width: int = 40) -> None:
        super().__init__()
        channels = [width * 2**i for i in range(len(_N_MODULES) + 1)]
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.stem = _Stem(_N_STEM)
        self.first = _separable(_N_STEM, width)
        self.stages = nn.ModuleList(
            _Stage(_N_STEM if i == 0 else channels[i], channels[: i + 2], n_modules)
            for i, n_modules in enumerate(_N_MODULES)
        )
        self.head = _IterativeHead(channels)
        self.heatmaps = nn.Conv2d(width, skeleton.n_joints, 1)

    def forward(self, images: Tensor) -> list[tuple[Tensor, ...]]:
        """Heatmaps of crops.

        Args:
            images: (B, 3, h, w), RGB of 0 to 1; h and w are multiples of 32.

        Returns:
            One stage: (heatmaps (B, K, h / 4, w / 4),), about 1 where a joint is.
        """
        x = self.stem(self.normalize(images))
        branches = [self.first(x)]
        for i, stage in enumerate(self.stages):
            branches = stage(branches, x if i == 0 else branches[-1])
        return [(self.heatmaps(self.head(branches)),)]


class _Stem(nn.Module):
    """From the image to a quarter of its size, in two halves of the channels."""

    def __init__(self, n: int) -> None:
        super().__init__()
        half = n // 2
        self.conv = nn.Sequential(nn.Conv2d(3, n, 3, 2, 1), nn.ReLU())
        self.first = _separable(half, half, 2)
        self.second = nn.Sequential(_conv(half, n), _separable(n, half, 2))

    def forward(self, images: Tensor) -> Tensor:
        first, second = self.conv(images).chunk(2, 1)
        return _shuffle(torch.cat([self.first(first), self.second(second)], 1))


class _Stage(nn.Module):
    """One more branch, at half the size of the coarsest, and modules on all of them."""

    def __init__(self, n_in: int, channels: Sequence[int], n_modules: int) -> None:
        super().__init__()
        self.new = _separable(n_in, channels[-1], 2)
        self.exchange = nn.Sequential(*(_ExchangeModule(channels) for _ in range(n_modules)))

    def forward(self, branches: list[Tensor], x: Tensor) -> list[Tensor]:
        branches = self.exchange([*branches, self.new(x)])
        return branches


class _ShuffleBlock(nn.Module):
    """One half of the channels passes, the other is convolved; then they are interleaved."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(_conv(n // 2, n // 2), _separable(n // 2, n // 2))

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        return _shuffle(torch.cat([first, self.convs(second)], 1))


class _ExchangeModule(nn.Module):
    """Two shuffle blocks on each branch, then every branch takes the sum of all of them."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(_ShuffleBlock(n) for _ in range(_N_BLOCKS))) for n in channels
        )
        self.exchanges = nn.ModuleList(
            nn.ModuleList(_exchange(channels, source, target) for source in range(len(channels)))
            for target in range(len(channels))
        )

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        branches = [layers(x) for layers, x in zip(self.branches, branches, strict=True)]
        sums: list[Tensor] = []
        for target, exchange in enumerate(self.exchanges):
            # The finest branch counts twice, and the coarser ones take it when it holds the sum
            # already: so PaddleDetection has it, and so the weights were trained.
            total = 2 * exchange[0](branches[0])  # type: ignore[index]
            for source in range(1, len(branches)):
                total = total + exchange[source](branches[source])  # type: ignore[index]
            if target == 0:
                branches[0] = total
            sums.append(functional.relu(total))
        return sums


def _exchange(channels: Sequence[int], source: int, target: int) -> nn.Module:
    """From the size and channels of one branch to those of another."""
    if source == target:
        return nn.Identity()
    n_in, n_out = channels[source], channels[target]
    if source > target:
        return nn.Sequential(
            nn.Conv2d(n_in, n_out, 1), nn.Upsample(scale_factor=2 ** (source - target))
        )
    steps = [_separable(n_in, n_in, 2) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, _separable(n_in, n_out, 2, relu=False))


class _IterativeHead(nn.Module):
    """From the coarsest branch to the finest, each adding itself to what comes from below."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        pairs = zip(channels[::-1], [*channels[-2::-1], channels[0]], strict=True)
        self.projections = nn.ModuleList(_separable(n_in, n_out) for n_in, n_out in pairs)

    def forward(self, branches: list[Tensor]) -> Tensor:
        x = self.projections[0](branches[-1])
        for projection, branch in zip(self.projections[1:], branches[-2::-1], strict=True):
            size_hw = branch.shape[-2:]
            x = functional.interpolate(x, size=size_hw, mode="bilinear", align_corners=True)
            x = projection(branch + x)
        return x
