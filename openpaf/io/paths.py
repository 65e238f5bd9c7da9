"""Paths in label files: only those inside of the folder of images are used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def inside_folder(folder: str | os.PathLike[str], name: Any) -> Path:
    """The path of an image of a label file, if it lies in the folder of images.

    Label files are not trusted: with ``/etc/passwd``, ``../../key`` or a link out of the folder
    they must not make a program read or copy such files.

    Args:
        folder: The folder; it may be a link itself.
        name: The path in the label file, relative to the folder.

    Returns:
        ``folder / name``, which need not exist.

    Raises:
        ValueError: If the name is not text, is empty or absolute, contains ``..``, or a link
            leads out of the folder; the message quotes it.
    """
    folder = Path(folder)
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"file_name: expected text without NUL, got {name!r}")
    entry = Path(name)
    if not entry.parts or entry.anchor or ".." in entry.parts:
        raise ValueError(
            f"file_name: expected a path inside the folder of the images, without '..', "
            f"got {name!r}"
        )
    path = folder
    for part in entry.parts:  # only links are resolved: it is slow for large data sets
        path = path / part
        if path.is_symlink():
            target = Path(os.path.realpath(path))
            if not target.is_relative_to(os.path.realpath(folder)):
                raise ValueError(f"file_name: {name!r} is a link out of {folder}, to {target}")
    return path
