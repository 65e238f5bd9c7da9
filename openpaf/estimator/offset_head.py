"""What differs in a top-down pair whose network of one person gives offsets, too (G-RMI).

The joints are where the cells of their heatmaps vote for, and the score of a person is that of the
box times the mean height of the votes. (The paper takes that mean alone.)

Reference:
    Papandreou et al., CVPR 2017: Towards Accurate Multi-person Pose Estimation in the Wild,
    section 3.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.hough import find_voted_joints
from openpaf.fields import SIGMA_PX
from openpaf.weights.spec import ModelSpec


def has_offsets(spec: ModelSpec) -> bool:
    """Whether a network of one person gives offsets beside its heatmaps."""
    return "offsets" in spec.outputs


def find_joints_by_votes(
    heatmaps: NDArray[np.float32],
    offsets: NDArray[np.float32],
    affines: NDArray[np.float64],
    spec: ModelSpec,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where in the image the joints of crops are.

    Args:
        heatmaps: (N, K, h, w), 1 in a disk about each joint, whose radius is twice the spec's
            ``sigma_px``.
        offsets: (N, 2K, h, w) from the cell to each joint, x and y in turn, in cells.
        affines: (N, 2, 3), from the image to the crops.
        spec: Of the network.

    Returns:
        (N, K, 2) px of the image and (N, K) scores, 0 to 1.
    """
    grid = spec.heatmap_grid
    radius_cells = 2 * (spec.sigma_px or SIGMA_PX) / grid.stride
    contiguous = np.ascontiguousarray(heatmaps), np.ascontiguousarray(offsets)
    cells, scores = find_voted_joints(*contiguous, radius_cells)
    in_crop = grid.to_px(cells.astype(np.float64))
    # The maps scale alike along x and y and do not turn.
    xy = (in_crop - affines[:, None, :, 2]) / affines[:, None, :1, 0]
    return xy.astype(np.float32), scores
