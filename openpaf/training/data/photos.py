"""Reading the photos of sets: some missing, damaged, or not those labeled."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import ImageError
from openpaf.io.images import read_image
from openpaf.training.data.dataset import DatasetError, Photo, PhotoSet

_log = logging.getLogger(__name__)


class PhotoReader:
    """Reads photos, and counts those that cannot be read.

    Args:
        sets: Whose photos; sets of weight 0, of which none is drawn, do not count.
    """

    #: More than this share of unreadable photos stops a run.
    max_bad_share = 0.01

    def __init__(self, sets: Sequence[PhotoSet]) -> None:
        self.n_photos = sum(len(photo_set.photos) for photo_set in sets if photo_set.weight > 0)
        self.bad_files: dict[str, str] = {}  # by name, with the reason

    def read(self, photo: Photo) -> NDArray[np.uint8]:
        """The pixels of a photo; one that cannot be read is counted, with a warning.

        Returns:
            RGB, uint8 (H, W, 3).

        Raises:
            ImageError: If it cannot be read.
            DatasetError: If that is one in a hundred or all of them, or the photo is of another
                size than the labels say.
        """
        try:
            pixels = read_image(photo.path)
        except ImageError as error:
            self._report(str(photo.path), str(error))
            raise
        photo.check_size(pixels.shape)
        return pixels

    def _report(self, path: str, reason: str) -> None:
        if path not in self.bad_files:
            _log.warning("skipped: %s", reason)
        self.bad_files[path] = reason
        n_bad = len(self.bad_files)
        if n_bad >= self.n_photos or n_bad > max(1.0, self.max_bad_share * self.n_photos):
            raise DatasetError(
                f"{n_bad} of {self.n_photos} photos cannot be read, the last: {reason}"
            )
