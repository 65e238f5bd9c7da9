"""``openpaf predict`` of a video or stream: an mp4 with its people drawn, and JSON lines."""

from __future__ import annotations

import argparse
import contextlib
import logging
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.cli.arguments import add_smoothing_argument
from openpaf.cli.common import counted, described, positive_integer, report, say, shown
from openpaf.cli.interrupts import raise_if_terminated
from openpaf.cli.outputs import IMAGE, Outputs
from openpaf.cli.video_files import VideoFiles

if TYPE_CHECKING:
    from openpaf.cli.viewer import Viewer
    from openpaf.estimator import PoseEstimator
    from openpaf.video.base import Video
    from openpaf.video.stream import FrameResult


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How videos are gone through.

    Args:
        threshold: Leave out people whose score is below this; 0 keeps all, also those who are too
            weak to be followed otherwise.
        smoothing: Whether to smooth joints over time.
        quiet: Say nothing but errors.
        start_s: Time of the first frame, at least.
        end_s: Time before which the last frame is; the end of the video if None.
        stride: Of so many frames the first is taken.
        boxes: Whether boxes are drawn around people, and their scores.
    """

    threshold: float
    smoothing: bool = True
    quiet: bool = False
    start_s: float = 0.0
    end_s: float | None = None
    stride: int = 1
    boxes: bool = False


def add_video_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what is done with videos."""
    add_smoothing_argument(parser)
    add = parser.add_argument
    add("--start", type=_seconds, default=0.0, metavar="S", help="begin videos at S seconds")
    add("--end", type=_seconds, metavar="S", help="end videos at S seconds")
    add("--stride", type=positive_integer, default=1, metavar="N",
        help="take every N-th frame of videos (default: 1)")  # fmt: skip


#: All frames of a video, of what :func:`excerpt_of` gives.
WHOLE = (0.0, None, 1)


def excerpt_of(arguments: argparse.Namespace) -> tuple[float, float | None, int]:
    """Start and end in s, and stride, of the frames that were asked for."""
    return arguments.start, arguments.end, arguments.stride


def _seconds(text: str) -> float:
    """Seconds, or minutes and seconds as in 1:30, or with hours."""
    match = re.fullmatch(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,9}(?:\.\d*)?)", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected seconds, or 1:30, got {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def predict_video(
    source: str,
    output: Outputs,
    estimator: PoseEstimator,
    options: VideoOptions,
    viewer: Viewer | None = None,
) -> bool:
    """Go through one video; what is written stays playable wherever it ends.

    Args:
        source: File or address.
        output: What to write: an mp4 for the drawing, a table, or a file of lines for each other
            format.
        estimator: Finds the people.
        options: How.
        viewer: Shows the drawn frames, if that is asked for.

    Returns:
        Whether it was read to its end without an error. The error is reported.

    Raises:
        KeyboardInterrupt: If the user stops it; the files are closed before.
    """
    from openpaf.errors import VideoError
    from openpaf.io.addresses import shown_source
    from openpaf.tracking.tracker import Tracker, TrackerConfig
    from openpaf.video.excerpt import Excerpt
    from openpaf.video.open import open_video
    from openpaf.video.stream import process_video
    from openpaf.visualization.overlay import boxes, skeletons

    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    started, n_frames, people = time.perf_counter(), 0, set[int]()
    config = TrackerConfig(keeps_all=options.threshold == 0)
    tracker = Tracker(config if options.smoothing else replace(config, smoothing=None))
    of_people = boxes if options.boxes else skeletons
    draw = of_people if IMAGE in output.files else None
    name = shown(shown_source(source))
    try:
        with contextlib.ExitStack() as stack:
            video = stack.enter_context(open_video(source))
            if (options.start_s, options.end_s, options.stride) != WHOLE:
                video = Excerpt(video, options.start_s, options.end_s, options.stride)
            writers = VideoFiles(output, source, video, stack, estimator)
            results = process_video(
                video, estimator, tracker=tracker, draw=draw, min_score=options.threshold
            )
            stack.enter_context(contextlib.closing(results))
            for result in with_bar(results, video, options.quiet):
                raise_if_terminated()
                writers.write(result)
                if viewer is not None and result.drawn is not None:
                    viewer.show_frame(result.drawn)
                n_frames += 1
                people.update(() if result.poses.ids is None else result.poses.ids.tolist())
    except (VideoError, OSError, ValueError) as error:
        message = described(error)
        report(f"skipped {message if name in message else f'{name}: {message}'}")
        return False
    finally:
        if n_frames and not options.quiet:
            seconds = time.perf_counter() - started
            say(f"{name}: {counted(n_frames, 'frame', 'frames')}, "
                f"{counted(len(people), 'person', 'people')}, "
                f"{n_frames / seconds:.1f} frames a second")  # fmt: skip
    return True


def with_bar(results: Iterator[FrameResult], video: Video, quiet: bool) -> Iterator[FrameResult]:
    """The results of a video, with a progress bar on a terminal unless it is to be quiet."""
    from tqdm import tqdm

    hidden = True if quiet else None
    return iter(
        tqdm(results, total=video.n_frames, unit="frame", file=sys.stderr, disable=hidden,
             leave=False)
    )  # fmt: skip


def list_videos(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files and addresses that are videos or streams, animated images among them, and the others.

    Raises:
        ValueError: If there are some that PyAV reads, and it is not installed.
    """
    from openpaf.video.base import is_video
    from openpaf.video.open import is_moving

    videos: list[str] = []
    others: list[str] = []
    for source in sources:  # a missing video is one, too: reading it says so
        is_one = is_video(source) or is_moving(source, whatever_suffix=True)
        (videos if is_one else others).append(source)
    check_videos(videos)
    return list(dict.fromkeys(videos)), others


def check_videos(videos: Sequence[str]) -> None:
    """See that videos can be read, before a model loads.

    Raises:
        ValueError: If there are some that PyAV reads, and it is not installed.
    """
    from openpaf.io.extras import need_extra
    from openpaf.video.base import is_video

    if any(is_video(video) for video in videos):
        need_extra("video", "videos")


def video_name(source: str) -> Path:
    """A path whose stem names a video's results, with a suffix of videos.

    Of an address it is made from host and path.
    """
    from openpaf.io.addresses import is_url, shown_source
    from openpaf.video.base import VIDEO_SUFFIXES

    if not is_url(source):
        path = Path(source)
        return path if path.suffix.lower() in VIDEO_SUFFIXES else path.with_suffix(".ts")
    address = shown_source(source).split("://", 1)[1].split("?")[0]
    return Path(re.sub(r"[^A-Za-z0-9-]+", "_", address).strip("_") + ".ts")
