"""What ``predict`` and ``annotate`` share: which model, and how it is run over images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from openpaf.cli.common import (
    add_engine_arguments,
    add_scale_arguments,
    path_argument,
    positive_integer,
    report,
)

if TYPE_CHECKING:
    from openpaf.estimator import PoseEstimator


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the model, its engine, and the sizes and batches of images."""
    add = parser.add_argument
    add(
        "--model",
        metavar="NAME_OR_PATH",
        help="default, fast, topdown, another name of `openpaf weights list`, or a file",
    )
    add(
        "--weights",
        metavar="FILE",
        type=path_argument,
        help="a checkpoint to take in place of the model's own: .pth, .caffemodel, .npz ...",
    )
    add_engine_arguments(parser)
    add(
        "--size",
        type=positive_integer,
        metavar="N",
        default=368,
        help="short side of the network's input in px (default: 368)",
    )
    add_scale_arguments(parser)
    add(
        "--batch-size",
        type=positive_integer,
        metavar="N",
        default=1,
        help="images at a time; more use a GPU better (default: %(default)s)",
    )


def estimator_options(arguments: argparse.Namespace, min_score: float = 0.0) -> dict[str, Any]:
    """What :class:`openpaf.PoseEstimator` is made with."""
    return {
        "model": arguments.model,
        "weights": arguments.weights,
        "engine": arguments.engine,
        "device": arguments.device,
        "threads": arguments.threads,
        "size": arguments.size,
        "scales": arguments.scales,
        "flip": arguments.flip,
        "min_score": min_score,
    }


def load_estimator(arguments: argparse.Namespace, min_score: float = 0.0) -> PoseEstimator:
    """The model that these arguments describe; tells the license of a published one."""
    from openpaf.estimator import PoseEstimator

    estimator = PoseEstimator(**estimator_options(arguments, min_score))
    tell_license(arguments)
    return estimator


def tell_license(arguments: argparse.Namespace) -> None:
    """Say the license of a published model."""
    from openpaf.weights.published import PUBLISHED

    if arguments.model in PUBLISHED and not arguments.quiet:
        report(f"{arguments.model}: licence: {PUBLISHED[arguments.model].licence}")
