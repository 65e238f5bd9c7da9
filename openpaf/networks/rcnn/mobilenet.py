"""The MobileNetV2 trunk, and its ImageNet weights as TensorFlow's trainers left them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from openpaf.errors import WeightsError
from openpaf.networks.rcnn.resnet import FrozenBatchNorm, convolve
from openpaf.weights.checkpoints import read_state

# Expansion, channels out, number of blocks, and stride of the first of them (table 2 of the paper).
_TABLE = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
_EPS = 1e-3


class _ConvNorm(nn.Module):
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
    """Widen, filter each channel by itself, narrow; beside a shortcut where shapes allow.

    Reference:
        Sandler et al., MobileNetV2, CVPR 2018, section 3.3.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = n_in * expansion
        self.expand = _ConvNorm(n_in, width, 1) if expansion > 1 else None
        self.depthwise = _ConvNorm(width, width, 3, stride, groups=width)
        self.project = _ConvNorm(width, n_out, 1)
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
        self.stem = _ConvNorm(3, 32, 3, 2)
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


def load_imagenet(network: MobileNetV2, path: str | Path) -> None:
    """Fill a trunk from ``mobilenet_v2_1.0.npz``.

    Args:
        network: The trunk.
        path: Arrays by TensorFlow's names: kernels (H, W, in, out), ``_depthwise_weights``
            (H, W, in, 1), and the four of each batch norm.

    Raises:
        WeightsError: If the file cannot be read, or lacks an array or has one of another shape.
    """
    arrays = read_state(path)
    pairs: list[tuple[str, _ConvNorm]] = [("Conv", network.stem)]
    for i, block in enumerate(network.blocks):
        prefix = f"expanded_conv_{i}" if i else "expanded_conv"
        for part, layer in block.named_children():
            assert isinstance(layer, _ConvNorm)
            pairs.append((f"{prefix}_{part}", layer))
    with torch.no_grad():
        for name, layer in pairs:
            try:
                _fill(layer, arrays, name)
            except (KeyError, ValueError, RuntimeError) as error:
                raise WeightsError(f"{path}: not MobileNetV2 of ImageNet ({error})") from error


def _fill(layer: _ConvNorm, arrays: dict[str, Tensor], name: str) -> None:
    if layer.conv.groups > 1:
        kernel = arrays[f"{name}_depthwise_weights"].permute(2, 3, 0, 1)
    else:
        kernel = arrays[f"{name}_weights"].permute(3, 2, 0, 1)
    values = {"conv.weight": kernel}
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
             "running_var": "moving_variance"}  # fmt: skip
    for ours, theirs in names.items():
        values[f"norm.{ours}"] = arrays[f"{name}_BatchNorm_{theirs}"]
    layer.load_state_dict({k: v.float() for k, v in values.items()})
