"""Downscaling by area averaging: each new pixel is the mean of the area that it covers."""

from __future__ import annotations

import numpy as np

from openpaf.kernels.compile import kernel


@kernel
def shrink(image, rows, columns, out):  # type: ignore[no-untyped-def]
    """Downscale an image into planes of floats.

    The result is that of OpenCV's ``INTER_AREA``, in a third of the time, as rows are averaged
    first, many pixels at once, and the conversion to planes needs no pass of its own.

    Args:
        image: uint8 (H, W, 3), contiguous.
        rows: Rows and weights of each new row, from :func:`openpaf.geometry.area_shares`.
        columns: Columns and weights of each new column, from the same function.
        out: float32 (3, h, w), at least as large as the new image; receives whole numbers.
    """
    first_rows, n_rows, row_shares = rows
    first_columns, n_columns, column_shares = columns
    lines = image.reshape(image.shape[0], 3 * image.shape[1])
    mean = np.empty(lines.shape[1], np.float32)  # of the rows of one new row
    for y in range(len(first_rows)):
        mean[:] = np.float32(0)
        for n in range(n_rows[y]):
            line, share = lines[first_rows[y] + n], row_shares[y, n]
            for k in range(len(mean)):
                mean[k] += share * np.float32(line[k])
        for x in range(len(first_columns)):
            red = green = blue = np.float32(0.5)  # so that floor() below rounds
            # numba knows that indices into a slice are positive, which saves a fifth of the time.
            pixels, shares = mean[3 * first_columns[x] :], column_shares[x]
            for n in range(n_columns[x]):
                red += shares[n] * pixels[3 * n]
                green += shares[n] * pixels[3 * n + 1]
                blue += shares[n] * pixels[3 * n + 2]
            out[0, y, x] = np.floor(red)
            out[1, y, x] = np.floor(green)
            out[2, y, x] = np.floor(blue)
