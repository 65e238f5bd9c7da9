"""``openpaf webcam``: the people before a camera, in a window."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.common import (
    VIDEO_THRESHOLD,
    add_engine_arguments,
    counted,
    path_argument,
    positive_integer,
    say,
    score_argument,
)
from openpaf.cli.interrupts import raise_if_terminated
from openpaf.io.extras import install_hint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from openpaf.video.base import Video
    from openpaf.video.stream import FrameResult

_KEYS = "space pause   s save   v skeletons/heatmaps   f smoothing   q quit"
_ALTERNATIVE = "the browser demo needs neither: python demos/browser"
_WINDOW = "openpaf"

_EPILOG = f"""\
keys in the window: {_KEYS}

examples:
  openpaf webcam                        the first camera
  openpaf webcam --camera 1 --size 192  the second one, faster
  openpaf webcam --camera rtsp://user:password@host/stream

Without a camera or a display: {_ALTERNATIVE}
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "webcam",
        help="the people before a camera, live in a window",
        description="Shows the people before a camera with ids, frame rate and latency.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--camera", default="0", metavar="N", help="number or address of the camera (default: 0)")
    add("--model", metavar="NAME_OR_PATH", help="as for predict")
    add_engine_arguments(parser)
    add("--size", type=positive_integer, default=256, metavar="N",
        help="short side of the network's input in px (default: 256)")  # fmt: skip
    add("--threshold", type=score_argument, default=VIDEO_THRESHOLD, metavar="S",
        help="leave out people who are less likely than this to be there; 0 keeps all "
        f"(default: {VIDEO_THRESHOLD})")  # fmt: skip
    add("--output", type=path_argument, default=Path("."), metavar="DIR",
        help="where key s saves a picture and its JSON (default: here)")  # fmt: skip
    add("--mirror", action="store_true", help="show the picture as a mirror would")


def run(arguments: argparse.Namespace) -> int:
    """Do it; what is missing here is found before the model is loaded."""
    check_display()
    from openpaf.estimator import PoseEstimator
    from openpaf.tracking.tracker import Tracker, TrackerConfig
    from openpaf.video.stream import process_video

    logging.basicConfig(level=logging.INFO, format="openpaf: %(message)s")
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(_open(arguments.camera))
        estimator = PoseEstimator(
            arguments.model,
            engine=arguments.engine,
            device=arguments.device,
            threads=arguments.threads,
            size=arguments.size,
            min_score=arguments.threshold,
        )
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
        _show(results, view)
    return 0


def _open(camera: str) -> Video:
    from openpaf.errors import VideoError
    from openpaf.video.open import open_video

    source: str | int = int(camera) if camera.isascii() and camera.isdecimal() else camera
    try:
        return open_video(source)
    except VideoError as error:
        raise VideoError(f"{error}; {_ALTERNATIVE}") from error


def check_display() -> None:
    """See that a window can be opened.

    Raises:
        ValueError: If there is no display, or OpenCV was built without windows.
    """
    has_screen = sys.platform != "linux" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not has_screen:
        raise ValueError(f"webcam: no display here; {_ALTERNATIVE}")
    import cv2

    lines = [line.split() for line in cv2.getBuildInformation().splitlines()]
    if ["GUI:", "NONE"] in lines:
        raise ValueError(
            "webcam: this build of OpenCV opens no windows; pip uninstall opencv-python-headless, "
            f"then {install_hint('demo')}; or {_ALTERNATIVE}"
        )


class View:
    """What is shown and what the keys change; drawn in one thread, switched in another.

    Args:
        tracker: Whose smoothing a key switches.
        folder: Where pictures are saved.
        is_mirrored: Whether left and right change places on the screen.
    """

    def __init__(self, tracker: Any, folder: Path, is_mirrored: bool = False) -> None:
        self.tracker, self.folder, self.is_mirrored = tracker, folder, is_mirrored
        self.shows_heatmaps = False
        self.is_paused = False
        self.n_saved = 0
        self._times: deque[float] = deque(maxlen=30)

    def draw(self, *arguments: Any) -> NDArray[np.uint8]:
        """The picture in the chosen view."""
        from openpaf.visualization.overlay import heatmaps, skeletons

        return (heatmaps if self.shows_heatmaps else skeletons)(*arguments)

    def picture(self, result: FrameResult) -> NDArray[np.uint8]:
        """What the window shows of a result: the drawing under a line of figures."""
        import cv2
        import numpy as np

        assert result.drawn is not None  # process_video was asked to draw
        shown = result.drawn[:, ::-1] if self.is_mirrored else result.drawn
        canvas = np.ascontiguousarray(shown)
        text = self.figures(result)
        scale = max(canvas.shape[1] / 1300, 0.4)
        place = (round(12 * scale), round(30 * scale))
        for color, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color,
                        max(1, round(2 * width * scale)), cv2.LINE_AA)  # fmt: skip
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
        """Write the drawn picture and its people as JSON."""
        from openpaf.cli.outputs import write_image
        from openpaf.io.pose_files import write_poses

        assert result.drawn is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.n_saved += 1
        stem = f"openpaf-{time.strftime('%Y%m%d-%H%M%S')}-{self.n_saved}"
        write_image(result.drawn, self.folder / f"{stem}.png")
        write_poses(result.poses, self.folder / f"{stem}.json", image_id=stem)
        say(f"saved {self.folder / stem}.png and .json")


def _show(results: Any, view: View) -> None:
    """The loop of the window."""
    import cv2

    say(f"keys in the window: {_KEYS}")
    cv2.namedWindow(_WINDOW, cv2.WINDOW_NORMAL)
    try:
        for result in results:
            raise_if_terminated()
            cv2.imshow(_WINDOW, cv2.cvtColor(view.picture(result), cv2.COLOR_RGB2BGR))
            while True:
                goes_on = view.press(cv2.waitKey(30 if view.is_paused else 1) & 0xFF, result)
                is_closed = cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) < 1
                if not goes_on or is_closed:
                    return
                if not view.is_paused:
                    break
    finally:
        cv2.destroyAllWindows()
