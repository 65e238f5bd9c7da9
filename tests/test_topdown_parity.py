"""Mask R-CNN against torchvision's own code, on seeded weights.

torchvision is no dependency: ``pip install --no-deps torchvision==0.28.0`` lets these tests run.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("torchvision_on_cpu", reason="the shim of tests/ is not importable")
try:
    import torchvision_on_cpu

    torchvision_on_cpu.install()
except (ImportError, RuntimeError) as error:
    pytest.skip(f"torchvision cannot be had here ({error})", allow_module_level=True)

import torchvision.models.detection as reference
import torchvision.models.detection.roi_heads as reference_heads
import torchvision.ops
from torchvision.models import resnet50
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.misc import FrozenBatchNorm2d

from openpaf.networks import build
from openpaf.networks.rcnn.roi_pooling import find_regions, roi_align

KINDS = ("fasterrcnn", "maskrcnn", "keypointrcnn")
# Few proposals and small images; the samplers take all there is, so that chance has no part.
SMALL: dict[str, Any] = {
    "min_size": (48, 64), "max_size": 96, "rpn_pre_nms_top_n_test": 60,
    "rpn_post_nms_top_n_test": 16, "rpn_pre_nms_top_n_train": 60, "rpn_post_nms_top_n_train": 16,
    "box_score_thresh": 0.0, "box_detections_per_img": 8, "box_batch_size_per_image": 1000,
    "rpn_batch_size_per_image": 100_000, "box_positive_fraction": 1.0,
    "rpn_positive_fraction": 1.0, "box_fg_iou_thresh": 0.3, "box_bg_iou_thresh": 0.3,
}  # fmt: skip


def both(kind: str, **options: Any) -> tuple[Any, Any]:
    """torchvision's network and ours, with the same weights; their heads narrow, to be quick."""
    torch.manual_seed(3)
    trunk = resnet50(norm_layer=lambda n: FrozenBatchNorm2d(n, eps=0.0))
    for name, module in trunk.named_modules():
        if name.endswith("bn3"):
            module.weight.fill_(0.2)  # or a random ResNet's features grow with every block
    backbone = _resnet_fpn_extractor(trunk, 5)
    parts: dict[str, Any] = {
        "box_head": reference.faster_rcnn.TwoMLPHead(256 * 49, 32),
        "box_predictor": reference.faster_rcnn.FastRCNNPredictor(32, 3),
    }
    if kind == "maskrcnn":
        parts["mask_head"] = reference.mask_rcnn.MaskRCNNHeads(256, (16,) * 4, 1)
        parts["mask_predictor"] = reference.mask_rcnn.MaskRCNNPredictor(16, 16, 3)
    if kind == "keypointrcnn":
        parts["keypoint_head"] = reference.keypoint_rcnn.KeypointRCNNHeads(256, (16,) * 8)
        parts["keypoint_predictor"] = reference.keypoint_rcnn.KeypointRCNNPredictor(16, 17)
    make = {"fasterrcnn": "FasterRCNN", "maskrcnn": "MaskRCNN", "keypointrcnn": "KeypointRCNN"}
    theirs = getattr(reference, make[kind])(backbone, None, **parts, **{**SMALL, **options})
    widths = {"box_channels": 32, "mask_channels": (16,) * 4, "keypoint_channels": (16,) * 8}
    ours = build(f"{kind}_resnet50_fpn", num_classes=3, **widths, **{**SMALL, **options})
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def images() -> list[Tensor]:
    torch.manual_seed(5)
    return [torch.rand(3, 70, 90), torch.rand(3, 100, 80)]


