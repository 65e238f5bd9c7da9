"""Running a detector of people: from images to boxes.

A detector sees either the image stretched to the size that it was trained for, or, in its own
aspect, an image of a given long side that is padded to a multiple of 32 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from openpaf.engines.base import Engine
from openpaf.errors import WeightsError
from openpaf.estimator.boxes import suppress

#: Boxes (N, 4) in px of the image, and their scores (N,).
Detections = tuple[NDArray[np.float32], NDArray[np.float32]]

_MULTIPLE_PX = 32
_PADDING = 114  # gray, as RTMDet was trained
_MIN_SIDE_PX = 2.0  # of a box, in px of the image
_MAX_BATCH = 8  # images of one run


@dataclass(frozen=True, kw_only=True)
class PersonDetector:
    """A detector that is ready, and how it is fed.

    Args:
        engine: From images to ``boxes`` (B, N, 4) and ``scores`` (B, N).
        name: What errors call it.
        size_hw: Height and width in px that images are stretched to, where there is no long side.
        long_side: Of the image in the input, in px.
        min_score: Boxes of lower scores are left out.
        max_overlap: Intersection over union of two people of one run.
    """

    engine: Engine
    name: str
    size_hw: tuple[int, int] | None
    long_side: int | None
    min_score: float
    max_overlap: float

    def __call__(
        self, images: Sequence[NDArray[np.uint8]], *, flip: bool = False
    ) -> list[Detections]:
        """The people in images.

        Args:
            images: RGB uint8 (H, W, 3) each, of any sizes.
            flip: Whether the mirrored images are run in their place; boxes are of the images.
        """
        sizes = [self._resized_hw(image.shape[:2]) for image in images]
        results: dict[int, Detections] = {}
        for size_hw in sorted(set(map(_padded, sizes))):
            chosen = [i for i, resized in enumerate(sizes) if _padded(resized) == size_hw]
            for start in range(0, len(chosen), _MAX_BATCH):
                part = chosen[start : start + _MAX_BATCH]
                inputs = np.stack([_network_input(images[i], sizes[i], flip) for i in part])
                arrays = self.engine(inputs)
                for n, i in enumerate(part):
                    results[i] = self._detections(
                        arrays["boxes"][n], arrays["scores"][n], images[i].shape[:2], sizes[i], flip
                    )
        return [results[i] for i in range(len(images))]

    def _resized_hw(self, image_hw: tuple[int, ...]) -> tuple[int, int]:
        if self.long_side is None:
            assert self.size_hw is not None  # pair_source has seen to it
            return self.size_hw
        ratio = self.long_side / max(image_hw)
        height, width = (max(1, round(side * ratio)) for side in image_hw)
        return height, width

    def _detections(
        self,
        boxes: NDArray[np.float32],
        scores: NDArray[np.float32],
        image_hw: tuple[int, ...],
        resized_hw: tuple[int, int],
        flip: bool,
    ) -> Detections:
        """Boxes in px of the image, of people who are in it, one a person."""
        if not (np.isfinite(scores).all() and np.isfinite(boxes).all()):
            raise WeightsError(f"{self.name}: gives boxes that are not finite; its file is damaged")
        likely = scores >= self.min_score
        boxes, scores = boxes[likely], scores[likely]
        if flip:
            boxes = np.stack(
                [
                    resized_hw[1] - boxes[:, 2],
                    boxes[:, 1],
                    resized_hw[1] - boxes[:, 0],
                    boxes[:, 3],
                ],
                axis=1,
            )
        # The network's boxes are borders: pixel i reaches from i to i + 1, and so do ratios of it.
        ratio = np.array([image_hw[1] / resized_hw[1], image_hw[0] / resized_hw[0]] * 2, np.float32)
        limits = np.array([image_hw[1], image_hw[0]] * 2, np.float32)
        boxes = np.clip(boxes * ratio, 0, limits)
        large = ((boxes[:, 2:] - boxes[:, :2]) > _MIN_SIDE_PX).all(axis=1)
        boxes, scores = boxes[large] - np.float32(0.5), scores[large]
        chosen = suppress(boxes, scores, self.max_overlap)
        return boxes[chosen], scores[chosen]


def _padded(size_hw: tuple[int, int]) -> tuple[int, int]:
    height, width = (-(-side // _MULTIPLE_PX) * _MULTIPLE_PX for side in size_hw)
    return height, width


def _network_input(
    image: NDArray[np.uint8], resized_hw: tuple[int, int], flip: bool
) -> NDArray[np.float32]:
    """An image as the detector takes it: (3, h, w), 0 to 255."""
    height, width = resized_hw
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(image, (width, height), interpolation=method)
    padded_hw = _padded(resized_hw)
    padded = np.full((3, *padded_hw), _PADDING, np.float32)
    padded[:, :height, :width] = (resized[:, ::-1] if flip else resized).transpose(2, 0, 1)
    return padded
