"""``openpaf predict``: photos and videos to drawn images, drawn videos, JSON files and tables."""

from __future__ import annotations

import argparse
import contextlib
import logging
from typing import TYPE_CHECKING, Any, cast

from openpaf.cli.arguments import (
    SIZE,
    add_batch_argument,
    add_estimator_arguments,
    add_quiet_argument,
    add_verb,
)
from openpaf.cli.common import (
    IMAGE_THRESHOLD,
    OBJECT_THRESHOLD,
    VIDEO_THRESHOLD,
    path_argument,
    say,
    score_argument,
    shown,
    source_argument,
)
from openpaf.cli.images import ImageJob
from openpaf.cli.models import load_estimator
from openpaf.cli.outputs import IMAGE, RRD, check_folder, format_names
from openpaf.cli.predict_inputs import Inputs, first_of, listed_inputs, named_inputs, no_photo
from openpaf.cli.predict_objects import check_objects, finds_objects, load_detector
from openpaf.cli.predict_run import (
    Model,
    add_long_run_arguments,
    check_long_run,
    open_parts,
    predict_images,
)
from openpaf.cli.videos import VideoOptions, add_video_arguments, predict_video
from openpaf.cli.viewer import Viewer
from openpaf.errors import did_you_mean

if TYPE_CHECKING:
    from openpaf.estimator import PoseEstimator

_DESCRIPTION = """\
Finds the people of photos and writes, for each photo, into the output folder:
  NAME.jpg or NAME.png   the photo with its people drawn          (format image)
{files}
and of videos, animated images and streams, with an id for each person:
  NAME.mp4               the video with its people drawn, H.264, with its sound
  {video_files}    a line for each frame, as it comes
  NAME.rrd               the video with people and fields, for Rerun         (format rrd)
and tables, with a row for every photo, failures included; of videos as NAME_people.csv and so on:
{tables}
A Mask R-CNN of objects, such as --model maskrcnn-coco, finds objects in place of people: photos are
drawn with their masks, boxes, classes and scores, and the list of results has "bbox", and
"segmentation" as run lengths.
NAME is the photo's own; of two photos with one name, the second gets NAME_2. Photos of a tar file
are run as they come out of it; their results are in a folder of its name. Results of an earlier run
are replaced, the photos themselves never; tables only with --overwrite. Where --format has only
tables, nothing is drawn, and photos are listed while the run goes on: for folders of any size.
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
  openpaf predict photos/ --output table --format parquet --recursive       a table, no drawings
  openpaf predict shards/*.tar --output table --format parquet --workers 8  WebDataset
  openpaf predict @list.txt --output table --format csv --resume            what is not there yet

A file that cannot be read is named on the standard error stream and skipped, as are images of a
folder that are of no format that is read: raw files of cameras, PDF, SVG and others, and HEIC
without the extra heic.
exit status: 0 done; 1 some input was skipped; 2 bad use, such as no photo at all; 130 interrupted.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb to the parser of the command."""
    from openpaf.io.pose_files import FORMATS
    from openpaf.tables.files import TABLES

    parser = add_verb(
        verbs,
        "predict",
        run,
        help="people of photos and videos: drawn, as JSON, as tables",
        description=_DESCRIPTION.format(
            files="\n".join(
                f"  {'NAME' + kind.suffix:<22} {kind.description:<40} (format {name})"
                for name, kind in FORMATS.items()
            ),
            video_files=", ".join(f"NAME{kind.video_suffix}" for kind in FORMATS.values()),
            tables="\n".join(
                f"  {'people-00000' + kind.suffix:<22} {kind.description:<40} (format {name})"
                for name, kind in TABLES.items()
            ),
        ),
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SOURCE",
        type=source_argument,
        help="file, folder, glob, tar file, address of an image or stream, @FILE with a list of "
        "these, or - for a list on standard input",
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
        help=f"what to write, with commas: {', '.join([*FORMATS, *TABLES])}, {RRD}, {IMAGE} "
        f"(default: coco,{IMAGE})",
    )
    add_estimator_arguments(parser)
    add_batch_argument(parser)
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
        help="draw boxes and scores of people, too: around joints, or those that a Mask R-CNN "
        "finds",
    )
    add("--show", action="store_true",
        help="show each drawing in a window, too: any key goes on, q closes it")  # fmt: skip
    add_video_arguments(parser)
    add_quiet_argument(parser)
    add_long_run_arguments(parser)


