"""Targets of a network that is shown smaller crops than its teacher, or than were labeled.

Gaussians and limbs of the smaller crop are wider on the crop as it is. Fields, the teacher's among
them, become such fields without being parsed: Gaussians are widened by a dilation, whose maximum
over a Gaussian is a wider Gaussian of the same height, and limbs by taking the longest vector near
by. A teacher that sees the crop as it is knows small people that no network finds at that size.

Reference:
    van den Boomgaard and Smeulders, The Morphological Structure of Images, TPAMI 1994 (dilation by
    a parabola; here of a field's logarithm).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from openpaf.fields import PAF_HALF_WIDTH_PX, SIGMA_PX
from openpaf.geometry import Grid, resize_px
from openpaf.training.data.batches import Batch

_FINER = 3  # steps a cell at which a heatmap's maximum is looked for


@dataclass(frozen=True)
class ImageScales:
    """Resizes each batch by one of a few scales, drawn at random.

    Args:
        scales: Above 0 and at most 1.
        grids: Of heatmaps and PAFs.
        seed: With the step, fixes which scale.
    """

    scales: Sequence[float]
    grids: tuple[Grid, Grid]
    seed: int

    def __call__(self, batch: Batch, step: int) -> Batch:
        """The batch of a step, resized."""
        rng = np.random.default_rng((self.seed, step))
        scale = self.scales[int(rng.integers(len(self.scales)))]
        return batch if scale == 1 else resample_targets(batch, scale, self.grids)


def resample_targets(batch: Batch, scale: float, grids: tuple[Grid, Grid]) -> Batch:
    """A batch of smaller crops.

    Args:
        batch: Crops and targets.
        scale: The crops are resized by it: above 0, at most 1.
        grids: Of the heatmaps and the PAFs, on the crops of the batch and on the smaller ones.

    Raises:
        ValueError: If the scale is out of its range.
    """
    if not 0 < scale <= 1:
        raise ValueError(f"scale: expected above 0 and at most 1, got {scale}")
    side, images = batch.images.shape[2], batch.images
    if round(side * scale) != side:
        size = 2 * (round(side * scale),)
        images = nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True)
    wider = side / images.shape[2]  # Gaussians and limbs, in px of the crop
    n_cells = grids[0].size_cells((images.shape[2], images.shape[3]))[0]
    at = torch.arange(n_cells, dtype=torch.float32)
    in_heatmaps, in_pafs = (grid.to_cells(resize_px(grid.to_px(at), wider)) for grid in grids)
    sigma = SIGMA_PX * math.sqrt(wider**2 - 1) / grids[0].stride
    joints = widen_heatmaps(batch.heatmaps[:, :-1], in_heatmaps, sigma)
    limbs = widen_pafs(batch.pafs, in_pafs, PAF_HALF_WIDTH_PX * (wider - 1) / grids[1].stride)
    return dataclasses.replace(
        batch,
        images=images,
        heatmaps=torch.cat([joints, 1 - joints.amax(1, keepdim=True)], 1),
        pafs=limbs,
        heatmap_weights=_nearest(batch.heatmap_weights, in_heatmaps),
        paf_weights=_nearest(batch.paf_weights, in_pafs),
    )


def widen_heatmaps(heatmaps: Tensor, at: Tensor, sigma: float) -> Tensor:
    """Heatmaps at other places, their Gaussians wider and as high.

    Args:
        heatmaps: (B, K, n, n); below 0 counts as 0.
        at: (m,) places along both axes, in cells of the heatmaps, on the CPU.
        sigma: A Gaussian of standard deviation s becomes one of ``sqrt(s^2 + sigma^2)``, all in
            cells; 0 only moves them.

    Returns:
        (B, K, m, m).
    """
    b, k, n, _ = heatmaps.shape
    # Between cells a Gaussian is higher than at any of them, and bicubic interpolation finds it.
    fine = nn.functional.interpolate(
        heatmaps.clamp(min=0), scale_factor=_FINER, mode="bicubic", align_corners=False
    ).clamp(min=0)
    places = resize_px(torch.arange(n * _FINER), 1 / _FINER)
    squared = (at[:, None] - places[None]).square()  # (m, n * _FINER)
    spread = max(sigma, 0.5 / _FINER)
    reach = torch.exp(-squared / (2 * spread**2))
    reach[squared > (3 * spread) ** 2] = 0
    wide = _dilate(fine.flatten(0, 1), reach)
    return _dilate(wide.transpose(1, 2), reach).transpose(1, 2).reshape(b, k, len(at), len(at))


def _dilate(rows: Tensor, reach: Tensor) -> Tensor:
    """The largest product along the last axis: (N, r, c) and (m, c) to (N, r, m)."""
    columns = []
    for weights, on_device in zip(reach, reach.to(rows.device), strict=True):
        near = weights.nonzero()
        if len(near):
            span = slice(int(near[0]), int(near[-1]) + 1)
            columns.append((rows[..., span] * on_device[span]).amax(-1))
        else:
            columns.append(torch.zeros_like(rows[..., 0]))
    return torch.stack(columns, -1)


def widen_pafs(pafs: Tensor, at: Tensor, distance: float) -> Tensor:
    """PAFs (B, 2L, m, m) at other places, their limbs wider: the longest vector within a distance.

    Args:
        pafs: (B, 2L, n, n), x and y of each limb in turn.
        at: (m,) places along both axes, in cells of the PAFs, on the CPU.
        distance: In cells.
    """
    b, channels, n, _ = pafs.shape
    m = len(at)
    longest, length = pafs.new_zeros(b, channels // 2, 2, m, m), pafs.new_zeros(1)
    for dx, dy in _disc(distance):
        x, y = (2 * (at + d) / max(n - 1, 1) - 1 for d in (dx, dy))
        places = torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), -1).to(pafs.device)
        sampled = nn.functional.grid_sample(
            pafs, places.expand(b, -1, -1, -1), padding_mode="border", align_corners=True
        ).view(longest.shape)
        squared = sampled.square().sum(2, keepdim=True)
        longest = torch.where(squared > length, sampled, longest)
        length = torch.maximum(squared, length)
    return longest.view(b, channels, m, m)


def _disc(distance: float) -> list[tuple[float, float]]:
    """Points of a disc, close enough that no cell between them is left out."""
    points = [(0.0, 0.0)]
    n_rings = math.ceil(distance / 0.75)
    for ring in range(1, n_rings + 1):
        n_points = 8 if ring == n_rings else 4
        radius, turn = distance * ring / n_rings, 0.4 * (n_rings - ring)
        angles = [2 * math.pi * i / n_points + turn for i in range(n_points)]
        points += [(radius * math.cos(a), radius * math.sin(a)) for a in angles]
    return points


def _nearest(weights: Tensor, at: Tensor) -> Tensor:
    cells = at.round().clamp(0, weights.shape[2] - 1).long().to(weights.device)
    return weights[:, :, cells][:, :, :, cells]
