"""The first ten layers of VGG-19 under their published names, the trunk of CMU's networks."""

from __future__ import annotations

from torch import nn

# Channels as multiples of those of the first layer; a pooling layer precedes each new number.
_WIDTHS = {
    "conv1_1": 1, "conv1_2": 1, "conv2_1": 2, "conv2_2": 2,
    "conv3_1": 4, "conv3_2": 4, "conv3_3": 4, "conv3_4": 4, "conv4_1": 8, "conv4_2": 8,
}  # fmt: skip


def vgg_layers(width: int = 64) -> list[tuple[str, nn.Module]]:
    """The layers from ``conv1_1`` to ``conv4_2``, without the activation after the last.

    Args:
        width: Channels of the first layer; VGG has 64.

    Returns:
        Names and modules, in order: 3x3 convolutions, ReLUs, and three 2x2 max poolings, from
        (B, 3, H, W) to (B, 8 * width, H/8, W/8). As in Caffe, the poolings round sizes up.

    Reference:
        Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015, table 1, column E.
    """
    layers: list[tuple[str, nn.Module]] = []
    n_in = 3
    for name, factor in _WIDTHS.items():
        if name.endswith("_1") and name != "conv1_1":
            pool = f"pool{int(name[4]) - 1}_stage1"
            layers.append((pool, nn.MaxPool2d(2, 2, ceil_mode=True)))
        layers.append((name, nn.Conv2d(n_in, factor * width, 3, padding=1)))
        if name != "conv4_2":
            layers.append((name.replace("conv", "relu"), nn.ReLU()))
        n_in = factor * width
    return layers
