"""The detector as a whole: names, ablations, equivariance, bad input."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from openpaf.errors import WeightsError
from openpaf.io.images import read_image
from openpaf.networks import build
from openpaf.networks.rcnn import BUILDERS, MaskRCNN, MaskRCNNConfig
from openpaf.networks.rcnn.mask_head import mask_loss, mask_probabilities
from openpaf.networks.rcnn.mobilenet import MobileNetV2
from openpaf.networks.rcnn.resnet import FrozenBatchNorm
from openpaf.skeleton import Skeleton
from openpaf.weights.imagenet import load_imagenet

PHOTO = Path(__file__).parent.parent / "data" / "photos" / "astronaut.jpg"
IMAGENET = Path(__file__).parent.parent.parent / "shared/weights/imagenet/mobilenet_v2_1.0.npz"
TINY: dict[str, Any] = {
    "num_classes": 3, "fpn_channels": 16, "box_channels": 16, "mask_channels": (8, 8),
    "keypoint_channels": (8, 8), "rpn_pre_nms_top_n_test": 20, "rpn_post_nms_top_n_test": 10,
    "rpn_pre_nms_top_n_train": 20, "rpn_post_nms_top_n_train": 10, "box_score_thresh": 0.0,
    "box_detections_per_img": 6, "min_size": 64, "max_size": 96, "box_batch_size_per_image": 16,
}  # fmt: skip


def tiny(name: str = "maskrcnn_mobilenet_v2_fpn", seed: int = 0, **options: Any) -> MaskRCNN:
    torch.manual_seed(seed)
    values = {"num_keypoints": 4, **TINY, **options}
    network = build(name, **values)
    assert isinstance(network, MaskRCNN)
    return network


def target(masks: bool = True) -> dict[str, Tensor]:
    row = {
        "boxes": torch.tensor([[5.0, 5, 50, 60], [30, 10, 80, 60]]),
        "labels": torch.tensor([1, 2]),
        "keypoints": torch.tensor([[20.0, 20, 2], [30, 40, 1], [99, 99, 2], [0, 0, 0]]).repeat(
            2, 1, 1
        ),
    }
    if masks:
        row["masks"] = torch.zeros(2, 64, 90, dtype=torch.uint8)
        row["masks"][:, 20:40, 30:50] = 1
    return row


# --- names and sizes


def test_published_sizes() -> None:
    network = build("keypointrcnn_resnet50_fpn")
    assert sum(p.numel() for p in network.parameters()) == 59_137_258
    assert network.roi_heads.keypoint_predictor.kps_score_lowres.out_channels == 17
    assert all(m.eps == 0 for m in network.modules() if isinstance(m, FrozenBatchNorm))


def test_keypoints_follow_the_skeleton_and_the_arguments() -> None:
    name = "keypointrcnn_mobilenet_v2_fpn"
    assert build(name, Skeleton.COCO18).config.num_keypoints == 18
    network = build(name, num_classes=5, num_keypoints=3, box_score_thresh=0.3)
    assert (network.config.num_classes, network.config.num_keypoints) == (5, 3)
    size = sum(p.numel() for p in build(name).parameters())
    assert 2 * size < 20e6  # bytes in float16


def test_old_keys_are_renamed_to_those_of_the_network() -> None:
    keys = set(build("maskrcnn_resnet50_fpn").state_dict())
    old = {
        "backbone.fpn.inner_blocks.0.weight": "backbone.fpn.inner_blocks.0.0.weight",
        "backbone.fpn.layer_blocks.3.bias": "backbone.fpn.layer_blocks.3.0.bias",
        "rpn.head.conv.weight": "rpn.head.conv.0.0.weight",
        "roi_heads.mask_head.mask_fcn4.bias": "roi_heads.mask_head.3.0.bias",
    }
    for key, wanted in old.items():
        renamed = key
        for pattern, replacement in MaskRCNN.RENAMES:
            renamed = re.sub(pattern, replacement, renamed)
        assert renamed == wanted
        assert wanted in keys
    for key in keys:  # new keys stay
        for pattern, _ in MaskRCNN.RENAMES:
            assert not re.search(pattern, key)


# --- ablations


@pytest.mark.parametrize(
    "options",
    [
        {"roi": "pool"},
        {"roi": "warp"},
        {"mask_activation": "softmax"},
        {"mask_head": "mlp"},
        {"num_keypoints": 0},
        {"masks": False},
        {"masks": False, "num_keypoints": 0},
    ],
)
def test_every_choice_detects_and_learns(options: dict[str, Any]) -> None:
    network = tiny(**options)
    image = torch.rand(3, 64, 90)
    losses = network.train()([image], [target()])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.no_grad():
        found = network.eval()([image])[0]
    assert ("loss_mask" in losses) == ("masks" in found) == options.get("masks", True)
    with_joints = options.get("num_keypoints", 4) > 0
    assert ("loss_keypoint" in losses) == ("keypoints" in found) == with_joints
    assert ("keypoints_scores" in found) == with_joints
    n = len(found["boxes"])
    assert n > 0
    if "masks" in found:
        assert found["masks"].shape == (n, 1, 64, 90)
        assert 0 <= found["masks"].min() <= found["masks"].max() <= 1
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name


def test_c4_and_fpn_backbones() -> None:
    network = tiny("maskrcnn_resnet50_c4")
    losses = network.train()([torch.rand(3, 64, 90)], [target()])
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.no_grad():
        found = network.eval()([torch.rand(3, 64, 90)])[0]
    assert found["masks"].shape[1:] == (1, 64, 90)
    assert network.rpn.head.cls_logits.out_channels == 15  # five sizes of three shapes
    assert tiny().rpn.head.cls_logits.out_channels == 3
    assert tiny(backbone="resnet50_c4").config.backbone == "resnet50_c4"


def test_softmax_masks_compete_and_sigmoid_masks_do_not() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels, masks = torch.tensor([1, 2]), (torch.rand(2, 4, 4) > 0.5).float()
    mask_loss(logits, masks, labels, "sigmoid").backward()
    assert logits.grad is not None
    assert logits.grad[0, [0, 2]].abs().max() == 0  # the other classes' maps do not count
    logits.grad = None
    mask_loss(logits, masks, labels, "softmax").backward()
    assert (logits.grad.abs().amax(dim=(2, 3)) > 0).all()
    everything = torch.stack(
        [mask_probabilities(logits, torch.full((2,), c), "softmax") for c in range(3)]
    )
    torch.testing.assert_close(everything.sum(dim=0), torch.ones(2, 1, 4, 4))


# --- equivariance


def scene(size: int, x: int, y: int, side: int = 64) -> Tensor:
    """Random texture on a ground that the network's normalization makes zero."""
    torch.manual_seed(1)
    image = torch.full((3, size, size), 0.5)
    image[:, y : y + side, x : x + side] = torch.rand(3, side, side)
    return image


