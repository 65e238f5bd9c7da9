"""ResNet trunks with frozen batch norm."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

N_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


class FrozenBatchNorm(nn.Module):
    """Batch norm with constant statistics and parameters: a scale and a shift per channel.

    Args:
        n_channels: Channels of the input.
        eps: Added to the variance; 0 in the published detectors.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, n_channels: int, eps: float = 0.0) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(n_channels))
        self.register_buffer("bias", torch.zeros(n_channels))
        self.register_buffer("running_mean", torch.zeros(n_channels))
        self.register_buffer("running_var", torch.ones(n_channels))

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift()
        return x * scale[:, None, None] + shift[:, None, None]

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Factor (C,) and summand (C,) of each channel."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale


def convolve(conv: nn.Conv2d, norm: FrozenBatchNorm, x: Tensor) -> Tensor:
    """``norm(conv(x))`` as one convolution, of scaled kernels and with the shift as bias."""
    scale, shift = norm.scale_and_shift()
    weight = conv.weight * scale[:, None, None, None]
    stride, padding, dilation = conv.stride, conv.padding, conv.dilation
    return nn.functional.conv2d(x, weight, shift, stride, padding, dilation, conv.groups)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut; the 3x3 one has the stride.

    Reference:
        He et al., Deep Residual Learning, CVPR 2016, figure 5.
    """

    def __init__(self, n_in: int, width: int, stride: int, eps: float) -> None:
        super().__init__()
        n_out = 4 * width
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = FrozenBatchNorm(width, eps)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = FrozenBatchNorm(width, eps)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = FrozenBatchNorm(n_out, eps)
        self.downsample: nn.Module | None = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), FrozenBatchNorm(n_out, eps)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = convolve(self.conv1, self.bn1, x).relu_()
        x = convolve(self.conv2, self.bn2, x).relu_()
        return (convolve(self.conv3, self.bn3, x) + shortcut).relu_()


def stage(n_in: int, width: int, n_blocks: int, stride: int, eps: float) -> nn.Sequential:
    """Blocks of one resolution, the first of which has the stride."""
    blocks = [Bottleneck(n_in, width, stride, eps)]
    blocks += [Bottleneck(4 * width, width, 1, eps) for _ in range(n_blocks - 1)]
    return nn.Sequential(*blocks)


class ResNet(nn.Module):
    """The stages of a ResNet, without its classifier.

    Args:
        name: ``"resnet50"`` or ``"resnet101"``.
        n_stages: Number of stages, 1 to 4.
        eps: Epsilon of the frozen batch norms.

    Input: (B, 3, H, W) float. Output: one tensor per stage, of strides 4, 8, 16, 32 and of 256,
    512, 1024, 2048 channels.
    """

    def __init__(self, name: str, n_stages: int = 4, eps: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm(64, eps)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.channels: list[int] = []
        n_in = 64
        for i, n_blocks in enumerate(N_BLOCKS[name][:n_stages]):
            width = 64 * 2**i
            self.add_module(f"layer{i + 1}", stage(n_in, width, n_blocks, 1 if i == 0 else 2, eps))
            n_in = 4 * width
            self.channels.append(n_in)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.maxpool(convolve(self.conv1, self.bn1, images).relu_())
        stages: list[Tensor] = []
        for i in range(len(self.channels)):
            layer: Callable[[Tensor], Tensor] = getattr(self, f"layer{i + 1}")
            x = layer(x)
            stages.append(x)
        return stages
