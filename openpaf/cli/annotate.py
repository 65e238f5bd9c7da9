"""``openpaf annotate``: labels of images made by a model, to correct by hand and to train from."""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from openpaf.cli.arguments import (
    add_batch_argument,
    add_estimator_arguments,
    add_quiet_argument,
    add_verb,
)
from openpaf.cli.common import (
    counted,
    path_argument,
    positive_integer,
    report,
    say,
    score_argument,
    shown,
    source_argument,
)
from openpaf.cli.labeling import LabelingJob, prepare
from openpaf.cli.models import load_estimator
from openpaf.errors import did_you_mean

if TYPE_CHECKING:
    from openpaf.annotation.labels import LabelSet

_DESCRIPTION = """\
Labels the people of images with a model, for correction in a labeling tool, or to train from:
{files}
Joints that are not sure are left unlabeled. Doubtful people are marked: as ignore regions in COCO's
file, by an attribute in CVAT, by another label in Label Studio.

An interrupted run goes on where it stopped when the same command is given again. Labels that were
made with other settings, or were changed since, are never replaced but with --fresh.
"""
_EPILOG = """\
examples:
  openpaf annotate photos/ --output labels.json
  openpaf annotate photos/ --output labels.json --format coco,cvat,label-studio --review sheets
  openpaf annotate 'photos/**/*.jpg' --images-root photos --output out/labels.json
  openpaf annotate photos/ --output labels.json --threshold 0.7 --ignore-threshold 0.3 --size 512

The first format is in the file of --output; the other files have its stem. NAME.settings.json says
what the labels were made with.
Images that cannot be read are told, left out and counted.
exit status: 0 done; 1 some images were skipped; 2 bad use, such as no image; 130 interrupted.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb to the parser of the command."""
    from openpaf.annotation.files import file_formats

    parser = add_verb(
        verbs,
        "annotate",
        run,
        help="labels made by a model, for labeling tools and training",
        description=_DESCRIPTION.format(files=_files_help()),
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="IMAGES",
        type=source_argument,
        help="file, folder or glob",
    )
    add(
        "--output",
        required=True,
        metavar="FILE",
        type=path_argument,
        help="the labels, in the first of the formats",
    )
    add(
        "--format",
        default=("coco",),
        metavar="LIST",
        type=_formats,
        help=f"what to write, with commas: {', '.join(file_formats())} (default: coco)",
    )
    _add_label_arguments(parser)
    add_estimator_arguments(parser)
    add_batch_argument(parser)
    _add_run_arguments(parser)


def _files_help() -> str:
    from openpaf.annotation.files import file_formats

    return "\n".join(
        f"  {'NAME' + kind.suffix:<24} {kind.description:<46} (format {name})"
        for name, kind in file_formats().items()
    )


def _formats(text: str) -> tuple[str, ...]:
    from openpaf.annotation.files import file_formats

    chosen = [name.strip().lower() for name in text.split(",")]
    unknown = [name for name in chosen if name not in file_formats()]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"expected a list of {', '.join(file_formats())}, got {unknown[0]!r}"
            + did_you_mean(unknown[0], file_formats())
        )
    return tuple(dict.fromkeys(chosen))


def _add_label_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--recursive", action="store_true", help="folders with their subfolders")
    add("--images-root", metavar="DIR", type=path_argument,
        help="what file names are relative to (default: the folder of --output if all images are "
        "below it, otherwise their common folder)")  # fmt: skip
    add("--threshold", type=score_argument, metavar="S", default=0.5,
        help="people from this score on are labels; below predict's, as a missing label costs more "
        "than one to delete (default: 0.5)")  # fmt: skip
    add("--ignore-threshold", type=score_argument, metavar="S", default=0.1,
        help="people from this score on are doubtful, others left out (default: 0.1)")  # fmt: skip
    add("--joint-threshold", type=score_argument, metavar="S", default=0.2,
        help="joints below this score are unlabeled (default: 0.2)")  # fmt: skip
    add("--image-prefix", metavar="URL", default="/data/local-files/?d=",
        help="for Label Studio: what the address of an image is before its file name (default: "
        "its local storage, /data/local-files/?d=)")  # fmt: skip
    add("--review", metavar="DIR", type=path_argument,
        help="draw contact sheets of all images with their labels into this folder")  # fmt: skip


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--workers", type=positive_integer, default=2, metavar="N",
        help="threads that read images ahead of the network (default: 2)")  # fmt: skip
    add("--partial", metavar="FILE", type=path_argument,
        help="where an unfinished run's results wait (default: in the cache folder)")  # fmt: skip
    add("--fresh", action="store_true",
        help="begin anew, and replace existing labels whatever they are")  # fmt: skip
    add_quiet_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; what can be wrong with its use is found before the model is run."""
    started = time.perf_counter()
    level = logging.ERROR if arguments.quiet else logging.WARNING
    logging.basicConfig(level=level, format="openpaf: %(message)s")
    job, missing = prepare(arguments)
    estimator = load_estimator(arguments)
    settings = job.settings(estimator)
    from openpaf.annotation.files import Record

    record = Record(arguments.output, {**settings, **asdict(job.config)})
    if not arguments.fresh:
        try:
            record.check(list(job.files))
        except ValueError as error:
            raise ValueError(f"--output: {error}; --fresh replaces it") from error
    for message in missing:
        report(f"skipped {message}")
    job.skipped += len(missing)
    labels = job.label(estimator, record, settings)
    if not arguments.quiet:
        _summarize(job, labels, time.perf_counter() - started)
    return 1 if job.skipped else 0


def _summarize(job: LabelingJob, labels: LabelSet, seconds: float) -> None:
    people = [person for image in labels.images for person in image.people]
    n_doubtful = sum(person.is_doubtful for person in people)
    names = ", ".join(shown(file) for file in job.files)
    say(
        f"{counted(len(labels.images), 'image', 'images')}, "
        f"{counted(len(people) - n_doubtful, 'person', 'people')}, {n_doubtful} doubtful, "
        f"{job.skipped} skipped, {seconds:.1f} s, written to {names}"
    )
    say(f"file names are relative to {shown(job.root)}")
    if job.arguments.review:
        say(f"contact sheets in {shown(job.arguments.review)}")
