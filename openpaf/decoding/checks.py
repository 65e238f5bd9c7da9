"""Checks of the arrays that are passed to a single step of the parser.

For speed, the kernels do not check indices: one outside of an array would read or write anywhere
in memory.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.types import LARGEST, Limbs, Peaks
from openpaf.errors import printable
from openpaf.fields import Fields
from openpaf.skeleton import Skeleton

Arrays = TypeVar("Arrays", Peaks, Limbs)

_DTYPES = {
    "xy": np.float32, "scores": np.float32, "starts": np.int32,
    "types": np.int32, "peaks": np.int32, "weights": np.float32,
}  # fmt: skip
# Greedy matching counts in an array of limb types by peaks, of at most 1 GB.
_MOST_COUNTS = 1 << 28


def checked_peaks(peaks: Peaks, skeleton: Skeleton | None = None) -> Peaks:
    """The peaks, their arrays contiguous.

    Args:
        peaks: Peaks from :func:`openpaf.decoding.find_peaks`.
        skeleton: The skeleton of the peaks, where known.

    Raises:
        ValueError: If they are not valid peaks of it; the message names the array.
    """
    peaks = _checked_arrays("peaks", peaks, Peaks)
    xy, scores, starts = peaks
    n = len(scores)
    _check(xy.shape == (n, 2), "peaks.xy", f"shape ({n}, 2) as there are {n} scores", xy.shape)
    _check(scores.ndim == 1, "peaks.scores", "one dimension", scores.shape)
    _check_numbers("peaks.xy", xy, -LARGEST)
    _check_numbers("peaks.scores", scores, 0)
    # A joint of score 0 is a missing one, which has no coordinates.
    _check(bool((scores > 0).all()), "peaks.scores", "numbers > 0", "0.0")
    if skeleton is not None:
        k = skeleton.n_joints
        expected = f"shape ({k + 1},), for the {k} joints of {skeleton.name!r}"
        _check(starts.shape == (k + 1,), "peaks.starts", expected, starts.shape)
    _check(starts.ndim == 1 and len(starts) > 0, "peaks.starts", "shape (K + 1,)", starts.shape)
    is_rising = starts[0] == 0 and starts[-1] == n and bool((starts[1:] >= starts[:-1]).all())
    expected = f"ascending numbers from 0 to {n}, the number of peaks"
    _check(is_rising, "peaks.starts", expected, starts)
    return peaks


def check_peaks_in_fields(peaks: Peaks, fields: Fields) -> None:
    """Check that the peaks lie inside the fields, within a cell.

    Raises:
        ValueError: If one lies outside.
    """
    h, w = fields.size_cells
    grid = fields.heatmap_grid
    last = grid.stride * np.array([w, h]) + grid.offset_px
    is_inside = (peaks.xy >= grid.offset_px - grid.stride) & (peaks.xy <= last)
    if not is_inside.all():
        raise ValueError(
            f"peaks.xy: expected px inside the fields, up to {last.astype(int).tolist()}, got "
            f"{peaks.xy[np.flatnonzero(~is_inside.all(axis=1))[0]].tolist()}; "
            "are they peaks of another image?"
        )


def checked_limbs(
    name: str, limbs: Limbs, peaks: Peaks | None = None, skeleton: Skeleton | None = None
) -> Limbs:
    """The limbs, their arrays contiguous.

    Args:
        name: Name of the argument, for the message.
        limbs: Limbs from :func:`openpaf.decoding.score_limbs`.
        peaks: The checked peaks that the limbs connect, where known.
        skeleton: The skeleton of the limbs, where known; only with peaks.

    Raises:
        ValueError: If they are not valid limbs of these; the message names the array.
    """
    limbs = _checked_arrays(name, limbs, Limbs)
    types, pairs, scores, weights = limbs
    n = len(types)
    for field, array, shape in (
        ("types", types, (n,)),
        ("peaks", pairs, (n, 2)),
        ("scores", scores, (n,)),
        ("weights", weights, (n,)),
    ):
        _check(array.shape == shape, f"{name}.{field}", f"shape {shape}", array.shape)
    _check_numbers(f"{name}.scores", scores, 0)
    _check_numbers(f"{name}.weights", weights, 0)
    n_types = len(skeleton.limbs) if skeleton else np.iinfo(np.int32).max
    n_peaks = len(peaks.scores) if peaks else np.iinfo(np.int32).max
    _check_indices(f"{name}.types", types, n_types, "limbs of the skeleton")
    _check_indices(f"{name}.peaks", pairs, n_peaks, "peaks")
    if n and (int(types.max()) + 1) * (int(pairs.max()) + 1) > _MOST_COUNTS:
        raise ValueError(
            f"{name}.types, {name}.peaks: expected limbs of a skeleton and its peaks, "
            f"got indices up to {types.max()} and {pairs.max()}"
        )
    if n and peaks and skeleton:
        joints = np.searchsorted(peaks.starts, pairs, side="right") - 1
        are_joints_of_limb = (joints == np.array(skeleton.limbs)[types]).all(axis=1)
        if not are_joints_of_limb.all():
            i = int(np.flatnonzero(~are_joints_of_limb)[0])
            raise ValueError(
                f"{name}.peaks: expected peaks of the joints {skeleton.limbs[types[i]]} for limb "
                f"{types[i]}, got peaks of {tuple(joints[i].tolist())}; are they limbs of "
                "another image?"
            )
    return limbs


def check_order(candidates: Limbs) -> None:
    """Check that candidates are sorted by limb type, which matching relies on.

    Raises:
        ValueError: If they are not.
    """
    types = candidates.types
    is_rising = bool((types[1:] >= types[:-1]).all())
    _check(is_rising, "candidates.types", "ascending limb types", types)


def _checked_arrays(name: str, value: Any, kind: type[Arrays]) -> Arrays:
    """The arrays of a named tuple, contiguous and writable, their dtypes checked."""
    _check(isinstance(value, kind), name, f"{kind.__name__}", type(value).__name__)
    arrays = {}
    for field, array in value._asdict().items():
        dtype = np.dtype(_DTYPES[field])
        is_array = isinstance(array, np.ndarray)
        expected = f"an array of {dtype.name}"
        _check(is_array, f"{name}.{field}", expected, type(array).__name__)
        _check(array.dtype == dtype, f"{name}.{field}", expected, array.dtype)
        # Kernels would be compiled again for read-only and for strided arrays.
        arrays[field] = cast(NDArray[Any], np.require(array, requirements=["C", "W"]))
    return kind(**arrays)


def _check_numbers(name: str, values: NDArray[np.float32], least: float) -> None:
    """Check that values are finite and at least ``least``; NaN fails every comparison."""
    is_good = (values >= least) & (values <= np.float32(LARGEST))
    if not is_good.all():
        raise ValueError(
            f"{name}: expected finite numbers{' >= 0' if least == 0 else ''}, "
            f"got {values[~is_good].flat[0]}"
        )


def _check_indices(name: str, indices: NDArray[np.int32], n: int, what: str) -> None:
    if indices.size and not (indices.min() >= 0 and indices.max() < n):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise ValueError(f"{name}: expected indices of {n} {what}, got {wrong}")


def _check(is_good: bool, name: str, expected: str, got: object) -> None:
    if not is_good:
        raise ValueError(f"{name}: expected {expected}, got {printable(got)}")
