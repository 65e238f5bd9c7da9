"""Training targets of a whole batch, made by torch on whatever device the network is on.

The same fields as :func:`openpaf.fields.encode_fields` makes of one crop on the processor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openpaf.fields import PAF_HALF_WIDTH_PX, SIGMA_PX
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton

_CUT = 4.605170185988092  # log(100): nothing below 0.01
_MOST = 2**25  # numbers that a temporary may hold; people are taken in turns beyond that


def encode_heatmaps(
    xy: Tensor,
    scores: Tensor,
    crop: Tensor,
    n_crops: int,
    grid: Grid,
    size_cells: tuple[int, int],
    sigma_px: float = SIGMA_PX,
) -> Tensor:
    """Joint heatmaps and background.

    Args:
        xy: (N, K, 2) float32 in px, the people of all crops.
        scores: (N, K), above 0 where a joint is labelled.
        crop: (N,) int64, whose they are.
        n_crops: B.
        grid: Where the cells lie.
        size_cells: Rows and columns.
        sigma_px: Standard deviation of a joint's Gaussian in px.

    Returns:
        (B, K+1, h, w) float32, combined over people by maximum, background last.

    Reference:
        Cao et al., CVPR 2017, equations 6 and 7.
    """
    n, k, _ = xy.shape
    h, w = size_cells
    out = torch.zeros(n_crops, k, h, w, device=xy.device)
    turn = max(1, _MOST // max(1, k * h * w))
    for first in range(0, n, turn):
        some = slice(first, first + turn)
        blobs = _blobs(grid.to_cells(xy[some]), scores[some] > 0, size_cells,
                       sigma_px / grid.stride)  # fmt: skip
        place = crop[some, None, None, None].expand_as(blobs)
        out.scatter_reduce_(0, place, blobs, "amax")
    return torch.cat([out, 1 - out.amax(dim=1, keepdim=True)], dim=1)


def _blobs(cells: Tensor, labelled: Tensor, size_cells: tuple[int, int], sigma: float) -> Tensor:
    """(..., h, w) a Gaussian a point; 0 where it is not labelled."""
    cells = torch.where(labelled[..., None], cells, torch.zeros((), device=cells.device))
    h, w = size_cells
    dx = torch.arange(w, device=cells.device) - cells[..., 0, None]  # (..., w)
    dy = torch.arange(h, device=cells.device) - cells[..., 1, None]  # (..., h)
    exponent = dy.square()[..., :, None] + dx.square()[..., None, :]  # (..., h, w)
    exponent = exponent / (2 * sigma * sigma)
    return torch.exp(-exponent) * ((exponent <= _CUT) & labelled[..., None, None])


def encode_pafs(
    xy: Tensor,
    scores: Tensor,
    crop: Tensor,
    n_crops: int,
    skeleton: Skeleton,
    grid: Grid,
    size_cells: tuple[int, int],
    half_width_px: float = PAF_HALF_WIDTH_PX,
) -> Tensor:
    """Part affinity fields.

    Args:
        xy: (N, K, 2) float32 in px, the people of all crops.
        scores: (N, K), above 0 where a joint is labelled.
        crop: (N,) int64, whose they are.
        n_crops: B.
        skeleton: Its limbs are the channels.
        grid: Where the cells lie.
        size_cells: Rows and columns.
        half_width_px: A limb's field reaches this far to either side and beyond both ends.

    Returns:
        (B, 2L, h, w) float32, averaged over the people whose limb covers a cell.

    Reference:
        Cao et al., CVPR 2017, equations 8 and 9.
    """
    h, w = size_cells
    limbs = torch.tensor(skeleton.limbs, device=xy.device)
    total = torch.zeros(n_crops, len(limbs), 2, h, w, device=xy.device)
    count = torch.zeros(n_crops, len(limbs), h, w, device=xy.device)
    width = half_width_px / grid.stride
    x = torch.arange(w, device=xy.device, dtype=torch.float32)
    y = torch.arange(h, device=xy.device, dtype=torch.float32)[:, None]
    turn = max(1, _MOST // max(1, len(limbs) * h * w))
    for first in range(0, len(xy), turn):
        some = slice(first, first + turn)
        cells = grid.to_cells(xy[some])
        start, end = cells[:, limbs[:, 0]], cells[:, limbs[:, 1]]  # (n, L, 2)
        labelled = (scores[some] > 0)[:, limbs].all(dim=-1)  # (n, L)
        start, end = (torch.where(labelled[..., None], p, 0.0) for p in (start, end))
        length = (end - start).norm(dim=-1)
        unit = (end - start) / length.clamp(min=1e-6)[..., None]
        labelled &= length >= 1e-6
        dx, dy = x - start[..., 0, None, None], y - start[..., 1, None, None]
        ux, uy = unit[..., 0, None, None], unit[..., 1, None, None]
        across, along = (ux * dy - uy * dx).abs(), ux * dx + uy * dy  # (n, L, h, w)
        inside = (across <= width) & (along >= -width) & (along <= length[..., None, None] + width)
        covers = (inside & labelled[..., None, None]).float()
        count.index_add_(0, crop[some], covers)
        total.index_add_(0, crop[some], covers[:, :, None] * unit[..., None, None])
    return (total / count.clamp(min=1)[:, :, None]).flatten(1, 2)


def unsure_cells(
    maybe: Tensor,
    crop: Tensor,
    n_crops: int,
    n_joints: int,
    grid: Grid,
    size_cells: tuple[int, int],
    sigma_px: float = SIGMA_PX,
) -> Tensor:
    """(B, K, h, w) bool, the cells that an unsure joint's Gaussian would reach.

    Args:
        maybe: (J, 3) rows of channel, x, y in px.
        crop: (J,) int64, whose they are.
        n_crops: B.
        n_joints: Channels.
        grid: Where the cells lie.
        size_cells: Rows and columns.
        sigma_px: Standard deviation of a joint's Gaussian in px.
    """
    h, w = size_cells
    every = torch.ones(len(maybe), dtype=torch.bool, device=maybe.device)
    blobs = _blobs(grid.to_cells(maybe[:, 1:]), every, size_cells, sigma_px / grid.stride)
    reached = (blobs > 0).to(torch.uint8).flatten(1)
    out = torch.zeros(n_crops * n_joints, h * w, dtype=torch.uint8, device=maybe.device)
    place = (crop * n_joints + maybe[:, 0].long())[:, None].expand_as(reached)
    return out.scatter_reduce(0, place, reached, "amax").view(n_crops, n_joints, h, w) > 0
