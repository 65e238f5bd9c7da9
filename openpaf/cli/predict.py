"""``openpaf predict``: photos and videos to drawn pictures, drawn videos and JSON files."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.common import (
    counted,
    described,
    one_line,
    path_argument,
    positive_integer,
    report,
    say,
    score_argument,
    shown,
    source_argument,
    traceback_wanted,
)
from openpaf.cli.interrupts import raise_if_terminated
from openpaf.cli.outputs import (
    FORMATS,
    Outputs,
    check_folder,
    name_file,
    name_outputs,
    write_picture,
)
from openpaf.cli.videos import list_videos, predict_video, video_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from openpaf.estimator import PoseEstimator
    from openpaf.poses import Poses

# What stops every photo from being written, so that to go on would only repeat it.
_FOR_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_DESCRIPTION = """\
Finds the people of photos and writes, for each photo, into the output folder:
  NAME.jpg or NAME.png   the photo with its people drawn          (format image)
  NAME.json              COCO's list of results                   (format coco)
  NAME_keypoints.json    OpenPose's list of people                (format openpose)
and of videos, animated pictures and streams, with an id for each person:
  NAME.mp4               the video with its people drawn, H.264, with its sound
  NAME.jsonl, NAME_keypoints.jsonl    a line of JSON for each frame, as it comes
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
  openpaf predict photos/ --output out --model cmu-body25 --weights pose_iter_584000.caffemodel
  openpaf predict street.mp4 --output out --size 256        a video (pip install 'openpaf[video]')
  openpaf predict street.mp4 --output drawn.mp4             the same, and drawn.jsonl beside it
  openpaf predict rtsp://camera/stream --output out         a stream; Ctrl-C ends it

