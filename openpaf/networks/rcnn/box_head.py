"""The box head: class and refined box of each proposal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from openpaf.networks.rcnn import boxes as box_ops
from openpaf.networks.rcnn.nms import nms
from openpaf.networks.rcnn.resnet import stage

WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the deltas, from Faster R-CNN


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
    """Losses of the sampled proposals.

    Args:
        scores: (N, C) logits.
        deltas: (N, C, 4).
        proposals: (N, 4) in px.
        labels: (N,) class of each, 0 for background.
        objects: (N, 4) the boxes of their objects; ignored for background.

    Returns:
        ``loss_classifier`` and ``loss_box_reg``, scalars.

    Reference:
        Girshick, Fast R-CNN, ICCV 2015, equations 1 to 3.
    """
    positive = labels > 0
    targets = box_ops.encode(objects[positive], proposals[positive], WEIGHTS)
    predictions = deltas[positive, labels[positive]]
    box_loss = nn.functional.smooth_l1_loss(predictions, targets, beta=1 / 9, reduction="sum")
    # Sums divided by the number instead of means: without proposals they are 0, not NaN.
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
    """The objects of each image, best first: ``boxes``, ``labels`` and ``scores``.

    Args:
        scores: (N, C) logits of the proposals of all images.
        deltas: (N, C, 4).
        proposals: (n, 4) of each image in px.
        sizes_hw: Sizes of the images in px.
        min_score: Objects have a score above this.
        nms_iou: Largest overlap (IoU) of two objects of a class.
        n_detections: Maximum number of objects of an image.
    """
    counts = [len(some) for some in proposals]
    boxes = box_ops.decode(deltas, torch.cat(list(proposals))[:, None], WEIGHTS)  # (N, C, 4)
    detections = []
    for some_boxes, some_scores, size_hw in zip(
        boxes.split(counts), scores.softmax(dim=1).split(counts), sizes_hw, strict=True
    ):
        index, label = (some_scores[:, 1:] > min_score).nonzero(as_tuple=True)
        label = label + 1
        box = box_ops.clip(some_boxes[index, label], size_hw)
        score = some_scores[index, label]
        good = box_ops.at_least(box, 1e-2)
        box, score, label = box[good], score[good], label[good]
        best = nms(box, score, nms_iou, label)[:n_detections]
        detections.append({"boxes": box[best], "labels": label[best], "scores": score[best]})
    return detections
