"""The files that a verb writes: their folder, and names that never hit each other."""

from __future__ import annotations

import io
import os
import tempfile
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.cli.common import one_line, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMAGE = "image"  # the format that draws; the others are those of openpaf.io.pose_files
RRD = "rrd"  # of videos, for the viewer of Rerun
_JPEG_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".heic", ".heif", ".hif"))
_LONGEST_STEM = 200  # bytes; file systems take names of 255, and suffixes need room


@dataclass(frozen=True)
class Outputs:
    """What is written for one photo: a path for each format, all with one stem.

    Args:
        stem: Of the files.
        files: By format.
        image_id: COCO's id of the photo, no other photo's of the run.
    """

    stem: str
    files: dict[str, Path]
    image_id: int | str = 0

    def some(self, formats: Sequence[str]) -> dict[str, Path]:
        """Those files that are of some formats."""
        return {name: self.files[name] for name in formats if name in self.files}

    def is_there(self) -> bool:
        """Whether all its files are."""
        return all(path.exists() for path in self.files.values())


def format_names() -> tuple[str, ...]:
    """What ``--format`` takes, in the order in which it is written: the drawing, pose files,
    tables, and Rerun's file."""
    from openpaf.io.pose_files import FORMATS
    from openpaf.tables.files import TABLES

    return (IMAGE, *FORMATS, *TABLES, RRD)


