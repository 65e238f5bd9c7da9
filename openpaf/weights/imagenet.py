"""ImageNet weights of the MobileNetV2 trunk, as TensorFlow's trainers left them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from openpaf.errors import WeightsError
from openpaf.networks.rcnn.mobilenet import ConvNorm, MobileNetV2
from openpaf.weights.checkpoints import read_state


def load_imagenet(network: MobileNetV2, path: str | Path) -> None:
    """Fill a trunk from ``mobilenet_v2_1.0.npz``.

    Args:
        network: The trunk, changed in place.
        path: Arrays by TensorFlow's names: kernels (H, W, in, out), ``_depthwise_weights``
            (H, W, in, 1), and the four of each batch norm.

    Raises:
        WeightsError: If the file cannot be read, or lacks an array or has one of another shape.
    """
    arrays = read_state(path)
    pairs: list[tuple[str, ConvNorm]] = [("Conv", network.stem)]
    for i, block in enumerate(network.blocks):
        prefix = f"expanded_conv_{i}" if i else "expanded_conv"
        for part, layer in block.named_children():
            assert isinstance(layer, ConvNorm)
            pairs.append((f"{prefix}_{part}", layer))
    with torch.no_grad():
        for name, layer in pairs:
            try:
                _fill(layer, arrays, name)
            except (KeyError, ValueError, RuntimeError) as error:
                raise WeightsError(f"{path}: not MobileNetV2 of ImageNet ({error})") from error


def _fill(layer: ConvNorm, arrays: dict[str, Tensor], name: str) -> None:
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
