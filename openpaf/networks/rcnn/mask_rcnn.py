"""Mask R-CNN: detects boxes, then a mask and joints in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from openpaf.networks.rcnn.backbone import BACKBONES, build_backbone
from openpaf.networks.rcnn.config import MaskRCNNConfig
from openpaf.networks.rcnn.roi_heads import RoIHeads
from openpaf.networks.rcnn.rpn import RegionProposalNetwork, RPNConfig
from openpaf.networks.rcnn.transform import Detection, Target, Transform
from openpaf.skeleton import Skeleton


class MaskRCNN(nn.Module):
    """A detector of objects, with masks and joints where configured.

    Called in training mode with images and targets, it returns a dictionary of losses; otherwise,
    for each image, a dictionary of detections, best first: ``boxes`` (N, 4), ``labels`` (N,),
    ``scores`` (N,), and ``masks`` (N, 1, H, W) of 0 to 1 or ``keypoints`` (N, K, 3) of x, y and 1
    with ``keypoints_scores`` (N, K), all in px of the image. Names, values and state keys are those
    of torchvision's detectors, so their published weights fit.

    Images are float (3, H, W), RGB, 0 to 1, of any size. Targets are dictionaries of ``boxes``
    (N, 4), ``labels`` (N,) int64, ``masks`` (N, H, W) of 0 and 1, and ``keypoints`` (N, K, 3);
    in addition to torchvision's, ``ignore_boxes`` (M, 4) are regions that are not background in
    any loss, and ``masks_labeled`` (N,) bool tells which masks are known.

    Args:
        config: The options.

    Raises:
        ValueError: If images or targets are not as described above.

    Reference:
        He et al., Mask R-CNN, ICCV 2017; Ren et al., Faster R-CNN, NeurIPS 2015.
    """

    #: Patterns of keys in older files of published weights, and their replacements.
    RENAMES: tuple[tuple[str, str], ...] = (
        (r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$", r"\1.0.\2"),
        (r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1"),
        (r"^roi_heads\.mask_head\.mask_fcn1\.", "roi_heads.mask_head.0.0."),
        (r"^roi_heads\.mask_head\.mask_fcn2\.", "roi_heads.mask_head.1.0."),
        (r"^roi_heads\.mask_head\.mask_fcn3\.", "roi_heads.mask_head.2.0."),
        (r"^roi_heads\.mask_head\.mask_fcn4\.", "roi_heads.mask_head.3.0."),
    )

    def __init__(self, config: MaskRCNNConfig) -> None:
        super().__init__()
        self.config = config
        assert not isinstance(config.min_size, int)  # set by MaskRCNNConfig
        assert config.image_mean is not None
        assert config.image_std is not None
        self.transform = Transform(
            config.min_size, config.max_size, config.image_mean, config.image_std
        )
        self.backbone = build_backbone(config.backbone, config.fpn_channels, config.norm_eps)
        self.rpn = RegionProposalNetwork(self.backbone.out_channels, _rpn_config(config))
        self.roi_heads = RoIHeads(config, self.backbone.out_channels, self.backbone.strides)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[Detection]:
        if not self.training:
            return [
                {k: v for k, v in detection.items() if k != "keypoints_probabilities"}
                for detection in self.detect(images)
            ]
        if targets is None:
            raise ValueError("targets: expected one per image in training, got None")
        return self.losses(images, targets)

    def losses(
        self, images: Sequence[Tensor], targets: Sequence[Target], *, resize: bool = True
    ) -> dict[str, Tensor]:
        """The losses by name, in training mode; ``resize`` is whether images are resized."""
        _check_images(images)
        self._check_targets(images, targets)
        batch, moved = self.transform(images, targets, resize=resize)
        features = self.backbone(batch.tensor)
        proposals, rpn_losses = self.rpn(batch, features, moved)
        return {**self.roi_heads.train_step(features, proposals, moved), **rpn_losses}

    def detect(
        self, images: Sequence[Tensor], *, resize: bool = True, paste: bool = True
    ) -> list[Detection]:
        """The detections of each image, in evaluation mode.

        In addition to the result of a call, ``keypoints_probabilities`` (N, K), 0 to 1, are the
        confidence of each joint; ``keypoints_scores`` are logits without a fixed scale.

        Args:
            images: Float (3, H, W), RGB, 0 to 1.
            resize: Whether they are resized to the configured size.
            paste: Whether masks are those of the image; else they are (N, 1, M, M) inside of the
                boxes, which takes little memory.
        """
        _check_images(images)
        batch, _ = self.transform(images, resize=resize)
        features = self.backbone(batch.tensor)
        proposals, _ = self.rpn(batch, features, None)
        detections = self.roi_heads.detect(features, proposals, batch)
        return self.transform.undo(detections, batch, paste=paste)

    def _check_targets(self, images: Sequence[Tensor], targets: Sequence[Target]) -> None:
        if len(targets) != len(images):
            raise ValueError(f"targets: expected {len(images)}, one per image, got {len(targets)}")
        needed = ["boxes", "labels"]
        needed += ["masks"] if self.config.masks else []
        needed += ["keypoints"] if self.config.num_keypoints else []
        for i, target in enumerate(targets):
            missing = [name for name in needed if name not in target]
            if missing:
                raise ValueError(f"targets[{i}]: expected the key {missing[0]!r}")
            boxes, n = target["boxes"], len(target["labels"])
            if boxes.shape != (n, 4):
                raise ValueError(
                    f"targets[{i}]['boxes']: expected shape {(n, 4)}, got {tuple(boxes.shape)}"
                )
            if n and not (boxes[:, 2:] > boxes[:, :2]).all():
                raise ValueError(
                    f"targets[{i}]['boxes']: expected positive height and width, got "
                    f"{boxes[~(boxes[:, 2:] > boxes[:, :2]).all(dim=1)][0].tolist()}"
                )
            k = self.config.num_keypoints
            if k and target["keypoints"].shape != (n, k, 3):
                raise ValueError(
                    f"targets[{i}]['keypoints']: expected shape {(n, k, 3)}, "
                    f"got {tuple(target['keypoints'].shape)}"
                )


def _check_images(images: Sequence[Tensor]) -> None:
    if not len(images):
        raise ValueError("images: expected at least one")
    for i, image in enumerate(images):
        if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
            raise ValueError(
                f"images[{i}]: expected float (3, H, W) of 0 to 1, "
                f"got {image.dtype} {tuple(image.shape)}"
            )


def _rpn_config(config: MaskRCNNConfig) -> RPNConfig:
    single = config.backbone.endswith("_c4")
    sizes = tuple(config.anchor_sizes)
    return RPNConfig(
        sizes=(sizes,) if single else tuple((size,) for size in sizes),
        pre_nms_top_n=(config.rpn_pre_nms_top_n_train, config.rpn_pre_nms_top_n_test),
        post_nms_top_n=(config.rpn_post_nms_top_n_train, config.rpn_post_nms_top_n_test),
        nms_iou=config.rpn_nms_thresh,
        min_score=config.rpn_score_thresh,
        foreground_iou=config.rpn_fg_iou_thresh,
        background_iou=config.rpn_bg_iou_thresh,
        n_sampled=config.rpn_batch_size_per_image,
        positive_share=config.rpn_positive_fraction,
    )


_TRAINING_SIZES = (640, 672, 704, 736, 768, 800)
# A small detector for CPUs: 6 million parameters instead of 59.
_SMALL: dict[str, Any] = {
    "fpn_channels": 96, "box_channels": 512, "mask_channels": (96,) * 4,
    "keypoint_channels": (128,) * 4, "min_size": 368, "max_size": 640,
    "anchor_sizes": (24, 48, 96, 192, 384), "rpn_pre_nms_top_n_test": 300,
    "rpn_post_nms_top_n_test": 200, "box_detections_per_img": 50,
}  # fmt: skip


def _builder(kind: str, backbone: str, **defaults: Any) -> Any:
    def build(skeleton: Skeleton | None = None, **options: Any) -> MaskRCNN:
        values: dict[str, Any] = {"backbone": backbone, **defaults}
        if kind == "keypointrcnn":
            values["num_classes"] = 2
            values["num_keypoints"] = skeleton.n_joints if skeleton else 17
            if backbone != "mobilenet_v2_fpn":
                values["min_size"] = _TRAINING_SIZES
        values["masks"] = kind == "maskrcnn"
        try:
            config = MaskRCNNConfig(**{**values, **options})
        except TypeError as error:
            raise ValueError(f"{kind}_{backbone}: {error}") from error
        return MaskRCNN(config)

    return build


#: Functions that build a detector, by name. Arguments: a skeleton, whose joints the keypoint
#: detectors find (17 without one), and options of :class:`MaskRCNNConfig`.
BUILDERS = {
    f"{kind}_{backbone}": _builder(kind, backbone, **(_SMALL if "mobilenet" in backbone else {}))
    for kind in ("fasterrcnn", "maskrcnn", "keypointrcnn")
    for backbone in BACKBONES
}  # fmt: skip
