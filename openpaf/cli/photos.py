"""What ``evaluate`` and ``compare`` share: which photos, and what they are run with."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.arguments import (
    add_engine_arguments,
    add_quiet_argument,
    add_size_argument,
)
from openpaf.cli.common import (
    IMAGE_THRESHOLD,
    counted,
    path_argument,
    positive_integer,
    report,
    score_argument,
    shown,
    waiting,
)

if TYPE_CHECKING:
    from openpaf.evaluation.label_files import Annotations


def add_photo_arguments(parser: argparse.ArgumentParser, *, images_required: bool) -> None:
    """Describe the annotations, the photos, and which of them."""
    add = parser.add_argument
    add(
        "--annotations",
        required=True,
        metavar="FILE",
        type=path_argument,
        help="COCO keypoint annotations, such as person_keypoints_val2017.json",
    )
    add(
        "--images",
        required=images_required,
        metavar="DIR",
        type=path_argument,
        help="folder of the photos, such as val2017",
    )
    add(
        "--category",
        metavar="NAME",
        help="of the annotations, where several have joints (default: the only one, or person)",
    )
    add(
        "--skeleton",
        metavar="FILE",
        type=path_argument,
        help="TOML or JSON with the joints to compare and their OKS sigmas (default: the model's, "
        "or of results the annotations')",
    )
    some = parser.add_mutually_exclusive_group()
    some.add_argument(
        "--subset",
        type=positive_integer,
        metavar="N",
        help="only N photos, evenly spread over the sorted ids",
    )
    some.add_argument(
        "--image-ids", type=int, nargs="+", metavar="ID", help="only the photos of these ids"
    )
    some.add_argument(
        "--complete-only",
        action="store_true",
        help="only photos whose entry says 'ann_complete': true, where every person is labeled",
    )
    add("--allow-missing", action="store_true", help="go on without photos that are not there")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe how models are run."""
    add_engine_arguments(parser)
    add_size_argument(parser, several=True, more="; several are measured one after the other")
    parser.add_argument(
        "--threshold",
        "--score-threshold",
        type=score_argument,
        default=IMAGE_THRESHOLD,
        metavar="S",
        help="precision and recall count people from this score on; AP, which is an average over "
        "all scores, counts all (default: %(default)s)",
    )
    add_quiet_argument(parser, "no progress bar, and only the figures")


def with_subfolders(sources: Sequence[str]) -> list[str]:
    """Sources whose folders are globs, so that their subfolders count, too."""
    return [
        os.path.join(glob.escape(one), "**", "*") if os.path.isdir(one) else one for one in sources
    ]


def read_labels(arguments: argparse.Namespace, model: str | None) -> Annotations:
    """The annotations, with the joints of ``--skeleton``, or of the model, or their own."""
    from openpaf.evaluation.annotations import read_annotations
    from openpaf.evaluation.settings import skeleton_of_model
    from openpaf.io.skeleton_files import read_skeleton

    skeleton = None
    if arguments.skeleton:
        skeleton = read_skeleton(arguments.skeleton, category=arguments.category)
    elif model:
        skeleton = skeleton_of_model(model)
    with waiting("reading the annotations"):
        return read_annotations(
            arguments.annotations, category=arguments.category, skeleton=skeleton
        )


def choose_ids(arguments: argparse.Namespace, annotations: Any) -> list[int] | None:
    """Ids of the photos that were asked for; None where all are.

    Raises:
        ValueError: If no entry says that its photo is completely labeled.
    """
    if arguments.image_ids:
        return list(arguments.image_ids)
    everything = sorted(annotations.imgs)
    if arguments.complete_only:
        complete = [i for i in everything if annotations.imgs[i].get("ann_complete")]
        if not complete:
            raise ValueError(
                f"--complete-only: no image of {shown(arguments.annotations)} has "
                "'ann_complete': true"
            )
        return complete
    if arguments.subset and arguments.subset < len(everything):
        step = len(everything) / arguments.subset
        return [everything[int(i * step)] for i in range(arguments.subset)]
    return None


def find_ids(arguments: argparse.Namespace, annotations: Any) -> tuple[list[int], list[str]]:
    """Ids of the images to measure, and file names of those that are missing."""
    from openpaf.evaluation.annotations import find_photos

    chosen = choose_ids(arguments, annotations)
    if not arguments.results or arguments.gallery:
        return find_photos(
            annotations, arguments.images, chosen, allow_missing=arguments.allow_missing
        )
    ids = sorted(annotations.imgs) if chosen is None else chosen
    unknown = [i for i in ids if i not in annotations.imgs]
    if unknown:
        raise ValueError(f"--image-ids: {unknown[0]} is not in {shown(arguments.annotations)}")
    return ids, []


def subset_name(arguments: argparse.Namespace) -> str:
    """What was asked for, in words."""
    if arguments.image_ids:
        return "image ids " + " ".join(map(str, arguments.image_ids))
    if arguments.complete_only:
        return "complete only"
    return f"{arguments.subset} evenly spread" if arguments.subset else "all"


def report_missing(missing: list[str]) -> None:
    """Say which photos are left out."""
    if missing:
        more = "" if len(missing) <= 3 else f" and {len(missing) - 3} more"
        names = ", ".join(shown(name) for name in missing[:3])
        report(f"{counted(len(missing), 'photo is', 'photos are')} missing: {names}{more}")


def check_writable(path: Path | None, option: str) -> None:
    """See that a file can be written before anything is run.

    Raises:
        ValueError: If it is a folder, its folder is missing, or may not be written to.
    """
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{option}: {shown(path)} is a folder, expected a file")
    if not path.parent.is_dir():
        raise ValueError(f"{option}: no folder {shown(path.parent)}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{option}: {shown(path)} cannot be written to")
