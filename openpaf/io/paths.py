"""Files that other files name: only those inside the folder that the user gave."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def inside_folder(folder: str | os.PathLike[str], name: Any) -> Path:
    """The path of a file that a label file names, if it lies in the folder of the images.

    Label files come from other people. One that names ``/etc/passwd``, or ``../../key``, or goes
    through a link that leads out of the folder, must not make a program read or copy such files.

    Args:
        folder: The folder; it may be a link itself.
        name: What the label file says, a path relative to the folder.

    Returns:
        ``folder / name``, which need not exist.

    Raises:
        ValueError: If the name is no text, is empty or absolute, has ``..`` in it, or a link
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
    for part in entry.parts:  # link by link: to resolve every path of a large set takes long
        path = path / part
        if path.is_symlink():
            target = Path(os.path.realpath(path))
            if not target.is_relative_to(os.path.realpath(folder)):
                raise ValueError(f"file_name: {name!r} is a link out of {folder}, to {target}")
    return path
