"""Bottom-up, with centers: people are points, and their joints are offsets from them.

Reference:
    Zhou, Wang and Krähenbühl, 2019: Objects as Points.
"""

from __future__ import annotations

from openpaf.decoding.centers import center_channels, decode_centers
from openpaf.engines.base import Arrays
from openpaf.estimator.whole_image import WholeImage
from openpaf.poses import Poses
from openpaf.weights.spec import ModelSpec


class CenterNet(WholeImage):
    """People by centers and offsets to their joints; see :class:`WholeImage`."""

    @staticmethod
    def channels(spec: ModelSpec) -> dict[str, int]:
        return center_channels(spec.skeleton)

    def decode(self, arrays: Arrays) -> Poses:
        return decode_centers(arrays, self.spec.heatmap_grid, self.spec.skeleton)
