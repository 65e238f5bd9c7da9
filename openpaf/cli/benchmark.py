"""``openpaf benchmark``: how long each step takes on this machine."""

from __future__ import annotations

import argparse
import platform
from typing import Any

from openpaf.cli.arguments import (
    add_engine_arguments,
    add_model_arguments,
    add_set_argument,
    add_size_argument,
    add_verb,
)
from openpaf.cli.common import counted, positive_integer, say, source_argument, waiting
from openpaf.cli.models import load_estimator

_EPILOG = """\
examples:
  openpaf benchmark photos/
  openpaf benchmark photos/ --engine openvino --size 256 --repeats 20
  openpaf benchmark --engines             which engine is the fastest here, measured again

Machines that are shared give noisy times: the last column, relative to the network in the same run,
is the one to compare. openpaf compare sets several models side by side.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb."""
    parser = add_verb(
        verbs,
        "benchmark",
        run,
        help="the time of each step on this machine",
        description="Times each step from an image to its people, on photos of yours.",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("sources", nargs="*", type=source_argument, metavar="SOURCE",
        help="photos, folders, or globs in quotes")  # fmt: skip
    add_model_arguments(parser)
    add_engine_arguments(parser)
    add_size_argument(parser)
    add_set_argument(parser)
    add("--engines", action="store_true",
        help="measure again which engine is the fastest here")  # fmt: skip
    add("--repeats", type=positive_integer, default=7, metavar="N",
        help="runs of each photo, after one to warm up (default: 7)")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    if not arguments.engines and not arguments.sources:
        raise ValueError("SOURCE: expected photos to measure on, or --engines; got neither")
    if arguments.engines:
        _measure_engines(arguments)
    if arguments.sources:
        _measure_steps(arguments)
    return 0


def _measure_engines(arguments: argparse.Namespace) -> None:
    """Measure the engines again, which also renews what ``auto`` takes from now on."""
    from openpaf.engines.auto import fastest_engine
    from openpaf.weights.catalog import resolve

    source = resolve(arguments.model, arguments.weights)
    choice = fastest_engine(source, arguments.device, threads=arguments.threads, measure_again=True)
    for name, seconds in choice.seconds.items():
        ratio = seconds / choice.seconds["torch"]
        say(f"{name:14} {1000 * seconds:9.2f} ms {ratio:9.3f} of torch")
    say(f"{source.spec.name}: auto is {choice.engine} ({choice.reason})")


def _measure_steps(arguments: argparse.Namespace) -> None:
    """The time of each step from an image to its people."""
    from openpaf.evaluation.steps import median_times, run_in_steps
    from openpaf.io.images import list_images, read_image

    images = [read_image(path) for path in list_images(arguments.sources)]
    estimator = load_estimator(arguments)
    times, n_people = [], 0
    with waiting("measuring"):
        for repeat in range(arguments.repeats + 1):
            for image in images:
                poses, steps = run_in_steps(estimator, image)
                if repeat == 0:  # compiles and fills caches
                    n_people += len(poses)
                else:
                    times.append(steps)
    size = f"{arguments.size} px" + "".join(f", {key}={text}" for key, text in arguments.set)
    say(
        f"{estimator.spec.name}, engine {estimator.engine}, short side {size}, "
        f"{platform.machine()}: {counted(len(images), 'photo', 'photos')}, "
        f"{counted(n_people, 'person', 'people')}, median of {len(times)}"
    )
    medians = median_times(times)
    for step, ms in medians.items():
        say(f"{step:10} {ms:10.3f} ms {ms / medians['network']:9.4f} of the network")
