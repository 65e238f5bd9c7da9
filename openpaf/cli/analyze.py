"""``openpaf analyze``: what people do in a video, as figures, a table and plots."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openpaf.cli.arguments import (
    add_estimator_arguments,
    add_quiet_argument,
    add_threshold_argument,
    add_verb,
)
from openpaf.cli.common import (
    VIDEO_THRESHOLD,
    counted,
    number_argument,
    path_argument,
    say,
    score_argument,
    shown,
    source_argument,
    waiting,
)
from openpaf.cli.models import load_estimator
from openpaf.cli.photos import check_writable
from openpaf.cli.videos import WHOLE, add_video_arguments, excerpt_of, with_bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from openpaf.analysis.recording import Recording
    from openpaf.analysis.table import Motion, Motions
    from openpaf.analysis.zones import Zones
    from openpaf.skeleton import Skeleton

_POSE_SUFFIXES = (".json", ".jsonl", ".ndjson")
#: What each output may be; any suffix if none is named.
_SUFFIXES = {
    "csv": (),
    "plot": (".png", ".svg", ".pdf"),
    "heatmap": (".png", ".jpg"),
}
MAX_TOLD = 20  # people, those in most frames
_DESCRIPTION = """\
Follows the people of a video and says how their joints bend, how often, and where they stand. The
angle at a knee, an elbow, a hip, a shoulder or an ankle is that in the image: 180 degrees is
straight, and a limb towards the camera appears bent.

SOURCE is a video, or the file of poses that `openpaf predict` wrote of one (.jsonl), for which no
network is run.
"""
_EPILOG = """\
examples:
  openpaf analyze squats.mp4 --repetitions left_knee
  openpaf analyze squats.mp4 --angles left_knee,right_knee --plot knees.png --csv knees.csv
  openpaf analyze match.mp4 --start 1:30 --end 2:00 --heatmap map.png
  openpaf predict shop.mp4 --output out
  openpaf analyze out/shop.jsonl --zones zones.json --heatmap map.png
  openpaf analyze out/squats.jsonl --angles left_shoulder-left_hip-left_ankle

exit status: 0 done; 2 bad use, or a video or file that cannot be read; 130 interrupted.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb to the parser of the command."""
    parser = add_verb(
        verbs,
        "analyze",
        run,
        help="angles, repetitions, zones and heat maps of a video",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", type=source_argument, help="a video, or a file of poses")
    add("--angles", type=_names, default=(), metavar="LIST",
        help="angles, with commas: left_knee, right_elbow ..., or three joints as A-B-C "
        "(default: those of --repetitions, else all)")  # fmt: skip
    add("--repetitions", type=_names, default=(), metavar="LIST",
        help="count how often these angles go from straight to bent to straight")  # fmt: skip
    add("--bent", type=number_argument, default=110.0, metavar="DEG",
        help="at most this angle is bent (default: 110)")  # fmt: skip
    add("--straight", type=number_argument, default=150.0, metavar="DEG",
        help="at least this angle is straight (default: 150)")  # fmt: skip
    add("--zones", type=path_argument, metavar="FILE",
        help='JSON of zones, corners in px by name: {"door": [[0, 0], [90, 0], [90, 200]]}; '
        "a person is where their feet are")  # fmt: skip
    add("--csv", type=path_argument, metavar="FILE",
        help="write a line for each person of each frame")  # fmt: skip
    add("--plot", type=path_argument, metavar="FILE",
        help="draw angles and speeds over time: .png, .svg or .pdf; needs the extra analyze",
    )  # fmt: skip
    add("--heatmap", type=path_argument, metavar="FILE",
        help="draw where people stand, over the first frame: .png or .jpg")  # fmt: skip
    add("--fps", type=number_argument, metavar="N",
        help="frames a second of a file of poses that has no times")  # fmt: skip
    add_estimator_arguments(parser)
    add_threshold_argument(parser, VIDEO_THRESHOLD)
    add("--joint-threshold", type=score_argument, default=0.2, metavar="S",
        help="leave out joints with a smaller score, whose places are unreliable (default: 0.2)",
    )  # fmt: skip
    add_video_arguments(parser)
    add_quiet_argument(parser)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected names of angles with commas, got {text!r}")
    return names


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; what can be wrong with its use is found before the model is loaded."""
    from openpaf.analysis.table import motions_of
    from openpaf.analysis.zones import read_zones

    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    _check(arguments)
    zones = read_zones(arguments.zones) if arguments.zones else {}
    recording, background = _recording(arguments)
    recording = recording.without_weak_joints(arguments.joint_threshold)
    motions = motions_of(
        recording,
        _angles(arguments, recording.people.skeleton),
        counted=arguments.repetitions,
        bent_deg=arguments.bent,
        straight_deg=arguments.straight,
    )
    _write(arguments, recording, motions, zones, background)
    if not arguments.quiet:
        _tell(arguments, recording, motions, zones)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """What is known to be wrong before anything is read.

    Raises:
        ValueError: If an output has no suffix that it can have, cannot be written or is the source,
            a threshold does not fit the other, or matplotlib is needed and not installed.
    """
    from openpaf.io.extras import import_extra

    for option, suffixes in _SUFFIXES.items():
        path = getattr(arguments, option)
        if path is None:
            continue
        if suffixes and path.suffix.lower() not in suffixes:
            raise ValueError(f"--{option}: expected {' or '.join(suffixes)}, got {shown(path)}")
        if os.path.realpath(path) == os.path.realpath(arguments.source):
            raise ValueError(f"--{option}: {shown(path)} is the source; choose another name")
        check_writable(path, f"--{option}")
    if arguments.plot:
        import_extra("matplotlib", "analyze", "--plot")
    if not arguments.bent < arguments.straight <= 180:
        raise ValueError("--bent, --straight: expected degrees up to 180, the second larger")
    if _is_pose_file(arguments.source) and excerpt_of(arguments) != WHOLE:
        raise ValueError("--start, --end, --stride: expected a video as SOURCE")
    if arguments.fps is not None and not (_is_pose_file(arguments.source) and arguments.fps > 0):
        raise ValueError("--fps: expected a number above 0, and a file of poses as SOURCE")


