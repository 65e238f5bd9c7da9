"""Training targets of a whole batch, made by torch on the device of the network.

The same fields as :func:`openpaf.fields.encode_fields` makes of one crop on the CPU. Made there for
a batch, they would have to come from other processes: a hundred times as many bytes as the people.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from openpaf.fields import PAF_HALF_WIDTH_PX, SIGMA_PX
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton

_CUT = 4.605170185988092  # log(100): nothing below 0.01

#: Crops (n,) int64 and a person of each, (n, K, 3) float32: x and y in px, and 0 if not labeled.
People = tuple[Tensor, Tensor]


def encode_heatmaps(
    people: Sequence[People], grid: Grid, like: Tensor, sigma_px: float = SIGMA_PX
) -> Tensor:
    """Joint heatmaps and background.

    Args:
        people: The first of each crop, then the second of those that have two, and so on.
        grid: Where the cells lie.
        like: (B, K+1, h, w), of the same shape and on the same device.
        sigma_px: Standard deviation of a joint's Gaussian.

    Returns:
        (B, K+1, h, w) float32, combined over people by maximum, background last.

    Reference:
        Cao et al., CVPR 2017, equations 6 and 7.
    """
    (h, w), device = like.shape[2:], like.device
    joints = torch.zeros_like(like[:, :-1])
    for crops, one in people:
        labeled = one[..., 2] > 0  # (n, K)
        cells = torch.where(labeled[..., None], grid.to_cells(one[..., :2]), 0.0)
        dx = torch.arange(w, device=device) - cells[..., 0, None]  # (n, K, w)
        dy = torch.arange(h, device=device) - cells[..., 1, None]  # (n, K, h)
        exponent = dy.square()[..., :, None] + dx.square()[..., None, :]  # (n, K, h, w)
        exponent = exponent / (2 * (sigma_px / grid.stride) ** 2)
        blobs = torch.exp(-exponent) * ((exponent <= _CUT) & labeled[..., None, None])
        joints[crops] = torch.maximum(joints[crops], blobs)
    return torch.cat([joints, 1 - joints.amax(dim=1, keepdim=True)], dim=1)


def encode_pafs(
    people: Sequence[People],
    skeleton: Skeleton,
    grid: Grid,
    like: Tensor,
    half_width_px: float = PAF_HALF_WIDTH_PX,
) -> Tensor:
    """Part affinity fields.

    Args:
        people: As of :func:`encode_heatmaps`.
        skeleton: Its limbs.
        grid: Where the cells lie.
        like: (B, 2L, h, w), of the same shape and on the same device.
        half_width_px: A limb reaches this far to either side.

    Returns:
        (B, 2L, h, w) float32, averaged over the people whose limb covers a cell.

    Reference:
        Cao et al., CVPR 2017, equations 8 and 9.
    """
    (b, _, h, w), device = like.shape, like.device
    limbs = torch.tensor(skeleton.limbs, device=device)
    total = torch.zeros(b, len(limbs), 2, h, w, device=device)
    count = torch.zeros(b, len(limbs), h, w, device=device)
    width = half_width_px / grid.stride
    x = torch.arange(w, device=device, dtype=torch.float32)
    y = torch.arange(h, device=device, dtype=torch.float32)[:, None]
    for crops, one in people:
        labeled = (one[..., 2] > 0)[:, limbs].all(dim=-1)  # (n, L)
        cells = grid.to_cells(one[..., :2])[:, limbs]  # (n, L, 2, 2)
        start, end = torch.where(labeled[..., None, None], cells, 0.0).unbind(2)
        length = (end - start).norm(dim=-1)
        unit = (end - start) / length.clamp(min=1e-6)[..., None]
        labeled &= length >= 1e-6
        dx, dy = x - start[..., 0, None, None], y - start[..., 1, None, None]
        ux, uy = unit[..., 0, None, None], unit[..., 1, None, None]
        across, along = (ux * dy - uy * dx).abs(), ux * dx + uy * dy  # (n, L, h, w)
        inside = (across <= width) & (along >= -width) & (along <= length[..., None, None] + width)
        covers = (inside & labeled[..., None, None]).float()
        count[crops] += covers
        total[crops] += covers[:, :, None] * unit[..., None, None]
    return (total / count.clamp(min=1)[:, :, None]).flatten(1, 2)
