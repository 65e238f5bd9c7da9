"""Where people stand over a video, as a map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openpaf.analysis.recording import Recording
from openpaf.checks import as_size, check_number


def person_heatmap(
    recording: Recording, image_hw: tuple[int, int] | None = None, *, sigma_px: float | None = None
) -> NDArray[np.float32]:
    """How long people stand at each pixel.

    Args:
        recording: The frames; where a person stands is :meth:`Recording.places`.
        image_hw: Height and width of the map in px; those of the recording if None.
        sigma_px: Standard deviation in px by which a place is blurred, above 0; a fiftieth of the
            longer side if None.

    Returns:
        (H, W) seconds of people; the sum is the time of all people whose place is in the image.

    Raises:
        ValueError: If no size is given and the recording has none, or a value is out of range.
    """
    from scipy.ndimage import gaussian_filter  # takes long to import

    image_hw = image_hw or recording.image_hw
    if image_hw is None:
        raise ValueError("image_hw: the recording does not say how large its frames are")
    height, width = as_size("image_hw", image_hw)
    sigma_px = max(width, height) / 50 if sigma_px is None else sigma_px
    check_number("sigma_px", sigma_px, above=0, unit="px")
    places = recording.places()
    seen = np.flatnonzero(np.isfinite(places).all(axis=1))
    x, y = np.rint(places[seen]).astype(np.int64).T
    is_in = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    seconds = np.zeros((height, width))
    durations = recording.durations_s[recording.frame_of[seen]]
    np.add.at(seconds, (y[is_in], x[is_in]), durations[is_in])
    # Reflected at the border, so that no time is lost there.
    return gaussian_filter(seconds, sigma_px, mode="reflect").astype(np.float32)
