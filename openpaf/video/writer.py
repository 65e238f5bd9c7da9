"""Writes videos that browsers play: H.264 in mp4, with the sound of the source."""

from __future__ import annotations

import logging
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import VideoError
from openpaf.io.closing import Closing
from openpaf.io.files import temporary_beside
from openpaf.video.base import file_address, import_av, reason_of
from openpaf.video.pipeline import uninterrupted
from openpaf.video.sound import Sound

_log = logging.getLogger(__name__)

_TICKS = 90_000  # per second, a multiple of all common frame rates


class VideoWriter(Closing):
    """Writes frames into an mp4 file that every browser plays.

    The file gets its name when it is closed, and is then playable after any number of frames, also
    after an interruption. Frames keep their timestamps. All are resized to the size of the first,
    without its last row or column if odd; a frame of another shape gets a black border.

    Args:
        path: The mp4 file; an existing one is replaced.
        fps: Approximate frames per second; the timestamps define the times.
        sound: A video whose sound is copied up to the last frame's time; None for no sound. Sound
            that cannot be read is left out with a warning.
        crf: Quality, 0 (lossless) to 51 (worst).
        pixel_aspect: Width of a pixel over its height, for display.

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
        pixel_aspect: float = 1.0,
    ) -> None:
        self._av = import_av()
        self.path = Path(path)
        self._partial = temporary_beside(self.path)
        self._fps = fps if fps and 0 < fps <= 1000 else 25.0
        self._crf, self._pixel_aspect = crf, pixel_aspect
        self._sound_source = sound
        self._sound: Sound | None = None
        self._container: Any = None
        self._last_tick = -1
        self.n_frames = 0

    def write(self, image: NDArray[np.uint8], time_s: float) -> None:
        """Add a frame.

        Args:
            image: RGB uint8 (H, W, 3).
            time_s: Its time in s, later than that of the last one.

        Raises:
            VideoError: If it cannot be encoded.
            OSError: If it cannot be written.
        """
        if self._container is None:
            try:
                self._open_with_sound(image)
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

    def _open_with_sound(self, image: NDArray[np.uint8]) -> None:
        try:
            self._open(image, self._sound_source)
        except OSError:
            raise
        except (self._av.FFmpegError, ValueError) as error:
            if self._sound is None:
                raise VideoError(f"{self.path}: cannot be written: {reason_of(error)}") from error
            _log.warning("%s: the sound is left out: %s", self.path, reason_of(error))
            self._open(image, None)

    def _open(self, image: NDArray[np.uint8], sound: str | None) -> None:
        height, width = (max(side - side % 2, 2) for side in image.shape[:2])
        path = file_address(str(self._partial))
        self._container = self._av.open(path, "w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(self._fps).limit_denominator(1001)
        self._stream = self._container.add_stream("libx264", rate=rate)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        codec = self._stream.codec_context
        codec.time_base = Fraction(1, _TICKS)
        codec.sample_aspect_ratio = Fraction(self._pixel_aspect).limit_denominator(1000)
        self._stream.options = {"crf": str(self._crf), "preset": "veryfast"}
        self._sound = None if sound is None else Sound.of(sound, self._container)
        self._container.start_encoding()  # writes the header, so that a bad path fails here

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
        except OSError:  # e.g. a full disk, in any library
            raise
        except self._av.FFmpegError as error:
            raise VideoError(f"{self.path}: cannot be encoded: {reason_of(error)}") from error

    def close(self) -> None:
        """Finish the file, if there was a frame. A second call does nothing.

        An interruption meanwhile is raised afterwards, so that the video is not lost.
        """
        if self._container is None:
            return
        container, self._container = self._container, None
        uninterrupted(lambda: self._finish(container))

    def _finish(self, container: Any) -> None:
        try:
            if not self.n_frames:
                return  # interrupted in its first frame: a file without one is no video
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
