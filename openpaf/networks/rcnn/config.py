"""Options of a detector; the defaults are those of the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real

from openpaf.checks import check_choice, check_number, check_numbers
from openpaf.networks.rcnn.backbone import BACKBONES
from openpaf.networks.rcnn.roi_pooling import METHODS

# numpy's numbers are of these types, too.
_TYPES: dict[str, type] = {"int": Integral, "bool": bool, "str": str, "float": Real}
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class MaskRCNNConfig:
    """Options of a detector.

    Args:
        backbone: ``"resnet50_fpn"``, ``"resnet101_fpn"``, ``"mobilenet_v2_fpn"``,
            ``"resnet50_c4"`` or ``"resnet101_c4"``.
        num_classes: Number of classes, with background as class 0.
        masks: Whether there is a mask head.
        num_keypoints: Number of joints of the keypoint head; 0 for none. Without masks and
            keypoints the detector is Faster R-CNN.
        roi: Pooling of regions: ``"align"``, ``"pool"``, or ``"warp"``, which rounds the region as
            ``"pool"`` and then interpolates as ``"align"``.
        mask_activation: ``"sigmoid"`` per class, or ``"softmax"`` across classes.
        mask_head: ``"fcn"`` (convolutions) or ``"mlp"`` (fully connected).
        fpn_channels: Channels of the feature pyramid.
        box_channels: Channels of the box head's two layers; not used with C4 backbones.
        mask_channels: Channels of the mask head's convolutions; the last is that of the MLP.
        keypoint_channels: Channels of the keypoint head's convolutions.
        norm_eps: Epsilon of a ResNet's frozen batch norms; 0 in the published detectors.
        min_size: Short side in px of the network's input; of several, training uses one at
            random, and detection the last.
        max_size: Largest long side in px.
        image_mean: Subtracted from RGB values of 0 to 1; ImageNet's, or 0.5 for MobileNetV2.
        image_std: The difference is divided by this.
        anchor_sizes: Square roots of the anchors' areas in px, one per level of a pyramid.
        rpn_pre_nms_top_n_train: Best anchors of a level that are used in training.
        rpn_pre_nms_top_n_test: The same in detection.
        rpn_post_nms_top_n_train: Proposals of an image in training.
        rpn_post_nms_top_n_test: The same in detection.
        rpn_nms_thresh: Largest IoU of two proposals.
        rpn_fg_iou_thresh: An anchor with at least this IoU with an object is assigned to it.
        rpn_bg_iou_thresh: An anchor with a lower IoU with all objects is background.
        rpn_batch_size_per_image: Number of anchors sampled for the loss.
        rpn_positive_fraction: Largest share of objects among them.
        rpn_score_thresh: Smallest objectness of a proposal.
        box_score_thresh: Detections have a score above this.
        box_nms_thresh: Largest IoU of two detections of a class.
        box_detections_per_img: Maximum number of detections of an image.
        box_fg_iou_thresh: A proposal with at least this IoU with an object is assigned to it.
        box_bg_iou_thresh: A proposal with a lower IoU with all objects is background.
        box_batch_size_per_image: Number of proposals sampled for the loss.
        box_positive_fraction: Largest share of objects among them.

    Raises:
        ValueError: If an option is unknown or out of range.

    Reference:
        He et al., Mask R-CNN, ICCV 2017, tables 2 and 5 (ablations of the options).
    """

    backbone: str = "resnet50_fpn"
    num_classes: int = 91
    masks: bool = False
    num_keypoints: int = 0
    roi: str = "align"
    mask_activation: str = "sigmoid"
    mask_head: str = "fcn"
    fpn_channels: int = 256
    box_channels: int = 1024
    mask_channels: Sequence[int] = (256,) * 4
    keypoint_channels: Sequence[int] = (512,) * 8
    norm_eps: float = 0.0
    min_size: int | Sequence[int] = 800
    max_size: int = 1333
    image_mean: Sequence[float] | None = None
    image_std: Sequence[float] | None = None
    anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512)
    rpn_pre_nms_top_n_train: int = 2000
    rpn_pre_nms_top_n_test: int = 1000
    rpn_post_nms_top_n_train: int = 2000
    rpn_post_nms_top_n_test: int = 1000
    rpn_nms_thresh: float = 0.7
    rpn_fg_iou_thresh: float = 0.7
    rpn_bg_iou_thresh: float = 0.3
    rpn_batch_size_per_image: int = 256
    rpn_positive_fraction: float = 0.5
    rpn_score_thresh: float = 0.0
    box_score_thresh: float = 0.05
    box_nms_thresh: float = 0.5
    box_detections_per_img: int = 100
    box_fg_iou_thresh: float = 0.5
    box_bg_iou_thresh: float = 0.5
    box_batch_size_per_image: int = 512
    box_positive_fraction: float = 0.25

    def __post_init__(self) -> None:
        self._check_types()
        sizes = (self.min_size,) if isinstance(self.min_size, int) else tuple(self.min_size)
        object.__setattr__(self, "min_size", sizes)
        plain = self.backbone == "mobilenet_v2_fpn"
        mean, std = ((0.5,) * 3, (0.5,) * 3) if plain else (_IMAGENET_MEAN, _IMAGENET_STD)
        object.__setattr__(self, "image_mean", tuple(self.image_mean or mean))
        object.__setattr__(self, "image_std", tuple(self.image_std or std))
        normalization = (self.image_mean, self.image_std)
        if any(len(v) != 3 for v in normalization if v) or min(self.image_std or (1,)) <= 0:
            raise ValueError(
                "image_mean, image_std: expected three numbers each, the latter above 0, got "
                f"{self.image_mean} and {self.image_std}"
            )
        choices = {
            "backbone": BACKBONES,
            "roi": METHODS,
            "mask_activation": ("sigmoid", "softmax"),
            "mask_head": ("fcn", "mlp"),
        }
        for name, known in choices.items():
            check_choice(name, getattr(self, name), known)
        check_numbers(self, ("num_classes",), least=2)  # background is one
        check_numbers(self, ("num_keypoints",), least=0)
        if not sizes or min(sizes) < 1 or self.max_size < max(sizes):
            raise ValueError(
                f"min_size, max_size: expected 1 <= min_size <= max_size, got {sizes} "
                f"and {self.max_size}"
            )
        if self.backbone.endswith("_fpn") and len(self.anchor_sizes) != 5:
            raise ValueError(f"anchor_sizes: expected 5, got {len(self.anchor_sizes)}")
        for entry in fields(self):
            name, value = entry.name, getattr(self, entry.name)
            if name.endswith(("thresh", "fraction")):
                check_numbers(self, (name,), least=0, most=1)
            if "top_n" in name or "_per_im" in name or "_channels" in name:
                check_number(name, min(value, default=0) if isinstance(value, Sequence) else value,
                             least=1)  # fmt: skip

    def _check_types(self) -> None:
        """Refuse values of other types than annotated, as they may come from a file."""
        for entry in fields(self):
            value, kind = getattr(self, entry.name), str(entry.type)
            plain = _TYPES.get(kind)
            if plain and (
                not isinstance(value, plain) or isinstance(value, bool) != (kind == "bool")
            ):
                raise ValueError(f"{entry.name}: expected {kind}, got {value!r}")
            if kind == "int | Sequence[int]" and isinstance(value, Integral):
                continue
            if "Sequence[int]" in kind and not (
                isinstance(value, Sequence) and all(isinstance(n, Integral) for n in value)
            ):
                raise ValueError(f"{entry.name}: expected whole numbers, got {value!r}")
            if "Sequence[float]" in kind and not (value is None or isinstance(value, Sequence)):
                raise ValueError(f"{entry.name}: expected three numbers, got {value!r}")
