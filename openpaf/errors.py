"""Errors of files and devices; wrong arguments raise ``ValueError``."""

from __future__ import annotations

import os
from collections.abc import Iterable


class OpenpafError(Exception):
    """A file, address or device cannot be used; the message names it."""


class ImageError(OpenpafError):
    """An image file is missing, unreadable, or not an image; the message names it.

    Example:
        >>> import openpaf
        >>> try:
        ...     openpaf.read_image("missing.jpg")
        ... except openpaf.ImageError as error:
        ...     print(error)
        missing.jpg: no such file
    """


class WeightsError(OpenpafError):
    """A checkpoint is missing, damaged, or does not fit its network; the message names it.

    Example:
        >>> import openpaf
        >>> try:
        ...     openpaf.PoseEstimator("missing.safetensors")
        ... except openpaf.WeightsError as error:
        ...     print("missing.safetensors" in str(error))
        True
    """


class VideoError(OpenpafError):
    """A video, stream or camera is missing, unreadable, or has no frames; the message names it.

    Example:
        >>> import openpaf
        >>> from openpaf.video.open import open_video
        >>> try:
        ...     open_video("missing.mp4")
        ... except openpaf.VideoError as error:
        ...     print(error)
        missing.mp4: no such file
    """


def shown(path: str | bytes | os.PathLike[str] | int) -> str:
    """A path on one line: line breaks, control characters and undecodable bytes are escaped."""
    text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable(text: object, limit: int = 80) -> str:
    """Text for a message: on one line, without control characters, and short.

    Args:
        text: Text of a file, or any value, which is converted by ``str``.
        limit: Maximum number of characters.

    Returns:
        The text, its control characters and line breaks escaped as ``\\x1b`` and ``\\n``, cut off
        with ``...`` at the limit.
    """
    line = shown(str(text)[: limit + 1])
    return line if len(line) <= limit else line[: limit - 3] + "..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known name that one is close to, as a remark in brackets; nothing if none is close."""
    import difflib

    close = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
