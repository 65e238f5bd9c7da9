"""``openpaf warm-up``: everything that the first run of a machine prepares, done ahead of it."""

from __future__ import annotations

import argparse
import time
from typing import Any

from openpaf.cli.arguments import add_engine_arguments, add_model_arguments, add_verb
from openpaf.cli.common import say, waiting
from openpaf.cli.models import load_estimator

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
    parser = add_verb(
        verbs,
        "warm-up",
        run,
        help="do ahead what a first run prepares",
        description="Compiles the kernels, converts a model and chooses its engine, for images of "
        "containers and for clusters.",
        epilog=_EPILOG,
    )
    add_model_arguments(parser)
    add_engine_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    start = time.perf_counter()
    with waiting("preparing the kernels"):
        n_ready, n_compiled = prepare_kernels()
    say(
        f"kernels: {n_ready} ready, {n_compiled} of them compiled from source, "
        f"{time.perf_counter() - start:.1f} s"
    )
    import numpy as np

    start = time.perf_counter()
    estimator = load_estimator(arguments)
    estimator(np.full((368, 496, 3), 128, np.uint8))
    say(
        f"model {estimator.spec.name}: engine {estimator.engine}, "
        f"{time.perf_counter() - start:.1f} s"
    )
    return 0


def prepare_kernels() -> tuple[int, int]:
    """Load the kernels of all methods and of drawing, compiled for the library's calls.

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
    _prepare_other_methods()
    image = np.zeros((128, 160, 3), np.uint8)
    openpaf.draw_poses(image, poses)
    openpaf.Letterbox.fit((128, 160), 64).apply(image)
    stats = [kernel.stats for kernel in kernels() if hasattr(kernel, "stats")]  # not of a debugger
    return len(kernels()), sum(bool(of_one.cache_misses) for of_one in stats)


def _prepare_other_methods() -> None:
    """Call what makes people of tags, centers and offsets, on arrays without people."""
    import numpy as np

    from openpaf import Grid, Skeleton
    from openpaf.decoding.centers import center_channels, decode_centers
    from openpaf.decoding.hough import find_voted_joints
    from openpaf.decoding.person_lab import decode_person_lab, person_lab_channels
    from openpaf.decoding.tags import group_by_tags

    skeleton = Skeleton.COCO17
    centers, offsets = (
        {name: np.zeros((n, 8, 8), np.float32) for name, n in channels(skeleton).items()}
        for channels in (center_channels, person_lab_channels)
    )
    heatmaps = centers["heatmaps"]
    group_by_tags(heatmaps, heatmaps[None], Grid(8), skeleton)
    decode_centers(centers, Grid(8), skeleton)
    decode_person_lab(offsets, Grid(8), skeleton, 14.0)
    find_voted_joints(heatmaps[None], offsets["offsets"][None], 1.75)


def kernels() -> list[Any]:
    """The kernels that come with the package half compiled, and that `warm-up` loads."""
    from openpaf.decoding import centers, compiled, hough, limbs, peaks, people, person_lab, tags
    from openpaf.kernels import encode, resize, strokes

    return [
        compiled._decode, peaks._find_peaks_alone, limbs._score_limbs_alone, limbs._match_alone,
        limbs._taken, people._assemble_alone, encode.encode_heatmaps, encode.encode_pafs,
        tags._group, centers._decode_centers, person_lab._grow_people, hough._find_in_crops,
        resize.shrink, strokes.paint,
    ]  # fmt: skip
