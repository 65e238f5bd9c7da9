"""The network that a file describes, built without memory to see what it would be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.errors import WeightsError, printable
from openpaf.weight_limits import MAX_PARAMETERS

if TYPE_CHECKING:
    from torch import nn

    from openpaf.weights import Weights


def outline(row: Weights, path: Path) -> nn.Module:
    """The network that a file describes, on the device "meta": it has shapes, but no numbers.

    Args:
        row: What the file says of how it is run.
        path: Of it, for messages.

    Raises:
        WeightsError: If there is no such network, it is too large, or its fields lie on another
            grid than the file says.
    """
    import torch

    from openpaf.networks import build

    try:
        with torch.device("meta"):
            network = build(row.builder, row.skeleton, **row.options)
    except Exception as error:  # a network may be asked for anything
        raise WeightsError(
            f"{path}: its description makes no network ({printable(error, 200)})"
        ) from error
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    if n_parameters > MAX_PARAMETERS:
        raise WeightsError(
            f"{path}: expected a network of at most {MAX_PARAMETERS} parameters, found the "
            f"description of one of {n_parameters}"
        )
    if not is_top_down(row.builder):
        _check_grids(network, row, path)
    return network


def _check_grids(network: nn.Module, row: Weights, path: Path) -> None:
    import torch

    size_hw = (192, 192)  # multiples of every stride
    with torch.no_grad():
        fields = network.eval()(torch.zeros(1, 3, *size_hw, device="meta"))[-1]
    names = ("heatmap_grid", "paf_grid")
    for name, field, grid in zip(names, fields, (row.heatmap_grid, row.paf_grid), strict=True):
        found = (size_hw[0] / field.shape[2], size_hw[1] / field.shape[3])
        if found != (grid.stride, grid.stride):
            raise WeightsError(
                f"{path}: {name}: expected the network's stride of {found[0]:g} px, "
                f"found {grid.stride} px"
            )


def is_top_down(builder: str) -> bool:
    """Whether a network is a detector, which looks for people first and has no fields."""
    return "rcnn_" in builder
