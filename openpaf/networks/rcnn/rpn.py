"""The region proposal network: boxes of objects of any class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from openpaf.networks.rcnn import boxes as box_ops
from openpaf.networks.rcnn.anchors import anchors_of
from openpaf.networks.rcnn.matching import match, sample
from openpaf.networks.rcnn.nms import nms
from openpaf.networks.rcnn.transform import Images, Target

_NO_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


class RPNHead(nn.Module):
    """A 3x3 convolution, then objectness and four deltas for each anchor of a cell."""

    def __init__(self, n_channels: int, n_anchors: int) -> None:
        super().__init__()
        conv = nn.Conv2d(n_channels, n_channels, 3, padding=1)
        # Wrapped twice, as in the names of published checkpoints.
        self.conv = nn.Sequential(nn.Sequential(conv, nn.ReLU(inplace=True)))
        self.cls_logits = nn.Conv2d(n_channels, n_anchors, 1)
        self.bbox_pred = nn.Conv2d(n_channels, 4 * n_anchors, 1)
        for layer in (conv, self.cls_logits, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Objectness (B, H * W * A) and deltas (B, H * W * A, 4) of one level."""
        hidden = self.conv(level)
        objectness = self.cls_logits(hidden).permute(0, 2, 3, 1).flatten(1)
        deltas = self.bbox_pred(hidden).permute(0, 2, 3, 1)
        return objectness, deltas.reshape(len(level), -1, 4)


@dataclass(frozen=True, kw_only=True)
class RPNConfig:
    """Options of the region proposal network.

    Args:
        sizes: For each level, the square roots of its anchors' areas in px.
        ratios: Height over width of the anchors.
        pre_nms_top_n: Best anchors of a level that are used: in training, and otherwise.
        post_nms_top_n: Proposals of an image: in training, and otherwise.
        nms_iou: Largest IoU of two proposals.
        min_score: Smallest objectness, 0 to 1.
        foreground_iou: An anchor with at least this IoU with an object is assigned to it.
        background_iou: An anchor with a lower IoU with all objects is background.
        n_sampled: Number of anchors of an image that are sampled for the loss.
        positive_share: Largest share of objects among them.
    """

    sizes: tuple[tuple[int, ...], ...]
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    pre_nms_top_n: tuple[int, int] = (2000, 1000)
    post_nms_top_n: tuple[int, int] = (2000, 1000)
    nms_iou: float = 0.7
    min_score: float = 0.0
    foreground_iou: float = 0.7
    background_iou: float = 0.3
    n_sampled: int = 256
    positive_share: float = 0.5


class RegionProposalNetwork(nn.Module):
    """Objectness of anchors, and the best anchors as proposals.

    Args:
        n_channels: Channels of every level of the features.
        config: The options.

    Reference:
        Ren et al., Faster R-CNN, NeurIPS 2015, section 3.1.
    """

    def __init__(self, n_channels: int, config: RPNConfig) -> None:
        super().__init__()
        self.config = config
        self.head = RPNHead(n_channels, len(config.sizes[0]) * len(config.ratios))

    def forward(
        self, images: Images, features: Sequence[Tensor], targets: Sequence[Target] | None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals (N, 4) of each image in px of the batch, and the losses in training."""
        outputs = [self.head(level) for level in features]
        anchors = self._anchors(images, features)
        proposals = self._propose(images, anchors, outputs)
        if not self.training or targets is None:
            return proposals, {}
        objectness = torch.cat([level for level, _ in outputs], dim=1)
        deltas = torch.cat([level for _, level in outputs], dim=1)
        return proposals, self._losses(torch.cat(anchors), objectness, deltas, targets)

    def _anchors(self, images: Images, features: Sequence[Tensor]) -> list[Tensor]:
        height, width = images.tensor.shape[2:]
        anchors = []
        for level, sizes in zip(features, self.config.sizes, strict=True):
            grid_hw = (level.shape[2], level.shape[3])
            stride_hw = (height // grid_hw[0], width // grid_hw[1])
            anchors.append(anchors_of(grid_hw, stride_hw, sizes, self.config.ratios, level.device))
        return anchors

    @torch.no_grad()
    def _propose(
        self,
        images: Images,
        anchors: Sequence[Tensor],
        outputs: Sequence[tuple[Tensor, Tensor]],
    ) -> list[Tensor]:
        """The best anchors of each level, with deltas applied, after non-maximum suppression."""
        n_before = self.config.pre_nms_top_n[0 if self.training else 1]
        n_after = self.config.post_nms_top_n[0 if self.training else 1]
        boxes, scores, levels = [], [], []
        for i, (objectness, deltas) in enumerate(outputs):
            best, index = objectness.topk(min(n_before, objectness.shape[1]), dim=1)  # (B, n)
            best_deltas = deltas.gather(1, index[..., None].expand(-1, -1, 4))
            boxes.append(box_ops.decode(best_deltas, anchors[i][index], _NO_WEIGHTS))
            scores.append(best.sigmoid())
            levels.append(torch.full_like(index, i))
        all_boxes, all_scores = torch.cat(boxes, dim=1), torch.cat(scores, dim=1)
        all_levels = torch.cat(levels, dim=1)
        proposals = []
        for b, size_hw in enumerate(images.sizes_hw):
            clipped = box_ops.clip(all_boxes[b], size_hw)
            good = box_ops.at_least(clipped, 1e-3) & (all_scores[b] >= self.config.min_score)
            box, score, level = clipped[good], all_scores[b][good], all_levels[b][good]
            proposals.append(box[nms(box, score, self.config.nms_iou, level)[:n_after]])
        return proposals

    def _losses(
        self, anchors: Tensor, objectness: Tensor, deltas: Tensor, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Losses of the sampled anchors: objectness and boxes."""
        logits, labels, moves, true_moves = [], [], [], []
        for b, target in enumerate(targets):
            matched = match(
                target["boxes"],
                anchors,
                foreground_iou=self.config.foreground_iou,
                background_iou=self.config.background_iou,
                rescue=True,
                ignore=target.get("ignore_boxes"),
            )
            positive, negative = sample(matched, self.config.n_sampled, self.config.positive_share)
            logits += [objectness[b, positive], objectness[b, negative]]
            labels += [torch.ones_like(logits[-2]), torch.zeros_like(logits[-1])]
            moves.append(deltas[b, positive])
            objects = target["boxes"][matched[positive]]
            true_moves.append(box_ops.encode(objects, anchors[positive], _NO_WEIGHTS))
        all_labels = torch.cat(labels)
        box_loss = nn.functional.smooth_l1_loss(
            torch.cat(moves), torch.cat(true_moves), beta=1 / 9, reduction="sum"
        )
        # Sums divided by the number instead of means: without anchors they are 0, not NaN.
        loss = nn.functional.binary_cross_entropy_with_logits(
            torch.cat(logits), all_labels, reduction="sum"
        )
        n_sampled = max(1, len(all_labels))
        return {"loss_objectness": loss / n_sampled, "loss_rpn_box_reg": box_loss / n_sampled}
