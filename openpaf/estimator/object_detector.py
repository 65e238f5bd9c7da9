"""Faster and Mask R-CNN as detectors of objects: boxes, classes, masks and joints.

Reference:
    He et al., ICCV 2017: Mask R-CNN.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openpaf.checks import check_number
from openpaf.engines.load import choose_engine
from openpaf.engines.torch_engine import choose_device, torch_threads
from openpaf.errors import WeightsError
from openpaf.io.images import read_image, read_images
from openpaf.io.objects import COCO_CLASSES, Objects
from openpaf.networks.rcnn.mask_rcnn import MaskRCNN
from openpaf.networks.rcnn.paste import paste_masks
from openpaf.networks.rcnn.transform import Transform
from openpaf.poses import Poses
from openpaf.weights.catalog import resolve
from openpaf.weights.model_files import load_network
from openpaf.weights.spec import ModelSource, ModelSpec

_MIN_MASK = 0.5  # He et al., section 3.1
# A joint whose map gives its peak less than this probability is missing.
_MIN_JOINT = 0.02


class ObjectDetector:
    """Finds the objects of an image: boxes, classes and scores; masks and joints where it has them.

    The network runs in torch, on one image at a time, resized as torchvision resizes it.

    Args:
        model: ``"maskrcnn-coco"`` or another Mask R-CNN of :func:`openpaf.weights.table`, or path
            of a safetensors file of ours; None where ``weights`` is one.
        weights: A checkpoint file to take in place of the model's own.
        engine: ``"auto"`` or ``"torch"``, which is the only one.
        device: A torch device such as ``"cuda"``; a GPU if there is one, if None.
        threads: Threads of the CPU that the network uses; torch's own number if None.
        size: Short side of the network's input in px; that of the training if None.
        min_score: Objects of a lower score are left out, 0 to 1.

    Raises:
        ValueError: If an argument is out of range, or the device cannot be had here.
        WeightsError: If the model is missing, damaged, or no Mask R-CNN.

    Example:
        >>> detector = openpaf.ObjectDetector("mask-rcnn-mobilenet", min_score=0.9)
        >>> objects = detector("data/photos/astronaut.jpg")
        >>> objects.names, objects.boxes.shape
        (['person'], (1, 4))
    """

    def __init__(
        self,
        model: str | Path | None,
        *,
        weights: str | Path | None = None,
        engine: str = "auto",
        device: str | None = None,
        threads: int | None = None,
        size: int | None = None,
        min_score: float = 0.0,
    ) -> None:
        source = resolve(model, weights)
        if source.spec.method not in ("mask_rcnn", "objects"):
            raise WeightsError(f"{source.spec.name}: expected a Mask R-CNN, which finds objects")
        choose_engine(source, engine, device, threads=threads)
        self.source: ModelSource | None = source
        self._set_up(load_network(source), source.spec, device, threads, size, min_score)

    @classmethod
    def from_network(
        cls,
        network: nn.Module,
        spec: ModelSpec,
        *,
        device: str | None = None,
        threads: int | None = None,
        size: int | None = None,
        min_score: float = 0.0,
    ) -> ObjectDetector:
        """A detector with a copy of a network that is in memory; arguments as for the class."""
        self = cls.__new__(cls)
        self.source = None
        copied = copy.deepcopy(network).eval()
        self._set_up(copied, spec, device, threads, size, min_score)
        return self

    def _set_up(
        self,
        network: nn.Module,
        spec: ModelSpec,
        device: str | None,
        threads: int | None,
        size: int | None,
        min_score: float,
    ) -> None:
        if not isinstance(network, MaskRCNN):
            raise WeightsError(f"{spec.name}: expected a Mask R-CNN, which finds objects")
        check_number("min_score", min_score, least=0, most=1)
        config = network.config
        own = config.min_size if isinstance(config.min_size, int) else config.min_size[-1]
        if size is not None:
            check_number("size", size, least=32, most=4096, is_integer=True, unit="px")
        self.spec, self.size, self.min_score, self.threads = spec, size or own, min_score, threads
        self.classes = class_names(spec, config.num_classes)
        longest = round(config.max_size * self.size / own)
        mean, std = network.transform.mean, network.transform.std
        network.transform = Transform((self.size,), longest, mean, std).eval()
        self.device = choose_device(device)
        self.network = network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def has_masks(self) -> bool:
        """Whether the network gives masks."""
        return self.network.config.masks

    def __call__(self, image: Any) -> Objects:
        """The objects of one image, best first.

        Args:
            image: As :func:`openpaf.read_image` takes it: path, RGB uint8 array (H, W, 3) ...

        Raises:
            ImageError: If the file cannot be read as an image.
            ValueError: If the array is not an image.
        """
        return self._detect(read_image(image))

    def batch(self, images: Sequence[Any]) -> list[Objects]:
        """The objects of several images, in their order; see ``__call__``."""
        return [self._detect(image) for image in read_images(images)]

    @torch.inference_mode()
    def _detect(self, image: NDArray[np.uint8]) -> Objects:
        tensor = torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)
        with torch_threads(self.threads):
            detection = self.network.detect([tensor.float() / 255], paste=False)[0]
            is_good = detection["scores"] >= self.min_score
            found = {name: value[is_good].float() for name, value in detection.items()}
            masks = None
            if "masks" in found:
                masks = _pasted(found["masks"], found["boxes"], image.shape[:2])
        return Objects(
            boxes=found["boxes"].cpu().numpy(),
            labels=detection["labels"][is_good].cpu().numpy(),
            scores=found["scores"].cpu().numpy(),
            classes=self.classes,
            masks=masks,
            poses=self._poses(found) if "keypoints" in found else None,
        )

    def _poses(self, found: dict[str, Tensor]) -> Poses:
        scores = found["keypoints_probabilities"].cpu().numpy()
        is_missing = scores < _MIN_JOINT
        # Joints are where they were labeled: published detectors take COCO's px as they are.
        xy = self.spec.heatmap_grid.to_px(found["keypoints"][..., :2].cpu().numpy())
        return Poses(
            xy=np.where(is_missing[..., None], np.nan, xy),
            scores=np.where(is_missing, 0, np.minimum(scores, 1)),
            person_scores=found["scores"].cpu().numpy(),
            skeleton=self.spec.skeleton,
        )

    def __repr__(self) -> str:
        return f"ObjectDetector({self.spec.name!r}, size={self.size}, {len(self.classes)} classes)"


def class_names(spec: ModelSpec, num_classes: int) -> tuple[str, ...]:
    """Names of a detector's labels, 1 and on.

    Args:
        spec: Its description. Where that names none, 90 are COCO's, the only one of a network of
            joints is a person, and others are called by their numbers.
        num_classes: How many there are, with background.

    Raises:
        WeightsError: If the description names another number of classes.
    """
    n = num_classes - 1
    if spec.classes and len(spec.classes) != n:
        raise WeightsError(f"{spec.name}: classes: expected {n} names, found {len(spec.classes)}")
    if spec.classes:
        return spec.classes
    if n == len(COCO_CLASSES):
        return COCO_CLASSES
    if n == 1 and spec.method == "mask_rcnn":
        return COCO_CLASSES[:1]
    return tuple(map(str, range(1, n + 1)))


def _pasted(masks: Tensor, boxes: Tensor, image_hw: tuple[int, ...]) -> NDArray[np.bool_]:
    """Masks (N, H, W) of the image from masks (N, 1, M, M) of boxes, one at a time."""
    size_hw = (image_hw[0], image_hw[1])
    pasted = np.zeros((len(masks), *size_hw), bool)
    for n in range(len(masks)):
        one = paste_masks(masks[n : n + 1], boxes[n : n + 1], size_hw)
        pasted[n] = (one[0, 0] >= _MIN_MASK).cpu().numpy()
    return pasted
