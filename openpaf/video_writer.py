"""Videos that browsers play: H.264 in mp4, with the sound of the source."""

from __future__ import annotations

import logging
import math
import os
import uuid
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import VideoError
from openpaf.video import import_av, reason_of

_log = logging.getLogger(__name__)

_TICKS = 90_000  # per second; every usual frame rate is a whole number of them
_AUDIO_IN_MP4 = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "opus"})


class VideoWriter:
    """Writes frames into an mp4 file that every browser plays.

    The file gets its name when it is closed, and closing makes it playable after however many
    frames, also after an interruption. Frames keep their timestamps. All are made as large as the
    first, which loses a last odd row or column; a frame of another shape gets a black border.

    Args:
        path: Of the mp4 file; replaced if there.
        fps: Frames per second, about; the timestamps count.
        sound: A video whose sound is copied up to the last frame's time; None for silence.
        crf: Quality, 0 (lossless) to 51 (worst).

    Raises:
        ValueError: If PyAV is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fps: float | None = None,
        sound: str | None = None,
        crf: int = 21,
    ) -> None:
        self._av = import_av()
        self.path = Path(path)
        self._partial = self.path.with_name(f".openpaf-{uuid.uuid4().hex}.mp4")
        self._fps = fps if fps and 0 < fps <= 1000 else 25.0
        self._crf = crf
        self._sound_source = sound
        self._sound: _Sound | None = None
        self._container: Any = None
        self._last_tick = -1
        self.n_frames = 0

    def write(self, image: NDArray[np.uint8], time_s: float) -> None:
        """Add a frame.

        Args:
            image: RGB uint8 (H, W, 3).
            time_s: Its time in seconds, later than the last one's.

        Raises:
            VideoError: If it cannot be encoded.
            OSError: If it cannot be written.
        """
        if self._container is None:
            try:
                self._open(image)
            except BaseException:
                self._container = None
                self._partial.unlink(missing_ok=True)
                raise
        frame = self._av.VideoFrame.from_ndarray(self._fitted(image), format="rgb24")
        tick = max(round(time_s * _TICKS), self._last_tick + 1)
        frame.pts, frame.time_base = tick, Fraction(1, _TICKS)
        if self._sound is not None:
            self._sound.copy_until(time_s)
        self._mux(frame)
        self._last_tick, self.n_frames = tick, self.n_frames + 1

    def _open(self, image: NDArray[np.uint8]) -> None:
        height, width = (max(side - side % 2, 2) for side in image.shape[:2])
        self._container = self._av.open(
            str(self._partial), "w", format="mp4", options={"movflags": "+faststart"}
        )
        rate = Fraction(self._fps).limit_denominator(1001)
        self._stream = self._container.add_stream("libx264", rate=rate)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._stream.options = {"crf": str(self._crf), "preset": "veryfast"}
        if self._sound_source is not None:
            self._sound = _Sound.of(self._av, self._sound_source, self._container)
        self._container.start_encoding()  # writes the header: a bad path is known at once

    def _fitted(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = self._stream.height, self._stream.width
        if 0 <= image.shape[0] - height <= 1 and 0 <= image.shape[1] - width <= 1:
            return np.ascontiguousarray(image[:height, :width])
        import cv2

        ratio = min(height / image.shape[0], width / image.shape[1])
        size = (
            max(1, min(width, round(image.shape[1] * ratio))),
            max(1, min(height, round(image.shape[0] * ratio))),
        )
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return canvas

    def _mux(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except OSError:  # a full disk is that, whichever library says so
            raise
        except self._av.FFmpegError as error:
            raise VideoError(f"{self.path}: cannot be encoded: {reason_of(error)}") from error

    def close(self) -> None:
        """Finish the file; without any frame there is none. A second call does nothing."""
        if self._container is None:
            return
        container, self._container = self._container, None
        try:
            if self._sound is not None:
                self._sound.copy_until(self._last_tick / _TICKS + 1 / self._fps)
                self._sound.finish()
            for packet in self._stream.encode(None):
                container.mux(packet)
            container.close()
            os.replace(self._partial, self.path)
        finally:
            container.close()
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Sound:
    """The sound of a source, copied where mp4 can hold it and made AAC where not."""

    def __init__(self, av: Any, source: Any, output: Any) -> None:
        self._av, self._source, self._output = av, source, output
        stream = source.streams.audio[0]
        self._start_s = (source.start_time or 0) / 1e6
        self._copies = stream.codec_context.name in _AUDIO_IN_MP4
        if self._copies:
            self._stream = output.add_stream_from_template(stream)
        else:
            rate = stream.codec_context.sample_rate or 48_000
            self._stream = output.add_stream("aac", rate=rate)
        self._packets = self._read(stream)
        self._next: Any = next(self._packets, None)

    @classmethod
    def of(cls, av: Any, source: str, output: Any) -> _Sound | None:
        """The sound of a source; None where it has none or none that can be read."""
        try:
            container = av.open(source)
            if not container.streams.audio:
                container.close()
                return None
            return cls(av, container, output)
        except (av.FFmpegError, OSError, ValueError) as error:
            _log.warning("%s: its sound is left out: %s", source, reason_of(error))
            return None

    def _read(self, stream: Any) -> Iterator[tuple[float, Any]]:
        """Packets or frames of sound with their times in seconds, to the first that is broken."""
        try:
            for packet in self._source.demux(stream):
                if self._copies:
                    if packet.pts is not None:
                        yield float(packet.pts * packet.time_base) - self._start_s, packet
                    continue
                for frame in packet.decode():
                    yield (frame.time or 0.0) - self._start_s, frame
        except (self._av.FFmpegError, OSError) as error:
            _log.warning("the sound ends early: %s", reason_of(error))

    def copy_until(self, time_s: float) -> None:
        """Write what is heard before a time."""
        while self._next is not None and self._next[0] < time_s:
            self._write(self._next[1])
            self._next = next(self._packets, None)

    def _write(self, item: Any) -> None:
        if self._copies:
            shift = math.floor(self._start_s / item.time_base)
            item.pts -= shift
            if item.dts is not None:
                item.dts -= shift
            item.stream = self._stream
            self._output.mux(item)
            return
        if item.pts is not None:
            item.pts -= math.floor(self._start_s / item.time_base)
        for packet in self._stream.encode(item):
            self._output.mux(packet)

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if not self._copies:
            for packet in self._stream.encode(None):
                self._output.mux(packet)
        self._source.close()
