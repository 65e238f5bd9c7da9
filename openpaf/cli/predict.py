"""``openpaf predict``: photos and videos to drawn images, drawn videos and JSON files."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from openpaf.cli.common import (
    IMAGE_THRESHOLD,
    OBJECT_THRESHOLD,
    VIDEO_THRESHOLD,
    counted,
    one_line,
    path_argument,
    say,
    score_argument,
    shown,
    source_argument,
)
from openpaf.cli.images import ImageJob
from openpaf.cli.models import add_model_arguments, load_estimator
from openpaf.cli.outputs import IMAGE, Outputs, check_folder, format_names, name_file, name_outputs
from openpaf.cli.predict_objects import check_objects, finds_objects, load_detector
from openpaf.cli.videos import list_videos, predict_video, video_name

if TYPE_CHECKING:
    from openpaf.estimator import PoseEstimator

_DESCRIPTION = """\
Finds the people of photos and writes, for each photo, into the output folder:
  NAME.jpg or NAME.png   the photo with its people drawn          (format image)
{files}
and of videos, animated images and streams, with an id for each person:
  NAME.mp4               the video with its people drawn, H.264, with its sound
  {video_files}    a line for each frame, as it comes
A Mask R-CNN of objects, such as --model maskrcnn-coco, finds objects in place of people: photos are
drawn with their masks, boxes, classes and scores, and the list of results has "bbox", and
"segmentation" as run lengths.
NAME is the photo's own; of two photos with one name, the second gets NAME_2. Results of an earlier
run are replaced, the photos themselves never.
"""
_EPILOG = """\
examples:
  openpaf predict photo.jpg --output out
  openpaf predict photos/ --output out                      a folder, without its subfolders
  openpaf predict 'photos/**/*.jpg' --output out            a glob, here with subfolders
  openpaf predict photos/ --output out --format coco,openpose
  openpaf predict crowd.jpg --output out --size 736         small people: larger, slower
  openpaf predict crowd.jpg --output out --scales 256 640   large and small people
  openpaf predict photos/ --output out --model cmu-body25 --weights pose_iter_584000.caffemodel
  openpaf predict photos/ --output out --model maskrcnn-coco    objects: boxes and masks
  openpaf predict street.mp4 --output out --size 256        a video (extra video)
  openpaf predict street.mp4 --output drawn.mp4             the same, and drawn.jsonl beside it
  openpaf predict rtsp://camera/stream --output out         a stream; Ctrl-C ends it

