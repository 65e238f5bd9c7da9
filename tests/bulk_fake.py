"""An estimator without a network, and the command line with it, for tests of long runs.

Run as a program, it is ``openpaf`` with the fake; each image that it sees is a byte in the file
that BULK_FAKE_LOG names.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import openpaf.estimator
from openpaf.bulk.process import Result
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton


class FakeEstimator:
    """Finds as many people as the red of the first pixel says.

    Blue ones it cannot stand, and of green ones it dies, or hangs where they are dark.
    """

    def __init__(self, model: Any = None, **options: Any) -> None:
        self.spec, self.engine = SimpleNamespace(name="fake"), "none"
        self.skeleton = Skeleton.COCO17

    def batch(self, images: list[np.ndarray]) -> list[Poses]:
        return [self(image) for image in images]

    def __call__(self, image: np.ndarray) -> Poses:
        if log := os.environ.get("BULK_FAKE_LOG"):
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, b".")
            os.close(descriptor)
            time.sleep(0.002)
        if image[0, 0, 1] > 200:
            os.kill(os.getpid(), signal.SIGKILL)
        while 50 < image[0, 0, 1] < 100:
            time.sleep(1)
        if image[0, 0, 2] > 200:
            raise RuntimeError("too blue")
        n = int(image[0, 0, 0])
        xy = np.arange(n * 34, dtype=np.float32).reshape(n, 17, 2) / 3
        return Poses(
            xy=xy, scores=np.full((n, 17), 0.5), person_scores=np.full(n, 0.9),
            skeleton=Skeleton.COCO17,
        )  # fmt: skip


def finish(result: Result) -> tuple[str, int | str]:
    """Path, and how many people, or the error."""
    return result.input.path, str(result.error) if result.error else len(result.found)


def cannot_load() -> FakeEstimator:
    raise ValueError("no such model")


def load_and_note_signals(path: Path) -> FakeEstimator:
    """Write down which signals this process does not hear."""
    path.write_text(" ".join(one.name for one in signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    return FakeEstimator()


if __name__ == "__main__":
    from openpaf.cli import main

    openpaf.estimator.PoseEstimator = FakeEstimator  # type: ignore[misc, assignment]
    sys.exit(main(sys.argv[1:]))
