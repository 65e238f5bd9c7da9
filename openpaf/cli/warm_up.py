"""``openpaf warm-up``: everything that the first run of a machine prepares, done ahead of it."""

from __future__ import annotations

import argparse
import time
from typing import Any

from openpaf.cli.common import add_engine_arguments, path_argument, say

_EPILOG = """\
examples:
  openpaf warm-up                       the shipped model, with the fastest engine here
  openpaf warm-up --model fast --engine openvino
  RUN openpaf warm-up                   in a Dockerfile, as the user that runs it

What it writes is for this kind of processor: run it on one of those that will be used. The
folders are __pycache__ of the package and OPENPAF_CACHE (see docs/install.md).
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "warm-up",
        help="compile and choose ahead what a first run would",
        description="Compiles the kernels, converts a model and chooses its engine, for images of "
        "containers and for clusters.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--model", metavar="NAME_OR_PATH", help="as for predict (default: the shipped one)")
    add("--weights", metavar="FILE", type=path_argument, help="as for predict")
    add_engine_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    start = time.perf_counter()
    n_ready, n_compiled = prepare_kernels()
    say(
        f"kernels: {n_ready} ready, {n_compiled} of them compiled from source, "
        f"{time.perf_counter() - start:.1f} s"
    )
    import numpy as np

    from openpaf.estimator import PoseEstimator

    start = time.perf_counter()
    estimator = PoseEstimator(
        arguments.model,
        weights=arguments.weights,
        engine=arguments.engine,
        device=arguments.device,
        threads=arguments.threads,
    )
    estimator(np.full((368, 496, 3), 128, np.uint8))
    say(
        f"model {estimator.spec.name}: engine {estimator.engine}, "
        f"{time.perf_counter() - start:.1f} s"
    )
    return 0


def prepare_kernels() -> tuple[int, int]:
    """Load the kernels of part affinity fields and drawing, compiled for the library's calls.

    Returns:
        The number of kernels, and how many of them were neither in the cache nor in the package.
    """
    import numpy as np

    import openpaf
    from openpaf.decoding import assemble_people, find_peaks, match_limbs, score_limbs

    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 5:8] = (60, 40, 1), (100, 40, 1), (60, 80, 1)
    poses = openpaf.Poses.from_keypoints(keypoints, openpaf.Skeleton.COCO17)
    fields = openpaf.encode_fields(poses, size_hw=(128, 160))
    openpaf.decode(fields)
    peaks = find_peaks(fields)
    limbs = match_limbs(score_limbs(fields, peaks), peaks=peaks)
    assemble_people(peaks, limbs, fields.skeleton)
    image = np.zeros((128, 160, 3), np.uint8)
    openpaf.draw_poses(image, poses)
    openpaf.Letterbox.fit((128, 160), 64).apply(image)
    stats = [kernel.stats for kernel in kernels() if hasattr(kernel, "stats")]  # not of a debugger
    return len(kernels()), sum(bool(of_one.cache_misses) for of_one in stats)


def kernels() -> list[Any]:
    """The kernels that come with the package half compiled, and that `warm-up` loads."""
    from openpaf import fields
    from openpaf.decoding import compiled, limbs, peaks, people
    from openpaf.kernels import resize, strokes

    return [
        compiled._decode, peaks._find_peaks_alone, limbs._score_limbs_alone, limbs._match_alone,
        limbs._taken, people._assemble_alone, fields._encode_heatmaps, fields._encode_pafs,
        resize.shrink, strokes.paint,
    ]  # fmt: skip
