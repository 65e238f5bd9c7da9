"""A recording as if it were a camera: frames come at their times, and late ones are left out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

from openpaf.io.closing import Closing
from openpaf.video.base import Video, VideoFrame

_AFTER_S = 1.0  # later than this, the recording was paused and goes on where it was


class PacedVideo(Closing):
    """The frames of a recording at the pace of their times.

    Args:
        video: A recording; it is closed with this.
    """

    is_live = True

    def __init__(self, video: Video) -> None:
        self._video = video
        self.name, self.fps, self.n_frames = video.name, video.fps, video.n_frames

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames whose time has come, captured at that time."""
        step_s = 1 / (self.fps or 30)
        started_s: float | None = None
        for frame in self._video:
            now_s = time.perf_counter()
            if started_s is None or now_s - started_s - frame.time_s > _AFTER_S:
                started_s = now_s - frame.time_s
            due_s = started_s + frame.time_s
            if now_s > due_s + step_s:
                continue  # the next one is due, too
            time.sleep(max(0.0, due_s - now_s))
            yield dataclasses.replace(frame, captured_s=max(due_s, now_s))

    def close(self) -> None:
        """Close the recording."""
        self._video.close()
