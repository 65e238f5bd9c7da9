"""``openpaf webcam``: the people before a camera, in a window."""

from __future__ import annotations

import argparse
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.arguments import (
    add_estimator_arguments,
    add_threshold_argument,
    add_verb,
)
from openpaf.cli.common import VIDEO_THRESHOLD, counted, path_argument, say, waiting
from openpaf.cli.interrupts import raise_if_terminated
from openpaf.cli.models import load_estimator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from openpaf.cli.window import Window
    from openpaf.video.base import Video
    from openpaf.video.stream import FrameResult

_KEYS = "space pause   s save   v skeletons/heatmaps   f smoothing   q quit"
_ALTERNATIVE = "the browser demo needs neither: openpaf demo browser"

_EPILOG = f"""\
keys in the window: {_KEYS}

examples:
  openpaf webcam                        the first camera
  openpaf webcam --camera 1 --size 256  the second one, at twice the pace
  openpaf webcam --camera rtsp://user:password@host/stream
  openpaf webcam --camera street.mp4    a video at its own pace

Without a camera or a display: {_ALTERNATIVE}
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb."""
    parser = add_verb(
        verbs,
        "webcam",
        run,
        help="the people before a camera, live in a window",
        description="Shows the people before a camera with ids, frame rate and latency.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add(
        "--camera",
        default="0",
        metavar="N",
        help="number or address of the camera, or a video (default: 0)",
    )
    add_estimator_arguments(parser)
    add_threshold_argument(parser, VIDEO_THRESHOLD, more="; 0 keeps all")
    add("--output", type=path_argument, default=Path("."), metavar="DIR",
        help="where key s saves an image and its JSON (default: here)")  # fmt: skip
    add("--mirror", action="store_true", help="mirror what is shown")


def run(arguments: argparse.Namespace) -> int:
    """Do it; what is missing here is found before the model is loaded."""
    from openpaf.tracking.tracker import Tracker, TrackerConfig
    from openpaf.video.stream import process_video

    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    with contextlib.ExitStack() as stack:
        window = stack.enter_context(open_window())
        with waiting("opening the camera"):
            video = stack.enter_context(_open(arguments.camera))
        estimator = load_estimator(arguments, min_score=arguments.threshold)
        tracker = Tracker(TrackerConfig(keeps_all=arguments.threshold == 0))
        view = View(tracker, arguments.output, arguments.mirror)
        results = process_video(
            video,
            estimator,
            tracker=view.tracker,
            draw=view.draw,
            min_score=arguments.threshold,
        )
        stack.enter_context(contextlib.closing(results))
        _show(results, view, window)
    return 0


def _open(camera: str) -> Video:
    from openpaf.errors import VideoError
    from openpaf.video.open import open_video
    from openpaf.video.paced import PacedVideo

    source: str | int = int(camera) if camera.isascii() and camera.isdecimal() else camera
    try:
        video = open_video(source)
    except VideoError as error:
        raise VideoError(f"{error}; {_ALTERNATIVE}") from error
    return video if video.is_live else PacedVideo(video)


def open_window() -> Window:
    """A window, before the model is loaded.

    Raises:
        ValueError: If none can be opened here.
    """
    from openpaf.cli.window import Window

    try:
        return Window("openpaf")
    except ValueError as error:
        raise ValueError(f"webcam: {error}; {_ALTERNATIVE}") from error


class View:
    """What is shown and what the keys change; drawn in one thread, switched in another.

    Args:
        tracker: Whose smoothing a key switches.
        folder: Where images are saved.
        is_mirrored: Whether left and right change places on the screen.
    """

    def __init__(self, tracker: Any, folder: Path, is_mirrored: bool = False) -> None:
        self.tracker, self.folder, self.is_mirrored = tracker, folder, is_mirrored
        self.shows_heatmaps = False
        self.is_paused = False
        self.n_saved = 0
        self._times: deque[float] = deque(maxlen=30)

    def draw(self, *arguments: Any) -> NDArray[np.uint8]:
        """The image in the chosen view."""
        from openpaf.visualization.overlay import heatmaps, skeletons

        return (heatmaps if self.shows_heatmaps else skeletons)(*arguments)

    def image(self, result: FrameResult) -> NDArray[np.uint8]:
        """What the window shows of a result: the drawing under a line of figures."""
        from openpaf.visualization.shapes import draw_label

        assert result.drawn is not None  # process_video was asked to draw
        shown = result.drawn[:, ::-1] if self.is_mirrored else result.drawn
        canvas = shown.copy()
        size_px = canvas.shape[0] // 30  # on a plate, legible whatever is behind it
        draw_label(canvas, self.figures(result), 0, 0, size_px, anchor=0)
        return canvas

    def figures(self, result: FrameResult) -> str:
        """Frame rate, latency from capture to display, and the number of people."""
        now = time.perf_counter()
        self._times.append(now)
        span = self._times[-1] - self._times[0]
        rate = (len(self._times) - 1) / span if span > 0 else 0.0
        latency_ms = 1000 * (now - result.frame.captured_s)
        smoothing = "" if self.tracker.smooths else "   smoothing off"
        people = counted(len(result.poses), "person", "people")
        return f"{rate:.0f} fps   {latency_ms:.0f} ms   {people}{smoothing}"

    def press(self, key: int, result: FrameResult | None) -> bool:
        """Do what a key says; False if that is to quit."""
        if key in (ord("q"), 27):
            return False
        if key in (ord("p"), ord(" ")):
            self.is_paused = not self.is_paused
            self._times.clear()
        elif key == ord("v"):
            self.shows_heatmaps = not self.shows_heatmaps
        elif key == ord("f"):
            self.tracker.smooths = not self.tracker.smooths
        elif key == ord("s") and result is not None:
            self.save(result)
        return True

    def save(self, result: FrameResult) -> None:
        """Write the drawn image and its people as JSON."""
        from openpaf.cli.outputs import write_image
        from openpaf.io.pose_files import write_poses

        assert result.drawn is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.n_saved += 1
        stem = f"openpaf-{time.strftime('%Y%m%d-%H%M%S')}-{self.n_saved}"
        write_image(result.drawn, self.folder / f"{stem}.png")
        write_poses(result.poses, self.folder / f"{stem}.json", image_id=stem)
        say(f"saved {self.folder / stem}.png and .json")


def _show(results: Iterator[FrameResult], view: View, window: Window) -> None:
    """The loop of the window."""
    say(f"keys in the window: {_KEYS}")
    for result in results:
        raise_if_terminated()
        window.show(view.image(result))
        while True:
            typed = window.keys(wait_s=0.03 if view.is_paused else 0)
            if not all(view.press(ord(key), result) for key in typed) or not window.is_open:
                return
            if not view.is_paused:
                break
