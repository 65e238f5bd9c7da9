"""Backbones: a trunk with a feature pyramid, or a single level of a trunk."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from openpaf.networks.rcnn.mobilenet import MobileNetV2
from openpaf.networks.rcnn.resnet import ResNet

BACKBONES = (
    "resnet50_fpn", "resnet101_fpn", "mobilenet_v2_fpn", "resnet50_c4", "resnet101_c4",
)  # fmt: skip


class FeaturePyramid(nn.Module):
    """Features of all scales with equal channels: each level plus the coarser ones.

    Args:
        channels: Channels of the trunk's levels, finest first.
        width: Channels of every level of the pyramid.

    Input: the trunk's levels. Output: as many levels (B, width, H, W), and one of half the
    resolution of the last, which only the region proposal network uses.

    Reference:
        Lin et al., Feature Pyramid Networks, CVPR 2017, section 3.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        # Each convolution is wrapped once, as in the names of published checkpoints.
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(n, width, 1)) for n in channels)
        self.layer_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1)) for _ in channels
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        lateral = [block(x) for block, x in zip(self.inner_blocks, stages, strict=True)]
        for i in range(len(lateral) - 2, -1, -1):
            size_hw = lateral[i].shape[2:]
            lateral[i] = lateral[i] + nn.functional.interpolate(lateral[i + 1], size=size_hw)
        levels = [block(x) for block, x in zip(self.layer_blocks, lateral, strict=True)]
        return [*levels, nn.functional.max_pool2d(levels[-1], 1, stride=2)]


class FPNBackbone(nn.Module):
    """A trunk with a feature pyramid: levels of strides 4, 8, 16, 32 and 64.

    Args:
        name: ``"resnet50"``, ``"resnet101"`` or ``"mobilenet_v2"``.
        width: Channels of the pyramid.
        norm_eps: Epsilon of a ResNet's frozen batch norms.
    """

    strides = (4, 8, 16, 32)
    n_roi_levels = 4

    def __init__(self, name: str, width: int, norm_eps: float) -> None:
        super().__init__()
        body = MobileNetV2() if name == "mobilenet_v2" else ResNet(name, eps=norm_eps)
        self.body = body
        self.fpn = FeaturePyramid(body.channels, width)
        self.out_channels = width

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.fpn(self.body(images))


class C4Backbone(nn.Module):
    """A ResNet up to its fourth stage (``layer3``): one level of stride 16.

    Reference:
        Ren et al., Faster R-CNN, NeurIPS 2015; "C4" is He et al.'s name for it, Mask R-CNN.
    """

    strides = (16,)
    n_roi_levels = 1

    def __init__(self, name: str, norm_eps: float) -> None:
        super().__init__()
        self.body = ResNet(name, n_stages=3, eps=norm_eps)
        self.out_channels = self.body.channels[-1]

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.body(images)[-1:]


def build_backbone(name: str, width: int, norm_eps: float) -> FPNBackbone | C4Backbone:
    """A backbone by name.

    Raises:
        ValueError: If there is no such backbone.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone: expected one of {', '.join(BACKBONES)}, got {name!r}")
    trunk, _, kind = name.rpartition("_")
    return FPNBackbone(trunk, width, norm_eps) if kind == "fpn" else C4Backbone(trunk, norm_eps)
