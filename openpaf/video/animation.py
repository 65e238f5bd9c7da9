"""Animated images as videos: GIF, PNG, WebP and AVIF of several frames."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from openpaf.errors import VideoError
from openpaf.io.addresses import shown_source
from openpaf.io.closing import Closing
from openpaf.video.base import VideoFrame, reason_of

_log = logging.getLogger(__name__)

_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
_MIN_FRAME_S, _DEFAULT_FRAME_S = 0.011, 0.1  # browsers show shorter frames for this long


def is_animation(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an animated image."""
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(32)
            if head.startswith(b"\x89PNG\r\n\x1a\n"):
                return _n_frames_of_png(file) > 1
        if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X":
            return bool(head[20] & 2)
        if head[4:12] == b"ftypavis":
            return True
        return head[:4] == b"GIF8" and _gif_is_animated(path)
    except OSError:
        return False  # opening it raises the error


def _n_frames_of_png(file: Any) -> int:
    """The number in the chunk acTL, which comes before the pixels; 1 without one."""
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
        if head[4:] == b"acTL":
            return int.from_bytes(file.read(4), "big")
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    return 1


def _gif_is_animated(path: str | os.PathLike[str]) -> bool:
    from PIL import Image

    try:
        with Image.open(path, formats=("GIF",)) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # decoders raise any error on damaged files
        return False


class Animation(Closing):
    """An animated image as a recording: every frame in order, transparent pixels over white.

    Args:
        source: Path of a GIF, PNG, WebP or AVIF.

    Attributes:
        name: Name for messages.
        fps: None: each frame has its own duration.
        n_frames: Number of frames.

    Raises:
        VideoError: If it cannot be opened.
    """

    is_live = False

    def __init__(self, source: str | os.PathLike[str]) -> None:
        from PIL import Image

        self.name = shown_source(os.fspath(source))
        self.fps: float | None = None
        with contextlib.ExitStack() as stack:
            try:
                self._image = stack.enter_context(Image.open(source, formats=_FORMATS))
                self.n_frames: int | None = getattr(self._image, "n_frames", 1)
            except Exception as error:  # decoders raise any error on damaged files
                raise VideoError(
                    f"{self.name}: cannot be opened as an animation: {reason_of(error)}"
                ) from error
            stack.pop_all()  # the file stays open

    def __iter__(self) -> Iterator[VideoFrame]:
        from openpaf.io.images import read_image

        time_s = 0.0
        for index in range(self.n_frames or 1):
            try:
                self._image.seek(index)
                image = read_image(self._image)
            except Exception as error:  # decoders raise any error on damaged data
                reason = reason_of(error).removeprefix(f"{self.name}: ")
                if not index:
                    raise VideoError(
                        f"{self.name}: no frame of it can be read: {reason}"
                    ) from error
                _log.warning("%s: ends early: %s", self.name, reason)
                return
            yield VideoFrame(
                image=image, index=index, time_s=time_s, captured_s=time.perf_counter()
            )
            time_s += self._frame_s()

    def _frame_s(self) -> float:
        """Duration of the current frame in s."""
        seconds = float(self._image.info.get("duration") or 0) / 1000
        return seconds if seconds >= _MIN_FRAME_S else _DEFAULT_FRAME_S

    def close(self) -> None:
        """Close the file."""
        self._image.close()
