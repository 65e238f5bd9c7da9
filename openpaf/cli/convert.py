"""``openpaf convert``: labels of one tool made those of another, or COCO's for training."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from openpaf.cli.arguments import add_verb
from openpaf.cli.common import counted, path_argument, report, say, shown, waiting

_DESCRIPTION = """\
Reads labels and writes them in another format. Formats are told from names and contents:

{formats}

What the new format cannot hold is told in a warning. Files are written whole or not at all.
"""
_EPILOG = """\
examples:
  openpaf convert annotations.xml labels.json
  openpaf convert export.json labels.json --from label-studio
  openpaf convert dataset/data.yaml labels.json
  openpaf convert labels.json dataset
  openpaf convert labeled-data/run/CollectedData_me.csv labels.json --category mouse
  openpaf convert labels.pkg.slp labels.json --extract-images images
  openpaf convert labels.json labels.slp

exit status: 0 done; 2 bad use or bad labels, nothing done; 130 interrupted.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb to the parser of the command."""
    from openpaf.annotation.files import LABEL_FORMATS

    parser = add_verb(
        verbs,
        "convert",
        run,
        help="labels of one tool made those of another",
        description=_DESCRIPTION.format(formats=_formats_help()),
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("input", metavar="INPUT", type=path_argument, help="labels: a file, or a YOLO set's folder")
    add("output", metavar="OUTPUT", type=path_argument,
        help=".json (COCO), .xml (CVAT), .label-studio.json, .csv (DeepLabCut), .slp (SLEAP), or "
        "a folder (YOLO)")  # fmt: skip
    add("--from", dest="source", metavar="FORMAT",
        choices=[name for name, kind in LABEL_FORMATS.items() if kind.read],
        help="the input's format, where it cannot be told")  # fmt: skip
    add("--to", dest="target", metavar="FORMAT",
        choices=[name for name, kind in LABEL_FORMATS.items() if kind.is_written],
        help="the output's format, where its name does not tell")  # fmt: skip
    add("--image-dir", metavar="DIR", type=path_argument,
        help="the images' folder, where the labels lack sizes and do not lead to them")  # fmt: skip
    add("--category", metavar="NAME",
        help="which category or class; what to call it, where the input has none")  # fmt: skip
    add("--skeleton", metavar="FILE", type=path_argument,
        help="TOML or JSON: joints in order, limbs and flips, if labels lack them")  # fmt: skip
    add("--split", metavar="NAME", help="of a YOLO set: train, val or test (default: all)")
    add("--image-prefix", metavar="URL", default="/data/local-files/?d=",
        help="for Label Studio: what the address of an image is before its file name (default: "
        "its local storage, /data/local-files/?d=)")  # fmt: skip
    add("--extract-images", metavar="DIR", type=path_argument,
        help="of SLEAP: write the labeled frames of videos and packages here, as PNG")  # fmt: skip
    add("--overwrite", action="store_true", help="replace existing labels")


def _formats_help() -> str:
    from openpaf.annotation.files import LABEL_FORMATS

    lines = []
    for name, kind in LABEL_FORMATS.items():
        use = "read and written" if kind.read and kind.is_written else "read"
        lines.append(f"  {name:<13} {kind.description:<47} {use}")
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb."""
    from openpaf.annotation.convert import convert_labels, read_labels
    from openpaf.annotation.reading import ReadOptions
    from openpaf.io.skeleton_files import read_skeleton

    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    skeleton = None if arguments.skeleton is None else read_skeleton(arguments.skeleton)
    options = ReadOptions(
        image_dir=arguments.image_dir,
        category=arguments.category,
        skeleton=skeleton,
        split=arguments.split,
        image_prefix=arguments.image_prefix,
    )
    with waiting("reading the labels"):
        labels = read_labels(arguments.input, arguments.source, options)
    if arguments.extract_images is not None:
        _extract(arguments)
    written = convert_labels(
        labels,
        arguments.output,
        arguments.target,
        image_prefix=arguments.image_prefix,
        overwrite=arguments.overwrite,
    )
    n_people = sum(len(image.people) for image in labels.images)
    say(
        f"{counted(len(labels.images), 'image', 'images')}, "
        f"{counted(n_people, 'label', 'labels')} of {shown(labels.category)!r} with "
        f"{counted(labels.skeleton.n_joints, 'joint', 'joints')}, written to "
        f"{', '.join(shown(path) for path in written)}"
    )
    if written[0].name == "labels" and not (arguments.output / "images").exists():
        say(f"the images belong into {shown(arguments.output / 'images')}, by the same names")
    return 0


def _extract(arguments: argparse.Namespace) -> None:
    from openpaf.annotation.sleap_frames import extract_frames

    if arguments.input.suffix.lower() != ".slp":
        raise ValueError("--extract-images: expected labels of SLEAP")
    n_written = extract_frames(arguments.input, arguments.extract_images)
    report(f"{counted(n_written, 'image', 'images')} in {shown(arguments.extract_images)}")