def shifted_detections(shift: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    # Without biases an empty ground gives zero features, so nothing but the texture is seen.
    network = tiny(min_size=512, max_size=512, anchor_sizes=(8, 16, 24, 32, 48)).eval()
    with torch.no_grad():
        for head in (network.rpn.head.cls_logits, network.rpn.head.bbox_pred):
            head.weight.mul_(5)
        still, moved = (network([scene(512, 192 + dx, 192)])[0] for dx in (0, shift))
    return still, moved


@pytest.mark.parametrize("shift", [64, 128])
def test_a_shift_of_the_image_shifts_boxes_masks_and_joints(shift: int) -> None:
    still, moved = shifted_detections(shift)
    assert len(still["boxes"]) == len(moved["boxes"]) == 6
    along = torch.tensor([shift, 0.0, shift, 0.0])
    torch.testing.assert_close(moved["boxes"], still["boxes"] + along, atol=0.05, rtol=0)
    torch.testing.assert_close(moved["scores"], still["scores"], atol=1e-3, rtol=0)
    assert torch.equal(moved["labels"], still["labels"])
    masks = torch.roll(still["masks"], shift, dims=3)
    assert (moved["masks"] - masks).abs().mean() < 1e-3
    assert masks.amax() > 0.1
    joints = still["keypoints"] + torch.tensor([shift, 0.0, 0.0])
    distance = (moved["keypoints"] - joints)[..., :2].norm(dim=2)
    assert distance.median() < 0.1


def test_a_larger_image_gives_larger_boxes_masks_and_joints() -> None:
    network = tiny(min_size=128, max_size=128).eval()
    small = scene(128, 32, 32)
    large = small.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    with torch.no_grad():
        one, two = network([small])[0], network([large])[0]
    torch.testing.assert_close(two["boxes"], 2 * one["boxes"], atol=1e-3, rtol=0)
    torch.testing.assert_close(two["scores"], one["scores"], atol=1e-4, rtol=0)
    torch.testing.assert_close(
        two["keypoints"][..., :2], 2 * one["keypoints"][..., :2], atol=1e-3, rtol=0
    )
    shrunk = torch.nn.functional.avg_pool2d(two["masks"], 2)
    assert (shrunk - one["masks"]).abs().mean() < 0.02


def test_an_image_of_a_batch_is_found_as_alone() -> None:
    network = tiny().eval()
    torch.manual_seed(2)
    images = [torch.rand(3, 64, 90), torch.rand(3, 64, 90)]
    with torch.no_grad():
        together, alone = network(images)[1], network(images[1:])[0]
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=1e-4, rtol=1e-4)


