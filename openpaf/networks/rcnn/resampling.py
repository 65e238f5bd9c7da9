"""Resampling by matrices, one per axis, so that many crops are resized by two products.

``rows @ image @ columns.T`` resizes an image; row i of ``rows`` has the weights of the image's rows
in output row i. All functions return the matrices of N crops of different sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def average_matrix(start: Tensor, length: Tensor, n_bins: int, size: int) -> Tensor:
    """RoIAlign along one axis, with as many samples per bin as its length in cells.

    Args:
        start: (N,) first coordinates of the crops, in cells.
        length: (N,) their lengths in cells; at least 1.
        n_bins: Bins per crop.
        size: Cells along the axis.

    Returns:
        (N, n_bins, size): the average of linear interpolations in each bin.

    Reference:
        He et al., Mask R-CNN, ICCV 2017, section 3 (RoIAlign).
    """
    n_samples = (length / n_bins).ceil()  # (N,)
    j = torch.arange(int(n_samples.max()) if len(start) else 1, device=start.device)
    bins = torch.arange(n_bins, device=start.device)
    step = (length / n_bins)[:, None, None]
    position = (
        start[:, None, None]
        + bins[None, :, None] * step
        + (j + 0.5) * (step / n_samples[:, None, None])
    )  # (N, n_bins, J)
    weight = (j < n_samples[:, None, None]) / n_samples[:, None, None]
    weight = weight * ((position >= -1) & (position <= size))
    return _scatter(position.clamp(0, size - 1), weight.expand_as(position), size)


def paste_matrix(start: Tensor, length: Tensor, n_cells: int, size: int) -> Tensor:
    """Linear interpolation of crops along one axis of an image; zero outside the crops.

    Args:
        start: (N,) int64, first px of the crops; may be outside of the image.
        length: (N,) int64, their lengths in px; at least 1.
        n_cells: Cells of a crop along this axis.
        size: The image's length in px.

    Returns:
        (N, size, n_cells).
    """
    px = torch.arange(size, device=start.device) - start[:, None]  # (N, size)
    inside = (px >= 0) & (px < length[:, None])
    cell = (px + 0.5) * (n_cells / length[:, None].float()) - 0.5
    return _scatter(
        cell.clamp(0, n_cells - 1)[..., None], inside[..., None].to(cell.dtype), n_cells
    )


def _scatter(position: Tensor, weight: Tensor, size: int) -> Tensor:
    """Matrix (N, P, size) of weighted samples (N, P, J), each interpolated between two cells."""
    low = position.floor()
    share = position - low
    matrix = position.new_zeros(*position.shape[:2], size)
    matrix.scatter_add_(2, low.long(), weight * (1 - share))
    matrix.scatter_add_(2, (low.long() + 1).clamp(max=size - 1), weight * share)
    return matrix


def cubic_matrix(length: Tensor, n_cells: int) -> Tensor:
    """Cubic convolution of ``n_cells`` cells to ``length`` px, borders aligned.

    Args:
        length: (N,) int64 px; at least 1.
        n_cells: Cells along the axis.

    Returns:
        (N, L, n_cells), L is the largest length; rows beyond a crop's own length are undefined.

    Reference:
        Keys, Cubic convolution interpolation for digital image processing, 1981, with a = -0.75.
    """
    a = -0.75
    px = torch.arange(int(length.max()) if len(length) else 1, device=length.device)
    position = (px + 0.5) * (n_cells / length[:, None].float()) - 0.5  # (N, L)
    low = position.floor()
    matrix = position.new_zeros(*position.shape, n_cells)
    for tap in (-1, 0, 1, 2):
        x = (position - (low + tap)).abs()
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        weight = near if tap in (0, 1) else far
        cell = (low.long() + tap).clamp(0, n_cells - 1)
        matrix.scatter_add_(2, cell[..., None], weight[..., None])
    return matrix
