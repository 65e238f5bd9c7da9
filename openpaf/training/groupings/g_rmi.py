"""Training of the network of one person of G-RMI: disks about joints, and offsets to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.offset_targets import encode_disks
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.training.data.augmentation import CropPlan
from openpaf.training.groupings.person_lab import PersonLabGrouping


class GRMIGrouping(PersonLabGrouping):
    """See :class:`Grouping`; only the person in the middle of the crop counts.

    Reference:
        Papandreou et al., CVPR 2017: Towards Accurate Multi-person Pose Estimation in the Wild,
        section 3.2.
    """

    method = "single_person"
    outputs = ("heatmaps", "offsets")
    takes_crops = True

    @staticmethod
    def channels(skeleton: Skeleton) -> tuple[int, ...]:
        return skeleton.n_joints, 2 * skeleton.n_joints

    def targets(self, plan: CropPlan) -> dict[str, NDArray[Any]]:
        grid = self.grids[0][0]
        people = Poses.from_keypoints(plan.labels.keypoints, self.skeleton)
        return encode_disks(
            _middle(people, plan.size), (plan.size, plan.size), grid, self.radius_px
        )


def _middle(people: Poses, size: int) -> Poses:
    """The person whose box is closest to the middle of a crop."""
    boxes = people.boxes()
    far = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - (size - 1) / 2).max(axis=1)
    far = np.where(np.isnan(far), np.inf, far)
    return people[[int(far.argmin())]]
