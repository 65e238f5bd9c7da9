"""What differs from grouping to grouping in training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton
from openpaf.training.data.augmentation import CropPlan
from openpaf.training.data.batches import BatchMaker


class Grouping(ABC):
    """Targets and loss of one way to group joints.

    Args:
        skeleton: The joints of labels and people.
        grids: Of each array of each stage that the loss compares.
        makers: Of heatmaps, by their grid.
    """

    method: ClassVar[str]  # as ModelSpec has it
    outputs: ClassVar[tuple[str, ...]] = ()  # names of the arrays, where not those of the method
    takes_crops: ClassVar[bool] = False  # of one person, of the size that it was trained for

    def __init__(
        self,
        skeleton: Skeleton,
        grids: Sequence[Sequence[Grid]],
        makers: Mapping[Grid, BatchMaker],
    ) -> None:
        self.skeleton, self.grids, self._makers = skeleton, grids, makers

    @staticmethod
    @abstractmethod
    def channels(skeleton: Skeleton) -> tuple[int, ...]:
        """Channels of the arrays of a stage."""

    @abstractmethod
    def targets(self, plan: CropPlan) -> dict[str, NDArray[Any]]:
        """What a crop asks of the network, by name; arrays of the same shapes for every crop."""

    @abstractmethod
    def loss(
        self, stages: Sequence[tuple[Tensor, ...]], targets: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The parts of the loss by name, each a mean over the crops; their sum is the loss.

        Args:
            stages: What the network gives.
            targets: Those of the crops, stacked.
        """

    def heatmaps(self, plan: CropPlan, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The ideal heatmaps (K, h, w) of a crop, and the cells where an error counts."""
        fields = self._makers[grid].encode(plan)
        return fields["heatmaps"][:-1], fields["heatmap_weights"][:-1]