# --- targets with less than everything


def test_images_without_people_are_background() -> None:
    network = tiny().train()
    nobody = {
        "boxes": torch.empty(0, 4), "labels": torch.empty(0, dtype=torch.int64),
        "keypoints": torch.empty(0, 4, 3), "masks": torch.empty(0, 64, 90, dtype=torch.uint8),
    }  # fmt: skip
    losses = network([torch.rand(3, 64, 90)], [nobody])
    assert losses["loss_box_reg"] == losses["loss_mask"] == losses["loss_keypoint"] == 0
    assert losses["loss_objectness"] > 0
    sum(losses.values()).backward()


@pytest.mark.parametrize("roi", ["align", "pool", "warp"])
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("maskrcnn_mobilenet_v2_fpn", {}),
        ("maskrcnn_mobilenet_v2_fpn", {"mask_head": "mlp"}),
        ("maskrcnn_resnet50_c4", {"num_keypoints": 0}),
    ],
)
def test_without_a_proposal_nothing_is_lost_and_nothing_found(
    name: str, more: dict[str, Any], roi: str
) -> None:
    network = tiny(name, rpn_score_thresh=1.0, roi=roi, **more)  # which none reaches
    nobody = {
        "boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64),
        "keypoints": torch.zeros(0, 4, 3), "masks": torch.zeros(0, 64, 90, dtype=torch.uint8),
        "ignore_boxes": torch.tensor([[0.0, 0, 90, 64]]),
    }  # fmt: skip
    losses = network.train().losses([torch.rand(3, 64, 90)], [nobody], resize=False)
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    inside = [name for name in losses if name not in ("loss_objectness", "loss_rpn_box_reg")]
    assert [losses[name].item() for name in inside] == [0.0] * len(inside)
    assert torch.isfinite(total)
    with torch.inference_mode():
        found = network.eval().detect([torch.rand(3, 64, 90)])[0]
    assert {len(values) for values in found.values()} == {0}
    assert found["masks"].shape == (0, 1, 64, 90)
    if network.config.num_keypoints:
        assert found["keypoints"].shape == (0, 4, 3)


def test_without_an_anchor_to_look_at_nothing_is_lost() -> None:
    network = tiny().train()
    everywhere = {**target(), "ignore_boxes": torch.tensor([[-500.0, -500, 500, 500]])}
    nobody = {name: values[:0] for name, values in target().items()}
    nobody["ignore_boxes"] = everywhere["ignore_boxes"]
    losses = network.losses([torch.rand(3, 64, 90)], [nobody], resize=False)
    assert all(torch.isfinite(value) for value in losses.values())
    assert losses["loss_objectness"].item() == 0


def test_people_without_a_mask_do_not_teach_masks() -> None:
    network = tiny().train()
    image = torch.rand(3, 64, 90)

    def loss(labeled: list[bool], masks: Tensor) -> Tensor:
        torch.manual_seed(4)
        row = {**target(), "masks": masks, "masks_labeled": torch.tensor(labeled)}
        return network([image], [row])["loss_mask"]

    masks, other = target()["masks"], target()["masks"].clone()
    other[1] = 1
    assert loss([True, True], masks) != loss([True, True], other)
    assert loss([True, False], masks) == loss([True, False], other)
    assert loss([False, False], masks) == 0


