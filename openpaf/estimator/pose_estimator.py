"""From an image to its people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding import DecodeConfig, decode
from openpaf.engines.load import load_engine
from openpaf.engines.openvino_engine import is_export
from openpaf.estimator.multiscale import check_scales, multiscale_fields
from openpaf.fields import Fields
from openpaf.geometry import Letterbox
from openpaf.io.images import read_image, read_images
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.weights.catalog import find, read_header
from openpaf.weights.outline import is_top_down
from openpaf.weights.published import PUBLISHED


class PoseEstimator:
    """Finds every person in a picture and their joints.

    Args:
        model: ``"default"``, ``"fast"``, a name of :func:`openpaf.weights.table`, path of a
            safetensors file of ours, or of an ONNX or OpenVINO file that ``openpaf export`` wrote;
            the default model if None.
        weights: A checkpoint file to take in place of the model's own, e.g. a ``.caffemodel``
            together with ``model="cmu-coco"``.
        runtime: The engine: ``"auto"``, ``"torch"``, ``"onnx"``, ``"openvino"``,
            ``"openvino-bf16"`` or ``"openvino-int8"``; see
            :func:`openpaf.engines.load.load_engine`.
        device: A torch device such as ``"cuda"``; a GPU if there is one, if None.
        config: Thresholds of the parser.
        size: Short side of the network's input in px; the long side follows. More finds smaller
            people and takes longer.
        scales: Sizes of which the fields are averaged, as multiples of ``size``; each takes its
            own run of the network.
        flip: Whether the fields of the mirrored picture are averaged in, which takes twice as
            long.

    Raises:
        ValueError: If an argument is not as it should be.
        WeightsError: If the model is missing or damaged.
    """

    def __new__(cls, model: str | Path | None = None, **options: Any) -> PoseEstimator:
        """A :class:`openpaf.estimator.mask_rcnn.TopDownEstimator` where the model is a detector."""
        if cls is PoseEstimator and is_detector(model or options.get("weights")):
            from openpaf.estimator.mask_rcnn import TopDownEstimator

            return object.__new__(TopDownEstimator)
        return object.__new__(cls)

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
        if not isinstance(size, (int, np.integer)) or not 32 <= size <= 4096:
            raise ValueError(f"size: expected a whole number of px from 32 to 4096, got {size!r}")
        self.scales = check_scales(scales)
        for scale in self.scales:
            if not 32 <= round(size * scale) <= 4096:
                raise ValueError(
                    f"scales: expected {size} px times each to be from 32 to 4096 px, got {scale}"
                )
        self.flip = bool(flip)
        self.config = config or DecodeConfig()
        self.size = int(size)
        self.run, self.weights = load_engine(model, runtime, device, weights=weights)
        if self.flip:
            _ = self.weights.skeleton.flip_limbs  # an error now rather than at the first picture

    @property
    def has_fields(self) -> bool:
        """Whether people are found by fields; a detector has none."""
        return True

    @property
    def skeleton(self) -> Skeleton:
        """The joints of the people that this model finds; its fields may have more."""
        return self.weights.result or self.weights.skeleton

    def __call__(self, image: Any) -> Poses:
        """The people of one picture.

        Args:
            image: Path of a file, RGB uint8 array (H, W, 3), or PIL image.

        Returns:
            Poses in px of the picture, best first; of length 0 where there is nobody.

        Raises:
            ImageError: If the file cannot be read as a picture.
            ValueError: If the array is not a picture.
        """
        return self.batch([image])[0]

    def batch(self, images: Sequence[Any]) -> list[Poses]:
        """The people of several pictures, with one call of the network per shape.

        Args:
            images: As ``__call__`` takes them, in a list; or an array (B, H, W, 3).

        Returns:
            One result a picture, in their order.

        Raises:
            ImageError: If a file cannot be read as a picture.
            ValueError: If an array is not a picture, or a single picture or path is given in place
                of a list of them.
        """
        pictures = read_images(images)
        if self._averages:
            return [self.parse(self.fields(picture), picture.shape[:2]) for picture in pictures]
        letterboxes = [Letterbox.fit(picture.shape[:2], self.size) for picture in pictures]
        results: list[Poses] = [Poses.empty(self.skeleton)] * len(pictures)
        for shape in sorted({letterbox.size_hw for letterbox in letterboxes}):
            chosen = [i for i, letterbox in enumerate(letterboxes) if letterbox.size_hw == shape]
            inputs = np.stack([letterboxes[i].apply(pictures[i]) for i in chosen])
            heatmaps, pafs = self.run(inputs)  # (B, K+1, h, w), (B, 2L, h, w)
            for i, one_heatmaps, one_pafs in zip(chosen, heatmaps, pafs, strict=True):
                fields = self._as_fields(one_heatmaps, one_pafs)
                results[i] = self.result(letterboxes[i].undo(decode(fields, self.config)))
        return results

    def fields(self, image: Any) -> Fields:
        """Heatmaps and PAFs of a picture, before parsing; in px of the network's input."""
        picture = read_image(image)
        return self._fields(picture, Letterbox.fit(picture.shape[:2], self.size))

    def parse(self, fields: Fields, image_hw: tuple[int, int]) -> Poses:
        """The people in fields that :meth:`fields` gave for a picture of this height and width.

        Returns:
            Poses in px of the picture, as ``__call__`` gives them.

        Raises:
            ValueError: If the fields are of a picture of another shape.
        """
        letterbox = Letterbox.fit(image_hw, self.size)
        stride, cells_hw = fields.heatmap_grid.stride, fields.heatmaps.shape[1:]
        differences = [
            abs(n * stride - px) for n, px in zip(cells_hw, letterbox.size_hw, strict=True)
        ]
        if max(differences) >= stride:
            raise ValueError(
                f"image_hw: fields of {cells_hw[0]} x {cells_hw[1]} cells of {stride} px are not "
                f"of a picture of {image_hw[0]} x {image_hw[1]} px (height x width) at size "
                f"{self.size}"
            )
        return self.result(letterbox.undo(decode(fields, self.config)))

    @property
    def _averages(self) -> bool:
        return self.flip or self.scales != (1.0,)

    def _fields(self, picture: NDArray[np.uint8], letterbox: Letterbox) -> Fields:
        if not self._averages:
            return self._run_once(letterbox.apply(picture))
        return multiscale_fields(
            picture, self._run_once, self.size, scales=self.scales, flip=self.flip
        )

    def _run_once(self, network_input: NDArray[np.float32]) -> Fields:
        heatmaps, pafs = self.run(network_input[None])
        return self._as_fields(heatmaps[0], pafs[0])

    def _as_fields(self, heatmaps: NDArray[np.float32], pafs: NDArray[np.float32]) -> Fields:
        return Fields(
            heatmaps=heatmaps,
            pafs=pafs,
            heatmap_grid=self.weights.heatmap_grid,
            paf_grid=self.weights.paf_grid,
            skeleton=self.weights.skeleton,
        )

    def result(self, poses: Poses) -> Poses:
        """People with the joints that the model promises; its network may know more.

        Args:
            poses: With the joints of the network, as the parser gives them.

        Returns:
            Those with at least one of the joints of ``skeleton``, with these alone.
        """
        if self.weights.result is None:
            return poses
        poses = poses.to(self.weights.result)
        found = (poses.scores > 0).any(axis=1)
        return poses if found.all() else poses[np.flatnonzero(found)]


def is_detector(model: str | Path | None) -> bool:
    """Whether a model is of the top-down kind, Mask R-CNN; the default model is not.

    Raises:
        WeightsError: If the model is missing or damaged.
    """
    if model is None:
        return False
    published = PUBLISHED.get(str(model))
    if published is None and is_export(model):
        return False
    builder = published.builder if published else read_header(find(model)).builder
    return is_top_down(builder)
