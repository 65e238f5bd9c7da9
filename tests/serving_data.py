"""What the tests of the server share: images, and an estimator that needs no network."""

from __future__ import annotations

import io
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from openpaf import Poses, Skeleton


class Fake:
    """Finds one person in the middle of every image.

    Args:
        pause_s: Time that a run takes.
        is_open: Waited for before each run.
    """

    def __init__(self, pause_s: float = 0.0, is_open: threading.Event | None = None) -> None:
        self.pause_s, self.is_open = pause_s, is_open
        self.started = threading.Event()
        self.batches: list[list[tuple[int, ...]]] = []
        self.size, self.engine, self.skeleton = 64, "torch", Skeleton.COCO17
        self.spec = SimpleNamespace(name="fake")

    def __call__(self, image: Any) -> Poses:
        return self.batch([image])[0]

    def batch(self, images: list[np.ndarray]) -> list[Poses]:
        self.started.set()
        if self.is_open is not None:
            assert self.is_open.wait(20)
        time.sleep(self.pause_s)
        self.batches.append([image.shape[:2] for image in images])
        if any(image.shape[:2] == (13, 13) for image in images):
            raise RuntimeError("the engine\nfailed")
        return [middle(image) for image in images]


def middle(image: np.ndarray) -> Poses:
    """A person of score 0.8 in the middle of an image."""
    xy = np.array(image.shape[1::-1]) / 2 + np.linspace(-8, 8, 17)[:, None] * [0.5, 1.0]
    keypoints = np.concatenate([xy, np.ones((17, 1))], axis=1)[None]
    return Poses.from_keypoints(keypoints, Skeleton.COCO17, person_scores=[0.8])


def encoded(size: tuple[int, int] = (64, 48), format: str = "JPEG", orientation: int = 1) -> bytes:
    """A gray image, width and height as stored."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, "gray").save(file, format, exif=exif)
    return file.getvalue()
