"""Training crops as a detector wants them: boxes, joints and masks of their people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openpaf.geometry import transform_points
from openpaf.networks.rcnn.transform import Target
from openpaf.training.data.augmentation import CropPlan
from openpaf.training.data.batches import CropMaker
from openpaf.training.data.dataset import Photo
from openpaf.training.rcnn.object_sets import ObjectPhoto

#: Labels are px of centers, 0 being the middle of the first pixel; detectors count from its corner.
HALF_PX = 0.5

# A person of whom less than this share of the box is in the crop is neither person nor background.
_MIN_VISIBLE = 0.3


@dataclass(frozen=True, kw_only=True)
class DetectionBatch:
    """Crops and their people.

    Args:
        images: (B, 3, S, S) float32, RGB, 0 to 1.
        targets: One a crop, as :class:`openpaf.networks.rcnn.MaskRCNN` takes them.
    """

    images: Tensor
    targets: list[Target]


@dataclass
class DetectionBatchMaker(CropMaker[DetectionBatch]):
    """Makes batches for a detector; see :class:`CropMaker`.

    Args:
        masks: Whether targets have masks.
    """

    _: KW_ONLY
    masks: bool = False

    def batch(self, step: int, rows: range | None = None) -> DetectionBatch:
        """The batch of a step, or some of its crops; errors as :meth:`CropMaker.crops`."""
        images, plans = self.crops(step, rows)
        targets = [make_target(plan, masks=self.masks) for plan in plans]
        return DetectionBatch(images=images / 255, targets=targets)


def make_target(plan: CropPlan, *, masks: bool = False) -> Target:
    """The people of a crop as a detector's target.

    Args:
        plan: The crop.
        masks: Whether to give masks; people without one are told by ``masks_labeled``.
    """
    photo, size, affine = plan.photo, plan.size, plan.affine
    keypoints = plan.labels.keypoints.copy()
    keypoints[..., :2] += HALF_PX
    inside = ((keypoints[..., :2] >= 0) & (keypoints[..., :2] < size)).all(axis=2)
    keypoints[..., 2] *= inside
    whole = _move_boxes(photo.boxes, affine)
    if isinstance(photo, ObjectPhoto):
        _tighten(whole, photo, affine)
    boxes = whole.clip(0, size)
    sides = boxes[:, 2:] - boxes[:, :2]
    visible = sides.prod(axis=1) / (whole[:, 2:] - whole[:, :2]).prod(axis=1).clip(min=1e-6)
    seen = (visible >= _MIN_VISIBLE) & (sides.min(axis=1, initial=np.inf) >= 2)
    ignore = np.concatenate([_move_boxes(photo.ignore_boxes, affine).clip(0, size), boxes[~seen]])
    target = {
        "boxes": torch.from_numpy(boxes[seen]),
        "labels": torch.from_numpy(_labels(photo)[seen]),
        "keypoints": torch.from_numpy(keypoints[seen]),
        "ignore_boxes": torch.from_numpy(ignore[(ignore[:, 2:] > ignore[:, :2]).all(axis=1)]),
    }
    if masks:
        outlines = [
            photo.outlines[i] if photo.outlines else [] for i in np.flatnonzero(seen).tolist()
        ]
        drawn = [_draw_mask(polygons, affine, size) for polygons in outlines]
        target["masks"] = torch.from_numpy(np.array(drawn, np.uint8).reshape(-1, size, size))
        labeled = [len(polygons) > 0 for polygons in outlines]
        target["masks_labeled"] = torch.tensor(labeled, dtype=torch.bool)
    return target


def _labels(photo: Photo) -> NDArray[np.int64]:
    if isinstance(photo, ObjectPhoto):
        return photo.labels
    return np.ones(len(photo.boxes), np.int64)  # people


def _tighten(boxes: NDArray[np.float32], photo: ObjectPhoto, affine: NDArray[np.float64]) -> None:
    """Replace moved boxes by those around the moved masks, where there are masks."""
    for n, polygons in enumerate(photo.outlines):
        if polygons:
            corners = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
            moved = transform_points(corners - HALF_PX, affine) + HALF_PX
            boxes[n] = *moved.min(axis=0), *moved.max(axis=0)


def _move_boxes(boxes: NDArray[np.float32], affine: NDArray[np.float64]) -> NDArray[np.float32]:
    """Boxes (N, 4) around the moved ellipses of these; moved corners would reach too far."""
    middle = transform_points((boxes[:, :2] + boxes[:, 2:]) / 2 - HALF_PX, affine) + HALF_PX
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    reach = np.sqrt((half[:, None, :] ** 2 * affine[None, :, :2] ** 2).sum(axis=2))
    return np.concatenate([middle - reach, middle + reach], axis=1).astype(np.float32)


def _draw_mask(
    polygons: Sequence[Sequence[float]], affine: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    import cv2

    # OpenCV fills the px on the outline too; drawn four times as large that matters little.
    fine = np.zeros((4 * size, 4 * size), np.uint8)
    for polygon in polygons:
        corners = np.asarray(polygon, np.float64).reshape(-1, 2) - HALF_PX
        moved = 4 * (transform_points(corners, affine) + HALF_PX) - HALF_PX
        cv2.fillPoly(fine, [np.rint(moved).astype(np.int32)], (255,))
    mask = cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)
    return (np.asarray(mask) > 127).astype(np.uint8)
