"""The keypoint head: the joints of the person in a box."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from openpaf.networks.rcnn.resampling import cubic_matrix

# Number of values of the maps that are upsampled at a time.
_CHUNK = 32_000_000


class KeypointHead(nn.Sequential):
    """3x3 convolutions with ReLU."""

    def __init__(self, n_in: int, channels: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for n_out in channels:
            conv = nn.Conv2d(n_in, n_out, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            layers += [conv, nn.ReLU(inplace=True)]
            n_in = n_out
        super().__init__(*layers)


class KeypointPredictor(nn.Module):
    """A map of logits for each joint, at four times the resolution: (N, K, 56, 56).

    Reference:
        He et al., Mask R-CNN, ICCV 2017, section 5.
    """

    def __init__(self, n_in: int, n_keypoints: int) -> None:
        super().__init__()
        self.kps_score_lowres = nn.ConvTranspose2d(n_in, n_keypoints, 4, stride=2, padding=1)
        nn.init.kaiming_normal_(self.kps_score_lowres.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.kps_score_lowres.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.kps_score_lowres(x)
        size_hw = (2 * x.shape[2], 2 * x.shape[3])
        return nn.functional.interpolate(x, size=size_hw, mode="bilinear")


def keypoint_loss(logits: Tensor, keypoints: Tensor, boxes: Tensor) -> Tensor:
    """Loss of the joints: cross-entropy over the cells of each map, one of which is correct.

    Args:
        logits: (N, K, M, M).
        keypoints: (N, K, 3) x, y in px and v; v = 0 where unlabeled. Joints outside the box are
            ignored.
        boxes: (N, 4) in px.

    Returns:
        A scalar.

    Reference:
        He et al., Mask R-CNN, ICCV 2017, section 5.
    """
    size = logits.shape[-1]
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    xy = keypoints[..., :2]
    cell = ((xy - low) * (size / (high - low))).floor()
    cell = torch.where(xy == high, size - 1, cell)  # the border belongs to the last cell
    inside = (cell >= 0).all(dim=2) & (cell < size).all(dim=2)
    counted = inside & (keypoints[..., 2] > 0)  # (N, K)
    if not counted.any():
        return logits.sum() * 0
    targets = (cell[..., 1] * size + cell[..., 0])[counted].long()
    return nn.functional.cross_entropy(logits[counted].flatten(1), targets)


def find_keypoints(logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum of each map, after it is upsampled to the px of its box.

    Args:
        logits: (N, K, M, M).
        boxes: (N, 4) in px.

    Returns:
        Keypoints (N, K, 3), x and y in px and 1; and their logits (N, K).
    """
    n, n_joints = logits.shape[:2]
    extent = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    n_px = extent.ceil().long()  # (N, 2) as x, y
    keypoints = logits.new_ones(n, n_joints, 3)
    scores = logits.new_zeros(n, n_joints)
    order = n_px.prod(dim=1).argsort()  # boxes of similar size together
    while len(order):
        largest = n_px[order].amax(dim=0)
        count = max(1, _CHUNK // int(largest.prod() * n_joints))
        if count < len(order):
            chunk, order = order[-count:], order[:-count]
        else:
            chunk, order = order, order[:0]
        place, score = _peaks(logits[chunk], n_px[chunk])
        keypoints[chunk, :, :2] = (
            boxes[chunk, None, :2] + (place + 0.5) * (extent / n_px)[chunk, None]
        )
        scores[chunk] = score
    return keypoints, scores


def _peaks(logits: Tensor, n_px: Tensor) -> tuple[Tensor, Tensor]:
    """Positions (n, K, 2) in px of the upsampled maps, and heights (n, K), of their maxima."""
    n_cells = logits.shape[-1]
    rows = cubic_matrix(n_px[:, 1], n_cells)[:, None]  # (n, 1, H, M)
    columns = cubic_matrix(n_px[:, 0], n_cells)[:, None]
    maps = rows @ logits @ columns.transpose(2, 3)  # (n, K, H, W)
    height, width = maps.shape[2:]
    outside_y = torch.arange(height, device=n_px.device) >= n_px[:, 1, None]  # (n, H)
    outside_x = torch.arange(width, device=n_px.device) >= n_px[:, 0, None]
    maps.masked_fill_((outside_y[:, :, None] | outside_x[:, None, :])[:, None], -torch.inf)
    score, index = maps.flatten(2).max(dim=2)
    return torch.stack([index % width, index // width], dim=2).to(logits.dtype), score


def peak_probabilities(logits: Tensor) -> Tensor:
    """Confidence (N, K), 0 to 1: the probability of the 3x3 cells around each peak.

    The maps are logits of a softmax over all cells, so their heights have no fixed scale.
    """
    probabilities = logits.flatten(2).softmax(dim=2).view_as(logits)
    around = 9 * nn.functional.avg_pool2d(probabilities, 3, stride=1, padding=1)
    return around.flatten(2).amax(dim=2).clamp(max=1)
