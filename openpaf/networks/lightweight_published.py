"""The lightweight network as published: with batch norms, and the keys of the published file.

:mod:`openpaf.networks.lightweight` is the network of the shipped models.

Reference:
    Osokin, Real-time 2D Multi-Person Pose Estimation on CPU: Lightweight OpenPose, 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openpaf.networks.lightweight import TRUNK
from openpaf.skeleton import Skeleton

_PUBLISHED_STAGES = 3  # refinement stages of the published checkpoint


def _conv(n_in: int, n_out: int, size: int = 3, *, relu: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(n_in, n_out, size, padding=size // 2)]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


def _separable(n_in: int, n_out: int, stride: int, dilation: int) -> nn.Sequential:
    """A depthwise 3x3 and a pointwise 1x1 convolution, each with batch norm and ReLU."""
    depthwise = nn.Conv2d(
        n_in, n_in, 3, stride, padding=dilation, dilation=dilation, groups=n_in, bias=False
    )
    pointwise = nn.Conv2d(n_in, n_out, 1, bias=False)
    return nn.Sequential(
        depthwise, nn.BatchNorm2d(n_in), nn.ReLU(), pointwise, nn.BatchNorm2d(n_out), nn.ReLU()
    )


class _Context(nn.Module):
    """Reduces the trunk's channels and enlarges the receptive field (``cpm``)."""

    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        self.align = _conv(n_in, width, 1)
        self.trunk = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
                    nn.ELU(),
                    nn.Conv2d(width, width, 1, bias=False),
                    nn.ELU(),
                )
                for _ in range(3)
            )
        )
        self.conv = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.align(x)
        return self.conv(x + self.trunk(x))


class _RefinementBlock(nn.Module):
    """A residual block with the receptive field of a 7x7 convolution (reference, figure 4)."""

    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        self.initial = _conv(n_in, width, 1)
        self.trunk = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                )
                for dilation in (1, 2)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.initial(x)
        return x + self.trunk(x)


class _Stage(nn.Module):
    """A trunk shared by both branches, and two 1x1 convolutions for each kind of field."""

    def __init__(self, trunk: nn.Sequential, width: int, hidden: int, skeleton: Skeleton) -> None:
        super().__init__()
        self.trunk = trunk
        self.heatmaps = self._head(width, hidden, skeleton.n_joints + 1)
        self.pafs = self._head(width, hidden, 2 * skeleton.n_limbs)

    @staticmethod
    def _head(width: int, hidden: int, n_out: int) -> nn.Sequential:
        return nn.Sequential(_conv(width, hidden, 1), _conv(hidden, n_out, 1, relu=False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.trunk(x)
        return self.heatmaps(x), self.pafs(x)


class LightweightPublishedNetwork(nn.Module):
    """A dilated MobileNet with batch norms, an initial stage, and refinement stages.

    Args:
        skeleton: Its joints and limbs define the channels of the heads.
        n_refinement_stages: Stages after the initial one; at least 0. The published checkpoint
            was trained with 3, and is used with 1.
        width: Channels of the features that the stages share.

    Input: (B, 3, H, W) float, normalized as its weights require; the published weights need BGR.
    Output: ``(heatmaps (B, K+1, h, w), pafs (B, 2L, h, w))`` of each stage; the last is the result,
    all are used for supervision; h and w are an eighth of H and W, rounded up. Channels
    are in the order of the weights.

    Raises:
        ValueError: If the number of stages is negative or the width below 1.

    Reference:
        Osokin 2018, section 4.1 and figure 4; the stages follow equations 1 and 2 of Cao et al.,
        CVPR 2017, with one trunk for both branches.
    """

    #: Patterns of published keys and their replacements; here the keys are the same.
    RENAMES: tuple[tuple[str, str], ...] = ()

    def __init__(
        self, skeleton: Skeleton, *, n_refinement_stages: int = 1, width: int = 128
    ) -> None:
        super().__init__()
        if n_refinement_stages < 0 or width < 1:
            raise ValueError(
                "n_refinement_stages, width: expected >= 0 and >= 1, got "
                f"{n_refinement_stages} and {width}"
            )
        #: Patterns of published keys that are not used: those of later stages.
        self.IGNORED = tuple(
            rf"^refinement_stages\.{i}\." for i in range(n_refinement_stages, _PUBLISHED_STAGES)
        )
        first = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        blocks = [nn.Sequential(first, nn.BatchNorm2d(32), nn.ReLU())]
        n_in = 32
        for n_out, stride, dilation in TRUNK:
            blocks.append(_separable(n_in, n_out, stride, dilation))
            n_in = n_out
        self.model = nn.Sequential(*blocks)
        self.cpm = _Context(n_in, width)
        self.initial_stage = _Stage(
            nn.Sequential(*(_conv(width, width) for _ in range(3))), width, 4 * width, skeleton
        )
        n_fields = skeleton.n_joints + 1 + 2 * skeleton.n_limbs
        self.refinement_stages = nn.ModuleList(
            _Stage(
                nn.Sequential(
                    _RefinementBlock(width + n_fields, width),
                    *(_RefinementBlock(width, width) for _ in range(4)),
                ),
                width,
                width,
                skeleton,
            )
            for _ in range(n_refinement_stages)
        )

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        features = self.cpm(self.model(image))  # (B, width, h, w)
        stages = [self.initial_stage(features)]
        for stage in self.refinement_stages:
            heatmaps, pafs = stages[-1]
            stages.append(stage(torch.cat([features, heatmaps, pafs], dim=1)))
        return stages
