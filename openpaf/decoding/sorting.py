"""Sorting inside the kernels: stable, and faster than numba's own for so few numbers."""

from __future__ import annotations

import numpy as np

from openpaf.kernels import part


@part
def falling(values):  # type: ignore[no-untyped-def]
    """Indices by falling value, equal ones in order: a radix sort of floats that are >= 0."""
    n = len(values)
    order = np.arange(n).astype(np.int32)
    if n < 48:
        for i in range(1, n):
            item, j = order[i], i
            while j > 0 and values[order[j - 1]] < values[item]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = item
        return order
    # The bits of a float that is not negative, read as an integer, sort as the float does.
    keys = values.view(np.uint32)
    other = np.empty(n, np.int32)
    for shift in (0, 11, 22):
        starts = np.zeros(2049, np.int32)
        for i in range(n):
            starts[2048 - ((keys[i] >> np.uint32(shift)) & np.uint32(2047))] += 1
        for digit in range(1, 2049):
            starts[digit] += starts[digit - 1]
        for i in order:  # type: ignore[assignment]
            digit = 2047 - ((keys[i] >> np.uint32(shift)) & np.uint32(2047))
            other[starts[digit]] = i
            starts[digit] += 1
        order, other = other, order
    return order
