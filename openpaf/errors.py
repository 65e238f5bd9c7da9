"""The errors of the outside world; wrong arguments are plain ``ValueError``."""

from __future__ import annotations

import os


class OpenpafError(Exception):
    """Something outside the program is not as it should be; the message names the file."""


class ImageError(OpenpafError):
    """A picture is missing, unreadable, or not a picture."""


class WeightsError(OpenpafError):
    """A checkpoint is missing, damaged, or does not fit its network."""


class VideoError(OpenpafError):
    """A video, stream or camera is missing, unreadable, or has no picture."""


def shown(path: str | bytes | os.PathLike[str] | int) -> str:
    """A path on one line: line breaks, control characters and stray bytes are written out."""
    text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
