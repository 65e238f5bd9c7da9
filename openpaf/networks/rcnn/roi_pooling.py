"""Pooling of regions of the image to small grids of features: RoIAlign, RoIPool and RoIWarp.

All read the levels of a feature pyramid as one table with a row per cell. A bin of RoIAlign is a
weighted sum of rows and a bin of RoIPool a maximum of rows, which ``embedding_bag`` computes
without copying the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Number of regions whose cells RoIPool lists at a time.
_CHUNK = 64

METHODS = ("align", "pool", "warp")


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Regions of interest on a feature pyramid.

    Args:
        cells: (M, C) the cells of all levels, images and rows, one after another.
        starts: (N,) the row of ``cells`` at which the map of a region's image and level begins.
        heights: (N,) rows of that map.
        widths: (N,) columns of that map.
        boxes: (N, 4) the regions in cells of that map.
    """

    cells: Tensor
    starts: Tensor
    heights: Tensor
    widths: Tensor
    boxes: Tensor


def pool_regions(
    features: Sequence[Tensor],
    strides: Sequence[int],
    boxes: Sequence[Tensor],
    *,
    size: int,
    method: str = "align",
    n_samples: int = 2,
) -> Tensor:
    """Features of regions, each from the level for its size.

    Args:
        features: Levels (B, C, H, W), finest first, each of half the resolution of the last.
        strides: Their strides in px.
        boxes: (N, 4) of each image, the regions in px.
        size: Bins along each side of a region.
        method: ``"align"``, ``"pool"`` or ``"warp"``.
        n_samples: Samples along each side of a bin, of ``"align"`` and ``"warp"``.

    Returns:
        (sum of N, C, size, size).

    Raises:
        ValueError: If the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    regions = find_regions(features, strides, boxes)
    if method == "pool":
        return roi_pool(regions, size)
    return roi_align(round_regions(regions) if method == "warp" else regions, size, n_samples)


def find_regions(
    features: Sequence[Tensor], strides: Sequence[int], boxes: Sequence[Tensor]
) -> Regions:
    """The levels as one table, and the position of each region in it.

    Reference:
        Lin et al., Feature Pyramid Networks, CVPR 2017, equation 1: a region of 224 px is pooled
        from the level of stride 16, one of half the size from the next finer level.
    """
    all_boxes = torch.cat(list(boxes))
    counts = torch.tensor([len(some) for some in boxes], device=all_boxes.device)
    image = torch.repeat_interleave(torch.arange(len(boxes), device=all_boxes.device), counts)
    finest = strides[0].bit_length() - 1
    side = ((all_boxes[:, 2] - all_boxes[:, 0]) * (all_boxes[:, 3] - all_boxes[:, 1])).sqrt()
    level = (4 + (side / 224).log2() + 1e-6).floor() - finest
    level = level.clamp(0, len(features) - 1).long()

    shapes = all_boxes.new_tensor([f.shape[2:] for f in features], dtype=torch.int64)  # (L, 2)
    n_cells = torch.cat([shapes.new_zeros(1), shapes.prod(dim=1) * len(boxes)]).cumsum(0)
    height, width = shapes[level].unbind(1)
    return Regions(
        cells=torch.cat([f.permute(0, 2, 3, 1).flatten(0, 2) for f in features]),
        starts=n_cells[level] + image * height * width,
        heights=height,
        widths=width,
        boxes=all_boxes / all_boxes.new_tensor(strides)[level][:, None],
    )


def round_regions(regions: Regions) -> Regions:
    """Regions with corners rounded to whole cells, as in RoIPool and RoIWarp."""
    return Regions(
        cells=regions.cells,
        starts=regions.starts,
        heights=regions.heights,
        widths=regions.widths,
        boxes=(regions.boxes + 0.5).floor(),
    )


def roi_align(regions: Regions, size: int, n_samples: int = 2) -> Tensor:
    """The average of linear interpolations at regular points of each bin, without rounding.

    After :func:`round_regions` this is RoIWarp: interpolation in the bins as in RoIAlign, and
    rounding of the region as in RoIPool.

    Args:
        regions: N regions.
        size: Bins along each side.
        n_samples: Points along each side of a bin; at least 1.

    Returns:
        (N, C, size, size).

    Reference:
        He et al., Mask R-CNN, ICCV 2017, section 3, figure 3. RoIWarp: Dai et al., Instance-aware
        Semantic Segmentation via Multi-task Network Cascades, CVPR 2016.
    """
    boxes = regions.boxes
    x, x_weights = _samples(boxes[:, 0], boxes[:, 2], regions.widths, size, n_samples)
    y, y_weights = _samples(boxes[:, 1], boxes[:, 3], regions.heights, size, n_samples)
    rows = regions.starts[:, None, None] + y * regions.widths[:, None, None]  # (N, size, 2S)
    cells = rows[:, :, None, :, None] + x[:, None, :, None, :]  # (N, size, size, 2S, 2S)
    weights = y_weights[:, :, None, :, None] * x_weights[:, None, :, None, :]
    bins = torch.nn.functional.embedding_bag(
        cells.reshape(-1, 4 * n_samples**2),
        regions.cells,
        per_sample_weights=weights.reshape(-1, 4 * n_samples**2),
        mode="sum",
    )  # (N * size * size, C)
    return bins.view(len(boxes), size, size, bins.shape[1]).permute(0, 3, 1, 2)


def _samples(
    low: Tensor, high: Tensor, length: Tensor, size: int, n_samples: int
) -> tuple[Tensor, Tensor]:
    """Along one axis, the cells beside each sample of each bin, and their weights.

    Returns:
        Cells (N, size, 2 * n_samples) int64 and weights of the same shape, which sum to 1 for
        a bin inside the map. A sample further than a cell outside the map counts as zero.
    """
    step = (high - low).clamp(min=1) / (size * n_samples)
    position = torch.arange(size * n_samples, device=low.device) + 0.5
    position = low[:, None] + position * step[:, None]  # (N, size * S)
    last = (length - 1)[:, None]
    inside = (position >= -1) & (position <= length[:, None])
    position = torch.minimum(position.clamp(min=0), last.to(position.dtype))
    lower = position.detach().floor()
    share = position - lower
    cells = torch.stack([lower.long(), torch.minimum(lower.long() + 1, last)], dim=2)
    weights = torch.stack([1 - share, share], dim=2) * (inside / n_samples)[..., None]
    shape = (len(low), size, 2 * n_samples)
    return cells.reshape(shape), weights.reshape(shape)


def roi_pool(regions: Regions, size: int) -> Tensor:
    """The largest value of each bin, after the region and its bins are moved to whole cells.

    Args:
        regions: N regions.
        size: Bins along each side.

    Returns:
        (N, C, size, size); 0 in bins outside the map.

    Reference:
        Girshick, Fast R-CNN, ICCV 2015, section 2.1.
    """
    boxes = (regions.boxes + 0.5).floor().long()
    x0, x1 = _bins(boxes[:, 0], boxes[:, 2], regions.widths, size)  # (N, size) each
    y0, y1 = _bins(boxes[:, 1], boxes[:, 3], regions.heights, size)
    n_channels = regions.cells.shape[1]
    if not len(boxes):
        return regions.cells.new_zeros(0, n_channels, size, size)
    largest = torch.maximum((x1 - x0).amax(dim=1), (y1 - y0).amax(dim=1)).clamp(min=1)  # (N,)
    order = largest.argsort()  # regions of similar size together, to list few unused cells
    pooled = []
    for chunk in order.split(_CHUNK):
        reach = torch.arange(int(largest[chunk].max()), device=boxes.device)
        x = x0[chunk][..., None] + reach  # (n, size, R)
        y = y0[chunk][..., None] + reach
        inside_x, inside_y = x < x1[chunk][..., None], y < y1[chunk][..., None]
        rows = regions.starts[chunk][:, None, None] + y * regions.widths[chunk][:, None, None]
        cells = rows[:, :, None, :, None] + x[:, None, :, None, :]  # (n, size, size, R, R)
        inside = inside_y[:, :, None, :, None] & inside_x[:, None, :, None, :]
        counts = inside.flatten(3).sum(dim=3).flatten()  # cells of each bin
        bins = torch.nn.functional.embedding_bag(
            cells[inside], regions.cells, counts.cumsum(0) - counts, mode="max"
        )  # (n * size * size, C); zero for empty bins
        pooled.append(bins.view(len(chunk), size, size, n_channels))
    return torch.cat(pooled)[order.argsort()].permute(0, 3, 1, 2)


def _bins(low: Tensor, high: Tensor, length: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First cell of each bin along one axis, and the one after its last: (N, size) each."""
    extent = (high - low + 1).clamp(min=1)[:, None]
    i = torch.arange(size, device=low.device)
    start = low[:, None] + i * extent // size
    end = low[:, None] - (-(i + 1) * extent) // size  # rounded up
    last = length[:, None]
    return torch.minimum(start.clamp(min=0), last), torch.minimum(end.clamp(min=0), last)