A file that cannot be read is named on the standard error stream and skipped, as are images of a
folder that are of no format that is read: raw files of cameras, PDF, SVG and others, and HEIC
without the extra heic.
exit status: 0 done; 1 some input was skipped; 2 bad use, such as no photo at all; 130 interrupted.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb to the parser of the command."""
    from openpaf.io.pose_files import FORMATS

    parser = verbs.add_parser(
        "predict",
        help="find the people in photos and videos; write drawn images, videos and JSON",
        description=_DESCRIPTION.format(
            files="\n".join(
                f"  {'NAME' + kind.suffix:<22} {kind.description:<40} (format {name})"
                for name, kind in FORMATS.items()
            ),
            video_files=", ".join(f"NAME{kind.video_suffix}" for kind in FORMATS.values()),
        ),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SOURCE",
        type=source_argument,
        help="file, folder, glob or stream",
    )
    add(
        "--output",
        required=True,
        metavar="DIR",
        type=path_argument,
        help="a folder, made if missing; of a single photo or video also the drawn file itself",
    )
    add(
        "--format",
        default=(IMAGE, "coco"),
        metavar="LIST",
        type=_formats,
        help=f"what to write, with commas: {', '.join(FORMATS)}, {IMAGE} (default: coco,{IMAGE})",
    )
    add_model_arguments(parser)
    parser.set_defaults(size=None)  # 368 for people, that of its training for a Mask R-CNN
    _add_run_arguments(parser)


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--threshold",
        type=score_argument,
        metavar="S",
        help="leave out people who are less likely than this to be there, and of videos those too "
        f"weak to be followed; 0 keeps all (default: {IMAGE_THRESHOLD}, of videos "
        f"{VIDEO_THRESHOLD}, of objects {OBJECT_THRESHOLD})",
    )
    add(
        "--boxes",
        action="store_true",
        help="draw boxes and scores of people in photos, too: around their joints, or those that a "
        "Mask R-CNN finds",
    )
    add(
        "--no-smoothing",
        dest="smoothing",
        action="store_false",
        help="leave the joints of videos as they are found in each frame",
    )
    add("--quiet", action="store_true", help="no lines but errors, and no progress bar")


def _formats(text: str) -> tuple[str, ...]:
    known = format_names()
    chosen = [name.strip().lower() for name in text.split(",")]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"expected a list of {', '.join(known)}, got {unknown[0]!r}"
        )
    return tuple(name for name in known if name in chosen)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; what can be wrong with its use is found before the model is loaded."""
    started = time.perf_counter()
    level = logging.ERROR if arguments.quiet else logging.WARNING
    logging.basicConfig(level=level, format="openpaf: %(message)s")
    videos, others = list_videos(arguments.sources)
    photos, missing = _find_photos(others, is_required=not videos)
    moving = set(map(os.path.realpath, videos))  # animated images of a folder are in both
    photos = [photo for photo in photos if os.path.realpath(photo) not in moving]
    named = [*photos, *map(video_name, videos)]
    outputs = _outputs(arguments, named)
    given = arguments.threshold
    job = _job(arguments, videos)
    for message in missing:
        job.skip(message)
    job.predict(photos, outputs[: len(photos)], arguments.batch_size)
    for video, output in zip(videos, outputs[len(photos) :], strict=True):
        job.skipped += not predict_video(
            video,
            output,
            cast("PoseEstimator", job.estimator),  # as there are videos
            threshold=VIDEO_THRESHOLD if given is None else given,
            smoothing=arguments.smoothing,
            quiet=job.quiet,
        )
    if not job.quiet and photos:
        say(
            f"{counted(job.done, 'photo', 'photos')}, "
            f"{job.counted(job.found)}, {job.skipped} skipped, "
            f"{time.perf_counter() - started:.1f} s, written to {shown(arguments.output)}"
        )
    return 1 if job.skipped else 0


def _outputs(arguments: argparse.Namespace, sources: Sequence[Path]) -> list[Outputs]:
    file = name_file(arguments.output, sources, arguments.format)
    if file is not None:
        return [file]
    folder = check_folder(arguments.output, arguments.sources, arguments.format)
    return name_outputs(sources, folder, arguments.format)


def _find_photos(
    sources: Sequence[str], *, is_required: bool = True
) -> tuple[list[Path], list[str]]:
    """The photos of the sources, and what is wrong with those that give none.

    Raises:
        ValueError: If there is no photo at all, and one is required.
    """
    from openpaf.io.images import list_images

    missing: list[str] = []
    photos = list_images(sources, on_error=lambda error: missing.append(one_line(error)))
    if not photos and is_required:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ValueError(f"no photo to read: {missing[0]}{more}")
    return photos, missing


def _job(arguments: argparse.Namespace, videos: Sequence[str]) -> ImageJob:
    """The model, loaded, and what is done with it."""
    threshold = arguments.threshold
    if finds_objects(arguments):
        check_objects(arguments, videos)
        threshold = OBJECT_THRESHOLD if threshold is None else threshold
        detector, nouns = load_detector(arguments, threshold), ("object", "objects")
        return ImageJob(detector, threshold, arguments.quiet, nouns=nouns)
    arguments.size = arguments.size or 368
    least = VIDEO_THRESHOLD if videos and threshold is None else threshold
    threshold = IMAGE_THRESHOLD if threshold is None else threshold
    estimator = load_estimator(arguments, min_score=threshold if least is None else least)
    return ImageJob(estimator, threshold, arguments.quiet, arguments.boxes)
