"""New weights for networks without batch norms."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

HEAD_STD = 0.01
_LEAST_STD = 1e-5


@torch.no_grad()
def fresh_weights(
    network: nn.Module,
    images: Tensor,
    head_channels: Collection[int],
    given: Collection[str] = (),
) -> None:
    """Draw weights with which each channel of each layer differs from image to image.

    With torch's own initial weights signals fade in a network without batch norms: each separable
    convolution takes most of their variance. With larger ones they grow alike, as means of channels
    that are never negative add up. Either hardly learns. So weights and biases are scaled, layer by
    layer, that each channel has mean 0 and variance 1 on a batch, as batch norms would do at the
    first step. Heads begin near 0, as most of their targets are.

    Args:
        network: Its convolutions are filled.
        images: (B, 3, H, W), as the network takes them.
        head_channels: Numbers of channels of the convolutions that give fields.
        given: Names of layers that keep their weights.

    Reference:
        He et al., ICCV 2015, section 2.2; Kraehenbuehl et al., Data-dependent Initializations of
        Convolutional Neural Networks, ICLR 2016, section 3.1; the heads as in the published code
        of Cao et al., 2017.
    """
    hooks = []
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d) or name in given:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if module.out_channels in head_channels:
            nn.init.normal_(module.weight, std=HEAD_STD)
        else:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            hooks.append(module.register_forward_hook(_normalize))
    network(images)
    for hook in hooks:
        hook.remove()


def _normalize(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Scale a convolution so that its channels have mean 0 and variance 1, and what it gave."""
    assert isinstance(module, nn.Conv2d)
    std, mean = torch.std_mean(output, dim=(0, 2, 3))
    std = std.clamp(min=_LEAST_STD)
    module.weight /= std[:, None, None, None]
    if module.bias is None:  # a batch norm follows
        return output / std[:, None, None]
    module.bias.copy_(-mean / std)
    return (output - mean[:, None, None]) / std[:, None, None]
