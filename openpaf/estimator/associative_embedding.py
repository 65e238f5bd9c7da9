"""Bottom-up, with associative embedding: heatmaps and tags, and joints of about the same tag.

Reference:
    Newell, Huang and Deng, NeurIPS 2017: Associative Embedding: End-to-End Learning for Joint
    Detection and Grouping.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.tags import TagConfig, group_by_tags
from openpaf.engines.base import Arrays
from openpaf.estimator.arrays import ArrayMethod, Inferred
from openpaf.estimator.multiscale import cubic_weights
from openpaf.geometry import flip_x
from openpaf.poses import Poses


class AssociativeEmbedding(ArrayMethod):
    """People by the tags of their joints.

    The network gives ``heatmaps`` (K, h, w) on the spec's ``heatmap_grid``, and ``tags``
    (K, h', w') on its ``paf_grid``. With ``flip`` the heatmaps are averaged, and each joint has two
    tags, as in HigherHRNet: those of the mirrored image are numbers of their own.

    Args are those of :class:`ArrayMethod`.
    """

    thresholds = TagConfig()

    def people(self, inferred: Inferred) -> Poses:
        """The people of an image, in px of the network's input."""
        heatmaps, tags = self._maps(inferred.arrays, inferred.arrays["heatmaps"].shape[1:])
        all_tags = [tags]
        if inferred.mirrored is not None:
            width_px = inferred.size_hw[1]
            others, tags = self._maps(inferred.mirrored, heatmaps.shape[1:], width_px)
            heatmaps = np.asarray((heatmaps + others) / 2, np.float32)
            all_tags.append(tags)
        grid, skeleton = self.spec.heatmap_grid, self.spec.skeleton
        return group_by_tags(heatmaps, np.stack(all_tags), grid, skeleton, self.thresholds)

    def _maps(
        self, arrays: Arrays, cells_hw: tuple[int, ...], width_px: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Heatmaps and tags (K, h, w) on the grid of the heatmaps; mirrored if a width is given."""
        heatmaps, tags = arrays["heatmaps"], arrays["tags"]
        grid, own = self.spec.heatmap_grid, self.spec.paf_grid
        y, x = (grid.to_px(np.arange(n)) for n in cells_hw)
        if width_px is not None:
            x = flip_x(x, width_px)
            swap = list(self.spec.skeleton.flip_permutation)
            heatmaps = heatmaps[swap] @ cubic_weights(grid.to_cells(x), heatmaps.shape[2]).T
            tags = tags[swap]
        rows = linear_weights(own.to_cells(y), tags.shape[1])
        columns = linear_weights(own.to_cells(x), tags.shape[2])
        return heatmaps, np.asarray(rows @ tags @ columns.T, np.float32)


def linear_weights(cells: NDArray[np.float64], n: int) -> NDArray[np.float32]:
    """(places, n) weights of a map's cells for its values at places between them.

    Tags change within a cell where people meet: a cubic would overshoot there.
    """
    cells = np.clip(cells, 0, n - 1)
    left = np.minimum(np.floor(cells), max(n - 2, 0)).astype(int)
    share = (cells - left).astype(np.float32)
    matrix = np.zeros((len(cells), n), np.float32)
    places = np.arange(len(cells))
    matrix[places, left] = 1 - share
    matrix[places, np.minimum(left + 1, n - 1)] += share
    return matrix
