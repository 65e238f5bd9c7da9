"""Linear layers by least squares: what layers respond, fitted layers, their factors and inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

_RIDGE = 1e-3  # of the mean squared input


def record(
    network: nn.Module,
    names: Sequence[str],
    which: Literal["input", "output"],
    images: Sequence[Tensor],
) -> dict[str, list[Tensor]]:
    """Inputs or outputs of some layers, by name one tensor for each call with ``images``."""
    recorded: dict[str, list[Tensor]] = {name: [] for name in names}

    def recorder(tensors: list[Tensor]) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            tensors.append(inputs[0] if which == "input" else output)

        return hook

    handles = [
        network.get_submodule(name).register_forward_hook(recorder(tensors))
        for name, tensors in recorded.items()
    ]
    with torch.no_grad():
        for image in images:
            network(image)
    for handle in handles:
        handle.remove()
    return recorded


def cells(x: Tensor) -> Tensor:
    """(B, C, H, W) as (B * H * W, C) float64: a cell a line."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).double()


def matrix_of(layer: nn.Module) -> Tensor:
    """A convolution as a matrix (n_in * kh * kw + 1, n_out), its bias last, float64."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    return torch.cat([layer.weight.flatten(1).T, layer.bias[None]]).detach().double()


def fill(layer: nn.Conv2d, matrix: Tensor, bias: Tensor | None) -> None:
    """Give a convolution the weights of a matrix (n_in * kh * kw, n_out), and a bias."""
    with torch.no_grad():
        layer.weight.copy_(matrix.T.reshape(layer.weight.shape))
        if bias is not None:
            assert layer.bias is not None
            layer.bias.copy_(bias)


class LeastSquares:
    """The linear layer that gives outputs from inputs best: ridge regression, from sums only."""

    def __init__(self) -> None:
        self._gram: Tensor | None = None
        self._cross: Tensor | None = None

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Add inputs (n, n_in) and the outputs (n, n_out) that they are to give, float64."""
        design = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)  # the last is for the bias
        gram, cross = design.T @ design, design.T @ outputs
        self._gram = gram if self._gram is None else self._gram + gram
        self._cross = cross if self._cross is None else self._cross + cross

    @property
    def sums(self) -> tuple[Tensor, Tensor]:
        """Of inputs with inputs (n_in + 1, n_in + 1), and with outputs (n_in + 1, n_out).

        Raises:
            ValueError: If nothing was added.
        """
        if self._gram is None or self._cross is None:
            raise ValueError("least squares: expected inputs and outputs, got none")
        return self._gram, self._cross

    def solve(self, prior: Tensor | None = None, ridge: float = _RIDGE) -> Tensor:
        """The layer (n_in + 1, n_out), its bias last.

        Args:
            prior: A layer to stay near to where the inputs say little; zeros where not given.
            ridge: How near, as a share of the mean squared input.
        """
        gram, cross = self.sums
        start = torch.zeros_like(cross) if prior is None else prior
        strength = ridge * gram.diagonal()[:-1].mean()
        eye = torch.eye(len(gram), dtype=gram.dtype)
        return start + torch.linalg.solve(gram + strength * eye, cross - gram @ start)

    def factors(self, layer: Tensor, rank: int, size: int) -> tuple[Tensor, Tensor]:
        """Two layers in place of a convolution of ``size`` x ``size``: along y, then along x.

        The first is what a singular value decomposition keeps of the convolution, weighted by how
        its inputs vary; the second is fitted to what it then reads.

        Args:
            layer: (n_in * size * size + 1, n_out), its bias last.
            rank: Channels between the two.
            size: Of the kernel; 1 for two layers of 1x1.

        Returns:
            The first layer (n_in * size, rank), which has no bias, and the second
            (rank * size + 1, n_out), its bias last.

        Raises:
            ValueError: If the rank is more than the convolution's.

        Reference:
            Jaderberg et al., BMVC 2014, sections 2.1 (scheme 2) and 2.2; Zhang et al., TPAMI 2016,
            section 3.1 (errors are those of responses, not of weights).
        """
        sums, cross = self.sums
        n_out = layer.shape[1]
        largest = min((len(layer) - 1) // size, size * n_out)
        if rank > largest:
            raise ValueError(f"rank: expected at most {largest} for this layer, got {rank}")
        gram = sums / sums[-1, -1]
        # Of the middle column of a patch: the other columns see the same, a cell further.
        column = torch.arange(len(gram) - 1).view(-1, size)[:, size // 2]  # (n_in * size)
        mean = gram[-1, column]
        covariance = gram[column][:, column] - torch.outer(mean, mean)
        values, vectors = torch.linalg.eigh(covariance)
        root = values.clamp(min=1e-6 * float(values[-1])).sqrt()
        whole = layer[:-1].view(len(column), size * n_out)  # (n_in * size, kx * n_out)
        u, s, v = torch.linalg.svd((vectors * root).T @ whole, full_matrices=False)
        first = (vectors / root) @ u[:, :rank] * s[:rank]
        second = v[:rank].reshape(rank * size, n_out)
        # Both of one size, so that both learn alike.
        ratio = second.view(rank, -1).square().mean(1) / first.square().mean(0).clamp(min=1e-30)
        first = first * ratio.pow(0.25)
        second = second / ratio.pow(0.25).repeat_interleave(size)[:, None]
        behind = torch.einsum("ir,xz->ixrz", first, torch.eye(size, dtype=first.dtype))
        behind = torch.block_diag(
            behind.reshape(len(gram) - 1, rank * size), torch.ones(1, 1, dtype=first.dtype)
        )
        fit = LeastSquares()
        fit._gram, fit._cross = behind.T @ sums @ behind, behind.T @ cross
        return first, fit.solve(torch.cat([second, layer[-1:]]))


def keep_inputs(gram: Tensor, matrix: Tensor, n_inputs: int) -> tuple[Tensor, Tensor]:
    """Take away inputs of a linear layer one by one, each time the one that costs least.

    Args:
        gram: (n, n) float64, covariance of the inputs.
        matrix: (n, out) float64, the layer.
        n_inputs: How many to keep.

    Returns:
        The indices (n_inputs,) of those that stay, rising; and the layer (n, out) that does its
        best with them, zero for the others.

    Reference:
        Hassibi and Stork, Second Order Derivatives for Network Pruning: Optimal Brain Surgeon,
        NIPS 1992, equation 5.
    """
    n = len(gram)
    inverse = torch.linalg.inv(
        gram + _RIDGE * gram.diagonal().mean() * torch.eye(n, dtype=gram.dtype)
    )
    matrix, alive = matrix.clone(), torch.ones(n, dtype=torch.bool)
    for _ in range(n - n_inputs):
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