A file that cannot be read is named on the standard error stream and skipped, as are pictures of a
folder that are of no format that is read: raw files of cameras, PDF, SVG and others, and HEIC
without pip install 'openpaf[heic]'.
exit status: 0 done; 1 some input was skipped; 2 bad use, such as no photo at all; 130 interrupted.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb to the parser of the command."""
    parser = verbs.add_parser(
        "predict",
        help="find the people in photos and videos; write drawn pictures, videos and JSON",
        description=_DESCRIPTION,
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
        default=("image", "coco"),
        metavar="LIST",
        type=_formats,
        help="what to write, with commas: coco, openpose, image (default: coco,image)",
    )
    add(
        "--model",
        metavar="NAME_OR_PATH",
        help="default, fast, a name of `openpaf weights list`, or a safetensors file",
    )
    add(
        "--weights",
        metavar="FILE",
        type=path_argument,
        help="a checkpoint to take in place of the model's own: .pth, .caffemodel, .npz ...",
    )
    add(
        "--runtime",
        default="auto",
        metavar="R",
        help="auto, torch, onnx, openvino, openvino-bf16 or openvino-int8; auto takes the fastest "
        "(default: auto)",
    )
    add("--device", metavar="D", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")
    add(
        "--size",
        type=positive_integer,
        metavar="N",
        default=368,
        help="short side of the network's input in px (default: 368)",
    )
    add(
        "--threshold",
        type=score_argument,
        metavar="S",
        default=0.1,
        help="leave out people whose score is below this, and of videos those too weak to be "
        "followed; 0 keeps all (default: 0.1)",
    )
    add(
        "--batch-size",
        type=positive_integer,
        metavar="N",
        default=1,
        help="photos at a time; more use a GPU better (default: 1)",
    )
    add(
        "--no-smoothing",
        dest="smoothing",
        action="store_false",
        help="leave the joints of videos as they are found in each frame",
    )
    add("--quiet", action="store_true", help="no lines but errors, and no progress bar")


def _formats(text: str) -> tuple[str, ...]:
    wanted = [name.strip().lower() for name in text.split(",")]
    wrong = [name for name in wanted if name not in FORMATS]
    if wrong:
        raise argparse.ArgumentTypeError(
            f"expected a list of {', '.join(FORMATS)}, got {wrong[0]!r}"
        )
    return tuple(name for name in FORMATS if name in wanted)


@dataclass
class _Job:
    """The counts of a run, and what is the same for every photo."""

    estimator: PoseEstimator
    formats: tuple[str, ...]
    threshold: float
    quiet: bool
    done: int = 0
    people: int = 0
    skipped: int = 0


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; what can be wrong with its use is found before the model is loaded."""
    started = time.perf_counter()
    level = logging.ERROR if arguments.quiet else logging.WARNING
    logging.basicConfig(level=level, format="openpaf: %(message)s")
    videos, others = list_videos(arguments.sources)
    photos, missing = _find_photos(others, is_required=not videos)
    moving = set(map(os.path.realpath, videos))  # animated pictures of a folder are in both
    photos = [photo for photo in photos if os.path.realpath(photo) not in moving]
    named = [*photos, *map(video_name, videos)]
    outputs = _outputs(arguments, named)
    job = _Job(
        estimator=_load(arguments),
        formats=arguments.format,
        threshold=arguments.threshold,
        quiet=arguments.quiet,
    )
    for message in missing:
        _skip(job, message)
    _predict_all(job, photos, outputs[: len(photos)], arguments.batch_size)
    for video, output in zip(videos, outputs[len(photos) :], strict=True):
        job.skipped += not predict_video(
            video,
            output,
            job.estimator,
            threshold=job.threshold,
            smoothing=arguments.smoothing,
            quiet=job.quiet,
        )
    if not job.quiet and photos:
        say(
            f"{counted(job.done, 'photo', 'photos')}, "
            f"{counted(job.people, 'person', 'people')}, {job.skipped} skipped, "
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


def _load(arguments: argparse.Namespace) -> PoseEstimator:
    from openpaf.estimator import PoseEstimator
    from openpaf.weights.published import PUBLISHED

    estimator = PoseEstimator(
        arguments.model,
        weights=arguments.weights,
        runtime=arguments.runtime,
        device=arguments.device,
        size=arguments.size,
    )
    if arguments.model in PUBLISHED and not arguments.quiet:
        report(f"{arguments.model}: licence: {PUBLISHED[arguments.model].licence}")
    return estimator


def _predict_all(
    job: _Job, photos: Sequence[Path], outputs: Sequence[Outputs], batch_size: int
) -> None:
    """Go through the photos in batches, with a progress bar on a terminal."""
    from tqdm import tqdm

    hidden = True if job.quiet else None  # None: hidden unless the stream is a terminal
    with tqdm(total=len(photos), unit="photo", file=sys.stderr, disable=hidden, leave=False) as bar:
        for start in range(0, len(photos), batch_size):
            raise_if_terminated()
            chunk = range(start, min(start + batch_size, len(photos)))
            images = {i: image for i in chunk if (image := _read(job, photos[i])) is not None}
            for i, poses in _estimate(job, photos, images).items():
                _finish(job, photos[i], outputs[i], images[i], poses)
            bar.update(len(chunk))


def _read(job: _Job, photo: Path) -> NDArray[np.uint8] | None:
    from openpaf.errors import ImageError
    from openpaf.io.images import read_image

    try:
        return read_image(photo)
    except ImageError as error:
        _skip(job, one_line(error))
        return None


def _estimate(
    job: _Job, photos: Sequence[Path], images: dict[int, NDArray[np.uint8]]
) -> dict[int, Poses]:
    """The people of each image; where a batch fails, one at a time, without those that fail."""
    if not images:
        return {}
    try:
        return dict(zip(images, job.estimator.batch(list(images.values())), strict=True))
    except Exception as error:
        if traceback_wanted():
            raise
        if len(images) == 1:
            _skip(job, f"{shown(photos[next(iter(images))])}: {described(error)}")
            return {}
    found: dict[int, Poses] = {}
    for i, image in images.items():
        found.update(_estimate(job, photos, {i: image}))
    return found


def _finish(
    job: _Job, photo: Path, output: Outputs, image: NDArray[np.uint8], poses: Poses
) -> None:
    """Write one photo's results and say how many people it has."""
    poses = poses[poses.person_scores >= job.threshold]
    try:
        _write(job.formats, photo, output, image, poses)
    except MemoryError as error:
        _skip(job, f"{shown(photo)}: {one_line(error)}")
        return
    except OSError as error:
        if error.errno in _FOR_ALL:
            raise
        _skip(job, f"{shown(photo)}: cannot write {one_line(error)}")
        return
    job.done += 1
    job.people += len(poses)
    if not job.quiet:
        renamed = "" if output.stem == photo.stem else f" -> {shown(output.stem)}"
        say(f"{shown(photo)}: {counted(len(poses), 'person', 'people')}{renamed}")


def _write(
    formats: Sequence[str],
    photo: Path,
    output: Outputs,
    image: NDArray[np.uint8],
    poses: Poses,
) -> None:
    from openpaf.io.pose_files import write_poses
    from openpaf.visualization.draw import draw_poses

    for name in formats:
        if name == "image":
            write_picture(draw_poses(image, poses), output.files[name])
        else:
            write_poses(poses, output.files[name], name, image_id=_image_id(photo))


def _image_id(photo: Path) -> int | str:
    """COCO's own photos are numbers, as in ``000000000139.jpg``; others go by their file name."""
    stem = photo.stem
    if stem.isascii() and stem.isdecimal() and len(stem) <= 18:
        return int(stem)
    return photo.name.encode(errors="replace").decode()


def _skip(job: _Job, message: str) -> None:
    job.skipped += 1
    report(f"skipped {message}")
