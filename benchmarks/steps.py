"""Time of each of the eight steps from a picture to its people, as shares of the whole.

    python benchmarks/steps.py data/photos

Absolute times of shared machines say little, so every step is also given as its share of the
network's time in the same run.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TypeVar

import openpaf
from openpaf.decoding import assemble_people, find_peaks, match_limbs, score_limbs
from openpaf.io.images import list_images, read_image

ROOT = Path(__file__).resolve().parent.parent
Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos", nargs="*", default=[ROOT / "data" / "photos"])
    parser.add_argument("--model")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--size", type=int, default=368)
    parser.add_argument("--repeat", type=int, default=7)
    arguments = parser.parse_args()
    estimator = openpaf.PoseEstimator(arguments.model, engine=arguments.engine, size=arguments.size)
    config = estimator.config
    paths = list_images([str(photo) for photo in arguments.photos])
    times: dict[str, list[float]] = {}

    def timed(step: str, call: Callable[[], Result]) -> Result:
        start = time.perf_counter()
        result = call()
        times.setdefault(step, []).append(time.perf_counter() - start)
        return result

    def one_photo(path: Path) -> int:
        image = timed("1 read_image", lambda: read_image(path))
        letterbox = openpaf.Letterbox.fit(image.shape[:2], arguments.size)
        network_input = timed("2 Letterbox.apply", lambda: letterbox.apply(image))
        (fields,) = timed("3 network", lambda: estimator.method.fields_of(network_input[None]))
        peaks = timed("4 find_peaks", lambda: find_peaks(fields, config))
        candidates = timed("5 score_limbs", lambda: score_limbs(fields, peaks, config))
        limbs = timed("6 match_limbs", lambda: match_limbs(candidates, config))
        people = timed(
            "7 assemble_people", lambda: assemble_people(peaks, limbs, fields.skeleton, config)
        )
        timed("8 Letterbox.undo", lambda: letterbox.undo(people))
        return len(people)

    for repeat in range(arguments.repeat + 1):
        if repeat == 1:
            times.clear()  # the first round compiles and fills caches
        n_people = sum(one_photo(path) for path in paths)
    print(
        f"{date.today()}, {platform.machine()}, engine {arguments.engine}, short side "
        f"{arguments.size} px, {len(paths)} photos, {n_people} people, median of "
        f"{arguments.repeat * len(paths)}"
    )
    network = statistics.median(times["3 network"])
    for step, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{step:20} {1000 * median:9.3f} ms  {median / network:8.4f} of the network")


if __name__ == "__main__":
    main()