def targets(kind: str) -> list[dict[str, Tensor]]:
    rows = []
    for image, corners in zip(
        images(), ([[5, 5, 60, 50], [30, 20, 85, 66]], [[10, 30, 70, 95]]), strict=True
    ):
        boxes = torch.tensor(corners, dtype=torch.float32)
        row = {"boxes": boxes, "labels": torch.arange(len(boxes)) + 1}
        if kind == "maskrcnn":
            masks = torch.zeros(len(boxes), *image.shape[1:], dtype=torch.uint8)
            for mask, (x0, y0, x1, y1) in zip(masks, corners, strict=True):
                mask[y0 + 3 : y1 - 6, x0 + 5 : x1 - 2] = 1
            row["masks"] = masks
        if kind == "keypointrcnn":
            keypoints = torch.rand(len(boxes), 17, 3)
            low, high = boxes[:, None, :2], boxes[:, None, 2:]
            keypoints[..., :2] = low + keypoints[..., :2] * (high - low)
            keypoints[..., 2] = (keypoints[..., 2] * 3).floor()
            row["keypoints"] = keypoints
        rows.append(row)
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_detections_are_equal(kind: str) -> None:
    theirs, ours = both(kind)
    with torch.no_grad():
        expected, found = theirs.eval()(images()), ours.eval()(images())
    for wanted, got in zip(expected, found, strict=True):
        assert wanted.keys() == got.keys()
        assert len(wanted["boxes"]) == 8
        for name, value in wanted.items():
            torch.testing.assert_close(got[name], value, atol=1e-4, rtol=0, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_equal(kind: str) -> None:
    """In double precision: in single, which activations are above zero differs by processor."""
    people = [{**row, "boxes": row["boxes"].double()} for row in targets(kind)]
    results = []
    for network in both(kind):
        torch.manual_seed(7)  # of the sizes of the images
        losses = network.double().train()([image.double() for image in images()], people)
        sum(losses.values()).backward()
        gradients = {k: p.grad for k, p in network.named_parameters() if p.grad is not None}
        results.append((losses, gradients))
    (expected, wanted), (found, got) = results
    assert expected.keys() == found.keys()
    for name, value in expected.items():  # one of torchvision's is in single precision all the same
        torch.testing.assert_close(found[name].double(), value.double(), atol=1e-6, rtol=1e-5)
    assert wanted.keys() == got.keys()
    for name, value in wanted.items():
        scale = value.abs().max().clamp(min=1e-3)  # some are zero but for rounding
        assert (got[name] - value).abs().max() / scale < 1e-5, name


def test_samplers_draw_the_same_with_the_same_seed() -> None:
    limits = {
        "box_batch_size_per_image": 12, "box_positive_fraction": 0.25,
        "rpn_batch_size_per_image": 32, "rpn_positive_fraction": 0.5,
    }  # fmt: skip
    losses = []
    for network in both("fasterrcnn", **limits):
        torch.manual_seed(11)
        with torch.no_grad():
            losses.append(network.train()(images(), targets("fasterrcnn")))
    for name, value in losses[0].items():
        torch.testing.assert_close(losses[1][name], value, atol=1e-4, rtol=1e-5)


def test_the_published_arguments_are_the_defaults() -> None:
    for kind in KINDS:
        theirs = getattr(reference, f"{kind}_resnet50_fpn")(weights=None, weights_backbone=None)
        ours = build(f"{kind}_resnet50_fpn")
        wanted = {
            k: v.shape for k, v in theirs.state_dict().items() if "num_batches_tracked" not in k
        }
        assert wanted == {k: v.shape for k, v in ours.state_dict().items()}
        assert tuple(theirs.transform.min_size) == ours.transform.min_size
        assert theirs.transform.max_size == ours.transform.max_size


def test_roi_align_is_equal() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, 20, 24)
    low = torch.rand(6, 2) * 100
    boxes = torch.cat([low, low + 4 + torch.rand(6, 2) * 80], dim=1)
    rois = torch.cat([torch.tensor([[0], [0], [0], [0], [1], [1]]), boxes], dim=1)
    regions = find_regions([features], [8], [boxes[:4], boxes[4:]])
    wanted = torchvision.ops.roi_align(features, rois, 7, 1 / 8, 2)
    torch.testing.assert_close(roi_align(regions, 7), wanted, atol=1e-5, rtol=0)


def test_mask_targets_are_equal() -> None:
    from openpaf.networks.rcnn.mask_head import crop_masks

    torch.manual_seed(0)
    masks = (torch.rand(2, 60, 50) > 0.5).to(torch.uint8)
    boxes = torch.tensor([[3.0, 4, 40, 58], [10.5, 0, 49, 33.3], [1, 1, 4, 9]])
    matched = torch.tensor([0, 1, 1])
    wanted = reference_heads.project_masks_on_boxes(masks, boxes, matched, 14)
    torch.testing.assert_close(crop_masks(masks[matched], boxes, 14), wanted, atol=1e-5, rtol=0)
