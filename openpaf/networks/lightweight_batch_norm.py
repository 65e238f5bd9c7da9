"""The lightweight network with batch norms, which the shipped models lack."""

from __future__ import annotations

from typing import Any

from torch import nn

from openpaf.networks.lightweight import LightweightNetwork
from openpaf.skeleton import Skeleton


class LightweightBatchNormNetwork(LightweightNetwork):
    """:class:`LightweightNetwork` with batch norms in the trunk and the refinement stages.

    Args:
        skeleton: Its joints and limbs define the channels of the heads.
        **options: As of :class:`LightweightNetwork`.

    Input, output and errors are the same.

    Reference:
        Osokin 2018, section 4.1; Ioffe and Szegedy, Batch Normalization, ICML 2015.
    """

    def __init__(self, skeleton: Skeleton, **options: Any) -> None:
        super().__init__(skeleton, **options)
        _add_batch_norms(self.trunk)
        for name, module in self.refinement_stages.named_modules():
            if name.endswith(".body"):
                _add_batch_norms(module)


def _add_batch_norms(module: nn.Module) -> None:
    """Put a batch norm after each convolution of a module; its shift replaces their biases."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            child.register_parameter("bias", None)
            setattr(module, name, nn.Sequential(child, nn.BatchNorm2d(child.out_channels)))
        else:
            _add_batch_norms(child)
