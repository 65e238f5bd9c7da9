"""The people of a picture by Mask R-CNN: a :class:`openpaf.PoseEstimator` without fields."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from openpaf.decoding import DecodeConfig
from openpaf.engines.load import RUNTIMES
from openpaf.errors import WeightsError
from openpaf.estimator.pose_estimator import PoseEstimator
from openpaf.fields import Fields
from openpaf.geometry import Letterbox
from openpaf.io.images import read_images
from openpaf.networks.rcnn.mask_rcnn import MaskRCNN
from openpaf.networks.rcnn.transform import Detection
from openpaf.poses import Poses
from openpaf.weights.catalog import load_model

# A joint whose map gives its peak less than this probability is missing.
_MIN_JOINT = 0.02
_PERSON = 1  # the class of people, in COCO and in detectors of people only


class TopDownEstimator(PoseEstimator):
    """Finds people by a detector, and the joints of each inside its box.

    ``PoseEstimator(model=...)`` makes one where the model is a detector.

    Args:
        model: A name of :func:`openpaf.weights.table`, or path of a safetensors file of ours.
        weights: A checkpoint file to take in place of the model's own.
        runtime: ``"auto"`` or ``"torch"``.
        device: A torch device such as ``"cuda"``; a GPU if there is one, if None.
        config: Taken for the sake of the same signature; a detector has no fields to parse.
        size: Short side of the network's input in px; the long side follows.
        scales: Only ``(1.0,)``: there are no fields to average.
        flip: Only False, likewise.

    Raises:
        ValueError: If an argument is not as it should be.
        WeightsError: If the model is missing or damaged, or finds no joints.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        weights: str | Path | None = None,
        runtime: str = "auto",
        device: str | None = None,
        config: DecodeConfig | None = None,
        size: int = 368,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ) -> None:
        if tuple(scales) != (1.0,) or flip:
            raise ValueError("scales, flip: a detector has no fields to average")
        self.scales, self.flip = (1.0,), False
        if runtime not in RUNTIMES:
            raise ValueError(f"runtime: expected one of {', '.join(RUNTIMES)}, got {runtime!r}")
        if runtime not in ("auto", "torch"):
            raise ValueError(f"runtime: a detector runs in 'torch' only, got {runtime!r}")
        if not isinstance(size, (int, np.integer)) or not 32 <= size <= 4096:
            raise ValueError(f"size: expected a whole number of px from 32 to 4096, got {size!r}")
        self.config = config or DecodeConfig()
        self.size = int(size)
        self.device = _device(device)
        network, self.weights = load_model(model, weights)
        if not isinstance(network, MaskRCNN) or not network.config.num_keypoints:
            raise WeightsError(f"{model or weights}: expected a detector of keypoints")
        self.network = network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def has_fields(self) -> bool:
        return False

    def __call__(self, image: Any) -> Poses:
        """The people of one picture; see :meth:`openpaf.PoseEstimator.__call__`."""
        return self.batch([image])[0]

    def batch(self, images: Sequence[Any]) -> list[Poses]:
        """The people of several pictures, with one call of the network per shape."""
        pictures = read_images(images)
        letterboxes = [Letterbox.fit(picture.shape[:2], self.size) for picture in pictures]
        results: list[Poses] = [Poses.empty(self.skeleton)] * len(pictures)
        for shape in sorted({letterbox.resized_hw for letterbox in letterboxes}):
            chosen = [i for i, letterbox in enumerate(letterboxes) if letterbox.resized_hw == shape]
            # The network pads by itself, so that no box reaches into a border.
            inputs = [letterboxes[i].apply(pictures[i])[:, : shape[0], : shape[1]] for i in chosen]
            for i, poses in zip(chosen, self._estimate(inputs), strict=True):
                results[i] = letterboxes[i].undo(poses)
        return results

    def fields(self, image: Any) -> Fields:
        """Not to be had.

        Raises:
            ValueError: Always; a detector makes no fields.
        """
        raise ValueError(f"fields: the model {self.weights.name!r} is a detector and makes none")

    @torch.inference_mode()
    def _estimate(self, inputs: Sequence[NDArray[np.float32]]) -> list[Poses]:
        """The people of network inputs (3, h, w) of 0 to 255, in px of those."""
        tensors = [
            (torch.from_numpy(np.ascontiguousarray(image)) - self.weights.mean) / self.weights.scale
            for image in inputs
        ]
        detections = self.network.detect([t.to(self.device) for t in tensors], resize=False)
        return [self._poses(detection) for detection in detections]

    def _poses(self, detection: Detection) -> Poses:
        people = detection["labels"] == _PERSON
        xy = detection["keypoints"][people, :, :2].float().cpu().numpy()
        scores = detection["keypoints_probabilities"][people].float().cpu().numpy()
        missing = scores < _MIN_JOINT
        return Poses(
            xy=np.where(missing[..., None], np.nan, self.weights.heatmap_grid.to_px(xy)),
            scores=np.where(missing, 0, np.minimum(scores, 1)),
            person_scores=np.clip(detection["scores"][people].float().cpu().numpy(), 0, 1),
            skeleton=self.weights.skeleton,
        )


def _device(name: str | None) -> torch.device:
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(name)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: {name!r} cannot be used here ({reason})") from error
    return place
