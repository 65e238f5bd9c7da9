"""Opens a video of any kind: a file, an animated image, a stream or a camera."""

from __future__ import annotations

import os
from pathlib import Path

from openpaf.io.addresses import is_url
from openpaf.io.image_suffixes import IMAGE_SUFFIXES
from openpaf.video.animation import Animation, is_animation
from openpaf.video.base import Video, holds_video
from openpaf.video.file import VideoFile
from openpaf.video.live import open_camera, open_stream


def open_video(source: str | int | os.PathLike[str]) -> Video:
    """Open a video.

    Args:
        source: A file, of which every frame is read, also an animated GIF, PNG, WebP or AVIF; an
            address (RTSP, HTTP and others), a live source unless it is a recording of known
            length; or the number of a camera, a live source. Of live sources the newest frame is
            read each time.

    Returns:
        An open video, to be closed by the caller.

    Raises:
        VideoError: If it cannot be opened or has no video stream; the message names it.
        ValueError: If PyAV, the extra ``video``, is needed and not installed.
    """
    if isinstance(source, int):
        return open_camera(source)
    if is_url(os.fspath(source)):
        recording = VideoFile(os.fspath(source))
        if recording.n_frames:
            return recording
        recording.close()
        return open_stream(os.fspath(source))
    return Animation(source) if is_animation(source) else VideoFile(source)


def is_moving(path: str, *, whatever_suffix: bool = False) -> bool:
    """Whether a file without a video's suffix is an animated image, or a video all the same.

    Args:
        path: The file.
        whatever_suffix: Whether files that have no suffix of images either are opened to see.
    """
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return is_animation(path)
    return whatever_suffix and (is_animation(path) or holds_video(path))
