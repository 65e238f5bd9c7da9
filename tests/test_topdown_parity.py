"""Mask R-CNN against torchvision's own code, on seeded weights.

torchvision is no dependency: ``pip install --no-deps torchvision==0.28.0`` lets these tests run.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

pytest.importorskip("torchvision_on_cpu", reason="the shim of tests/ is not importable")
try:
    import torchvision_on_cpu

    torchvision_on_cpu.install()
except (ImportError, RuntimeError) as error:
    pytest.skip(f"torchvision cannot be had here ({error})", allow_module_level=True)

import torchvision.models.detection as reference
import torchvision.models.detection.roi_heads as reference_heads
import torchvision.ops.poolers
from torchvision.models import resnet50
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.misc import FrozenBatchNorm2d

from openpaf.networks import build
from openpaf.topdown.roi_pooling import find_regions, roi_align, roi_pool

KINDS = ("fasterrcnn", "maskrcnn", "keypointrcnn")
# Few proposals and small pictures; the samplers take all there is, so that chance has no part.
SMALL: dict[str, Any] = {
    "min_size": (64, 96), "max_size": 160, "rpn_pre_nms_top_n_test": 60,
    "rpn_post_nms_top_n_test": 20, "rpn_pre_nms_top_n_train": 60, "rpn_post_nms_top_n_train": 20,
    "box_score_thresh": 0.0, "box_detections_per_img": 8, "box_batch_size_per_image": 1000,
    "rpn_batch_size_per_image": 100_000, "box_positive_fraction": 1.0,
    "rpn_positive_fraction": 1.0, "box_fg_iou_thresh": 0.3, "box_bg_iou_thresh": 0.3,
}  # fmt: skip


def quick_roi_align(
    features: Tensor,
    boxes: Any,
    output_size: Any,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """torchvision's RoIAlign with 2 samples by grid_sample; its own takes a minute a picture."""
    if sampling_ratio != 2:
        return torchvision.ops.roi_align(
            features, boxes, output_size, spatial_scale, sampling_ratio, aligned
        )
    if isinstance(boxes, (list, tuple)):
        boxes = torchvision.ops._utils.convert_boxes_to_roi_format(boxes)
    size = output_size if isinstance(output_size, int) else output_size[0]
    height, width = features.shape[2:]
    image, corners = boxes[:, 0].long(), boxes[:, 1:] * spatial_scale
    step = (corners[:, 2:] - corners[:, :2]).clamp(min=1) / (2 * size)
    place = torch.arange(2 * size) + 0.5
    x = corners[:, 0, None] + place * step[:, 0, None]
    y = corners[:, 1, None] + place * step[:, 1, None]
    inside = ((y >= -1) & (y <= height))[:, :, None] & ((x >= -1) & (x <= width))[:, None, :]
    grid = torch.stack(
        [
            (2 * x / (width - 1) - 1)[:, None, :].expand(inside.shape),
            (2 * y / (height - 1) - 1)[:, :, None].expand(inside.shape),
        ],
        dim=3,
    )
    values = F.grid_sample(features[image], grid, padding_mode="border", align_corners=True)
    return F.avg_pool2d(values * inside[:, None], 2)


@pytest.fixture(scope="module", autouse=True)
def _quick_reference() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.ops.poolers, "roi_align", quick_roi_align)
        yield


def both(kind: str, **options: Any) -> tuple[Any, Any]:
    """torchvision's network and ours, with the same weights."""
    torch.manual_seed(3)
    trunk = resnet50(norm_layer=lambda n: FrozenBatchNorm2d(n, eps=0.0))
    backbone = _resnet_fpn_extractor(trunk, 5)
    make = {
        "fasterrcnn": reference.FasterRCNN,
        "maskrcnn": reference.MaskRCNN,
        "keypointrcnn": reference.KeypointRCNN,
    }[kind]
    extra = {"num_keypoints": 17} if kind == "keypointrcnn" else {}
    theirs = make(backbone, 3, **extra, **{**SMALL, **options})
    ours = build(f"{kind}_resnet50_fpn", num_classes=3, **extra, **{**SMALL, **options})
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def pictures() -> list[Tensor]:
    torch.manual_seed(5)
    return [torch.rand(3, 70, 90), torch.rand(3, 100, 80)]


def targets(kind: str) -> list[dict[str, Tensor]]:
    rows = []
    for image, corners in zip(
        pictures(), ([[5, 5, 60, 50], [30, 20, 85, 66]], [[10, 30, 70, 95]]), strict=True
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
        expected, found = theirs.eval()(pictures()), ours.eval()(pictures())
    for wanted, got in zip(expected, found, strict=True):
        assert wanted.keys() == got.keys()
        assert len(wanted["boxes"]) == 8
        for name, value in wanted.items():
            # Heights of a random network's maps are in the hundreds.
            rtol = 1e-5 if name == "keypoints_scores" else 0
            torch.testing.assert_close(got[name], value, atol=1e-4, rtol=rtol)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_equal(kind: str) -> None:
    results = []
    for network in both(kind):
        torch.manual_seed(7)  # of the sizes of the pictures
        losses = network.train()(pictures(), targets(kind))
        sum(losses.values()).backward()
        gradients = {k: p.grad for k, p in network.named_parameters() if p.grad is not None}
        results.append((losses, gradients))
    (expected, wanted), (found, got) = results
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-5)
    assert wanted.keys() == got.keys()
    for name, value in wanted.items():
        scale = value.abs().max().clamp(min=1e-6)
        assert (got[name] - value).abs().max() / scale < 1e-4, name


def test_samplers_draw_the_same_with_the_same_seed() -> None:
    limits = {
        "box_batch_size_per_image": 12, "box_positive_fraction": 0.25,
        "rpn_batch_size_per_image": 32, "rpn_positive_fraction": 0.5,
    }  # fmt: skip
    losses = []
    for network in both("fasterrcnn", **limits):
        torch.manual_seed(11)
        with torch.no_grad():
            losses.append(network.train()(pictures(), targets("fasterrcnn")))
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


def test_roi_operators_are_equal() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, 20, 24)
    low = torch.rand(6, 2) * 100
    boxes = torch.cat([low, low + 4 + torch.rand(6, 2) * 80], dim=1)
    rois = torch.cat([torch.tensor([[0], [0], [0], [0], [1], [1]]), boxes], dim=1)
    regions = find_regions([features], [8], [boxes[:4], boxes[4:]])
    wanted = torchvision.ops.roi_align(features, rois, 7, 1 / 8, 2)
    torch.testing.assert_close(roi_align(regions, 7), wanted, atol=1e-5, rtol=0)
    quick = quick_roi_align(features, rois, 7, 1 / 8, 2)
    torch.testing.assert_close(quick, wanted, atol=1e-4, rtol=0)
    assert roi_pool(regions, 7).shape == wanted.shape


def test_mask_targets_are_equal() -> None:
    from openpaf.topdown.mask_head import crop_masks

    torch.manual_seed(0)
    masks = (torch.rand(2, 60, 50) > 0.5).to(torch.uint8)
    boxes = torch.tensor([[3.0, 4, 40, 58], [10.5, 0, 49, 33.3], [1, 1, 4, 9]])
    matched = torch.tensor([0, 1, 1])
    wanted = reference_heads.project_masks_on_boxes(masks, boxes, matched, 14)
    torch.testing.assert_close(crop_masks(masks[matched], boxes, 14), wanted, atol=1e-5, rtol=0)