def check_folder(folder: Path, sources: Sequence[str], formats: Sequence[str]) -> Path:
    """Make the output folder, and see that it can be written to.

    Raises:
        ValueError: If it is a file, cannot be made or written to, or is itself a source whose
            next run would take the drawn images for photos.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output: {shown(folder)} is a file, not a folder")
    if IMAGE in formats and any(os.path.realpath(s) == os.path.realpath(folder) for s in sources):
        raise ValueError(f"--output: {shown(folder)} is a source too; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # the mode bits alone do not tell: read-only disks, root
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise ValueError(f"--output: {shown(folder)} cannot be written to: {reason}") from error
    return folder


def name_file(file: Path, sources: Sequence[Path], formats: Sequence[str]) -> Outputs | None:
    """The results of a single photo or video whose drawn file the user names.

    Args:
        file: What the user gave as output.
        sources: All photos and videos of the run.
        formats: Some of :func:`format_names`; all but the drawing get the file's stem.

    Returns:
        None if it has no suffix of images or videos, or is a folder.

    Raises:
        ValueError: If it cannot hold the results: of several sources, or by its suffix.
    """
    from openpaf.io.images import IMAGE_SUFFIXES
    from openpaf.video.base import VIDEO_SUFFIXES

    suffix = file.suffix.lower()
    if suffix not in IMAGE_SUFFIXES | VIDEO_SUFFIXES or file.is_dir():
        return None
    if len(sources) != 1:
        raise ValueError(
            f"--output: {shown(file)} is one file; {len(sources)} inputs need a folder"
        )
    source = sources[0]
    allowed = (".mp4",) if source.suffix.lower() in VIDEO_SUFFIXES else (".jpg", ".png")
    if suffix not in allowed:
        raise ValueError(
            f"--output: expected a folder or a file {' or '.join(allowed)}, got {shown(file)}"
        )
    if os.path.realpath(file) == os.path.realpath(source):
        raise ValueError(f"--output: {shown(file)} is the source; choose another name")
    check_folder(file.parent, (), formats)
    files = {
        name: file.parent / (file.stem + suffix) for name, suffix in _suffixes(formats, source)
    }
    files |= {IMAGE: file} if IMAGE in files else {}
    return Outputs(file.stem, files, _image_id(source, file.stem))


def name_outputs(photos: Sequence[Path], folder: Path, formats: Sequence[str]) -> list[Outputs]:
    """Names for the results of every photo.

    Args:
        photos: The photos, which themselves may lie in the folder and are never written over.
        folder: Where the results go.
        formats: Some of :func:`format_names`.

    Returns:
        For each photo what :meth:`OutputNames.name` gives.
    """
    names = OutputNames(folder, formats, photos)
    return [names.name(photo) for photo in photos]


class OutputNames:
    """Gives the results of one photo after the other names of their own.

    Args:
        folder: Where the results go.
        formats: Some of :func:`format_names`.
        photos: Photos of the run that are not to be written over.
    """

    def __init__(self, folder: Path, formats: Sequence[str], photos: Sequence[Path] = ()) -> None:
        self._folder, self._formats = folder, formats
        inside = os.path.realpath(folder)
        self._taken = {
            _key(os.path.basename(path))
            for photo in photos
            for path in (os.path.realpath(photo), os.path.abspath(photo))
            if os.path.realpath(os.path.dirname(path)) == inside
        }
        self._last: dict[tuple[str, str], int] = {}
        self._ids = set[int | str]()

    def name(self, photo: Path) -> Outputs:
        """A stem of its own, the photo's where it is free, otherwise with ``_2``, ``_3`` and so on.

        No two files of the folder have one name. Names that differ only in case or in how an accent
        is encoded count as one, as they do on some disks.
        """
        suffixes = dict(_suffixes(self._formats, photo))
        stem = self._free(photo.stem, suffixes.values())
        image_id = _image_id(photo, stem, self._ids)
        self._ids.add(image_id)
        files = {name: self._folder / (stem + suffix) for name, suffix in suffixes.items()}
        return Outputs(stem, files, image_id)

    def name_folder(self, stem: str) -> Path:
        """A folder of its own for the results of several photos; it is not made."""
        return self._folder / self._free(stem, ("",), of="folder")

    def _free(self, stem: str, suffixes: Collection[str], of: str = "file") -> str:
        base = _shortened(stem)
        n = self._last.get((of, base), 0)
        while True:
            n += 1
            stem = base if n == 1 else f"{base}_{n}"
            keys = {_key(stem + suffix) for suffix in suffixes}
            if not keys & self._taken:
                break
        self._taken |= keys
        self._last[of, base] = n
        return stem


def _suffixes(formats: Sequence[str], source: Path) -> Iterator[tuple[str, str]]:
    """What follows the stem in the files of a source; photos have no tables of their own, and no
    file for Rerun."""
    from openpaf.io.pose_files import FORMATS
    from openpaf.tables.files import TABLES
    from openpaf.video.base import VIDEO_SUFFIXES

    is_video = source.suffix.lower() in VIDEO_SUFFIXES
    for name in formats:
        if name == IMAGE:
            is_jpeg = source.suffix.lower() in _JPEG_SUFFIXES
            yield name, ".mp4" if is_video else ".jpg" if is_jpeg else ".png"
        elif name in FORMATS:
            yield name, FORMATS[name].video_suffix if is_video else FORMATS[name].suffix
        elif is_video:
            yield name, ".rrd" if name == RRD else "_people" + TABLES[name].suffix


def _image_id(photo: Path, stem: str, taken: Collection[int | str] = ()) -> int | str:
    """COCO's own photos are numbers, as in ``000000000139.jpg``; others go by their file name. Of
    two with one name the second goes by that of its results."""
    own, suffix = photo.stem, photo.suffix
    is_number = own.isascii() and own.isdecimal() and len(own) <= 18
    names = (photo.name, stem + suffix, f"{stem}_{len(taken)}{suffix}")
    texts = [name.encode(errors="replace").decode() for name in names]
    return next(i for i in ([int(own)] if is_number else []) + texts if i not in taken)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _shortened(stem: str) -> str:
    return os.fsdecode(_cut(os.fsencode(stem)))


def _cut(raw: bytes) -> bytes:
    """At most ``_LONGEST_STEM`` bytes, without half a character at the end."""
    if len(raw) <= _LONGEST_STEM:
        return raw
    return raw[:_LONGEST_STEM].decode("utf-8", "ignore").encode()


def write_image(image: NDArray[np.uint8], path: Path) -> None:
    """Write RGB uint8 (H, W, 3) as JPEG or PNG by the path's suffix, whole or not at all.

    Raises:
        OSError: If it cannot be encoded or written.
    """
    from PIL import Image

    from openpaf.io.files import write_whole

    encoded = io.BytesIO()
    if path.suffix == ".jpg":
        Image.fromarray(image).save(encoded, "JPEG", quality=92, subsampling=0)
    else:
        Image.fromarray(image).save(encoded, "PNG")
    write_whole(path, encoded.getbuffer())
