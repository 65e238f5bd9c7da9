"""Linear layers by least squares: fitted, split in two, and with fewer inputs."""

from __future__ import annotations

import torch
from torch import Tensor

_RIDGE = 1e-3  # of the mean squared input


def cells(x: Tensor) -> Tensor:
    """(B, C, H, W) to rows (B * H * W, C), in double precision."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).double()


class LinearFit:
    """The linear layer that makes outputs of inputs best, as near as can be to one that was."""

    def __init__(self) -> None:
        self._gram: Tensor | None = None
        self._cross: Tensor | None = None

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Inputs (n, n_in) and the outputs (n, n_out) that they are to give, float64."""
        rows = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)  # the last is for the bias
        gram, cross = rows.T @ rows, rows.T @ outputs
        self._gram = gram if self._gram is None else self._gram + gram
        self._cross = cross if self._cross is None else self._cross + cross

    def solve(self, prior: Tensor) -> Tensor:
        """The layer (n_in + 1, n_out), its bias last; near ``prior`` where inputs say little."""
        assert self._gram is not None
        assert self._cross is not None
        ridge = _RIDGE * self._gram.diagonal()[:-1].mean()
        eye = torch.eye(len(self._gram), dtype=self._gram.dtype)
        return prior + torch.linalg.solve(
            self._gram + ridge * eye, self._cross - self._gram @ prior
        )

    def factors(self, layer: Tensor, rank: int, size: int) -> tuple[Tensor, Tensor]:
        """Two layers in place of a convolution of ``size`` x ``size``: along y, then along x.

        The first is what a singular value decomposition keeps of the convolution, weighted by how
        its inputs vary; the second is fitted to what it then reads.

        Args:
            layer: (n_in * size * size + 1, n_out), its bias last.
            rank: Numbers between the two.
            size: Of the kernel; 1 for two layers of 1x1.

        Returns:
            The first layer (n_in * size, rank), which has no bias, and the second
            (rank * size + 1, n_out), its bias last.

        Raises:
            ValueError: If the convolution has no so many components.

        Reference:
            Jaderberg et al., BMVC 2014, sections 2.1 (scheme 2) and 2.2; Zhang et al., TPAMI 2016,
            section 3.1 (errors are those of responses, not of weights).
        """
        assert self._gram is not None
        assert self._cross is not None
        n_out = layer.shape[1]
        largest = min((len(layer) - 1) // size, size * n_out)
        if rank > largest:
            raise ValueError(f"rank: expected at most {largest} for this layer, got {rank}")
        gram = self._gram / self._gram[-1, -1]
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
        fit = LinearFit()
        fit._gram, fit._cross = behind.T @ self._gram @ behind, behind.T @ self._cross
        return first, fit.solve(torch.cat([second, layer[-1:]]))


def keep_most_missed(gram: Tensor, matrix: Tensor, n_kept: int) -> tuple[Tensor, Tensor]:
    """Take away inputs of a linear layer one by one, each time the one that costs least.

    Args:
        gram: (n, n) float64, covariance of the inputs.
        matrix: (n, out) float64, the layer.
        n_kept: How many inputs to keep.

    Returns:
        The indices (n_kept,) of the inputs kept, rising; and the layer (n, out) that does its best
        with them, zero in the rows of the others.

    Reference:
        Hassibi and Stork, Second Order Derivatives for Network Pruning: Optimal Brain Surgeon,
        NIPS 1992, equation 5.
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
