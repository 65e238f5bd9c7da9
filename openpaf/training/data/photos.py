"""Reading the photos of sets: files or shards; some missing, damaged, or not those labeled.

A shard is an uncompressed tar file: any tool opens it, and a photo is read from its middle without
reading the rest.
"""

from __future__ import annotations

import io
import logging
import tarfile
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import ImageError
from openpaf.evaluation.labels import check_image_size
from openpaf.io.images import decode_image, read_image
from openpaf.io.paths import inside_folder
from openpaf.training.data.dataset import DatasetError, Photo, PhotoSet

_log = logging.getLogger(__name__)
_opening = threading.Lock()


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
            pixels = read_photo(photo.path, photo.folder)
        except ImageError as error:
            self._report(str(photo.path), str(error))
            raise
        refuse_other_size(photo.path, (pixels.shape[0], pixels.shape[1]), photo.size_hw)
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


def refuse_other_size(
    path: Path, size_hw: tuple[int, int], labeled_hw: tuple[int, int] | None
) -> None:
    """Refuse a photo that is not the one labeled: a resized copy, or turned by its EXIF.

    Args:
        path: The photo, for the message.
        size_hw: Its height and width in px, upright.
        labeled_hw: What the labels say; any size will do where they say none.

    Raises:
        DatasetError: If the sizes differ.
    """
    if labeled_hw is None:
        return
    try:
        check_image_size(path, size_hw, {"height": labeled_hw[0], "width": labeled_hw[1]})
    except ValueError as error:
        raise DatasetError(str(error)) from error


def read_photo(path: Path, folder: Path | None = None) -> NDArray[np.uint8]:
    """A photo of a set's folder, or of the shards in it.

    Args:
        path: Of the photo as if its folder were not packed.
        folder: Of the set, where its shards lie; the photo's own if None.

    Returns:
        RGB, uint8 (H, W, 3).

    Raises:
        ImageError: If it is missing or unreadable; the message names it.
        DatasetError: If a shard is damaged.
    """
    place = find_in_shards(path, folder or path.parent)
    if place is None:
        return read_image(path)
    name = f"{path} in {place[0].name}"
    try:
        data = read_from_shard(*place)
    except OSError as error:
        raise ImageError(f"{name}: {error}") from error
    return decode_image(io.BytesIO(data), name)


def read_from_shard(shard: Path, offset: int, size: int) -> bytes:
    """The bytes of a packed file."""
    with shard.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def find_in_shards(path: Path, folder: Path) -> tuple[Path, int, int] | None:
    """The shard, the offset and the length in bytes of a packed photo of a set's folder.

    Returns:
        None if it is not packed, or lies in the folder as a file of its own, which comes first.

    Raises:
        DatasetError: If a shard is damaged, or holds more than files inside the folder.
    """
    with _opening:  # one thread reads the index, the others wait for it
        index = _shard_index(folder)
    place = index.get(path.relative_to(folder).as_posix()) if index else None
    return None if place is None or path.exists() else place


@lru_cache(maxsize=256)
def _shard_index(folder: Path) -> dict[str, tuple[Path, int, int]]:
    index = {}
    for shard in sorted(folder.glob("photos-[0-9]*.tar")):
        try:
            with tarfile.open(shard, "r:") as archive:
                for member in archive:
                    inside_folder(folder, member.name)
                    if not member.isreg() or member.issparse():
                        raise ValueError(f"expected only plain files, got {member.name!r}")
                    index[member.name] = (shard, member.offset_data, member.size)
        except (OSError, ValueError, tarfile.TarError) as error:
            raise DatasetError(f"{shard}: not a shard of photos ({error})") from error
    return index
