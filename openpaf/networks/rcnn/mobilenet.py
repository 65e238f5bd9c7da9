"""The MobileNetV2 trunk."""

from __future__ import annotations

from torch import Tensor, nn

from openpaf.networks.rcnn.resnet import FrozenBatchNorm, convolve

# Expansion, output channels, number of blocks, and stride of the first (table 2 of the paper).
_TABLE = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
_EPS = 1e-3


class ConvNorm(nn.Module):
    """A convolution and its frozen batch norm; stride 2 is padded on the bottom and right only."""

    def __init__(self, n_in: int, n_out: int, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        padding = size // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(
            n_in, n_out, size, stride=stride, padding=padding, groups=groups, bias=False
        )
        self.norm = FrozenBatchNorm(n_out, _EPS)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 2:
            x = nn.functional.pad(x, (0, 1, 0, 1))
        return convolve(self.conv, self.norm, x)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection, with a shortcut where shapes allow.

    Reference:
        Sandler et al., MobileNetV2, CVPR 2018, section 3.3.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = n_in * expansion
        self.expand = ConvNorm(n_in, width, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(width, width, 3, stride, groups=width)
        self.project = ConvNorm(width, n_out, 1)
        self.shortcut = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else nn.functional.relu6(self.expand(x))
        out = self.project(nn.functional.relu6(self.depthwise(wide)))
        return x + out if self.shortcut else out


class MobileNetV2(nn.Module):
    """MobileNetV2 without its last convolution and its classifier.

    Input: (B, 3, H, W) float of RGB / 127.5 - 1; H and W multiples of 32. Output: the last
    features of strides 4, 8, 16 and 32, of 24, 32, 96 and 320 channels.
    """

    channels = (24, 32, 96, 320)

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2)
        blocks, self.last_of_stage = [], []
        n_in = 32
        for expansion, n_out, n_blocks, stride in _TABLE:
            for i in range(n_blocks):
                blocks.append(InvertedResidual(n_in, n_out, stride if i == 0 else 1, expansion))
                n_in = n_out
            if n_out in self.channels:
                self.last_of_stage.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        x = nn.functional.relu6(self.stem(images))
        stages = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.last_of_stage:
                stages.append(x)
        return stages
