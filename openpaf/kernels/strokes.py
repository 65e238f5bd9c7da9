"""Antialiased lines with round caps and discs, in one compiled call for a whole person."""

from __future__ import annotations

import math

import numpy as np

from openpaf.kernels.compile import kernel, leaf


@kernel
def paint(canvas, ends, radii, rims, outline, colors, edges, alphas):  # type: ignore[no-untyped-def]
    """Paint strokes in place: first all outlines, then the strokes in order.

    Transparent strokes show the image, not the strokes below them.

    Args:
        canvas: uint8 (H, W, 3).
        ends: float64 (S, 2, 2), x and y of both ends in px; the same twice for a disc.
        radii: float64 (S,) px.
        rims: float64 (S,) width in px of a white rim inside the stroke; 0 for none.
        outline: Width in px of a dark outline around the stroke.
        colors: uint8 (S, 3).
        edges: uint8 (2, 3), colors of the outlines and of the rims.
        alphas: float64 (S,), 0 to 1.
    """
    reach = radii.max() + outline + 1
    left, right = _span(ends[:, :, 0], reach, canvas.shape[1])
    top, bottom = _span(ends[:, :, 1], reach, canvas.shape[0])
    under = np.empty((max(bottom - top, 0), max(right - left, 0), 3), np.uint8)
    for y in range(under.shape[0]):
        for x in range(under.shape[1]):
            for c in range(3):
                under[y, x, c] = canvas[top + y, left + x, c]
    corner = (top, left)
    for n in range(len(radii)):
        _fill(canvas, under, corner, ends[n], radii[n] + outline, edges[0], alphas[n])
    for n in range(len(radii)):
        if rims[n] > 0:
            _fill(canvas, under, corner, ends[n], radii[n], edges[1], alphas[n])
        _fill(canvas, under, corner, ends[n], radii[n] - rims[n], colors[n], alphas[n])


@leaf
def _span(points, reach, size):  # type: ignore[no-untyped-def]
    """The first pixel within reach of the points along one axis, and the one after the last."""
    # Clipped as floats, as a joint far outside of the image may exceed the integers.
    first = min(max(math.floor(points.min() - reach), 0.0), float(size))
    end = min(max(math.ceil(points.max() + reach) + 1, 0.0), float(size))
    return int(first), int(end)


@leaf
def _fill(canvas, under, corner, ends, radius, color, alpha):  # type: ignore[no-untyped-def]
    """Paint the pixels nearer than the radius to the line between the ends."""
    top, left = corner
    bottom, right = top + under.shape[0], left + under.shape[1]
    (ax, ay), (bx, by) = (ends[0, 0], ends[0, 1]), (ends[1, 0], ends[1, 1])
    along_x, along_y = bx - ax, by - ay
    squared_length = along_x * along_x + along_y * along_y
    per_length = 1 / squared_length if squared_length > 0 else 0.0
    inside, reach = max(radius - 0.5, 0.0), radius + 0.5  # the soft edge is a pixel wide
    slant = reach * math.sqrt(squared_length)
    first_row = int(min(max(math.ceil(min(ay, by) - reach), top), bottom))
    last_row = int(min(max(math.floor(max(ay, by) + reach), top - 1), bottom - 1))
    for y in range(first_row, last_row + 1):
        x0, x1 = min(ax, bx) - reach, max(ax, bx) + reach
        if abs(along_y) > 1e-3:  # for a slanted line, only the pixels near it
            middle = ax + along_x * (y - ay) / along_y
            x0 = max(x0, middle - slant / abs(along_y))
            x1 = min(x1, middle + slant / abs(along_y))
        first = int(min(max(math.ceil(x0), left), right))
        last = int(min(max(math.floor(x1), left - 1), right - 1))
        for x in range(first, last + 1):
            dx, dy = x - ax, y - ay
            share = min(max((dx * along_x + dy * along_y) * per_length, 0.0), 1.0)
            dx, dy = dx - share * along_x, dy - share * along_y
            squared = dx * dx + dy * dy
            if squared >= reach * reach:
                continue
            if squared < inside * inside and alpha == 1:  # most pixels: nothing to mix
                for c in range(3):
                    canvas[y, x, c] = color[c]
                continue
            covered = 1.0 if squared < inside * inside else reach - math.sqrt(squared)
            for c in range(3):
                new = alpha * color[c] + (1 - alpha) * under[y - top, x - left, c]
                old = canvas[y, x, c]
                canvas[y, x, c] = np.uint8(old + covered * (new - old) + 0.5)
