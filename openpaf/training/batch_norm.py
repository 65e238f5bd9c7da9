"""Batch norm for the time of training: put into a network that has none, and folded away again.

Networks whose batch norm was folded away run faster, but learn slowly: a layer's scale and
direction are then one number to the optimiser. What is put in here changes nothing at first, and
is multiplied into the convolutions again when weights are saved.

Reference:
    Ioffe and Szegedy, Batch Normalization, ICML 2015, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_MOMENTUM = 0.03
_SEPARATOR = "."


@torch.no_grad()
def add_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> list[str]:
    """Put a batch norm behind every convolution that ends no branch; in place.

    Args:
        network: Convolutions named ``out`` of modules named ``heatmaps`` or ``pafs`` give fields
            and are left alone, as is what is no convolution, or has no bias: the first of two
            factors, whose second has one.
        batches: Normalised pictures (B, 3, H, W) from which the first statistics are taken. In
            evaluation the network gives the same as before.

    Returns:
        Names of the convolutions, for :func:`folded`.
    """
    found = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.bias is not None and not _gives_fields(name)
    }
    statistics = {name: _Statistics(module) for name, module in found.items()}
    for images in batches:
        network(images)
    for name, conv in found.items():
        mean, variance = statistics[name].finish()
        norm = nn.BatchNorm2d(conv.out_channels, momentum=_MOMENTUM).to(conv.weight.device)
        assert norm.running_mean is not None  # it tracks them
        assert norm.running_var is not None
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean)
        norm.running_mean.copy_(mean if conv.bias is None else mean - conv.bias)
        norm.running_var.copy_(variance)
        norm.num_batches_tracked = None
        conv.bias = None
        parent, _, last = name.rpartition(_SEPARATOR)
        setattr(network.get_submodule(parent), last, nn.Sequential(conv, norm))
    return list(found)


def folded(
    state: dict[str, Tensor], names: Iterable[str], *, eps: float = 1e-5
) -> dict[str, Tensor]:
    """The weights of the network without batch norm that gives the same in evaluation.

    Args:
        state: Of a network that :func:`add_batch_norm` changed.
        names: What that returned.
        eps: Of the batch norms.
    """
    plain = dict(state)
    for name in names:
        weight, gamma, beta, mean, variance = (
            plain.pop(f"{name}.{key}")
            for key in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var")
        )
        factor = gamma / (variance + eps).sqrt()
        plain[f"{name}.weight"] = weight * factor[:, None, None, None]
        plain[f"{name}.bias"] = beta - mean * factor
    return plain


def _gives_fields(name: str) -> bool:
    return name.split(_SEPARATOR)[-2:] in (["heatmaps", "out"], ["pafs", "out"])


class _Statistics:
    """Mean and variance of a layer's output, channel by channel, over several calls."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self.n = 0
        self.total = torch.zeros(layer.out_channels, dtype=torch.float64)
        self.squares = torch.zeros(layer.out_channels, dtype=torch.float64)
        self._handle = layer.register_forward_hook(self._add)

    def _add(self, module: object, inputs: object, output: Tensor) -> None:
        rows = output.detach().transpose(0, 1).flatten(1).double().cpu()
        self.n += rows.shape[1]
        self.total += rows.sum(1)
        self.squares += rows.square().sum(1)

    def finish(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, (C,) float32."""
        self._handle.remove()
        mean = self.total / self.n
        return mean.float(), (self.squares / self.n - mean.square()).clamp(min=1e-8).float()
