"""Videos: files read frame by frame, cameras and streams of which the newest frame counts."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer

_log = logging.getLogger(__name__)

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4",
    ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})
# fmt: on
"""Suffixes, in lower case, by which files count as videos."""

OPEN_READ_TIMEOUT_S = (10.0, 10.0)
"""How long a stream may take to open, and to give its next bytes."""

_URL = re.compile(r"(rtsp|rtsps|rtmp|rtmps|http|https|udp|tcp|srt|hls)://", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoFrame:
    """A frame of a video.

    Args:
        image: RGB uint8 (H, W, 3), upright.
        index: Number of the frame, from 0 on.
        time_s: Its time in the video in seconds; of a live source, since it was opened.
        captured_s: When it came, by ``time.perf_counter``; what latency is counted from.
    """

    image: NDArray[np.uint8]
    index: int
    time_s: float
    captured_s: float


class Video(Protocol):
    """What :func:`open_video` gives: frames, and what is known of them beforehand."""

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


def is_url(source: str | int) -> bool:
    """Whether a source is the address of a stream, such as ``rtsp://...``."""
    return isinstance(source, str) and bool(_URL.match(source))


def open_video(source: str | int | os.PathLike[str]) -> Video:
    """Open a video.

    Args:
        source: A file, of which every frame is read; an address (RTSP, HTTP and others), of which
            the newest frame is taken each time unless it is a recording of known length; or the
            number of a camera, likewise.

    Raises:
        VideoError: If it cannot be opened or has no pictures; the message names it.
        ValueError: If PyAV, the extra ``video``, is needed and not installed.
    """
    from openpaf.video_live import open_camera, open_stream

    if isinstance(source, int):
        return open_camera(source)
    if is_url(os.fspath(source)):
        recording = VideoFile(os.fspath(source))
        if recording.n_frames:
            return recording
        recording.close()
        return open_stream(os.fspath(source))
    return VideoFile(source)


class VideoFile:
    """A recording: every frame in order, upright, with its timestamp.

    Damaged frames are left out and counted in ``n_damaged``; a file that ends early gives the
    frames it has. The size may change on the way.

    Args:
        source: Path or address.

    Attributes:
        name: For messages.
        fps: Frames per second, None where the file does not say.
        n_frames: How many there should be, None where nothing tells.
        start_s: Time of the file's first moment, which is 0 for whoever reads it.
        n_damaged: Packets that were left out so far.

    Raises:
        VideoError: If it is missing, not a video, or has no stream of pictures.
        ValueError: If PyAV is not installed.
    """

    is_live = False

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.name = shown_source(os.fspath(source))
        self.container = open_container(os.fspath(source))
        self.stream = self.container.streams.video[0]
        self.stream.thread_type = "AUTO"
        rate = self.stream.average_rate or self.stream.guessed_rate
        self.fps: float | None = float(rate) if rate else None
        self.start_s = (self.container.start_time or 0) / 1e6
        self.n_frames: int | None = self._count()
        self.n_damaged = 0

    def _count(self) -> int | None:
        """How many frames there should be, for a progress bar; None where nobody says."""
        if self.stream.frames:
            return self.stream.frames
        if self.container.duration and self.fps:
            return max(round(self.container.duration / 1e6 * self.fps), 1)
        return None

    def __iter__(self) -> Iterator[VideoFrame]:
        last_s, index = -1e-3, 0
        for frame in self._decoded():
            image = upright(frame)
            time_s = index / (self.fps or 25) if frame.time is None else frame.time - self.start_s
            # Broken timestamps repeat or go back; what follows relies on time that goes on.
            time_s = max(time_s, last_s + 1e-3)
            yield VideoFrame(
                image=image, index=index, time_s=time_s, captured_s=time.perf_counter()
            )
            last_s, index = time_s, index + 1
        if not index:
            raise VideoError(f"{self.name}: no frame of it can be read")
        if self.n_damaged:
            _log.warning("%s: %d damaged packets were left out", self.name, self.n_damaged)

    def _decoded(self) -> Iterator[Any]:
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                self.n_damaged += 1
                _log.warning("%s: ends early: %s", self.name, reason_of(error))
                return
            try:
                yield from packet.decode()
            except av.FFmpegError as error:
                self.n_damaged += 1
                _log.debug("%s: damaged packet: %s", self.name, reason_of(error))

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


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
        if os.path.isfile(source) and not os.path.getsize(source):
            raise VideoError(f"{name}: the file is empty")
    else:
        options = {"timeout": OPEN_READ_TIMEOUT_S, **options}
    try:
        container = av.open(source, **options)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{name}: cannot be opened as a video: {reason_of(error)}") from error
    if not container.streams.video:
        container.close()
        raise VideoError(f"{name}: has no stream of pictures")
    return container


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


def shown_source(source: str | int) -> str:
    """A source as it is named in messages: an address without its password."""
    if isinstance(source, int):
        return f"camera {source}"
    if is_url(source):
        return re.sub(r"//[^/@]*@", "//", source)
    return source.encode(errors="replace").decode()


def upright(frame: Any) -> NDArray[np.uint8]:
    """The RGB picture of a PyAV frame, turned as its display matrix says."""
    image = frame.to_ndarray(format="rgb24")
    quarters = round(getattr(frame, "rotation", 0) / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
