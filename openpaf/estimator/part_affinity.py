"""Bottom-up, with part affinity fields: heatmaps and PAFs of the whole image, then the parser.

Reference:
    Cao et al., CVPR 2017: Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding import (
    DecodeConfig,
    assemble_people,
    decode,
    find_peaks,
    match_limbs,
    score_limbs,
)
from openpaf.engines.base import Engine
from openpaf.engines.load import load_source
from openpaf.engines.torch_engine import choose_device, run_network
from openpaf.estimator.calibration import calibrate
from openpaf.estimator.methods import Options
from openpaf.estimator.multiscale import average_fields, mirror_fields
from openpaf.fields import Fields
from openpaf.geometry import Letterbox
from openpaf.poses import Poses
from openpaf.weights.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from torch import nn


class PartAffinity:
    """People by part affinity fields.

    Args:
        engine: Gives heatmaps (B, K + 1, h, w) and PAFs (B, 2 L, h, w).
        spec: How the model is run.
        options: Those of the estimator.

    Raises:
        ValueError: If the skeleton cannot be mirrored where ``flip`` is set.
    """

    thresholds = DecodeConfig()

    def __init__(self, engine: Engine, spec: ModelSpec, options: Options) -> None:
        self.run, self.engine = engine, engine.name
        self.spec, self.options = spec, options
        if options.flip:
            _ = spec.skeleton.flip_limbs  # an error now rather than at the first image

    @classmethod
    def load(cls, source: ModelSource, options: Options) -> PartAffinity:
        """Load a model; see :class:`openpaf.estimator.methods.MethodClass`."""
        engine = load_source(source, options.engine, options.device, threads=options.threads)
        return cls(engine, source.spec, options)

    @classmethod
    def from_network(cls, network: nn.Module, spec: ModelSpec, options: Options) -> PartAffinity:
        """Take a copy of a network that is in memory."""
        device = choose_device(options.device)
        run = run_network(copy.deepcopy(network).eval(), spec, device, threads=options.threads)
        return cls(Engine("torch", run), spec, options)

    def infer(self, images: Sequence[NDArray[np.uint8]]) -> list[Fields]:
        """Heatmaps and PAFs of images, with one run of the network per shape."""
        letterboxes = [Letterbox.fit(image.shape[:2], self.options.size) for image in images]
        results: dict[int, Fields] = {}
        for shape in sorted({letterbox.size_hw for letterbox in letterboxes}):
            chosen = [i for i, letterbox in enumerate(letterboxes) if letterbox.size_hw == shape]
            inputs = np.stack([letterboxes[i].apply(images[i]) for i in chosen])
            run = self._mirror_averaged if self.options.flip else self.fields_of
            results.update(zip(chosen, run(inputs), strict=True))
        return [results[i] for i in range(len(images))]

    def postprocess(
        self,
        inferred: Fields,
        image_hw: tuple[int, int],
        passed: Callable[[str], None] | None = None,
    ) -> Poses:
        """The people in the fields of an image, in px of the image.

        Args:
            inferred: As :meth:`infer` gave them.
            image_hw: Height and width of the image.
            passed: Called with the name of each step of the parser when it is done.

        Raises:
            ValueError: If the fields are of an image of another shape.
        """
        letterbox = Letterbox.fit(image_hw, self.options.size)
        _check_shape(inferred, image_hw, letterbox)
        if passed is None:
            poses = decode(inferred, self.options.config)
        else:
            poses = self._decode_in_steps(inferred, passed)
        poses = self._own_joints(letterbox.undo(poses))
        poses = calibrate(poses, self.spec, self.options.size)
        if passed is not None:
            passed("people")
        return poses

    def _decode_in_steps(self, fields: Fields, passed: Callable[[str], None]) -> Poses:
        """What ``decode`` gives, by the parser's public steps."""
        config = self.options.config
        peaks = find_peaks(fields, config)
        passed("peaks")
        candidates = score_limbs(fields, peaks, config)
        passed("limbs")
        limbs = match_limbs(candidates, config, peaks)
        passed("matching")
        return assemble_people(peaks, limbs, fields.skeleton, config)

    def _own_joints(self, poses: Poses) -> Poses:
        """People with the joints that the model promises; its network may know more."""
        if self.spec.result is None:
            return poses
        poses = poses.to(self.spec.result)
        has_joints = (poses.scores > 0).any(axis=1)
        return poses if has_joints.all() else poses[np.flatnonzero(has_joints)]

    def _mirror_averaged(self, inputs: NDArray[np.float32]) -> list[Fields]:
        mirrored = self.fields_of(np.ascontiguousarray(inputs[:, :, :, ::-1]))
        width = inputs.shape[3]
        return [
            average_fields([fields, mirror_fields(other, width)])
            for fields, other in zip(self.fields_of(inputs), mirrored, strict=True)
        ]

    def fields_of(self, inputs: NDArray[np.float32]) -> list[Fields]:
        """The fields of network inputs (B, 3, h, w) of one shape."""
        arrays = self.run(inputs)
        return [
            Fields(
                heatmaps=heatmaps,
                pafs=pafs,
                heatmap_grid=self.spec.heatmap_grid,
                paf_grid=self.spec.paf_grid,
                skeleton=self.spec.skeleton,
            )
            for heatmaps, pafs in zip(arrays["heatmaps"], arrays["pafs"], strict=True)
        ]


def _check_shape(fields: Fields, image_hw: tuple[int, int], letterbox: Letterbox) -> None:
    """Refuse fields that cannot be of an image of this shape."""
    stride, cells_hw = fields.heatmap_grid.stride, fields.heatmaps.shape[1:]
    differences = [abs(n * stride - px) for n, px in zip(cells_hw, letterbox.size_hw, strict=True)]
    if max(differences) >= stride:
        raise ValueError(
            f"image_hw: fields of {cells_hw[0]} x {cells_hw[1]} cells of {stride} px are not "
            f"of an image of {image_hw[0]} x {image_hw[1]} px (height x width)"
        )
