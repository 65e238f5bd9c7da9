"""The network that a file describes, built without memory to see what it would be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.errors import WeightsError, printable
from openpaf.weights.limits import MAX_PARAMETERS
from openpaf.weights.spec import OUTPUTS, ModelSpec

if TYPE_CHECKING:
    from torch import nn


def outline(spec: ModelSpec, path: Path) -> nn.Module:
    """The network that a file describes, on the device "meta": it has shapes, but no numbers.

    Args:
        spec: What the file says of how it is run.
        path: Of it, for messages.

    Raises:
        WeightsError: If there is no such network, or it is too large.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    from openpaf.networks import build

    class NoValues(TorchFunctionMode):
        """Leaves out random numbers: for those of "meta", torch would load all of its compiler."""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if getattr(func, "__name__", "") in ("normal_", "uniform_"):
                return args[0] if args else kwargs["tensor"]
            return func(*args, **kwargs)

    try:
        with torch.device("meta"), NoValues():
            network = build(spec.builder, spec.skeleton, **spec.options)
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
    return network


def check_grids(network: nn.Module, spec: ModelSpec, path: Path) -> None:
    """See that the cells of a network's fields are as far apart as its file says.

    Args:
        network: In evaluation mode. A detector has no fields: only its arrays are counted.
        spec: What the file says of how it is run.
        path: Of it, for messages.

    Raises:
        WeightsError: If they are not.
    """
    import torch

    if spec.method not in OUTPUTS or spec.method in ("mask_rcnn", "objects", "top_down"):
        return
    # Multiples of every stride.
    size_hw = (48, 48) if spec.method == "part_affinity" else (64, 64)
    # Not on "meta": torch would load all of its compiler for that, which takes seconds.
    with torch.no_grad():
        fields = network(torch.zeros(1, 3, *size_hw))[-1]
    if len(fields) != len(spec.outputs):
        raise WeightsError(
            f"{path}: expected a network of {len(spec.outputs)} arrays ({', '.join(spec.outputs)}),"
            f" found one of {len(fields)}"
        )
    if spec.method == "person_detector":
        return
    names = ("heatmap_grid", "paf_grid")[: len(fields)]
    for name, field, grid in zip(names, fields, (spec.heatmap_grid, spec.paf_grid), strict=False):
        found = (size_hw[0] / field.shape[2], size_hw[1] / field.shape[3])
        if found != (grid.stride, grid.stride):
            raise WeightsError(
                f"{path}: {name}: expected the network's stride of {found[0]:g} px, "
                f"found {grid.stride} px"
            )
