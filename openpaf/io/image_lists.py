"""Lists of images from files, folders and globs."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from openpaf.errors import ImageError, shown
from openpaf.io.folders import natural_key, walk_glob
from openpaf.io.image_files import open_regular, reason
from openpaf.io.image_suffixes import describe, kind_not_read, kind_of_start, names_image

_log = logging.getLogger(__name__)


def list_images(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    on_error: Callable[[ImageError], None] | None = None,
) -> list[Path]:
    """The images of files, folders and globs.

    Args:
        sources: One or more of: a file of any suffix; a folder, whose visible images are listed in
            natural order (``2.jpg`` before ``10.jpg``), without subfolders; a glob such as
            ``"photos/*.jpg"`` or ``"photos/**/*.jpg"``, whose images are listed in the same order.
            Images are files with one of ``IMAGE_SUFFIXES``, and HEIC where pillow-heif is
            installed.
        on_error: Called with the error of each source without images, and of each image of a
            folder or glob in a format that is not read (HEIC, raw files, PDF ...), instead of
            raising it, so that the others are still listed.

    Returns:
        Paths in the order of the sources, each file once.

    Raises:
        ImageError: If a path does not exist, a glob matches no images, or a folder is
            unreadable or has none, unless ``on_error`` is given. Images of other formats are
            logged where there are some that are read.
    """
    if isinstance(sources, (str, os.PathLike)):
        sources = [sources]
    images: dict[str, Path] = {}
    for source in sources:
        errors: list[ImageError] = []
        paths = _expand(os.fspath(source), errors)
        for path in paths:
            images.setdefault(os.path.realpath(path), path)
        for error in errors:
            if on_error is not None:
                on_error(error)
            elif not paths:
                raise error
            else:
                _log.warning("%s", error)
    return list(images.values())


def _expand(source: str, errors: list[ImageError]) -> list[Path]:
    """The images of one source; errors of it or of its files are added to ``errors``."""
    name = shown(source)
    try:
        is_folder = os.path.isdir(source)
        if is_folder:
            paths = [Path(source, name) for name in os.listdir(source) if name[0] != "."]
        elif os.path.lexists(source):  # also a dangling link: reading it gives the error
            if _lacks_extra(source):
                errors.append(ImageError(f"{name}: {describe('HEIC')}"))
                return []
            return [Path(source)]
        elif glob.has_magic(source):
            found = walk_glob(source, lambda error: errors.append(_unlisted(error)))
            paths = [Path(path) for path in found]
        else:
            errors.append(ImageError(f"{name}: no such file or folder"))
            return []
    except (OSError, ValueError) as error:
        errors.append(_unlisted(error, source))
        return []
    images = []
    for path in sorted(paths, key=natural_key):
        if not names_image(path) or os.path.isdir(path):
            continue
        kind = kind_not_read(path)
        if kind:
            errors.append(ImageError(f"{shown(path)}: {describe(kind)}"))
        else:
            images.append(path)
    if not images and not errors:
        missing = "no images in this folder" if is_folder else "matches no images"
        errors.append(ImageError(f"{name}: {missing}"))
    return images


def _lacks_extra(path: str) -> bool:
    """Whether a file is HEIC and cannot be read here, which is better said before a model loads."""
    if kind_not_read(path) != "HEIC":
        return False
    try:
        with open_regular(path, shown(path)) as file:
            return kind_of_start(file.read(100)) == "HEIC"
    except (OSError, ImageError):  # reading it says what is wrong
        return False


def _unlisted(error: OSError | ValueError, source: str | None = None) -> ImageError:
    where = source or getattr(error, "filename", None) or "folder"
    return ImageError(f"{shown(where)}: cannot be listed: {reason(error)}")
