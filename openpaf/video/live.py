"""Cameras and streams: a thread holds the newest frame, and reconnects when the source is lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import VideoError
from openpaf.io.addresses import shown_source, without_passwords
from openpaf.io.closing import Closing
from openpaf.video.base import VideoFrame, open_container, reason_of, video_streams
from openpaf.video.pixels import pixel_aspect, square_pixels, turn_of, upright

_log = logging.getLogger(__name__)

#: Opens a source and yields its images, RGB uint8 (H, W, 3), as they come, until it ends.
Capture = Callable[[], Iterator[NDArray[np.uint8]]]


class LiveVideo(Closing):
    """The newest frame of a live source.

    A thread reads frames as fast as they come and holds one, so that an iteration yields the
    newest frame, and none twice. When the source ends or fails, it is opened again after pauses of
    increasing length.

    Args:
        name: Name for messages.
        capture: Opens the source; called again for each reconnection.
        first_pause_s: Pause in s before the first reconnection; each next one is twice as long.
        max_pause_s: The longest pause in s.
        give_up_s: Time in s without a frame after which the iteration raises; None: never.

    Attributes:
        n_grabbed: Number of frames read, yielded or not.
        n_reconnections: Number of reconnections.

    Raises:
        VideoError: If the first frame does not come within ``give_up_s`` or the source cannot be
            opened.
    """

    is_live = True

    def __init__(
        self,
        name: str,
        capture: Capture,
        *,
        first_pause_s: float = 0.5,
        max_pause_s: float = 15.0,
        give_up_s: float | None = 60.0,
    ) -> None:
        self.name, self._capture = name, capture
        self.fps: float | None = None
        self.n_frames: int | None = None
        self._pauses = (first_pause_s, max_pause_s)
        self._give_up_s = give_up_s
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._newest: tuple[NDArray[np.uint8], float] | None = None
        self._error: BaseException | None = None
        self._opened_s = time.perf_counter()
        self.n_grabbed = 0
        self.n_reconnections = 0
        self._thread = threading.Thread(target=self._grab, name=f"grab {name}", daemon=True)
        self._thread.start()
        try:
            self._wait_for(lambda: self._newest is not None)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[VideoFrame]:
        index = 0
        while True:
            with self._changed:
                self._wait_for(lambda: self._newest is not None)
                if self._newest is None:  # closed
                    return
                image, captured_s = self._newest
                self._newest = None
            yield VideoFrame(
                image=image,
                index=index,
                time_s=captured_s - self._opened_s,
                captured_s=captured_s,
            )
            index += 1

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            until = None if self._give_up_s is None else time.monotonic() + self._give_up_s
            while not (condition() or self._stop.is_set()):
                if self._error is not None:
                    raise self._error
                if until is not None and time.monotonic() > until:
                    raise VideoError(f"{self.name}: no frame for {self._give_up_s:g} s")
                self._changed.wait(0.2)

    def _grab(self) -> None:
        pause = self._pauses[0]
        while not self._stop.is_set():
            try:
                for image in self._capture():
                    self._keep(image)
                    pause = self._pauses[0]
                    if self._stop.is_set():
                        return
                lost = "ended"
            except VideoError as error:
                lost = str(error)
                if not self.n_grabbed:  # it never worked: the user is told at once
                    self._fail(error)
                    return
            except Exception as error:  # any error of a driver may be temporary
                lost = without_passwords(f"{type(error).__name__}: {error}")
                if not self.n_grabbed:
                    self._fail(VideoError(f"{self.name}: {lost}"))
                    return
            self.n_reconnections += 1
            _log.warning("%s: %s; trying again in %g s", self.name, lost, pause)
            self._stop.wait(pause)
            pause = min(2 * pause, self._pauses[1])

    def _keep(self, image: NDArray[np.uint8]) -> None:
        with self._changed:
            self._newest = (image, time.perf_counter())
            self.n_grabbed += 1
            self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def close(self) -> None:
        """Stop the thread and end the iteration."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=3)  # a driver may hang, and the thread is a daemon


def open_stream(url: str, **options: Any) -> LiveVideo:
    """The newest frame of a network stream.

    Raises:
        VideoError: If it cannot be opened.
    """
    return LiveVideo(shown_source(url), lambda: _read_stream(url), **options)


def _read_stream(url: str) -> Iterator[NDArray[np.uint8]]:
    import av

    # Cameras use UDP by default, which loses packets: half an image is worse than a late one.
    settings = {"rtsp_transport": "tcp", "fflags": "nobuffer", "flags": "low_delay"}
    if not url.lower().startswith("rtsp"):
        del settings["rtsp_transport"]
    with open_container(url, options=settings) as container:
        stream = video_streams(container)[0]
        aspect = pixel_aspect(stream)
        try:
            for packet in container.demux(stream):
                try:
                    for frame in packet.decode():
                        is_turned, _, _ = turn_of(frame)
                        yield square_pixels(upright(frame), 1 / aspect if is_turned else aspect)
                except av.error.InvalidDataError:
                    continue  # a damaged packet; the next ones may be whole
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{shown_source(url)}: {reason_of(error)}") from error


def open_camera(number: int, **options: Any) -> LiveVideo:
    """The newest frame of a local camera.

    Raises:
        VideoError: If there is no such camera, or another program uses it.
    """
    return LiveVideo(shown_source(number), lambda: _read_camera(number), **options)


def _read_camera(number: int) -> Iterator[NDArray[np.uint8]]:
    import cv2

    # OpenCV would print messages of its own.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        camera = cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not camera.isOpened():
            raise VideoError(f"camera {number}: not found, or in use by another program")
        camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        is_first = True
        while True:
            good, image = camera.read()
            if not good or image is None:
                if is_first:
                    raise VideoError(f"camera {number}: returns no image")
                raise VideoError(f"camera {number}: connection lost")
            is_first = False
            yield np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    finally:
        camera.release()
