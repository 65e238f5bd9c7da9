"""What a video is: its frames, its suffixes, and PyAV's containers."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import VideoError
from openpaf.io.addresses import is_url, shown_source
from openpaf.video.times import MAX_LEAP_S

if TYPE_CHECKING:
    from av.container import InputContainer

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264",
    ".h265", ".hevc", ".ivf", ".m1v", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov",
    ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogv", ".rm", ".rmvb", ".ts", ".vob",
    ".webm", ".wmv", ".y4m",
})
# fmt: on
"""Suffixes, in lower case, by which files count as videos; others may hold one, too."""

OPEN_READ_TIMEOUT_S = (10.0, 10.0)
"""How long a stream may take to open, and to give its next bytes."""

# What FFmpeg opens as if it were a video: text, and pictures, also those in mp4's container.
_NO_VIDEO = {"apng", "fits", "gif", "ico", "image2", "jpegxl_anim", "tty", "webp_anim"}
_PHOTO_OR_FILM = {"jpeg_pipe", "mjpeg"}
_MAX_PARTS_OF_A_PHOTO = 4
_TS_DISCONT = 0x0200  # FFmpeg's mark of formats, such as MPEG-TS, that may be joined of pieces
_PICTURE_BRANDS = {"avif", "avis", "crx", "heic", "heim", "heis", "heix", "hevc", "hevx", "mif1",
                   "msf1"}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoFrame:
    """A frame of a video.

    Args:
        image: RGB uint8 (H, W, 3), upright.
        index: Number of the frame, from 0 on.
        time_s: Its time in the video in seconds; of a live source, since it was opened.
        captured_s: When it came, by ``time.perf_counter``; what latency is counted from.
        pixel_aspect: Width of a pixel by its height, as it is to be shown.
    """

    image: NDArray[np.uint8]
    index: int
    time_s: float
    captured_s: float
    pixel_aspect: float = 1.0


class Video(Protocol):
    """What :func:`openpaf.video.open.open_video` returns: frames, and what is known of them."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def is_live(self) -> bool:
        """Whether only the newest frame counts."""

    @property
    def fps(self) -> float | None:
        """Frames per second, where known."""

    @property
    def n_frames(self) -> int | None:
        """How many frames there are, about, where known."""

    def __iter__(self) -> Iterator[VideoFrame]: ...

    def close(self) -> None:
        """Free what is held; a second call does nothing."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *details: Any) -> None: ...


def is_video(source: str | os.PathLike[str]) -> bool:
    """Whether a source is a stream's address or a file with a suffix of a video."""
    text = os.fspath(source)
    return is_url(text) or (Path(text).suffix.lower() in VIDEO_SUFFIXES and not os.path.isdir(text))


def holds_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file, whatever its suffix, can be opened as a video."""
    try:
        open_container(os.fspath(path)).close()
    except (VideoError, ValueError):  # ValueError: PyAV is not installed
        return False
    return True


def open_container(source: str, **options: Any) -> InputContainer:
    """A PyAV container that has a stream of pictures.

    Raises:
        VideoError: If it cannot be opened or has none.
        ValueError: If PyAV is not installed.
    """
    av = import_av()
    name = shown_source(source)
    if not is_url(source):
        if not os.path.exists(source):
            raise VideoError(f"{name}: no such file")
        if os.path.isdir(source):
            raise VideoError(f"{name}: a folder, not a video")
        if not os.path.isfile(source):  # a pipe or a device: reading might wait for ever
            raise VideoError(f"{name}: not a regular file")
        if not os.path.getsize(source):
            raise VideoError(f"{name}: the file is empty")
        source = file_address(source)
    else:
        options = {"timeout": OPEN_READ_TIMEOUT_S, **options}
    try:
        container = av.open(source, **options)
        reason = None if video_streams(container) else "has no stream of pictures"
        if _is_no_video(container):
            reason = "a picture or text, not a video"
        elif container.format.name in _PHOTO_OR_FILM:  # it was read a little to know
            container.close()
            container = av.open(source, **options)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{name}: cannot be opened as a video: {reason_of(error)}") from error
    if reason:
        container.close()
        raise VideoError(f"{name}: {reason}")
    return container


def video_streams(container: InputContainer) -> list[Any]:
    """Streams of moving pictures; the cover of a song is none."""
    from av.stream import Disposition

    streams = container.streams.video
    return [one for one in streams if not one.disposition & Disposition.attached_pic]


def file_address(path: str) -> str:
    """A path as FFmpeg wants it, to which ``10:30.mp4`` would be of a protocol ``10``."""
    return f"file:{path}"


def max_leap_s(container: InputContainer) -> float:
    """The longest leap of timestamps that is no piece of a joined stream, in seconds."""
    return MAX_LEAP_S if container.format.flags & _TS_DISCONT else math.inf


def _has_many_packets(container: InputContainer) -> bool:
    """Whether pictures follow each other, as in motion JPEG: more than one photo's file has.

    Those of phones have a second or third one, of depth or brightness.
    """
    packets = itertools.islice(container.demux(), _MAX_PARTS_OF_A_PHOTO + 1)
    return sum(packet.size > 0 for packet in packets) > _MAX_PARTS_OF_A_PHOTO


def _is_no_video(container: InputContainer) -> bool:
    name, brand = container.format.name, container.metadata.get("major_brand", "").strip()
    if name in _PHOTO_OR_FILM:
        return not _has_many_packets(container)
    return name in _NO_VIDEO or name.endswith("_pipe") or brand in _PICTURE_BRANDS


def import_av() -> Any:
    """PyAV, without FFmpeg's own messages on the error stream.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        import av
        import av.logging
    except ImportError as error:
        raise ValueError("videos need PyAV; pip install 'openpaf[video]'") from error
    av.logging.set_level(None)
    return av


def reason_of(error: BaseException) -> str:
    """What FFmpeg or the system says is wrong, without the path."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