def _formats(text: str) -> tuple[str, ...]:
    known = format_names()
    chosen = [name.strip().lower() for name in text.split(",")]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"expected a list of {', '.join(known)}, got {unknown[0]!r}"
            + did_you_mean(unknown[0], known)
        )
    return tuple(name for name in known if name in chosen)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; what can be wrong with its use is found before the model is loaded."""
    from openpaf.tables.files import TABLES

    level = logging.ERROR if arguments.quiet else logging.WARNING
    logging.basicConfig(level=level, format="openpaf: %(message)s")
    check_long_run(arguments)
    if arguments.show and IMAGE not in arguments.format:
        raise ValueError(f"--show: expected --format with {IMAGE}, which draws")
    files = [name for name in arguments.format if name not in TABLES]
    job = ImageJob(arguments.quiet, says_each=bool(files))
    with contextlib.ExitStack() as stack:
        if files:
            inputs = named_inputs(arguments, files)
            job.errors.extend(inputs.errors)
        else:
            check_folder(arguments.output, (), arguments.format)
            inputs = listed_inputs(arguments, job.wants, job.errors.append)
        if RRD in files and not inputs.videos:
            raise ValueError(f"--format {RRD}: of videos only, and there is none")
        model, has_videos = _model(arguments, inputs.videos), bool(inputs.videos)
        if arguments.show:
            job.viewer = stack.enter_context(Viewer())
        if any(name in TABLES for name in arguments.format):
            job.parts = stack.enter_context(open_parts(arguments, model.threshold, job.say_part))
        if isinstance(inputs.images, list):
            inputs.images = [one for one in inputs.images if job.wants(one.path)]
            inputs.n_images = len(inputs.images)
        elif files:  # photos of tar files, which have their names by now
            inputs.images = (one for one in inputs.images if job.wants(one.path))
        images = first_of(inputs.images)
        if images is None and not (files or inputs.videos or (job.parts and job.parts.done)):
            raise no_photo(job.errors)
        estimator = None
        if images is not None:
            inputs.images = images
            estimator = predict_images(arguments, inputs, job, model)
        has_images = images is not None or not inputs.videos
        # Videos that were found later have another least score than the model was loaded with.
        _predict_videos(arguments, inputs, job, estimator if has_videos else None)
    job.report_errors()
    if not job.quiet and has_images:
        say(f"{job.summary()}, {job.seconds:.1f} s, written to {shown(arguments.output)}")
    return 1 if job.skipped else 0


def _model(arguments: argparse.Namespace, videos: list[str]) -> Model:
    """The model, not loaded, and what is done with what it finds."""
    threshold = arguments.threshold
    if finds_objects(arguments):
        check_objects(arguments, videos)
        least = OBJECT_THRESHOLD if threshold is None else threshold
        return Model(least, lambda: load_detector(arguments, least), ("object", "objects"))
    arguments.size = arguments.size or SIZE
    least = VIDEO_THRESHOLD if videos and threshold is None else threshold
    threshold = IMAGE_THRESHOLD if threshold is None else threshold
    least = threshold if least is None else least
    return Model(threshold, lambda: load_estimator(arguments, min_score=least))


def _predict_videos(
    arguments: argparse.Namespace,
    inputs: Inputs,
    job: ImageJob,
    estimator: Any,
) -> None:
    """The videos, which may have been found while the images were listed."""
    if not inputs.videos:
        return
    given = arguments.threshold
    least = VIDEO_THRESHOLD if given is None else given
    if estimator is None:
        estimator = load_estimator(arguments, min_score=least)
    for video, output in zip(inputs.videos, inputs.name_videos(inputs.videos), strict=True):
        if arguments.skip_existing and all(path.exists() for path in output.files.values()):
            continue
        options = VideoOptions(
            threshold=least, smoothing=arguments.smoothing, quiet=job.quiet,
            start_s=arguments.start, end_s=arguments.end, stride=arguments.stride,
            boxes=arguments.boxes,
        )  # fmt: skip
        people = cast("PoseEstimator", estimator)
        job.skipped += not predict_video(video, output, people, options, job.viewer)
