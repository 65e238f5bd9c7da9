"""The heads on proposals: classes and boxes, then masks and joints of the detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from openpaf.networks.rcnn.box_head import (
    BoxPredictor,
    C4Head,
    TwoLayerHead,
    box_losses,
    find_boxes,
)
from openpaf.networks.rcnn.config import MaskRCNNConfig
from openpaf.networks.rcnn.keypoint_head import (
    KeypointHead,
    KeypointPredictor,
    find_keypoints,
    keypoint_loss,
    peak_probabilities,
)
from openpaf.networks.rcnn.mask_head import (
    MaskHead,
    MaskPredictor,
    MLPMaskPredictor,
    crop_masks,
    mask_loss,
    mask_probabilities,
)
from openpaf.networks.rcnn.matching import match, sample
from openpaf.networks.rcnn.roi_pooling import pool_regions
from openpaf.networks.rcnn.transform import Detection, Images, Target

_BOX_SIZE, _FINE_SIZE = 7, 14  # bins of a region for the box head, and for masks and joints


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Proposals of one image, sampled for the losses.

    Args:
        boxes: (N, 4) in px.
        matched: (N,) index of the assigned object; -1 for background.
        labels: (N,) its class; 0 for background.
        objects: (N, 4) its box in px; undefined for background.
    """

    boxes: Tensor
    matched: Tensor
    labels: Tensor
    objects: Tensor


