"""Recordings: every frame of a video file in order."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from openpaf.errors import VideoError
from openpaf.io.addresses import shown_source
from openpaf.io.closing import Closing
from openpaf.video.base import VideoFrame, max_leap_s, open_container, reason_of, video_streams
from openpaf.video.pixels import pixel_aspect, turn_of, upright
from openpaf.video.times import Clock

_log = logging.getLogger(__name__)


class VideoFile(Closing):
    """A recording: every frame in order, upright, with its timestamp.

    Damaged packets are skipped and counted in ``n_damaged``; a truncated file yields the frames it
    has. The size may change between frames.

    Args:
        source: Path or address.

    Attributes:
        name: Name for messages.
        fps: Frames per second, None where the file does not tell.
        n_frames: Expected number of frames, None where unknown.
        pixel_aspect: Width of a pixel over its height, before frames are rotated.
        start_s: Timestamp in s of the start of the file, which has time 0 in the frames.
        n_damaged: Number of packets skipped so far.

    Raises:
        VideoError: If it is missing, not a video, or has no video stream.
        ValueError: If PyAV is not installed.
    """

    is_live = False

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.name = shown_source(os.fspath(source))
        self.container = open_container(os.fspath(source))
        self.stream = video_streams(self.container)[0]
        self.stream.thread_type = "AUTO"
        rate = self.stream.average_rate or self.stream.guessed_rate
        self.fps: float | None = float(rate) if rate else None
        self.start_s = (self.container.start_time or 0) / 1e6
        self.pixel_aspect = pixel_aspect(self.stream)
        self.n_frames: int | None = self._count()
        self.n_damaged = 0

    def _count(self) -> int | None:
        """Expected number of frames, for a progress bar; None where unknown."""
        if self.stream.frames:
            return self.stream.frames
        if self.container.duration and self.fps:
            return max(round(self.container.duration / 1e6 * self.fps), 1)
        return None

    def __iter__(self) -> Iterator[VideoFrame]:
        index, clock = 0, None
        for frame, first_dts in self._decoded():
            clock = clock or self._clock(frame, first_dts)
            decoding_s = None if frame.dts is None else float(frame.dts * frame.time_base)
            time_s = clock(frame.time, self._step_s(frame), decoding_s)
            is_turned, _, _ = turn_of(frame)
            yield VideoFrame(
                image=upright(frame),
                index=index,
                time_s=time_s,
                captured_s=time.perf_counter(),
                pixel_aspect=1 / self.pixel_aspect if is_turned else self.pixel_aspect,
            )
            index += 1
        if not index:
            raise VideoError(f"{self.name}: no frame of it can be read")
        if self.n_damaged:
            _log.warning("%s: %d damaged packets were left out", self.name, self.n_damaged)

    def _clock(self, first: Any, first_dts: int | None) -> Clock:
        """The clock that converts timestamps of the container to times."""
        # AVI has no presentation times: those of FFmpeg are in the order of decoding.
        is_avi = self.container.format.name == "avi"
        start_s = self.start_s
        if is_avi and first.dts is not None and first_dts is not None:
            start_s += float((first.dts - first_dts) * first.time_base)  # the decoder's delay
        return Clock(
            start_s,
            max_leap_s=max_leap_s(self.container),
            uses_decoding=is_avi,
        )

    def _step_s(self, frame: Any) -> float:
        if frame.duration and frame.time_base and frame.duration > 0:
            return float(frame.duration * frame.time_base)
        return 1 / (self.fps or 25)

    def _decoded(self) -> Iterator[tuple[Any, int | None]]:
        """Frames, each with the decoding time of the first packet of all."""
        import av

        packets = self.container.demux(self.stream)
        first_dts: int | None = None
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                self.n_damaged += 1
                _log.warning("%s: ends early: %s", self.name, reason_of(error))
                return
            if first_dts is None:
                first_dts = packet.dts
            try:
                for frame in packet.decode():
                    yield frame, first_dts
            except av.FFmpegError as error:
                self.n_damaged += 1
                _log.debug("%s: damaged packet: %s", self.name, reason_of(error))

    def close(self) -> None:
        """Close the file."""
        self.container.close()
