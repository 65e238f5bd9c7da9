"""Fields of an image and of its mirror image, averaged; and how cells are resampled."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from openpaf.fields import Fields
from openpaf.geometry import flip_x


def check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """Scales as a tuple of numbers.

    Raises:
        ValueError: If there are none, or one is not a positive, finite number.
    """
    try:
        values = tuple(float(scale) for scale in scales)
    except (TypeError, ValueError):
        values = ()
    if not values or not all(0 < value < math.inf for value in values):
        raise ValueError(f"scales: expected positive numbers, got {scales!r}")
    return values


def mirror_fields(fields: Fields, width_px: int) -> Fields:
    """The fields of a mirrored image: left and right joints and limbs change places.

    A limb's vectors point the other way along x; where its mirror image runs backwards in the
    skeleton, as it may for a limb between a left and a right joint, they are turned round.

    Args:
        fields: Of the image, or of its mirror image: the function is its own inverse.
        width_px: Width of the network's input in px.

    Returns:
        Fields on the same grids.

    Raises:
        ValueError: If the mirror image of a limb is not a limb of the skeleton.
    """
    skeleton = fields.skeleton
    joints = [*skeleton.flip_permutation, skeleton.n_joints]  # the background stays
    limbs = [index for index, _ in skeleton.flip_limbs]
    turns = np.array([-1 if backwards else 1 for _, backwards in skeleton.flip_limbs], np.float32)
    signs = (turns[:, None] * np.array([-1, 1])).astype(np.float32)  # (L, 2)
    columns = [
        cubic_weights(grid.to_cells(flip_x(grid.to_px(np.arange(width)), width_px)), width)
        for grid, width in (
            (fields.heatmap_grid, fields.heatmaps.shape[-1]),
            (fields.paf_grid, fields.pafs.shape[-1]),
        )
    ]
    return Fields(
        heatmaps=fields.heatmaps[joints] @ columns[0].T,
        pafs=np.asarray((fields.pafs[limbs] * signs[..., None, None]) @ columns[1].T, np.float32),
        heatmap_grid=fields.heatmap_grid,
        paf_grid=fields.paf_grid,
        skeleton=skeleton,
    )


def average_fields(many: Sequence[Fields]) -> Fields:
    """The mean of fields on the same grids.

    Raises:
        ValueError: If there are none, or grids, shapes or skeletons differ.
    """
    if not many:
        raise ValueError("fields: expected at least one, got none")
    first = many[0]
    for fields in many[1:]:
        if (fields.heatmap_grid, fields.paf_grid, fields.skeleton) != (
            first.heatmap_grid,
            first.paf_grid,
            first.skeleton,
        ) or fields.heatmaps.shape != first.heatmaps.shape:
            raise ValueError("fields: expected the same grids, shape and skeleton")
    return Fields(
        heatmaps=np.mean([fields.heatmaps for fields in many], axis=0),
        pafs=np.mean([fields.pafs for fields in many], axis=0),
        heatmap_grid=first.heatmap_grid,
        paf_grid=first.paf_grid,
        skeleton=first.skeleton,
    )


def cubic_weights(cells: NDArray[np.float64], n: int) -> NDArray[np.float32]:
    """(places, n) weights of a field's cells for its values at places between them."""
    left = np.floor(cells)
    matrix = np.zeros((len(cells), n), np.float32)
    for tap in (-1, 0, 1, 2):
        distance = np.abs(cells - left - tap)
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
        index = np.clip(left + tap, 0, n - 1).astype(int)
        np.add.at(matrix, (np.arange(len(cells)), index), weight.astype(np.float32))
    return matrix
