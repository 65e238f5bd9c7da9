"""The box head: what is in a proposal, and where exactly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from openpaf.networks.rcnn import boxes as box_ops
from openpaf.networks.rcnn.nms import nms
from openpaf.networks.rcnn.resnet import stage

WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the deltas, Faster R-CNN's


class TwoLayerHead(nn.Module):
    """Two fully connected layers over a region's features; the head of FPN detectors."""

    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(n_in, width)
        self.fc7 = nn.Linear(width, width)
        self.out_channels = width

    def forward(self, regions: Tensor) -> Tensor:
        return self.fc7(self.fc6(regions.flatten(1)).relu()).relu()


class C4Head(nn.Module):
    """The last stage of a ResNet over a region's features, averaged; the head of C4 detectors.

    Reference:
        He et al., Mask R-CNN, ICCV 2017, figure 4, left.
    """

    def __init__(self, n_in: int, norm_eps: float) -> None:
        super().__init__()
        self.layer4 = stage(n_in, 512, 3, 2, norm_eps)
        self.out_channels = 2048

    def forward(self, regions: Tensor) -> Tensor:
        return self.layer4(regions).mean(dim=(2, 3))


class BoxPredictor(nn.Module):
    """Scores of all classes (N, C), class 0 being background, and their deltas (N, C, 4)."""

    def __init__(self, n_in: int, n_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(n_in, n_classes)
        self.bbox_pred = nn.Linear(n_in, 4 * n_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.cls_score(x)
        return scores, self.bbox_pred(x).view(*scores.shape, 4)


def box_losses(
    scores: Tensor, deltas: Tensor, proposals: Tensor, labels: Tensor, objects: Tensor
) -> dict[str, Tensor]:
    """How wrong the sampled proposals are.

    Args:
        scores: (N, C) logits.
        deltas: (N, C, 4).
        proposals: (N, 4) in px.
        labels: (N,) class of each, 0 for background.
        objects: (N, 4) the boxes they stand for; anything for background.

    Reference:
        Girshick, Fast R-CNN, ICCV 2015, equations 1 to 3.
    """
    positive = labels > 0
    wanted = box_ops.encode(objects[positive], proposals[positive], WEIGHTS)
    said = deltas[positive, labels[positive]]
    box_loss = nn.functional.smooth_l1_loss(said, wanted, beta=1 / 9, reduction="sum")
    # Sums over the number, and not means: without a single proposal they are 0, and not NaN.
    class_loss = nn.functional.cross_entropy(scores, labels, reduction="sum")
    return {
        "loss_classifier": class_loss / max(1, len(labels)),
        "loss_box_reg": box_loss / max(1, len(labels)),
    }


def find_boxes(
    scores: Tensor,
    deltas: Tensor,
    proposals: Sequence[Tensor],
    sizes_hw: Sequence[tuple[int, int]],
    *,
    min_score: float,
    nms_iou: float,
    n_detections: int,
) -> list[dict[str, Tensor]]:
    """The objects of each picture, best first: ``boxes``, ``labels`` and ``scores``.

    Args:
        scores: (N, C) logits of the proposals of all pictures.
        deltas: (N, C, 4).
        proposals: For each picture (n, 4) in px.
        sizes_hw: Sizes of the pictures in px.
        min_score: Objects score above this.
        nms_iou: Largest overlap of two objects of a class.
        n_detections: Most objects of a picture.
    """
    counts = [len(rows) for rows in proposals]
    boxes = box_ops.decode(deltas, torch.cat(list(proposals))[:, None], WEIGHTS)  # (N, C, 4)
    detections = []
    for some_boxes, some_scores, size_hw in zip(
        boxes.split(counts), scores.softmax(dim=1).split(counts), sizes_hw, strict=True
    ):
        row, column = (some_scores[:, 1:] > min_score).nonzero(as_tuple=True)
        label = column + 1
        box = box_ops.clip(some_boxes[row, label], size_hw)
        score = some_scores[row, label]
        good = box_ops.at_least(box, 1e-2)
        box, score, label = box[good], score[good], label[good]
        kept = nms(box, score, nms_iou, label)[:n_detections]
        detections.append({"boxes": box[kept], "labels": label[kept], "scores": score[kept]})
    return detections
