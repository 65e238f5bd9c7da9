"""Bottom-up, with centers: people are points, and their joints are offsets from them.

Reference:
    Zhou, Wang and Krähenbühl, 2019: Objects as Points.
"""

from __future__ import annotations

import numpy as np

from openpaf.decoding.centers import CenterConfig, decode_centers
from openpaf.engines.base import Arrays
from openpaf.errors import WeightsError
from openpaf.estimator.arrays import ArrayMethod, Inferred
from openpaf.estimator.mirroring import lag_of, mirrored_maps, mirrored_pairs
from openpaf.poses import Poses


class CenterNet(ArrayMethod):
    """People by their centers; args are those of :class:`ArrayMethod`.

    With ``flip`` the heatmaps, sizes and offsets to joints are averaged; the offsets within a cell
    are those of the image itself.
    """

    thresholds = CenterConfig()

    def people(self, inferred: Inferred) -> Poses:
        """The people of an image, in px of the network's input.

        Raises:
            WeightsError: If the network gives other arrays, or numbers that are not finite.
        """
        grid, skeleton = self.spec.heatmap_grid, self.spec.skeleton
        try:
            arrays = self._averaged(inferred)
            return decode_centers(arrays, grid, skeleton, self.thresholds)
        except ValueError as error:
            raise WeightsError(f"{self.spec.name}: {error}") from error

    def _averaged(self, inferred: Inferred) -> Arrays:
        if inferred.mirrored is None:
            return inferred.arrays
        arrays, other = dict(inferred.arrays), inferred.mirrored
        swap, n_cells = self.spec.skeleton.flip_permutation, other["centers"].shape[2]
        shift, rest = lag_of(self.spec.heatmap_grid, n_cells, inferred.size_hw[1])
        back = {
            "centers": mirrored_maps(other["centers"], [0], shift),
            "sizes": mirrored_maps(other["sizes"], [0, 1], shift),
            "joints": mirrored_pairs(other["joints"], swap, shift, rest),
            "heatmaps": mirrored_maps(other["heatmaps"], swap, shift),
        }
        for name, array in back.items():
            arrays[name] = np.asarray((arrays[name] + array) / 2, np.float32)
        return arrays
