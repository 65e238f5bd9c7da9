"""The files that a verb writes: their folder, and names that never hit each other."""

from __future__ import annotations

import io
import os
import tempfile
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.cli.common import one_line, shown
from openpaf.io.text_set import TextSet

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


def names_file(output: Path) -> bool:
    """Whether what the user gave as output names a file, by its suffix, and not a folder."""
    from openpaf.io.images import IMAGE_SUFFIXES
    from openpaf.video.base import VIDEO_SUFFIXES

    return output.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not output.is_dir()


def name_file(file: Path, sources: Sequence[Path], formats: Sequence[str]) -> Outputs:
    """The results of a single photo or video whose drawn file the user names.

    Args:
        file: What the user gave as output, of which :func:`names_file` is true.
        sources: All photos and videos of the run.
        formats: Some of :func:`format_names`; all but the drawing get the file's stem.

    Raises:
        ValueError: If it cannot hold the results: of several sources, or by its suffix.
    """
    from openpaf.video.base import VIDEO_SUFFIXES

    suffix = file.suffix.lower()
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
    return Outputs(file.stem, files, _ids(source, file.stem)[0])


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

    Of the names that are taken, hashes are held: about 40 bytes a photo of two files.

    Args:
        folder: Where the results go.
        formats: Some of :func:`format_names`.
        photos: Photos of the run that are not to be written over.
    """

    def __init__(self, folder: Path, formats: Sequence[str], photos: Iterable[Path] = ()) -> None:
        self._folder, self._formats = folder, formats
        self._taken, self._ids = TextSet(), TextSet()
        inside = os.path.realpath(folder)
        for photo in photos:
            for path in (os.path.realpath(photo), os.path.abspath(photo)):
                if os.path.realpath(os.path.dirname(path)) == inside:
                    self._taken.add(_key(os.path.basename(path)))

    def name(self, photo: Path) -> Outputs:
        """A stem of its own, the photo's where it is free, otherwise with ``_2``, ``_3`` and so on.

        No two files of the folder have one name. Names that differ only in case or in how an accent
        is encoded count as one, as they do on some disks.
        """
        suffixes = dict(_suffixes(self._formats, photo))
        stem = self._free(photo.stem, suffixes.values())
        image_id = self._free_id(photo, stem)
        files = {name: self._folder / (stem + suffix) for name, suffix in suffixes.items()}
        return Outputs(stem, files, image_id)

    def name_folder(self, stem: str) -> Path:
        """A folder of its own for the results of several photos; it is not made."""
        return self._folder / self._free(stem, ("",))

    def _free(self, stem: str, suffixes: Collection[str]) -> str:
        """A stem with which each suffix is free; it is taken then."""
        base = _shortened(stem)

        def numbered(n: int) -> str:
            return base if n == 1 else f"{base}_{n}"

        def is_free(n: int) -> bool:
            return not any(_key(numbered(n) + suffix) in self._taken for suffix in suffixes)

        n_taken, n_free = 0, 1
        while not is_free(n_free):
            n_taken, n_free = n_free, 2 * n_free
        # A million photos of one name take 20 steps each, not a million.
        while n_free - n_taken > 1:
            n = (n_taken + n_free) // 2
            n_taken, n_free = (n_taken, n) if is_free(n) else (n, n_free)
        for suffix in suffixes:
            self._taken.add(_key(numbered(n_free) + suffix))
        return numbered(n_free)

    def _free_id(self, photo: Path, stem: str) -> int | str:
        """COCO's id: the first of those that suit which no other photo has."""
        ids = (*_ids(photo, stem), f"{stem}_{len(self._ids)}{photo.suffix}")
        return next(image_id for image_id in ids if self._ids.add(repr(image_id)))


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


def _ids(photo: Path, stem: str) -> list[int | str]:
    """COCO's own photos are numbers, as in ``000000000139.jpg``; others go by their file name. Of
    two with one name the second goes by that of its results."""
    own = photo.stem
    is_number = own.isascii() and own.isdecimal() and len(own) <= 18
    texts = [name.encode(errors="replace").decode() for name in (photo.name, stem + photo.suffix)]
    return [*([int(own)] if is_number else []), *texts]


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
