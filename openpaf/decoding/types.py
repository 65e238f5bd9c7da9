"""Peaks and limbs: the results of the parser's steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Scores are clipped to this, so that no sum of them is infinite.
LARGEST = 1e30


class Peaks(NamedTuple):
    """Peaks of the joints' heatmaps: joint after joint, those of a joint in reading order.

    Where a peak is that of two people, the second joint comes after the joint's other peaks.

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
        types: (M,) int32, index of the limb in the skeleton.
        peaks: (M, 2) int32, indices of the peaks of its first and second joint.
        scores: (M,) float32, at least 0: the mean field along it.
        weights: (M,) float32, at least 0, by which limbs are sorted: the score times the square
            root of the weaker peak's height.
    """

    types: NDArray[np.int32]
    peaks: NDArray[np.int32]
    scores: NDArray[np.float32]
    weights: NDArray[np.float32]
