"""Videos and their frames, suffixes of video files, and containers of PyAV."""

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
from openpaf.io.extras import install_hint
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
"""Suffixes, in lower case, of files that count as videos; others may contain one, too."""

OPEN_READ_TIMEOUT_S = (10.0, 10.0)
"""Timeouts in s for opening a stream and for its next bytes."""

# Formats that FFmpeg opens as videos but that are text or images, also in the container of mp4.
_NO_VIDEO = {"apng", "fits", "gif", "ico", "image2", "jpegxl_anim", "tty", "webp_anim"}
_IMAGE_OR_VIDEO = {"jpeg_pipe", "mjpeg"}
_MAX_PARTS_OF_IMAGE = 4
_TS_DISCONT = 0x0200  # FFmpeg's flag of formats, such as MPEG-TS, whose files may be concatenated
_IMAGE_BRANDS = {"avif", "avis", "crx", "heic", "heim", "heis", "heix", "hevc", "hevx", "mif1",
                   "msf1"}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoFrame:
    """A frame of a video.

    Args:
        image: RGB uint8 (H, W, 3), upright.
        index: Number of the frame, from 0 on.
        time_s: Time in the video in s; for a live source, since it was opened.
        captured_s: Time of capture by ``time.perf_counter``, from which latency is measured.
        pixel_aspect: Width of a pixel over its height, for display.
    """

    image: NDArray[np.uint8]
    index: int
    time_s: float
    captured_s: float
    pixel_aspect: float = 1.0


class Video(Protocol):
    """The result of :func:`openpaf.video.open.open_video`: frames, and their properties."""

    @property
    def name(self) -> str:
        """Name for messages."""

    @property
    def is_live(self) -> bool:
        """Whether only the newest frame is used."""

    @property
    def fps(self) -> float | None:
        """Frames per second, where known."""

    @property
    def n_frames(self) -> int | None:
        """Approximate number of frames, where known."""

    def __iter__(self) -> Iterator[VideoFrame]: ...

    def close(self) -> None:
        """Close the source; a second call does nothing."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *details: Any) -> None: ...


def is_video(source: str | os.PathLike[str]) -> bool:
    """Whether a source is the address of a stream or a file with a suffix of videos."""
    text = os.fspath(source)
    return is_url(text) or (Path(text).suffix.lower() in VIDEO_SUFFIXES and not os.path.isdir(text))


def holds_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file of any suffix can be opened as a video."""
    try:
        open_container(os.fspath(path)).close()
    except (VideoError, ValueError):  # ValueError: PyAV is not installed
        return False
    return True


def open_container(source: str, **options: Any) -> InputContainer:
    """A PyAV container that has a video stream.

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
        if not os.path.isfile(source):  # reading a pipe or device could block for ever
            raise VideoError(f"{name}: not a regular file")
        if not os.path.getsize(source):
            raise VideoError(f"{name}: the file is empty")
        source = file_address(source)
    else:
        options = {"timeout": OPEN_READ_TIMEOUT_S, **options}
    try:
        container = av.open(source, **options)
        reason = None if video_streams(container) else "has no video stream"
        if _is_no_video(container):
            reason = "an image or text, not a video"
        elif container.format.name in _IMAGE_OR_VIDEO:  # packets were read for the check
            container.close()
            container = av.open(source, **options)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{name}: cannot be opened as a video: {reason_of(error)}") from error
    if reason:
        container.close()
        raise VideoError(f"{name}: {reason}")
    return container


def video_streams(container: InputContainer) -> list[Any]:
    """The video streams, without cover art of audio files."""
    from av.stream import Disposition

    streams = container.streams.video
    return [stream for stream in streams if not stream.disposition & Disposition.attached_pic]


def file_address(path: str) -> str:
    """A path for FFmpeg, which would read ``10:30.mp4`` as a protocol ``10``."""
    return f"file:{path}"


def max_leap_s(container: InputContainer) -> float:
    """The longest gap in s between timestamps that is not the start of a concatenated part."""
    return MAX_LEAP_S if container.format.flags & _TS_DISCONT else math.inf


def _has_many_packets(container: InputContainer) -> bool:
    """Whether there are more packets than in the file of one image, as in motion JPEG.

    Photos of phones have a second or third image, of depth or brightness.
    """
    packets = itertools.islice(container.demux(), _MAX_PARTS_OF_IMAGE + 1)
    return sum(packet.size > 0 for packet in packets) > _MAX_PARTS_OF_IMAGE


def _is_no_video(container: InputContainer) -> bool:
    name, brand = container.format.name, container.metadata.get("major_brand", "").strip()
    if name in _IMAGE_OR_VIDEO:
        return not _has_many_packets(container)
    return name in _NO_VIDEO or name.endswith("_pipe") or brand in _IMAGE_BRANDS


def import_av() -> Any:
    """PyAV, without FFmpeg's own messages on the error stream.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        import av
        import av.logging
    except ImportError as error:
        raise ValueError(f"videos need PyAV; {install_hint('video')}") from error
    av.logging.set_level(None)
    return av


def reason_of(error: BaseException) -> str:
    """The message of an error of FFmpeg or of the system, without the path."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
