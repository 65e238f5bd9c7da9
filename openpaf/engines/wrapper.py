"""Input normalization and output ordering, so that every engine has the library's conventions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openpaf.channels import CHANNEL_ORDERS
from openpaf.errors import WeightsError
from openpaf.weights.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn


def wrap_network(network: nn.Module, spec: ModelSpec) -> nn.Module:
    """The network between what its checkpoint asks for and the conventions of this library.

    Before it RGB becomes BGR if the checkpoint asks for it, and is normalized; after it comes only
    the last stage, its channels in the order of the skeleton.

    Returns:
        A module from images (B, 3, h, w), RGB of 0 to 255, to a tuple of the arrays that
        ``spec.outputs`` names.

    Raises:
        WeightsError: If it is a top-down network, which gives no arrays of fixed shape.
    """
    if spec.method in ("mask_rcnn", "objects", "top_down"):
        raise WeightsError(f"{spec.name}: a top-down network, which has no heatmaps and no PAFs")
    import torch
    from torch import Tensor, nn

    order = CHANNEL_ORDERS[spec.channel_order] if spec.channel_order else None

    class WrappedNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.heatmap_order: Tensor
            self.paf_order: Tensor
            if order is not None:
                pafs = [channel for pair in order.pafs for channel in pair]
                self.register_buffer("heatmap_order", torch.tensor(order.heatmaps))
                self.register_buffer("paf_order", torch.tensor(pafs))

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            if spec.bgr:
                images = images.flip(1)
            arrays: tuple[Tensor, ...] = self.network((images - spec.mean) / spec.scale)[-1]
            if order is not None:
                heatmaps, pafs = arrays
                heatmaps = heatmaps.index_select(1, self.heatmap_order)
                return heatmaps, pafs.index_select(1, self.paf_order)
            return arrays

    return WrappedNetwork().eval()
