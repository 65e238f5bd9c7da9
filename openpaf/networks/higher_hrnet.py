"""HigherHRNet: heatmaps at a quarter and at half of the image's size, and tags that group joints.

The modules have the names of the published files, so that these load key for key.

Reference:
    Cheng et al., CVPR 2020: HigherHRNet: Scale-Aware Representation Learning for Bottom-Up Human
    Pose Estimation, figure 2; its trunk is HRNet's, Sun et al., CVPR 2019, figure 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from openpaf.checks import check_number
from openpaf.networks.folded import IMAGENET_MEAN, IMAGENET_STD, Normalize
from openpaf.skeleton import Skeleton

# Exchange modules of the stages of two, three and four branches, and blocks of each branch.
_N_MODULES = (1, 4, 3)
_N_BLOCKS = 4


def _conv(n_in: int, n_out: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, size, stride, size // 2, bias=False)


def _conv_norm(
    n_in: int, n_out: int, size: int = 3, stride: int = 1, *, relu: bool = True
) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(n_in, n_out, size, stride), nn.BatchNorm2d(n_out)]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al., CVPR 2016, figure 5, left)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(n, n), nn.BatchNorm2d(n)
        self.conv2, self.bn2 = _conv(n, n), nn.BatchNorm2d(n)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + x)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut (the same figure, right)."""

    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        n_out = 4 * width
        self.conv1, self.bn1 = _conv(n_in, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, n_out, 1), nn.BatchNorm2d(n_out)
        self.downsample = _conv_norm(n_in, n_out, 1, relu=False) if n_in != n_out else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        inner = functional.relu(self.bn1(self.conv1(x)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        return functional.relu(self.bn3(self.conv3(inner)) + shortcut)


class _Exchange(nn.Module):
    """Blocks on every branch, then each branch takes the sum of all, brought to its size.

    Args:
        channels: Of the branches, the finest first.
        n_out: Branches that go on; the last module of all gives the finest alone.
    """

    def __init__(self, channels: Sequence[int], n_out: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(n) for _ in range(_N_BLOCKS))) for n in channels
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_fuse(channels, source, target) for source in range(len(channels)))
            for target in range(n_out)
        )

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        branches = [blocks(x) for blocks, x in zip(self.branches, branches, strict=True)]
        fused = []
        for target, layers in enumerate(self.fuse_layers):
            total = torch.zeros_like(branches[target])
            for source, x in enumerate(branches):
                part = layers[source](x)  # type: ignore[index]
                if source > target:
                    part = _enlarged(part, 2 ** (source - target), branches[target])
                total = total + part
            fused.append(functional.relu(total))
        return fused


def _enlarged(x: Tensor, factor: int, like: Tensor) -> Tensor:
    """Cells repeated; of an image whose size is no multiple of 32, those that reach out cut off."""
    x = functional.interpolate(x, scale_factor=factor)
    return x[:, :, : like.shape[2], : like.shape[3]]


def _fuse(channels: Sequence[int], source: int, target: int) -> nn.Module:
    """From the channels of one branch to those of another, and down to its size."""
    n_in, n_out = channels[source], channels[target]
    if source == target:
        return nn.Identity()
    if source > target:
        return _conv_norm(n_in, n_out, 1, relu=False)
    steps = [_conv_norm(n_in, n_in, stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, _conv_norm(n_in, n_out, stride=2, relu=False))


class HigherHRNet(nn.Module):
    """HRNet's branches at 1/4 to 1/32 of the image, heads at 1/4, and heatmaps at 1/2.

    Args:
        skeleton: Its joints, a heatmap and a map of tags each.
        width: Channels of the finest branch, 32 or 48 as published; each coarser one has twice as
            many.

    Input: (B, 3, H, W), RGB of 0 to 1; normalized inside.
    Output: One stage: (heatmaps (B, K, H / 2, W / 2), the mean of both resolutions; tags
    (B, K, H / 4, W / 4)). :meth:`stages` gives both resolutions, which the loss compares.

    Raises:
        ValueError: If the width is below 1.

    Reference:
        Cheng et al., CVPR 2020, section 3: 3.2 for the layers, 3.3 for the loss of each
        resolution and 3.4 for their mean.

    Example:
        >>> network = HigherHRNet(Skeleton.COCO17, width=8).eval()
        >>> [tuple(array.shape) for array in network(torch.zeros(1, 3, 64, 96))[-1]]
        [(1, 17, 32, 48), (1, 17, 16, 24)]
    """

    #: Mean and scale of the images that the published weights take.
    INPUT: ClassVar[tuple[float, float]] = (0.0, 255.0)
    #: Checkpoints of training in half precision have the network behind a conversion.
    RENAMES: ClassVar[tuple[tuple[str, str], ...]] = ((r"^1\.", ""),)

    def __init__(self, skeleton: Skeleton, *, width: int = 32) -> None:
        super().__init__()
        check_number("width", width, least=1)
        self.n_joints = k = skeleton.n_joints
        channels = [width * 2**i for i in range(4)]
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.conv1, self.bn1 = _conv(3, 64, stride=2), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = _conv(64, 64, stride=2), nn.BatchNorm2d(64)
        blocks = [Bottleneck(64 if i == 0 else 256, 64) for i in range(_N_BLOCKS)]
        self.layer1 = nn.Sequential(*blocks)
        first, second = channels[:2]
        self.transition1 = nn.ModuleList(
            (_conv_norm(256, first), nn.Sequential(_conv_norm(256, second, stride=2)))
        )
        self.transition2, self.transition3 = (_transition(channels[:n]) for n in (3, 4))
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(
                *(
                    _Exchange(channels[:n], 1 if n == 4 and i == n_modules - 1 else n)
                    for i in range(n_modules)
                )
            )
            for n, n_modules in zip((2, 3, 4), _N_MODULES, strict=True)
        )
        self.final_layers = nn.ModuleList((nn.Conv2d(width, 2 * k, 1), nn.Conv2d(width, k, 1)))
        enlarge = nn.Sequential(
            nn.ConvTranspose2d(width + 2 * k, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        after = (nn.Sequential(BasicBlock(width)) for _ in range(_N_BLOCKS))
        self.deconv_layers = nn.ModuleList([nn.Sequential(enlarge, *after)])

    def features(self, images: Tensor) -> Tensor:
        """The finest branch (B, width, H / 4, W / 4)."""
        x = functional.relu(self.bn1(self.conv1(self.normalize(images))))
        x = self.layer1(functional.relu(self.bn2(self.conv2(x))))
        branches = self.stage2([layer(x) for layer in self.transition1])
        for transition, stage in (
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            branches = stage([*branches, transition[-1](branches[-1])])
        return branches[0]

    def stages(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Heatmaps and tags of images (B, 3, H, W) at a quarter, and heatmaps at half the size.

        The second stage has the tags of the first.
        """
        x = self.features(images)
        both = self.final_layers[0](x)
        heatmaps, tags = both.split(self.n_joints, dim=1)
        fine = self.final_layers[1](self.deconv_layers[0](torch.cat([x, both], dim=1)))
        return [(heatmaps, tags), (fine, tags)]

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        (coarse, tags), (fine, _) = self.stages(images)
        coarse = functional.interpolate(coarse, size=fine.shape[2:], mode="bilinear")
        return [((coarse + fine) / 2, tags)]


def _transition(channels: Sequence[int]) -> nn.ModuleList:
    """One more branch, at half the size of the coarsest; the others stay."""
    same = (nn.Identity() for _ in channels[:-1])
    new = nn.Sequential(_conv_norm(channels[-2], channels[-1], stride=2))
    return nn.ModuleList((*same, new))
