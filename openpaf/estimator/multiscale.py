"""Fields of an image at several sizes and mirrored, averaged: slower, but surer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from openpaf.fields import Fields
from openpaf.geometry import Grid, Letterbox, flip_x

#: From a network's input, float32 (3, h, w), to its fields.
Network = Callable[[NDArray[np.float32]], Fields]


def multiscale_fields(
    image: NDArray[np.uint8],
    network: Network,
    size: int,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Fields:
    """The mean of a network's fields over several sizes of an image and its mirror image.

    All are brought to px of the base size, so that the parser's thresholds in px keep their
    meaning, and to the cells of the largest scale, so that nothing it saw is lost: with scales
    0.5, 1 and 1.5 and a network of stride 8, to a grid of stride 8 / 1.5, rounded down to 5 px.

    Args:
        image: RGB uint8 (H, W, 3).
        network: From its input to its fields.
        size: Short side of the network's input at scale 1, in px.
        scales: Multiples of ``size``, positive.
        flip: Whether each is run mirrored as well.

    Returns:
        Fields in px of ``Letterbox.fit(image.shape[:2], size)``.

    Raises:
        ValueError: If there are no scales, or one is not positive.

    Reference:
        Cao et al., CVPR 2017, section 3.1: three scales, 0.7, 1 and 1.3, on MPII.
    """
    scales = check_scales(scales)
    image_hw = (image.shape[0], image.shape[1])
    base = Letterbox.fit(image_hw, size)
    many = []
    for scale in scales:
        letterbox = Letterbox.fit(image_hw, round(size * scale))
        network_input = letterbox.apply(image)  # (3, h, w)
        fields = network(network_input)
        if flip:
            mirrored = network(np.ascontiguousarray(network_input[:, :, ::-1]))
            fields = average_fields([fields, mirror_fields(mirrored, network_input.shape[2])])
        if scales != (1.0,):
            finest = Grid(max(1, math.floor(fields.heatmap_grid.stride / max(1.0, *scales))))
            fields = resample_fields(fields, letterbox, base, finest)
        many.append(fields)
    return average_fields(many)


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


def resample_fields(fields: Fields, source: Letterbox, target: Letterbox, grid: Grid) -> Fields:
    """Fields of one size of an image at the cells that another size has.

    Cubic convolution (Keys 1981) between cells; beyond the border, the cells of the border.

    Args:
        fields: In px of ``source``.
        source: How the image lay in the network's input.
        target: How it is to lie.
        grid: The cells in px of ``target``, of heatmaps and PAFs alike.

    Returns:
        Fields of ``grid.size_cells(target.size_hw)`` cells.
    """
    rows, columns = grid.size_cells(target.size_hw)

    def moved(field: NDArray[np.float32], own: Grid) -> NDArray[np.float32]:
        y = _cells(own, source, target, grid.to_px(np.arange(rows)), axis=1)
        x = _cells(own, source, target, grid.to_px(np.arange(columns)), axis=0)
        height, width = field.shape[-2:]
        return np.asarray(cubic_weights(y, height) @ field @ cubic_weights(x, width).T)

    return Fields(
        heatmaps=moved(fields.heatmaps, fields.heatmap_grid),
        pafs=moved(fields.pafs, fields.paf_grid),
        heatmap_grid=grid,
        paf_grid=grid,
        skeleton=fields.skeleton,
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


def _cells(
    own: Grid, source: Letterbox, target: Letterbox, px: NDArray[np.float64], axis: int
) -> NDArray[np.float64]:
    """Places along one axis, in px of ``target``, as cells of a field in px of ``source``."""
    points = np.zeros((len(px), 2))
    points[:, axis] = px
    there = source.points_to_network(target.points_to_image(points))[:, axis]
    return own.to_cells(there.astype(np.float64))


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
