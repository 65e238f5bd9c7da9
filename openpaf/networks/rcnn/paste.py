"""Pastes the masks of boxes into the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openpaf.networks.rcnn.resampling import paste_matrix


def paste_masks(masks: Tensor, boxes: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Masks of the image from masks of boxes.

    Args:
        masks: (N, 1, M, M) probabilities inside the boxes.
        boxes: (N, 4) in px of the image.
        size_hw: Size of the image in px.

    Returns:
        (N, 1, H, W) probabilities, 0 outside the boxes.

    Reference:
        He et al., Mask R-CNN, ICCV 2017, section 3.1 (inference).
    """
    # With a frame of zeros, a mask fades out at the border of its box.
    masks = nn.functional.pad(masks[:, 0], (1, 1, 1, 1))  # (N, M+2, M+2)
    n_cells = masks.shape[1]
    middle = (boxes[:, :2] + boxes[:, 2:]) * 0.5
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * (n_cells / (n_cells - 2))
    low, high = (middle - half).long(), (middle + half).long()
    length = (high - low + 1).clamp(min=1)
    rows = paste_matrix(low[:, 1], length[:, 1], n_cells, size_hw[0]).to(masks.dtype)
    columns = paste_matrix(low[:, 0], length[:, 0], n_cells, size_hw[1]).to(masks.dtype)
    return torch.matmul(torch.matmul(rows, masks), columns.transpose(1, 2))[:, None]