def test_ignored_regions_are_no_background() -> None:
    network = tiny(rpn_batch_size_per_image=10_000).train()
    image = torch.rand(3, 64, 90)
    with torch.no_grad():
        network.rpn.head.cls_logits.bias.fill_(3.0)  # everything is called an object
    plain = network([image], [target()])["loss_objectness"]
    everywhere = {**target(), "ignore_boxes": torch.tensor([[-500.0, -500, 600, 600]])}
    assert network([image], [everywhere])["loss_objectness"] < 0.2 < plain


# --- MobileNetV2 of ImageNet


def test_imagenet_weights_see_what_they_were_trained_on() -> None:
    if not IMAGENET.is_file():
        pytest.skip("../shared/weights is not there")
    import cv2

    trunk = MobileNetV2()
    load_imagenet(trunk, IMAGENET)
    photo = cv2.resize(read_image(PHOTO), (224, 224), interpolation=cv2.INTER_AREA)
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1
    likeness = []
    for block in trunk.blocks:
        layer = block.project

        def compare(layer: Any, inputs: Any) -> None:
            seen = layer.conv(inputs[0]).mean(dim=(0, 2, 3))
            likeness.append(np.corrcoef(seen.numpy(), layer.norm.running_mean.numpy())[0, 1])

        layer.register_forward_pre_hook(compare)
    with torch.no_grad():
        stages = trunk(image)
    assert [tuple(s.shape[1:]) for s in stages] == [
        (24, 56, 56), (32, 28, 28), (96, 14, 14), (320, 7, 7),
    ]  # fmt: skip
    # The means of the photo's features are those that ImageNet's photos had.
    assert min(likeness) > 0.8, likeness


def test_bad_imagenet_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.npz: cannot be read"):
        load_imagenet(MobileNetV2(), tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(WeightsError, match=r"not MobileNetV2 of ImageNet.*Conv_weights"):
        load_imagenet(MobileNetV2(), tmp_path / "other.npz")


# --- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "vgg"}, "backbone: expected one of resnet50_fpn"),
        ({"roi": "mean"}, "roi: expected one of align, pool, warp"),
        ({"mask_head": "rnn"}, "mask_head: expected one of fcn, mlp"),
        ({"mask_activation": "relu"}, "mask_activation: expected one of"),
        ({"num_classes": 1}, "num_classes: expected a number >= 2, got 1"),
        ({"num_keypoints": -1}, "num_keypoints: expected a number >= 0, got -1"),
        ({"min_size": 900, "max_size": 800}, "min_size, max_size: expected"),
        ({"anchor_sizes": (32, 64)}, "anchor_sizes: expected 5"),
        ({"box_nms_thresh": 1.5}, "box_nms_thresh: expected a number from 0 to 1, got 1.5"),
        ({"box_detections_per_img": 0}, "box_detections_per_img: expected a number >= 1, got 0"),
        ({"mask_channels": ()}, "mask_channels: expected a number >= 1, got 0"),
    ],
)
def test_bad_choices(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskRCNNConfig(**options)


def test_unknown_names_and_arguments() -> None:
    with pytest.raises(ValueError, match=r"network: expected one of .*maskrcnn_resnet50_fpn"):
        build("maskrcnn_vgg")
    with pytest.raises(ValueError, match=r"maskrcnn_resnet50_fpn: .*'depth'"):
        build("maskrcnn_resnet50_fpn", depth=3)
    assert len(BUILDERS) == 15


def test_bad_images_and_targets() -> None:
    network = tiny()
    image = torch.rand(3, 64, 90)
    with pytest.raises(ValueError, match=r"images\[1\]: expected float \(3, H, W\).*uint8"):
        network.eval()([image, torch.zeros(3, 64, 90, dtype=torch.uint8)])
    with pytest.raises(ValueError, match="images: expected at least one"):
        network([])
    network.train()
    with pytest.raises(ValueError, match="targets: expected one per image"):
        network([image])
    with pytest.raises(ValueError, match="targets: expected 1, one per image, got 2"):
        network([image], [target(), target()])
    with pytest.raises(ValueError, match=r"targets\[0\]: expected the key 'masks'"):
        network([image], [target(masks=False)])
    flat = target()
    flat["boxes"][1, 2] = flat["boxes"][1, 0]
    with pytest.raises(ValueError, match=r"positive height and width, got \[30.0, 10.0, 30.0"):
        network([image], [flat])
    with pytest.raises(ValueError, match=r"'keypoints'\]: expected shape \(2, 4, 3\)"):
        network([image], [{**target(), "keypoints": torch.zeros(2, 5, 3)}])
