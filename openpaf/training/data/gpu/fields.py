"""Training targets of a whole batch, made by torch on the device of the network.

The same fields as :func:`openpaf.fields.encode_fields` makes of one crop on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from openpaf.fields import PAF_HALF_WIDTH_PX, SIGMA_PX
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton

_CUT = 4.605170185988092  # log(100): nothing below 0.01
_MOST = 2**25  # numbers that a temporary may hold; people are taken in turns beyond that


@dataclass(frozen=True)
class People:
    """People of several crops.

    Args:
        xy: (N, K, 2) float32 in px of their crop.
        scores: (N, K), above 0 where a joint is labeled.
        crop: (N,) int64, whose they are.
    """

    xy: Tensor
    scores: Tensor
    crop: Tensor

    def in_turns(self, n_numbers: int) -> Iterator[People]:
        """As many at once as temporaries may be large, with so many numbers a person."""
        step = max(1, _MOST // max(1, n_numbers))
        for i in range(0, len(self.xy), step):
            yield People(self.xy[i : i + step], self.scores[i : i + step], self.crop[i : i + step])


def encode_heatmaps(
    people: People,
    n_crops: int,
    grid: Grid,
    size_cells: tuple[int, int],
    sigma_px: float = SIGMA_PX,
) -> Tensor:
    """Joint heatmaps and background.

    Returns:
        (B, K+1, h, w) float32, combined over people by maximum, background last.

    Reference:
        Cao et al., CVPR 2017, equations 6 and 7.
    """
    device, k, (h, w) = people.xy.device, people.xy.shape[1], size_cells
    out = torch.zeros(n_crops, k, h, w, device=device)
    for some in people.in_turns(k * h * w):
        labeled = some.scores > 0
        cells = torch.where(labeled[..., None], grid.to_cells(some.xy), 0.0)
        dx = torch.arange(w, device=device) - cells[..., 0, None]  # (n, K, w)
        dy = torch.arange(h, device=device) - cells[..., 1, None]  # (n, K, h)
        exponent = dy.square()[..., :, None] + dx.square()[..., None, :]  # (n, K, h, w)
        exponent = exponent / (2 * (sigma_px / grid.stride) ** 2)
        blobs = torch.exp(-exponent) * ((exponent <= _CUT) & labeled[..., None, None])
        out.scatter_reduce_(0, some.crop[:, None, None, None].expand_as(blobs), blobs, "amax")
    return torch.cat([out, 1 - out.amax(dim=1, keepdim=True)], dim=1)


def encode_pafs(
    people: People,
    n_crops: int,
    skeleton: Skeleton,
    grid: Grid,
    size_cells: tuple[int, int],
    half_width_px: float = PAF_HALF_WIDTH_PX,
) -> Tensor:
    """Part affinity fields.

    Returns:
        (B, 2L, h, w) float32, averaged over the people whose limb covers a cell.

    Reference:
        Cao et al., CVPR 2017, equations 8 and 9.
    """
    device, (h, w) = people.xy.device, size_cells
    limbs = torch.tensor(skeleton.limbs, device=device)
    total = torch.zeros(n_crops, len(limbs), 2, h, w, device=device)
    count = torch.zeros(n_crops, len(limbs), h, w, device=device)
    width = half_width_px / grid.stride
    x = torch.arange(w, device=device, dtype=torch.float32)
    y = torch.arange(h, device=device, dtype=torch.float32)[:, None]
    for some in people.in_turns(len(limbs) * h * w):
        cells = grid.to_cells(some.xy)
        start, end = cells[:, limbs[:, 0]], cells[:, limbs[:, 1]]  # (n, L, 2)
        labeled = (some.scores > 0)[:, limbs].all(dim=-1)  # (n, L)
        start, end = (torch.where(labeled[..., None], p, 0.0) for p in (start, end))
        length = (end - start).norm(dim=-1)
        unit = (end - start) / length.clamp(min=1e-6)[..., None]
        labeled &= length >= 1e-6
        dx, dy = x - start[..., 0, None, None], y - start[..., 1, None, None]
        ux, uy = unit[..., 0, None, None], unit[..., 1, None, None]
        across, along = (ux * dy - uy * dx).abs(), ux * dx + uy * dy  # (n, L, h, w)
        inside = (across <= width) & (along >= -width) & (along <= length[..., None, None] + width)
        covers = (inside & labeled[..., None, None]).float()
        count.index_add_(0, some.crop, covers)
        total.index_add_(0, some.crop, covers[:, :, None] * unit[..., None, None])
    return (total / count.clamp(min=1)[:, :, None]).flatten(1, 2)
