"""Which labelled photos a benchmark measures: its arguments, and the ids that they choose."""

from __future__ import annotations

import argparse
from pathlib import Path

from openpaf.evaluation.label_files import Annotations, load_annotations

ROOT = Path(__file__).resolve().parent.parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--data`` and ``--holdout``."""
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data" / "coco_val_dev",
        help="a folder with person_keypoints.json and images/",
    )  # fmt: skip
    parser.add_argument(
        "--holdout", type=int, nargs=2, metavar=("R", "N"),
        help="only every N-th photo of the file, from number R on: a run's held-out split",
    )  # fmt: skip


def read(arguments: argparse.Namespace) -> tuple[Annotations, list[int]]:
    """The labels, and the ids of the chosen photos in the file's order, as training counts them."""
    annotations = load_annotations(arguments.data / "person_keypoints.json")
    ids = [row["id"] for row in annotations.dataset["images"]]
    remainder, n = arguments.holdout or (0, 1)
    return annotations, ids[remainder::n]
