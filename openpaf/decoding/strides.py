"""Fields of other strides than 8 px, at which the parser's thresholds were chosen."""

from __future__ import annotations

import math
from functools import lru_cache

from openpaf.decoding.config import DecodeConfig
from openpaf.fields import Fields
from openpaf.geometry import Grid

# Cells are at least this share of a Gaussian's sigma apart: 4 px for 7 px. Where they are nearer, a
# spike of noise of a field that was enlarged is as flat as a joint's Gaussian.
_SPACING = 0.6
_STRIDE, _SIGMA_PX = 8, 7  # for which the default of peak_support was chosen


def thinned(fields: Fields, config: DecodeConfig) -> Fields:
    """Fields of cells that are far enough apart: every n-th one of fields that are finer.

    Nothing is lost, as a joint's Gaussian is several cells wide still, and found between cells.
    """
    step = int(_SPACING * config.sigma_px / fields.heatmap_grid.stride)
    if step < 2:
        return fields
    # The same margin on both sides, as far as that is the same for rows and columns.
    first = min((size - 1) % step // 2 for size in fields.size_cells)
    return Fields(
        heatmaps=fields.heatmaps[:, first::step, first::step],
        pafs=fields.pafs[:, :, first::step, first::step],
        heatmap_grid=_thinned_grid(fields.heatmap_grid, first, step),
        paf_grid=_thinned_grid(fields.paf_grid, first, step),
        skeleton=fields.skeleton,
    )


def _thinned_grid(grid: Grid, first: int, step: int) -> Grid:
    return Grid(grid.stride * step, grid.to_px(float(first)))


@lru_cache(maxsize=64)
def support_at(stride: int, sigma_px: float, peak_support: float) -> float:
    """``peak_support`` for this stride: the same share of what a Gaussian's neighbors have."""
    # The neighbors of a Gaussian's summit have exp(-(stride / sigma)**2 / 2) of its height.
    narrower = (stride / sigma_px) ** 2 - (_STRIDE / _SIGMA_PX) ** 2
    return min(peak_support * math.exp(-0.5 * narrower), 1.0)
