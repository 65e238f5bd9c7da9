"""What verbs share that run a model over images: how arguments become an estimator."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from openpaf.cli.common import report, waiting

if TYPE_CHECKING:
    from openpaf.estimator import PoseEstimator

_OPTIONS = ("model", "weights", "engine", "device", "threads", "size", "scales", "flip")


def estimator_options(arguments: argparse.Namespace, min_score: float = 0.0) -> dict[str, Any]:
    """What :class:`openpaf.PoseEstimator` is made with, of the arguments that a verb has.

    Raises:
        ValueError: If ``--set`` does not fit the model.
        WeightsError: If it does, and there is no such model.
    """
    options = {name: getattr(arguments, name) for name in _OPTIONS if hasattr(arguments, name)}
    options["min_score"] = min_score
    if getattr(arguments, "set", ()):
        from openpaf.cli.thresholds import thresholds_of
        from openpaf.weights.catalog import resolve

        spec = resolve(arguments.model, options.get("weights")).spec
        options["config"] = thresholds_of(spec, arguments.set)
    return options


def changed(arguments: argparse.Namespace) -> dict[str, Any]:
    """The thresholds of ``--set``, for the settings of a run; nothing if there are none."""
    return {"set": dict(arguments.set)} if arguments.set else {}


def load_estimator(
    arguments: argparse.Namespace, min_score: float = 0.0, **changes: Any
) -> PoseEstimator:
    """The model that these arguments describe; tells the license of a published one.

    Args:
        arguments: Of the command.
        min_score: Leave out people whose score is below this.
        **changes: Options that are not as the arguments say.
    """
    with waiting("loading the model"):
        from openpaf.estimator import PoseEstimator

        estimator = PoseEstimator(**{**estimator_options(arguments, min_score), **changes})
    tell_license(arguments)
    return estimator


def tell_license(arguments: argparse.Namespace) -> None:
    """Say the license of a published model."""
    from openpaf.weights.published import PUBLISHED

    if arguments.model in PUBLISHED and not getattr(arguments, "quiet", False):
        report(f"{arguments.model}: licence: {PUBLISHED[arguments.model].licence}")
