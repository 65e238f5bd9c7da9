"""What the steps of the parser hand to each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Scores are kept below this, so that no sum of them is infinite.
LARGEST = 1e30


class Peaks(NamedTuple):
    """Peaks of the joints' heatmaps, joint after joint and each in reading order.

    Attributes:
        xy: (P, 2) float32, px of the network's input.
        scores: (P,) float32, above 0: the height of the heatmap at the peak.
        starts: (K+1,) int32: the peaks of joint k are ``starts[k]`` to ``starts[k + 1] - 1``.
    """

    xy: NDArray[np.float32]
    scores: NDArray[np.float32]
    starts: NDArray[np.int32]


class Limbs(NamedTuple):
    """Limbs between peaks: candidates, or those chosen among them.

    Attributes:
        types: (M,) int32, which limb of the skeleton.
        peaks: (M, 2) int32, indices of the peaks where it begins and ends.
        scores: (M,) float32, the mean field along it.
        weights: (M,) float32, the order in which to believe them: the score times the square
            root of the weaker peak's height.
    """

    types: NDArray[np.int32]
    peaks: NDArray[np.int32]
    scores: NDArray[np.float32]
    weights: NDArray[np.float32]
