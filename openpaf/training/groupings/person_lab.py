"""Training of PersonLab: disks about joints, and offsets to them and between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from openpaf.decoding.offset_targets import encode_disks
from openpaf.decoding.person_lab import person_lab_channels
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.skeleton.trees import tree_of
from openpaf.training.data.augmentation import CropPlan
from openpaf.training.groupings.grouping import Grouping
from openpaf.training.groupings.map_losses import logistic_loss, offset_loss

# Of the paper: heatmaps count more than offsets, which are in radii of the disks, and mid-range
# offsets, which are larger, less than short-range ones.
_WEIGHTS = {"heatmaps": 4.0, "offsets": 1.0, "forward": 0.25, "backward": 0.25}


class PersonLabGrouping(Grouping):
    """See :class:`Grouping`; the radius of the disks is twice ``targets.sigma_px``.

    Reference:
        Papandreou et al., ECCV 2018: PersonLab, section 3.1.
    """

    method = "person_lab"

    @staticmethod
    def channels(skeleton: Skeleton) -> tuple[int, ...]:
        return tuple(person_lab_channels(skeleton).values())

    @property
    def radius_px(self) -> float:
        """Of the disks."""
        return 2 * self._makers[self.grids[0][0]].sigma_px

    def targets(self, plan: CropPlan) -> dict[str, NDArray[Any]]:
        grid = self.grids[0][0]
        poses = Poses.from_keypoints(plan.labels.keypoints, self.skeleton)
        size_hw, edges = (plan.size, plan.size), tree_of(self.skeleton)
        arrays = encode_disks(poses, size_hw, grid, self.radius_px, edges)
        _, counts = self.heatmaps(plan, grid)
        arrays["heatmaps"][~counts & (arrays["heatmaps"] == 0)] = np.nan
        return arrays

    def loss(
        self, stages: Sequence[tuple[Tensor, ...]], targets: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        radius = self.radius_px / self.grids[0][0].stride
        parts = {}
        for number, stage in enumerate(stages, 1):
            # An array of targets has the name of the network's, and the dictionary their order.
            for array, (name, target) in zip(stage, targets.items(), strict=True):
                error = (
                    logistic_loss(array, target)
                    if name == "heatmaps"
                    else offset_loss(array / radius, target / radius)
                )
                parts[f"{name}_{number}"] = _WEIGHTS[name] * error
        return parts
