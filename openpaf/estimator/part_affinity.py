"""Bottom-up, with part affinity fields: heatmaps and PAFs of the whole image, then the parser.

Reference:
    Cao et al., CVPR 2017: Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields.
"""

from __future__ import annotations

from collections.abc import Callable

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
from openpaf.estimator.arrays import ArrayMethod
from openpaf.estimator.methods import Options
from openpaf.estimator.multiscale import average_fields, mirror_fields
from openpaf.fields import Fields
from openpaf.geometry import Letterbox
from openpaf.poses import Poses
from openpaf.weights.spec import ModelSpec


class PartAffinity(ArrayMethod):
    """People by part affinity fields; args are those of :class:`ArrayMethod`.

    The network gives heatmaps (B, K + 1, h, w) and PAFs (B, 2 L, h, w). With ``flip`` both are
    averaged.

    Raises:
        ValueError: If the skeleton cannot be mirrored where ``flip`` is set.
    """

    thresholds = DecodeConfig()

    def __init__(self, engine: Engine, spec: ModelSpec, options: Options) -> None:
        super().__init__(engine, spec, options)
        if options.flip:
            _ = spec.skeleton.flip_limbs  # an error now rather than at the first image

    def of_inputs(self, inputs: NDArray[np.float32]) -> list[Fields]:
        """The fields of network inputs (B, 3, h, w) of one shape, averaged with ``flip``."""
        if not self.options.flip:
            return self.fields_of(inputs)
        mirrored = self.fields_of(np.ascontiguousarray(inputs[:, :, :, ::-1]))
        width = inputs.shape[3]
        return [
            average_fields([fields, mirror_fields(other, width)])
            for fields, other in zip(self.fields_of(inputs), mirrored, strict=True)
        ]

    def fields_of(self, inputs: NDArray[np.float32]) -> list[Fields]:
        """The fields of network inputs (B, 3, h, w) of one shape, as the network gives them."""
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

    def people(self, inferred: Fields) -> Poses:
        """The people of an image, in px of the network's input."""
        return decode(inferred, self.options.config)

    def people_in_steps(self, inferred: Fields, passed: Callable[[str], None]) -> Poses:
        """What ``people`` gives, by the parser's public steps."""
        config = self.options.config
        peaks = find_peaks(inferred, config)
        passed("peaks")
        candidates = score_limbs(inferred, peaks, config)
        passed("limbs")
        limbs = match_limbs(candidates, config, peaks)
        passed("matching")
        return assemble_people(peaks, limbs, inferred.skeleton, config)

    def check_size(self, inferred: Fields, image_hw: tuple[int, int], letterbox: Letterbox) -> None:
        """Refuse fields that cannot be of an image of this shape."""
        stride, cells_hw = inferred.heatmap_grid.stride, inferred.heatmaps.shape[1:]
        sizes = zip(cells_hw, letterbox.size_hw, strict=True)
        if max(abs(n * stride - px) for n, px in sizes) >= stride:
            raise ValueError(
                f"image_hw: fields of {cells_hw[0]} x {cells_hw[1]} cells of {stride} px are not "
                f"of an image of {image_hw[0]} x {image_hw[1]} px (height x width)"
            )
