"""The mask head: the pixels of a box that belong to the object."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from openpaf.networks.rcnn.resampling import average_matrix


class MaskHead(nn.Sequential):
    """3x3 convolutions with ReLU, each pair wrapped as in the names of published checkpoints."""

    def __init__(self, n_in: int, channels: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for n_out in channels:
            conv = nn.Conv2d(n_in, n_out, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            layers.append(nn.Sequential(conv, nn.ReLU(inplace=True)))
            n_in = n_out
        super().__init__(*layers)


class MaskPredictor(nn.Sequential):
    """Doubles the resolution; a map of logits for each class: (N, C, 28, 28).

    Reference:
        He et al., Mask R-CNN, ICCV 2017, figure 4, right.
    """

    def __init__(self, n_in: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(n_in, width, 2, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.mask_fcn_logits = nn.Conv2d(width, n_classes, 1)
        for layer in (self.conv5_mask, self.mask_fcn_logits):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class MLPMaskPredictor(nn.Module):
    """Fully connected layers to all pixels of all classes; less accurate in the paper.

    Reference:
        He et al., Mask R-CNN, ICCV 2017, table 2e.
    """

    def __init__(self, n_in: int, roi_size: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.side, self.n_classes = 2 * roi_size, n_classes
        self.fc1 = nn.Linear(n_in * (roi_size // 2) ** 2, width)
        self.fc2 = nn.Linear(width, width)
        self.logits = nn.Linear(width, n_classes * self.side**2)

    def forward(self, regions: Tensor) -> Tensor:
        x = nn.functional.avg_pool2d(regions, 2).flatten(1)
        x = self.logits(self.fc2(self.fc1(x).relu()).relu())
        return x.view(len(x), self.n_classes, self.side, self.side)


def mask_loss(
    logits: Tensor, targets: Tensor, labels: Tensor, activation: str = "sigmoid"
) -> Tensor:
    """Loss of the masks.

    Args:
        logits: (N, C, M, M).
        targets: (N, M, M), share of each cell covered by the object, 0 to 1.
        labels: (N,) classes of the objects.
        activation: ``"sigmoid"``: binary cross-entropy of the map of the object's class.
            ``"softmax"``: cross-entropy across classes at each pixel, with background as class 0.

    Returns:
        A scalar.

    Reference:
        He et al., Mask R-CNN, ICCV 2017, section 3 (mask representation) and table 2b.
    """
    if not len(logits):
        return logits.sum() * 0
    if activation == "sigmoid":
        own = logits[torch.arange(len(labels), device=labels.device), labels]
        return nn.functional.binary_cross_entropy_with_logits(own, targets.to(own.dtype))
    classes = torch.where(targets >= 0.5, labels[:, None, None], 0)
    return nn.functional.cross_entropy(logits, classes)


def mask_probabilities(logits: Tensor, labels: Tensor, activation: str = "sigmoid") -> Tensor:
    """The masks (N, 1, M, M) of the objects' own classes, 0 to 1."""
    probabilities = logits.sigmoid() if activation == "sigmoid" else logits.softmax(dim=1)
    return probabilities[torch.arange(len(labels), device=labels.device), labels][:, None]


def crop_masks(masks: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Masks of the image, cropped and resized to targets of the mask head.

    Args:
        masks: (N, H, W) 0 or 1.
        boxes: (N, 4) in px.
        size: Side of the result in cells.

    Returns:
        (N, size, size) float, RoIAlign of the masks.
    """
    length = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    rows = average_matrix(boxes[:, 1], length[:, 1], size, masks.shape[1])
    columns = average_matrix(boxes[:, 0], length[:, 0], size, masks.shape[2])
    return rows @ masks.to(rows.dtype) @ columns.transpose(1, 2)
