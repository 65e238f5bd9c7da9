"""``openpaf benchmark``: how long each step takes on this machine."""

from __future__ import annotations

import argparse
import platform
from typing import Any

from openpaf.cli.common import (
    counted,
    path_argument,
    positive_integer,
    say,
    source_argument,
)

_EPILOG = """\
examples:
  openpaf benchmark photos/
  openpaf benchmark photos/ --runtime openvino --size 256 --repeats 20

Machines that are shared give noisy times: the last column, relative to the network in the same run,
is the one to compare. openpaf compare sets several models side by side.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "benchmark",
        help="the time of each step on this machine",
        description="Times each step from a picture to its people, on photos of yours.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("sources", nargs="+", type=source_argument, metavar="SOURCE",
        help="photos, folders, or globs in quotes")  # fmt: skip
    add("--model", metavar="NAME_OR_PATH", help="as for predict (default: the shipped one)")
    add("--weights", metavar="FILE", type=path_argument, help="as for predict")
    add("--runtime", default="auto", metavar="R", help="as for predict (default: auto)")
    add("--device", metavar="D", help="cpu, cuda ... (default: a GPU if there is one)")
    add("--size", type=positive_integer, default=368, metavar="N",
        help="short side of the network's input in px (default: 368)")  # fmt: skip
    add("--repeats", type=positive_integer, default=7, metavar="N",
        help="runs of each photo, after one to warm up (default: 7)")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    from openpaf.engines.auto import chosen_runtime
    from openpaf.estimator import PoseEstimator
    from openpaf.evaluation.steps import median_times, run_in_steps
    from openpaf.io.images import list_images, read_image

    pictures = [read_image(path) for path in list_images(arguments.sources)]
    runtime = chosen_runtime(
        arguments.model, arguments.runtime, arguments.device, weights=arguments.weights
    )
    estimator = PoseEstimator(
        arguments.model,
        weights=arguments.weights,
        runtime=runtime,
        device=arguments.device,
        size=arguments.size,
    )
    times, n_people = [], 0
    for repeat in range(arguments.repeats + 1):
        for picture in pictures:
            poses, steps = run_in_steps(estimator, picture, bottom_up=estimator.has_fields)
            if repeat == 0:  # compiles and fills caches
                n_people += len(poses)
            else:
                times.append(steps)
    say(
        f"{estimator.weights.name}, runtime {runtime}, short side {arguments.size} px, "
        f"{platform.machine()}: {counted(len(pictures), 'photo', 'photos')}, "
        f"{counted(n_people, 'person', 'people')}, median of {len(times)}"
    )
    medians = median_times(times)
    for step, ms in medians.items():
        say(f"{step:10} {ms:10.3f} ms {ms / medians['network']:9.4f} of the network")
    return 0
