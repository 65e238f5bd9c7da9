"""Training of CenterNet: centers of people, and offsets from them to joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from openpaf.decoding.center_targets import encode_centers
from openpaf.decoding.centers import center_channels
from openpaf.fields import encode_mask
from openpaf.geometry import transform_points
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.training.data.augmentation import CropPlan
from openpaf.training.groupings.grouping import Grouping
from openpaf.training.groupings.map_losses import focal_loss, offset_loss

_HEATMAPS = ("centers", "heatmaps")
# Of the paper: sizes, which are large numbers, count a tenth.
_WEIGHTS = {"sizes": 0.1}


class CenterNetGrouping(Grouping):
    """See :class:`Grouping`.

    Reference:
        Zhou et al., 2019: Objects as Points, sections 3 and 4.2.
    """

    method = "center_net"

    @staticmethod
    def channels(skeleton: Skeleton) -> tuple[int, ...]:
        return tuple(center_channels(skeleton).values())

    def targets(self, plan: CropPlan) -> dict[str, NDArray[Any]]:
        (grid, *_), *_ = self.grids
        poses = Poses.from_keypoints(plan.labels.keypoints, self.skeleton)
        size_hw = (plan.size, plan.size)
        arrays = encode_centers(poses, size_hw, grid, _boxes(plan))
        ignored = plan.ignored_px() | plan.unknown_px()
        is_ignored = encode_mask(size_hw, grid, region=ignored) == 0
        _, counts = self.heatmaps(plan, grid)
        arrays["centers"][:, is_ignored & (arrays["centers"][0] < 1)] = np.nan
        arrays["heatmaps"][~counts & (arrays["heatmaps"] < 1)] = np.nan
        return arrays

    def loss(
        self, stages: Sequence[tuple[Tensor, ...]], targets: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        parts = {}
        for number, stage in enumerate(stages, 1):
            for name, array in zip(center_channels(self.skeleton), stage, strict=True):
                loss = focal_loss if name in _HEATMAPS else offset_loss
                weight = _WEIGHTS.get(name, 1.0)
                parts[f"{name}_{number}"] = weight * loss(array, targets[name])
        return parts


def _boxes(plan: CropPlan) -> NDArray[np.float32] | None:
    """The boxes of the people of a crop, in its px; None if some people are not the image's own."""
    boxes = plan.photo.boxes
    if len(boxes) != len(plan.labels.keypoints):
        return None
    corners = boxes[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2)
    moved = transform_points(corners, plan.affine)
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)
