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


def printable(text: object, limit: int = 80) -> str:
    """Text of a file, fit for a message: on one line, without control characters, and short.

    Args:
        text: What the file holds; of anything but text, what ``str`` makes of it.
        limit: Characters at most.

    Returns:
        The text, its control characters and line breaks written out as ``\\x1b`` and ``\\n``, and
        ``...`` in place of what is too much.
    """
    line = shown(str(text)[: limit + 1])
    return line if len(line) <= limit else line[: limit - 3] + "..."
