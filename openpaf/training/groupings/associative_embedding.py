"""Training of associative embedding: tags that are alike within a person and differ between people.

Reference:
    Newell, Huang and Deng, NeurIPS 2017: Associative Embedding: End-to-End Learning for Joint
    Detection and Grouping, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton
from openpaf.training.data.augmentation import CropPlan
from openpaf.training.groupings.grouping import Grouping

_MAX_PEOPLE = 30  # of a crop whose tags are learned
# On both parts of the tags' loss, beside the heatmaps' mean error over cells and joints; the first
# as in HigherHRNet, where both are the same. While all tags are alike, what pushes has no slope.
# Tags leave that saddle only along features whose means of two people vary as much as the joints of
# one, in ratio of pull to push. Those of a network that was trained for fields vary less.
_PULL, _PUSH = 1e-3, 5e-3


class AssociativeEmbedding(Grouping):
    """Heatmaps and tags; see :class:`Grouping`."""

    method: ClassVar[str] = "associative_embedding"

    @staticmethod
    def channels(skeleton: Skeleton) -> tuple[int, ...]:
        return skeleton.n_joints, skeleton.n_joints

    def targets(self, plan: CropPlan) -> dict[str, NDArray[Any]]:
        """Heatmaps and weights of each stage, and the cells of each person's joints.

        ``joints`` is (30, K) int64, index of the joint's cell in a map of tags, -1 where the joint
        is missing, ignored, or outside of the crop.
        """
        targets: dict[str, NDArray[Any]] = {}
        for i, (grid, _) in enumerate(self.grids):
            targets[f"heatmaps_{i}"], targets[f"weights_{i}"] = self.heatmaps(plan, grid)
        targets["joints"] = joint_cells(plan, self.grids[0][1], self.skeleton.n_joints)
        return targets

    def loss(
        self, stages: Sequence[tuple[Tensor, ...]], targets: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Squared error of the heatmaps of each stage, and what pulls and pushes the tags."""
        parts: dict[str, Tensor] = {}
        for i, (heatmaps, _) in enumerate(stages):
            error = (heatmaps - targets[f"heatmaps_{i}"]).square() * targets[f"weights_{i}"]
            parts[f"heatmaps_{i + 1}"] = error.mean()
        pull, push = tag_losses(stages[0][1], targets["joints"])
        return {**parts, "pull": _PULL * pull, "push": _PUSH * push}


def joint_cells(plan: CropPlan, grid: Grid, n_joints: int) -> NDArray[np.int64]:
    """Indices (30, K) of the cells of each person's joints, -1 for none.

    Of more than 30 people those with the most joints are taken.
    """
    keypoints = plan.labels.keypoints
    h, w = grid.size_cells((plan.size, plan.size))
    cells = np.rint(grid.to_cells(keypoints[..., :2].astype(np.float64)))
    inside = ((cells >= 0) & (cells < [w, h])).all(axis=-1) & (keypoints[..., 2] > 0)
    index = np.where(inside, cells[..., 1] * w + cells[..., 0], -1).astype(np.int64)
    best = np.argsort(-inside.sum(axis=1), kind="stable")[:_MAX_PEOPLE]
    joints = np.full((_MAX_PEOPLE, n_joints), -1, np.int64)
    joints[: len(best)] = index[best]
    return joints


def tag_losses(tags: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """What pulls the tags of a person together and pushes those of people apart.

    With the mean tag ``m_n`` of person n, of N people, and the tags ``t_nk`` of the J_n joints that
    are labeled: pull = ``1/N sum_n 1/J_n sum_k (t_nk - m_n)^2`` and push =
    ``1/(2 N (N - 1)) sum_n sum_(n' != n) exp(-(m_n - m_n')^2)``.

    Args:
        tags: (B, K, h, w).
        joints: (B, P, K) int64, the index of the cell of each joint, -1 for none.

    Returns:
        Pull and push, each a mean over the images.

    Reference:
        Newell et al., NeurIPS 2017, section 3.2. There pull is a sum over k, push is over N^2 with
        n' = n in it, and its exponent is over 2 sigma^2; here both are HigherHRNet's.
    """
    flat = tags.flatten(2)  # (B, K, h w)
    is_labeled = joints >= 0
    values = flat.gather(2, joints.clamp(min=0).transpose(1, 2)).transpose(1, 2)  # (B, P, K)
    n_joints = is_labeled.sum(2)
    is_person = n_joints > 0
    n_people = is_person.sum(1)  # (B,)
    means = (values * is_labeled).sum(2) / n_joints.clamp(min=1)  # (B, P)
    error = (values - means[:, :, None]).square() * is_labeled
    pull = (error.sum(2) / n_joints.clamp(min=1)).sum(1) / n_people.clamp(min=1)
    likeness = torch.exp(-(means[:, :, None] - means[:, None]).square())
    pairs = is_person[:, :, None] & is_person[:, None]
    pairs = pairs & ~torch.eye(pairs.shape[1], dtype=torch.bool, device=pairs.device)
    n_pairs = (n_people * (n_people - 1)).clamp(min=1)
    push = 0.5 * (likeness * pairs).sum((1, 2)) / n_pairs
    return pull.mean(), push.mean()
