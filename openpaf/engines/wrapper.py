"""What stands before and after a network, so that every engine speaks the library's conventions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openpaf.channels import CHANNEL_ORDERS
from openpaf.errors import WeightsError
from openpaf.weights.outline import is_top_down
from openpaf.weights.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn


def with_ends(network: nn.Module, row: ModelSpec) -> nn.Module:
    """The network between what its checkpoint asks for and the conventions of this library.

    Before it RGB becomes BGR if need be, and is normalised; after it comes only the last stage,
    its channels in the order of the skeleton.

    Raises:
        WeightsError: If it is a detector, which has no fields.
    """
    if is_top_down(row.builder):
        raise WeightsError(f"{row.name}: a top-down network, which has no heatmaps and no PAFs")
    import torch
    from torch import Tensor, nn

    order = CHANNEL_ORDERS[row.channel_order] if row.channel_order else None

    class WithEnds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            if order is not None:
                pafs = [channel for pair in order.pafs for channel in pair]
                self.register_buffer("heatmap_order", torch.tensor(order.heatmaps))
                self.register_buffer("paf_order", torch.tensor(pafs))

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            if row.bgr:
                images = images.flip(1)
            heatmaps, pafs = self.network((images - row.mean) / row.scale)[-1]
            if order is not None:
                heatmaps = heatmaps.index_select(1, self.heatmap_order)
                pafs = pafs.index_select(1, self.paf_order)
            return heatmaps, pafs

    return WithEnds().eval()
