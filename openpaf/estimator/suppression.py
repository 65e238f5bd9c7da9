"""The same person found twice: suppression by the similarity of the joints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openpaf.poses import Poses


def suppress_duplicates(
    poses: Poses, areas: NDArray[np.float32], max_oks: float, min_joint: float
) -> NDArray[np.int64]:
    """Which people stay: of two who are more alike than that, the one of the higher score.

    Args:
        poses: The people; joints may be missing.
        areas: (N,) of each person, in square px: the unit of the similarity.
        max_oks: Object keypoint similarity of two different people.
        min_joint: Joints of lower scores are not compared.

    Returns:
        Their indices, best first.

    Reference:
        COCO keypoint evaluation: object keypoint similarity. Papandreou et al., CVPR 2017, section
        3.2.4: OKS-based non maximum suppression.
    """
    sigmas = np.asarray(poses.skeleton.oks_sigmas, np.float64)
    order = np.argsort(-poses.person_scores, kind="stable")
    sure = poses.scores >= min_joint
    chosen: list[int] = []
    for i in order:
        if chosen:
            squares = ((poses.xy[chosen] - poses.xy[i]) ** 2).sum(axis=2)  # NaN if one is missing
            unit = 2 * (2 * sigmas) ** 2 * np.maximum(areas[chosen], areas[i])[:, None] + 1e-9
            both = sure[chosen] & sure[i] & np.isfinite(squares)
            alike = np.where(both, np.exp(-squares / unit), 0).sum(axis=1)
            if (alike / np.maximum(both.sum(axis=1), 1) > max_oks).any():
                continue
        chosen.append(int(i))
    return np.array(chosen, np.int64)