def _is_pose_file(source: str) -> bool:
    return source.lower().endswith(_POSE_SUFFIXES)


def _angles(arguments: argparse.Namespace, skeleton: Skeleton) -> list[str]:
    """The angles that were asked for, or all.

    Raises:
        ValueError: If the skeleton has no such angle.
    """
    from openpaf.skeleton.angles import angle_joints, angle_names

    names = list(dict.fromkeys((*arguments.angles, *arguments.repetitions)))
    for name in names:
        angle_joints(skeleton, name)
    return names or list(angle_names(skeleton))


def _recording(
    arguments: argparse.Namespace,
) -> tuple[Recording, NDArray[np.uint8] | None]:
    """The people of the source, and the first frame of a video.

    Raises:
        ValueError: If it cannot be read, or the model has no such angle.
        VideoError: If it is no video that can be read.
    """
    from openpaf.analysis.pose_files import read_recording

    if _is_pose_file(arguments.source):
        return read_recording(arguments.source, fps=arguments.fps), None
    return _recording_of_video(arguments)


def _recording_of_video(
    arguments: argparse.Namespace,
) -> tuple[Recording, NDArray[np.uint8]]:
    from openpaf.analysis.recording import Recording
    from openpaf.cli.interrupts import raise_if_terminated
    from openpaf.tracking.tracker import Tracker, TrackerConfig
    from openpaf.video.excerpt import Excerpt
    from openpaf.video.open import open_video
    from openpaf.video.stream import process_video

    frames, background = [], None
    config = TrackerConfig(keeps_all=arguments.threshold == 0)
    tracker = Tracker(config if arguments.smoothing else replace(config, smoothing=None))
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(open_video(arguments.source))
        if excerpt_of(arguments) != WHOLE:
            video = Excerpt(video, *excerpt_of(arguments))
        estimator = load_estimator(arguments, min_score=arguments.threshold)
        _angles(arguments, estimator.skeleton)
        results = process_video(video, estimator, tracker=tracker, min_score=arguments.threshold)
        stack.enter_context(contextlib.closing(results))
        for result in with_bar(results, video, arguments.quiet):
            raise_if_terminated()
            background = result.frame.image if background is None else background
            frames.append((result.frame.index, result.frame.time_s, result.poses))
    assert background is not None  # a video without frames is an error of its own
    height, width = background.shape[:2]
    return Recording.of_frames(frames, image_hw=(height, width)), background


def _write(
    arguments: argparse.Namespace,
    recording: Recording,
    motions: Motions,
    zones: Zones,
    background: NDArray[np.uint8] | None,
) -> None:
    import numpy as np

    from openpaf.analysis.heatmap import person_heatmap
    from openpaf.analysis.plots import plot_angles
    from openpaf.analysis.table import as_csv
    from openpaf.cli.outputs import write_image
    from openpaf.io.files import write_text
    from openpaf.visualization.overlay import density

    if arguments.heatmap:
        seconds = person_heatmap(recording)
        if background is None:
            background = np.zeros((*seconds.shape, 3), np.uint8)
        write_image(density(background, seconds), arguments.heatmap)
    if arguments.csv:
        write_text(arguments.csv, as_csv(recording, motions, zones))
    if arguments.plot:
        with waiting("drawing the plot"):
            plot_angles(recording.times_s, motions, arguments.plot)


def _tell(
    arguments: argparse.Namespace, recording: Recording, motions: Motions, zones: Zones
) -> None:
    from openpaf.analysis.zones import time_in_zones
    from openpaf.io.addresses import shown_source

    seconds, people = time_in_zones(recording, zones), recording.ids
    say(f"{shown(shown_source(arguments.source))}: "
        f"{counted(len(recording.times_s), 'frame', 'frames')}, "
        f"{recording.durations_s.sum():.1f} s, {counted(len(people), 'person', 'people')}"
    )  # fmt: skip
    for person in people[:MAX_TOLD]:
        say(f"person {person}: seen for {recording.seconds_of(person):.1f} s")
        for name, of_people in motions.items():
            if person in of_people:
                say(f"  {name}: {_described(of_people[person])}")
        for name, of_zone in seconds.items():
            say(f"  zone {shown(name)}: {of_zone.get(person, 0):.1f} s")
    if len(people) > MAX_TOLD:
        say(f"and {counted(len(people) - MAX_TOLD, 'person', 'people')} seen in fewer frames")
    files = [getattr(arguments, option) for option in _SUFFIXES if getattr(arguments, option)]
    if files:
        say(f"written: {', '.join(shown(file) for file in files)}")


def _described(motion: Motion) -> str:
    import numpy as np

    low, high = np.nanmin(motion.degrees), np.nanmax(motion.degrees)
    text = f"{low:.0f} to {high:.0f} degrees"
    if np.isfinite(motion.speed).any():
        text += f", at most {np.nanmax(np.abs(motion.speed)):.0f} degrees per s"
    if motion.repetitions is not None:
        text += f", {counted(len(motion.repetitions), 'repetition', 'repetitions')}"
    return text
