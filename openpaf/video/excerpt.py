"""A part of a video: from one time to another, and every so many frames of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from openpaf.errors import VideoError
from openpaf.video.base import Video, VideoFrame


class Excerpt:
    """Some frames of a video, with their own numbers and times.

    All frames before are decoded, too, since a video cannot be entered everywhere.

    Args:
        video: The whole video, closed with its excerpt.
        start_s: Least time of the first frame in s.
        end_s: Time in s before which the last frame is; no end if None.
        stride: Of so many frames the first is taken.
    """

    def __init__(
        self, video: Video, start_s: float = 0.0, end_s: float | None = None, stride: int = 1
    ) -> None:
        self.video, self.start_s, self.stride = video, start_s, stride
        self.end_s = math.inf if end_s is None else end_s
        self.name, self.is_live = video.name, video.is_live
        self.fps = None if video.fps is None else video.fps / stride

    @property
    def n_frames(self) -> int | None:
        """Approximate number of frames, where known."""
        n_frames, fps = self.video.n_frames, self.video.fps
        if n_frames is None or fps is None:
            return None
        last = min(n_frames, self.end_s * fps)
        return max(math.ceil((last - self.start_s * fps) / self.stride), 1)

    def __iter__(self) -> Iterator[VideoFrame]:
        n_inside = 0
        for frame in self.video:
            if frame.time_s >= self.end_s:
                break
            if frame.time_s >= self.start_s:
                if n_inside % self.stride == 0:
                    yield frame
                n_inside += 1
        if not n_inside:
            raise VideoError(f"{self.name}: no frame between start and end")

    def close(self) -> None:
        """Close the video."""
        self.video.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_details: Any) -> None:
        self.close()