class RoIHeads(nn.Module):
    """Box head, and mask and keypoint heads where the configuration has them.

    Args:
        config: The options.
        n_channels: Channels of the features.
        strides: Strides in px of the levels from which regions are pooled.
    """

    def __init__(self, config: MaskRCNNConfig, n_channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.config, self.strides = config, tuple(strides)
        self.c4 = config.backbone.endswith("_c4")
        self.box_head: C4Head | TwoLayerHead
        if self.c4:
            self.box_head = C4Head(n_channels, config.norm_eps)
        else:
            self.box_head = TwoLayerHead(n_channels * _BOX_SIZE**2, config.box_channels)
        self.box_predictor = BoxPredictor(self.box_head.out_channels, config.num_classes)
        if config.masks:
            self._add_mask_head(n_channels)
        if config.num_keypoints:
            self.keypoint_head = KeypointHead(n_channels, config.keypoint_channels)
            self.keypoint_predictor = KeypointPredictor(
                config.keypoint_channels[-1], config.num_keypoints
            )

    def _add_mask_head(self, n_channels: int) -> None:
        channels, n_classes = self.config.mask_channels, self.config.num_classes
        self.mask_head: nn.Module = nn.Identity()
        self.mask_predictor: nn.Module
        if self.config.mask_head == "fcn":
            self.mask_head = MaskHead(n_channels, channels)
            self.mask_predictor = MaskPredictor(channels[-1], channels[-1], n_classes)
        else:
            width = self.config.box_channels
            self.mask_predictor = MLPMaskPredictor(n_channels, _FINE_SIZE, width, n_classes)

    def train_step(
        self, features: Sequence[Tensor], proposals: Sequence[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """The losses of all heads on sampled proposals."""
        samples = [self._sample(*pair) for pair in zip(proposals, targets, strict=True)]
        scores, deltas = self._boxes(features, [sampled.boxes for sampled in samples])
        losses = box_losses(
            scores,
            deltas,
            torch.cat([sampled.boxes for sampled in samples]),
            torch.cat([sampled.labels for sampled in samples]),
            torch.cat([sampled.objects for sampled in samples]),
        )
        positive = [_only(sampled, sampled.labels > 0) for sampled in samples]
        if self.config.masks:
            losses["loss_mask"] = self._mask_loss(features, positive, targets)
        if self.config.num_keypoints:
            losses["loss_keypoint"] = self._keypoint_loss(features, positive, targets)
        return losses

    def detect(
        self, features: Sequence[Tensor], proposals: Sequence[Tensor], images: Images
    ) -> list[Detection]:
        """The objects of each image: boxes, then masks and joints inside them."""
        scores, deltas = self._boxes(features, proposals)
        detections = find_boxes(
            scores,
            deltas,
            proposals,
            images.sizes_hw,
            min_score=self.config.box_score_thresh,
            nms_iou=self.config.box_nms_thresh,
            n_detections=self.config.box_detections_per_img,
        )
        boxes = [detection["boxes"] for detection in detections]
        counts = [len(some) for some in boxes]
        if self.config.masks:
            labels = torch.cat([detection["labels"] for detection in detections])
            logits = self._mask_logits(features, boxes)
            masks = mask_probabilities(logits, labels, self.config.mask_activation)
            for detection, some in zip(detections, masks.split(counts), strict=True):
                detection["masks"] = some
        if self.config.num_keypoints:
            logits = self._keypoint_logits(features, boxes)
            keypoints, heights = find_keypoints(logits, torch.cat(boxes))
            parts = {
                "keypoints": keypoints,
                "keypoints_scores": heights,
                "keypoints_probabilities": peak_probabilities(logits),
            }
            for name, values in parts.items():
                for detection, some in zip(detections, values.split(counts), strict=True):
                    detection[name] = some
        return detections

    @torch.no_grad()
    def _sample(self, proposals: Tensor, target: Target) -> Sampled:
        """Sampled proposals and true boxes, each with its assigned object."""
        objects = target["boxes"]
        boxes = torch.cat([proposals, objects])
        matched = match(
            objects,
            boxes,
            foreground_iou=self.config.box_fg_iou_thresh,
            background_iou=self.config.box_bg_iou_thresh,
            ignore=target.get("ignore_boxes"),
        )
        share = self.config.box_positive_fraction
        drawn = sample(matched, self.config.box_batch_size_per_image, share)
        chosen = torch.cat(drawn).sort().values
        boxes, matched = boxes[chosen], matched[chosen]
        positive = matched >= 0
        labels = torch.zeros_like(matched)
        labels[positive] = target["labels"][matched[positive]]
        own = boxes.clone()
        own[positive] = objects[matched[positive]]
        return Sampled(boxes=boxes, matched=matched, labels=labels, objects=own)

    def _pool(self, features: Sequence[Tensor], boxes: Sequence[Tensor], size: int) -> Tensor:
        levels = features[: len(self.strides)]
        return pool_regions(levels, self.strides, boxes, size=size, method=self.config.roi)

    def _boxes(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        # The last stage of a C4 network halves the resolution of its input.
        size = _FINE_SIZE if self.c4 else _BOX_SIZE
        scores, deltas = self.box_predictor(self.box_head(self._pool(features, boxes, size)))
        return scores, deltas

    def _mask_logits(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        regions = self._pool(features, boxes, _FINE_SIZE)
        logits: Tensor = self.mask_predictor(self.mask_head(regions))
        return logits

    def _keypoint_logits(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        regions = self._pool(features, boxes, _FINE_SIZE)
        logits: Tensor = self.keypoint_predictor(self.keypoint_head(regions))
        return logits

    def _mask_loss(
        self, features: Sequence[Tensor], samples: Sequence[Sampled], targets: Sequence[Target]
    ) -> Tensor:
        """Loss over the objects with a mask, by ``masks_labeled``; all objects without that key."""
        labeled = [
            _only(sampled, target["masks_labeled"][sampled.matched])
            if "masks_labeled" in target
            else sampled
            for sampled, target in zip(samples, targets, strict=True)
        ]
        logits = self._mask_logits(features, [sampled.boxes for sampled in labeled])
        size = logits.shape[-1]
        masks = torch.cat(
            [
                crop_masks(target["masks"][sampled.matched], sampled.boxes, size)
                if len(sampled.boxes)
                else logits.new_zeros(0, size, size)
                for sampled, target in zip(labeled, targets, strict=True)
            ]
        )
        labels = torch.cat([sampled.labels for sampled in labeled])
        return mask_loss(logits, masks, labels, self.config.mask_activation)

    def _keypoint_loss(
        self, features: Sequence[Tensor], samples: Sequence[Sampled], targets: Sequence[Target]
    ) -> Tensor:
        logits = self._keypoint_logits(features, [sampled.boxes for sampled in samples])
        keypoints = [
            target["keypoints"][sampled.matched]
            for sampled, target in zip(samples, targets, strict=True)
        ]
        boxes = torch.cat([sampled.boxes for sampled in samples])
        return keypoint_loss(logits, torch.cat(keypoints), boxes)


def _only(sampled: Sampled, chosen: Tensor) -> Sampled:
    return Sampled(
        boxes=sampled.boxes[chosen],
        matched=sampled.matched[chosen],
        labels=sampled.labels[chosen],
        objects=sampled.objects[chosen],
    )
