"""The groupings that benchmarks/groupings.py compares: targets, losses, true arrays and people.

All have the joints of COCO, and take their library's thresholds. Cells are of 8 px; those of
CenterNet, which gives one center and one offset a cell, of 4 px as in its paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openpaf import Fields, Grid, Poses, Skeleton, decode, encode_fields
from openpaf.decoding.center_targets import encode_centers
from openpaf.decoding.centers import decode_centers
from openpaf.decoding.offset_targets import encode_disks
from openpaf.decoding.person_lab import decode_person_lab
from openpaf.decoding.tags import TagConfig, group_by_tags
from openpaf.fields import SIGMA_PX
from openpaf.skeleton.trees import tree_of
from openpaf.training.config import AugmentConfig
from openpaf.training.data.augmentation import CropPlan
from openpaf.training.data.batches import Batch, BatchMaker
from openpaf.training.data.dataset import PhotoSet
from openpaf.training.groupings.associative_embedding import AssociativeEmbedding
from openpaf.training.groupings.center_net import CenterNetGrouping
from openpaf.training.groupings.grouping import Grouping
from openpaf.training.groupings.person_lab import PersonLabGrouping
from openpaf.training.losses import fields_loss
from openpaf.weights.spec import OUTPUTS

SKELETON = Skeleton.COCO17
GRID, FINER_GRID = Grid(8), Grid(4)
RADIUS_PX = 2 * SIGMA_PX  # of PersonLab's disks
# Of the default model's own training: PAFs, of which there is more, must not rule.
_HEATMAP_WEIGHT = 10.0
_TAG_STEP = 10.0  # of the true tags of two people, far beyond the distance that tells them apart
# With 30, the default, people beyond the thirtieth could not be found.
_TAGS = TagConfig(max_people=100)

Arrays = Mapping[str, NDArray[np.float32]]


class PartAffinityGrouping(Grouping):
    """Heatmaps and part affinity fields, as a grouping among the others."""

    method = "part_affinity"

    @staticmethod
    def channels(skeleton: Skeleton) -> tuple[int, ...]:
        return skeleton.n_joints + 1, 2 * skeleton.n_limbs

    def targets(self, plan: CropPlan) -> dict[str, NDArray[Any]]:
        return self._makers[self.grids[0][0]].encode(plan)

    def loss(
        self, stages: Sequence[tuple[Tensor, ...]], targets: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        of_fields = [(heatmaps, pafs) for heatmaps, pafs in stages]
        batch = Batch(images=torch.empty(0), **targets)
        total, _ = fields_loss(of_fields, batch, heatmap_weight=_HEATMAP_WEIGHT)
        return {"fields": total}


class Compared(NamedTuple):
    """One grouping.

    Args:
        title: Of its column.
        grouping: Its targets and its loss.
        people: From its arrays to people, in px of the network's input.
        truth: Its arrays of true people, given also the size of the network's input.
        places: The arrays that say where joints are, not whose they are.
        grid: Where its cells lie.
    """

    title: str
    grouping: type[Grouping]
    people: Callable[[Arrays], Poses]
    truth: Callable[[Poses, tuple[int, int]], Arrays]
    places: tuple[str, ...]
    grid: Grid = GRID

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of its arrays."""
        return OUTPUTS[self.grouping.method]

    def is_logit(self, name: str) -> bool:
        """Whether the network gives an array as logits, as the loss takes it."""
        is_map = name in ("heatmaps", "centers")
        return is_map and self.grouping in (CenterNetGrouping, PersonLabGrouping)


def make_grouping(compared: Compared, sets: Sequence[PhotoSet]) -> Grouping:
    """Its targets and its loss, on its grid."""
    limbs = SKELETON.limbs if compared.grouping is PartAffinityGrouping else ()
    maker = BatchMaker(
        sets,
        batch_size=1,
        augment=AugmentConfig(),
        skeleton=replace(SKELETON, limbs=limbs),
        heatmap_grid=compared.grid,
        paf_grid=compared.grid,
    )
    grids = [[compared.grid] * len(compared.outputs)]
    return compared.grouping(SKELETON, grids, {compared.grid: maker})


def _people_of_fields(arrays: Arrays) -> Poses:
    fields = Fields(
        heatmaps=arrays["heatmaps"],
        pafs=arrays["pafs"],
        heatmap_grid=GRID,
        paf_grid=GRID,
        skeleton=SKELETON,
    )
    return decode(fields)


def _true_fields(poses: Poses, size_hw: tuple[int, int]) -> Arrays:
    fields = encode_fields(poses, size_hw, GRID.stride)
    return {"heatmaps": fields.heatmaps, "pafs": fields.pafs.reshape(-1, *fields.size_cells)}


def _people_of_tags(arrays: Arrays) -> Poses:
    return group_by_tags(arrays["heatmaps"], arrays["tags"][None], GRID, SKELETON, _TAGS)


def _true_tags(poses: Poses, size_hw: tuple[int, int]) -> Arrays:
    """Heatmaps, and in every cell the tag of the person whose joint of that kind is closest."""
    heatmaps = encode_fields(poses, size_hw, GRID.stride).heatmaps[:-1]
    rows, columns = np.mgrid[: heatmaps.shape[1], : heatmaps.shape[2]]
    closest = np.full(heatmaps.shape, np.inf)
    tags = np.zeros(heatmaps.shape, np.float32)
    for person, cells in enumerate(np.asarray(GRID.to_cells(poses.xy))):
        x, y = cells.T[:, :, None, None]
        squared = (columns - x) ** 2 + (rows - y) ** 2
        is_closer = squared < closest  # never true of a missing joint, which is NaN
        tags[is_closer], closest[is_closer] = _TAG_STEP * person, squared[is_closer]
    return {"heatmaps": heatmaps, "tags": tags}


def _people_of_centers(arrays: Arrays) -> Poses:
    return decode_centers(arrays, FINER_GRID, SKELETON)


def _true_centers(poses: Poses, size_hw: tuple[int, int]) -> Arrays:
    return _filled(encode_centers(poses, size_hw, FINER_GRID))


def _people_of_offsets(arrays: Arrays) -> Poses:
    return decode_person_lab(arrays, GRID, SKELETON, RADIUS_PX)


def _true_offsets(poses: Poses, size_hw: tuple[int, int]) -> Arrays:
    return _filled(encode_disks(poses, size_hw, GRID, RADIUS_PX, tree_of(SKELETON)))


def _filled(arrays: Arrays) -> Arrays:
    """With 0 where nothing is asked of a network."""
    return {name: np.nan_to_num(array) for name, array in arrays.items()}


COMPARED = {
    "pafs": Compared(
        "part affinity fields", PartAffinityGrouping, _people_of_fields, _true_fields,
        ("heatmaps",),
    ),
    "tags": Compared(
        "associative embedding", AssociativeEmbedding, _people_of_tags, _true_tags, ("heatmaps",),
    ),
    "centers": Compared(
        "CenterNet", CenterNetGrouping, _people_of_centers, _true_centers,
        ("heatmaps", "joint_offsets"), FINER_GRID,
    ),
    "offsets": Compared(
        "PersonLab", PersonLabGrouping, _people_of_offsets, _true_offsets,
        ("heatmaps", "offsets"),
    ),
}  # fmt: skip
