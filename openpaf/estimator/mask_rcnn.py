"""Top-down, with Mask R-CNN: a box for each person, then the joints inside of it.

Reference:
    He et al., ICCV 2017: Mask R-CNN.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from openpaf.engines.load import choose_engine
from openpaf.engines.torch_engine import choose_device, torch_threads
from openpaf.errors import WeightsError
from openpaf.estimator.calibration import calibrate
from openpaf.estimator.methods import Options
from openpaf.geometry import Letterbox
from openpaf.networks.rcnn.mask_rcnn import MaskRCNN
from openpaf.networks.rcnn.transform import Detection
from openpaf.poses import Poses
from openpaf.weights.model_files import load_network
from openpaf.weights.spec import ModelSource, ModelSpec

# A joint whose map gives its peak less than this probability is missing.
_MIN_JOINT = 0.02
_PERSON = 1  # the class of people, in COCO and in detectors of people only


class MaskRCNNDetector:
    """People by a detector with a keypoint head; it runs in torch.

    Args:
        network: In evaluation mode.
        spec: How it is run.
        options: Those of the estimator; ``config`` has no effect, as there is no parser.

    Raises:
        ValueError: If ``flip`` is given: its boxes and joints cannot be averaged.
        WeightsError: If the network finds no joints.
    """

    engine = "torch"

    def __init__(self, network: nn.Module, spec: ModelSpec, options: Options) -> None:
        if options.flip:
            raise ValueError("flip: not for Mask R-CNN, expected False")
        if not isinstance(network, MaskRCNN) or not network.config.num_keypoints:
            raise WeightsError(f"{spec.name}: expected a detector of keypoints")
        self.spec, self.options = spec, options
        self.device = choose_device(options.device)
        self.network = network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def load(cls, source: ModelSource, options: Options) -> MaskRCNNDetector:
        """Load a model; see :class:`openpaf.estimator.methods.MethodClass`."""
        choose_engine(source, options.engine, options.device, threads=options.threads)
        return cls(load_network(source), source.spec, options)

    @classmethod
    def from_network(
        cls, network: nn.Module, spec: ModelSpec, options: Options
    ) -> MaskRCNNDetector:
        """Take a copy of a network that is in memory."""
        return cls(copy.deepcopy(network).eval(), spec, options)

    @torch.inference_mode()
    def infer(self, images: Sequence[NDArray[np.uint8]]) -> list[Detection]:
        """Boxes and joints in images, with one run of the network per shape."""
        letterboxes = [Letterbox.fit(image.shape[:2], self.options.size) for image in images]
        results: dict[int, Detection] = {}
        for shape in sorted({letterbox.resized_hw for letterbox in letterboxes}):
            chosen = [i for i, letterbox in enumerate(letterboxes) if letterbox.resized_hw == shape]
            # The network pads by itself, so that no box reaches into a border.
            inputs = [letterboxes[i].apply(images[i])[:, : shape[0], : shape[1]] for i in chosen]
            tensors = [
                (torch.from_numpy(np.ascontiguousarray(image)) - self.spec.mean) / self.spec.scale
                for image in inputs
            ]
            with torch_threads(self.options.threads):
                detections = self.network.detect(
                    [tensor.to(self.device) for tensor in tensors], resize=False
                )
            results.update(zip(chosen, detections, strict=True))
        return [results[i] for i in range(len(images))]

    def postprocess(
        self,
        inferred: Detection,
        image_hw: tuple[int, int],
        passed: Callable[[str], None] | None = None,
    ) -> Poses:
        """The people among the detections of an image, in px of the image."""
        people = inferred["labels"] == _PERSON
        xy = inferred["keypoints"][people, :, :2].float().cpu().numpy()
        scores = inferred["keypoints_probabilities"][people].float().cpu().numpy()
        missing = scores < _MIN_JOINT
        poses = Poses(
            xy=np.where(missing[..., None], np.nan, self.spec.heatmap_grid.to_px(xy)),
            scores=np.where(missing, 0, np.minimum(scores, 1)),
            person_scores=np.clip(inferred["scores"][people].float().cpu().numpy(), 0, 1),
            skeleton=self.spec.skeleton,
        )
        poses = Letterbox.fit(image_hw, self.options.size).undo(poses)
        poses = calibrate(poses, self.spec, self.options.size)
        if passed is not None:
            passed("people")
        return poses
