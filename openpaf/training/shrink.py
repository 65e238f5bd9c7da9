"""A cheaper network from a trained one of the same stages: the start of a fast model.

What both have alike is copied. A 3x3 convolution that the cheaper network has as two factors is
split along the principal components of its responses, heads with fewer hidden channels keep
those that are missed most, and a new pyramid starts as linear interpolation. No gradient is needed;
the result is where training starts.

Reference:
    Zhang et al., Accelerating Very Deep Convolutional Networks for Classification and Detection,
    TPAMI 2016, section 3.1 (factors from principal components of responses); Hassibi and Stork,
    Second Order Derivatives for Network Pruning: Optimal Brain Surgeon, NIPS 1992, equation 5 (cost
    of a removal).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from openpaf.networks.lightweight import Head, LightweightNetwork
from openpaf.networks.pyramid import PyramidStep

_RIDGE = 1e-3  # of the mean squared input


@torch.no_grad()
def shrink(wide: LightweightNetwork, slim: LightweightNetwork, images: Tensor) -> None:
    """Fill a cheaper network from a trained one.

    Args:
        wide: A trained network; its 3x3 convolutions are whole.
        slim: Receives its weights: of the same skeleton, stages and widths, but maybe strided, with
            factors of 3x3 convolutions, or with fewer hidden channels in its heads.
        images: (B, 3, H, W) float32, normalised; some twenty crops are enough.

    Raises:
        ValueError: If a layer of ``slim`` cannot be made of one of ``wide``.
    """
    seen = _inputs_of_split_layers(wide, slim, images)
    left = _copy(wide, slim)
    for name, module in slim.named_modules():
        if isinstance(module, Head) and name in seen:
            _shrink_head(wide.get_submodule(name), module, seen[name])
        elif name in seen:
            _factorize(wide.get_submodule(name), module, seen[name])
    if any(key.startswith("pyramid.") for key in left):  # the trained network has none
        for step in slim.pyramid.steps:
            cast(PyramidStep, step).interpolate()
    done = {f"{name}." for name in seen} | {"pyramid."}
    missing = [key for key in left if not key.startswith(tuple(done))]
    if missing:
        raise ValueError(f"slim: {missing[0]} cannot be made of the wide network's layers")


def _inputs_of_split_layers(
    wide: LightweightNetwork, slim: LightweightNetwork, images: Tensor
) -> dict[str, list[Tensor]]:
    """What the layers of ``wide`` read that are whole there and are not in ``slim``, by name."""
    kept: dict[str, list[Tensor]] = {}
    handles = []
    for name, module in slim.named_modules():
        try:
            original = wide.get_submodule(name)
        except AttributeError:
            continue
        factored = isinstance(module, nn.Sequential) and isinstance(original, nn.Conv2d)
        narrower = (
            isinstance(module, Head) and isinstance(original, Head) and _differ(module, original)
        )
        if factored or narrower:
            kept[name] = []
            handles.append(original.register_forward_pre_hook(_keeper(kept[name])))
    if kept:
        for image in images.split(1):
            wide(image)
    for handle in handles:
        handle.remove()
    return kept


def _differ(head: Head, other: Head) -> bool:
    return head.hidden.out_channels != other.hidden.out_channels


def _keeper(rows: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor]], None]:
    def keep(module: nn.Module, inputs: tuple[Tensor]) -> None:
        rows.append(inputs[0])

    return keep


def _copy(wide: nn.Module, slim: nn.Module) -> list[str]:
    """Copy all tensors of the same name and shape; the names of the others."""
    theirs, ours = wide.state_dict(), slim.state_dict()
    same = [key for key in ours if key in theirs and theirs[key].shape == ours[key].shape]
    for key in same:
        ours[key].copy_(theirs[key])
    return sorted(set(ours) - set(same))


def _factorize(whole: nn.Module, factors: nn.Module, inputs: list[Tensor]) -> None:
    """Split a convolution so that its two factors keep most of the variance of its responses."""
    assert isinstance(whole, nn.Conv2d)
    assert whole.bias is not None
    first, second = factors.children()
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    assert second.bias is not None
    responses = torch.cat([_cells(whole(x)) for x in inputs])  # (cells, C)
    mean = responses.mean(0)
    centred = responses - mean
    _values, vectors = torch.linalg.eigh(centred.T @ centred)
    main = vectors[:, -first.out_channels :]  # (C, rank)
    first.weight.copy_((main.T @ whole.weight.double().flatten(1)).view_as(first.weight))
    second.weight.copy_(main[:, :, None, None])
    second.bias.copy_(mean - main @ (main.T @ (mean - whole.bias.double())))


def _shrink_head(wide: nn.Module, slim: Head, inputs: list[Tensor]) -> None:
    """Keep the hidden channels that are missed most, and fit what reads them to the rest."""
    assert isinstance(wide, Head)
    n_kept = slim.hidden.out_channels
    if n_kept > wide.hidden.out_channels:
        raise ValueError(
            f"slim: expected at most {wide.hidden.out_channels} hidden channels, got {n_kept}"
        )
    hidden = torch.cat([_cells(wide.hidden(x).relu()) for x in inputs])  # (cells, hidden)
    mean = hidden.mean(0)
    gram = (hidden - mean).T @ (hidden - mean) / len(hidden)
    matrix = wide.out.weight.double().flatten(1).T.contiguous()  # (hidden, out)
    kept, fitted = keep_most_missed(gram, matrix, n_kept)
    for ours, theirs in zip(slim.hidden.parameters(), wide.hidden.parameters(), strict=True):
        ours.copy_(theirs[kept])
    slim.out.weight.copy_(fitted[kept].T[:, :, None, None])
    assert slim.out.bias is not None
    assert wide.out.bias is not None
    slim.out.bias.copy_(wide.out.bias.double() + mean @ matrix - mean[kept] @ fitted[kept])


def keep_most_missed(gram: Tensor, matrix: Tensor, n_kept: int) -> tuple[Tensor, Tensor]:
    """Take away inputs of a linear layer one by one, each time the one that costs least.

    Args:
        gram: (n, n) float64, covariance of the inputs.
        matrix: (n, out) float64, the layer.
        n_kept: How many inputs to keep.

    Returns:
        The indices (n_kept,) of the inputs kept, rising; and the layer (n, out) that does its best
        with them, zero in the rows of the others.
    """
    n = len(gram)
    inverse = torch.linalg.inv(
        gram + _RIDGE * gram.diagonal().mean() * torch.eye(n, dtype=gram.dtype)
    )
    matrix, alive = matrix.clone(), torch.ones(n, dtype=torch.bool)
    for _ in range(n - n_kept):
        cost = matrix.square().sum(1) / inverse.diagonal().clamp(min=1e-30)
        cost[~alive] = torch.inf
        gone = int(cost.argmin())
        alive[gone] = False
        column, pivot = inverse[:, gone].clone(), float(inverse[gone, gone])
        matrix -= torch.outer(column / pivot, matrix[gone])
        inverse -= torch.outer(column, column) / pivot
        matrix[gone] = 0
        inverse[gone], inverse[:, gone], inverse[gone, gone] = 0, 0, 1e-30
    return alive.nonzero()[:, 0], matrix


def _cells(x: Tensor) -> Tensor:
    """(B, C, H, W) to rows (B * H * W, C), in double precision."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).double()
