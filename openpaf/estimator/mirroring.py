"""Arrays of mirrored images, mirrored back, for networks that give offsets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton


def lag_of(grid: Grid, n_cells: int, width_px: int) -> tuple[int, float]:
    """How far the cells of a mirrored array, mirrored back, lie right of those of the image.

    Args:
        grid: Of the array.
        n_cells: Columns of the array.
        width_px: Of the network's input in px.

    Returns:
        Whole cells, by which the array is to be shifted to the right, and what is left, in cells.
    """
    lag = (width_px - 1 - 2 * grid.offset_px) / grid.stride - (n_cells - 1)
    return round(lag), lag - round(lag)


def mirrored_maps(
    maps: NDArray[np.float32], order: Sequence[int], shift: int
) -> NDArray[np.float32]:
    """Maps (..., C, h, w) of a mirrored image, mirrored back.

    Args:
        maps: As the network gave them.
        order: Which channel of the mirrored image each channel is.
        shift: As :func:`lag_of` gives it.
    """
    back = maps[..., list(order), :, ::-1]
    return np.roll(back, shift, axis=-1) if shift else back


def mirrored_pairs(
    offsets: NDArray[np.float32], order: Sequence[int], shift: int, rest: float
) -> NDArray[np.float32]:
    """Offsets (..., 2 N, h, w), x and y in turn, of a mirrored image, mirrored back.

    Args:
        offsets: In cells, from the cells; as the network gave them.
        order: Which of the N offsets of the mirrored image each offset is.
        shift: As :func:`lag_of` gives it.
        rest: As :func:`lag_of` gives it.
    """
    channels = [channel for n in order for channel in (2 * n, 2 * n + 1)]
    back = mirrored_maps(offsets, channels, shift).copy()
    back[..., 0::2, :, :] = rest - back[..., 0::2, :, :]
    return back


def mirrored_edges(
    skeleton: Skeleton, edges: Sequence[tuple[int, int]]
) -> tuple[tuple[int, bool], ...]:
    """For each edge its mirror image, and whether that runs backwards.

    Raises:
        ValueError: If the mirror image of an edge is none.
    """
    swap, places = skeleton.flip_permutation, {edge: i for i, edge in enumerate(edges)}
    found = []
    for a, b in edges:
        image = swap[a], swap[b]
        if image not in places and image[::-1] not in places:
            names = f"{skeleton.joints[a]}-{skeleton.joints[b]}"
            raise ValueError(f"flip: the mirror image of {names} is no edge of the tree of joints")
        backwards = image not in places
        found.append((places[image[::-1] if backwards else image], backwards))
    return tuple(found)
