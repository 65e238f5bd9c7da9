"""The lightweight family: a dilated MobileNet, an initial stage, and refinement stages.

Reference:
    Osokin, Real-time 2D Multi-Person Pose Estimation on CPU: Lightweight OpenPose, 2018.
    Without batch norms and with a smaller context block, as ``human-pose-estimation-0001`` of the
    Open Model Zoo, whose batch norms are folded into its convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from openpaf.checks import check_number
from openpaf.networks.pyramid import Pyramid
from openpaf.skeleton import Skeleton

# Output channels, stride and dilation of the depthwise-separable blocks of the trunk. MobileNet's
# last stride is replaced by a dilation, so that the trunk stays at stride 8.
TRUNK = (
    (64, 1, 1), (128, 2, 1), (128, 1, 1), (256, 2, 1), (256, 1, 1), (512, 1, 1),
    (512, 1, 2), (512, 1, 1), (512, 1, 1), (512, 1, 1), (512, 1, 1),
)  # fmt: skip
#: Channels of the trunk's first convolution and of its eleven blocks.
TRUNK_WIDTHS = (32, *(n_out for n_out, _, _ in TRUNK))
N_REFINEMENT_BLOCKS = 5  # of the reference


def conv3x3(n_in: int, n_out: int, rank: int | None, *, dilation: int = 1) -> nn.Module:
    """A 3x3 convolution, or its factors: one of 3x1 to ``rank`` channels and one of 1x3 from them.

    Reference:
        Jaderberg et al., Speeding up Convolutional Neural Networks with Low Rank Expansions,
        BMVC 2014, section 2.1, scheme 2.
    """
    if rank is None:
        return nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation)
    d = dilation
    return nn.Sequential(
        nn.Conv2d(n_in, rank, (3, 1), padding=(d, 0), dilation=d, bias=False),
        nn.Conv2d(rank, n_out, (1, 3), padding=(0, d), dilation=d),
    )


class SeparableConv(nn.Module):
    """A depthwise 3x3 and a pointwise 1x1 convolution, each with its activation."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            n_in, n_in, 3, stride=stride, padding=dilation, dilation=dilation, groups=n_in
        )
        self.pointwise = nn.Conv2d(n_in, n_out, 1)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.pointwise(self.activation(self.depthwise(x))))


class Context(nn.Module):
    """Reduces the trunk's 512 channels and enlarges the receptive field (reference, figure 3).

    Where the trunk is coarser than the fields, a pyramid upsamples the reduced features to their
    grid first. Its inputs are the trunk's output and the features ``finer``.
    """

    def __init__(self, n_in: int, width: int, finer: list[int], rank: int | None) -> None:
        super().__init__()
        self.align = nn.Conv2d(n_in, width * (4 if finer else 1), 1)
        self.pyramid = Pyramid(width, finer)
        self.reduce = nn.Conv2d(width, width, 1)
        self.separable = nn.Sequential(
            *(SeparableConv(width, width, activation=nn.ELU) for _ in range(3))
        )
        self.out = conv3x3(width, width, rank)

    def forward(self, x: Tensor, finer: list[Tensor]) -> Tensor:
        aligned = nn.functional.elu(self.pyramid(self.align(x), finer))
        context = self.separable(nn.functional.elu(self.reduce(aligned)))
        return nn.functional.relu(self.out(aligned + context))


class Head(nn.Module):
    """Two 1x1 convolutions to the channels of heatmaps or PAFs, without a last activation."""

    def __init__(self, n_in: int, hidden: int, n_out: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(n_in, hidden, 1)
        self.out = nn.Conv2d(hidden, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(nn.functional.relu(self.hidden(x)))


class RefinementBlock(nn.Module):
    """A residual block with the receptive field of a 7x7 convolution (reference, figure 4)."""

    def __init__(self, n_in: int, width: int, hidden: int, rank: int | None) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(n_in, width, 1)
        self.conv = conv3x3(width, hidden, rank)
        self.dilated = conv3x3(hidden, width, rank, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = nn.functional.relu(self.squeeze(x))
        wide = nn.functional.relu(self.dilated(nn.functional.relu(self.conv(squeezed))))
        return squeezed + wide


class Stage(nn.Module):
    """A body shared by both branches, and a head for heatmaps and one for PAFs."""

    def __init__(self, body: nn.Module, width: int, hidden: int, skeleton: Skeleton) -> None:
        super().__init__()
        self.body = body
        self.heatmaps = Head(width, hidden, skeleton.n_joints + 1)
        self.pafs = Head(width, hidden, 2 * skeleton.n_limbs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return self.heatmaps(features), self.pafs(features)


class LightweightNetwork(nn.Module):
    """A MobileNet trunk, an initial stage, and any number of refinement stages.

    Args:
        skeleton: Its joints and limbs define the channels of the heads.
        n_refinement_stages: Stages after the initial one; at least 0.
        width: Channels of the features that the stages share.
        ranks: Ranks of the 3x3 convolution at the end of the context block, of those of the initial
            stage and of those of the refinement stages, which are factorized, see
            :func:`conv3x3`; 0 for not factorized, None for none at all.
        hidden_width: Hidden channels of the initial stage's heads, ``4 * width`` if None.
        refinement_width: Channels of the refinement stages, ``width`` if None.
        refinement_hidden_width: Channels between the two 3x3 convolutions of a refinement block,
            the same number if None.
        n_refinement_blocks: Blocks of each refinement stage; at least 1.
        trunk_widths: Channels of the trunk's first convolution and of its eleven blocks.
        atrous: Whether the trunk stays at stride 8 with a dilation of 2, as in the reference; else
            it has another stride instead, as in MobileNet, and ends at stride 16.
        stride: Px per cell of the fields: 4, 8 or 16. If the trunk ends at a larger stride, a
            pyramid upsamples its features, see :mod:`openpaf.networks.pyramid`: to 4 with the
            atrous trunk, to 4 or 8 with the other one.

    Input: (B, 3, H, W) float, RGB, normalized as its weights require.
    Output: ``(heatmaps (B, K+1, h, w), pafs (B, 2L, h, w))`` of each stage; the last is the result,
    all are used for supervision; h and w are H and W over the stride, rounded up.

    Raises:
        ValueError: If the number of stages is negative, a width below 1, the trunk's widths are
            not twelve, the ranks not three or negative, or the stride is none of those or coarser
            than the end of the trunk.

    Reference:
        Osokin 2018, section 4.1 and figure 4; the stages follow equations 1 and 2 of Cao et al.,
        CVPR 2017, with one body for both branches.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        *,
        n_refinement_stages: int = 1,
        width: int = 128,
        ranks: Sequence[int] | None = None,
        hidden_width: int | None = None,
        refinement_width: int | None = None,
        refinement_hidden_width: int | None = None,
        n_refinement_blocks: int = N_REFINEMENT_BLOCKS,
        trunk_widths: Sequence[int] = TRUNK_WIDTHS,
        atrous: bool = True,
        stride: int = 8,
    ) -> None:
        super().__init__()
        if len(trunk_widths) != len(TRUNK_WIDTHS) or min(trunk_widths) < 1:
            raise ValueError(
                f"trunk_widths: expected {len(TRUNK_WIDTHS)} numbers >= 1, got {trunk_widths}"
            )
        check_number("n_refinement_stages", n_refinement_stages, least=0)
        check_number("width", width, least=1)
        for name, channels in (
            ("refinement_width", refinement_width),
            ("refinement_hidden_width", refinement_hidden_width),
        ):
            if channels is not None and channels < 1:
                raise ValueError(f"{name}: expected >= 1, or None, got {channels}")
        if n_refinement_blocks < 1:
            raise ValueError(f"n_refinement_blocks: expected >= 1, got {n_refinement_blocks}")
        if ranks is not None and (len(ranks) != 3 or min(ranks) < 0):
            raise ValueError(f"ranks: expected three numbers >= 0, or None, got {ranks}")
        of_context, of_initial, of_refinement = (rank or None for rank in ranks or (0, 0, 0))
        self.trunk, finer = _trunk(trunk_widths, atrous, stride)
        self.context = Context(
            trunk_widths[-1], width, [n_channels for _, n_channels in finer], of_context
        )
        # For each layer of the trunk, whether the pyramid reads its output. (A list of the indices
        # could be empty, and TorchScript cannot infer the type of an empty list.)
        skips = [index for index, _ in finer]
        self.is_skip = [index in skips for index in range(len(self.trunk))]
        initial: list[nn.Module] = []
        for _ in range(3):
            initial += [conv3x3(width, width, of_initial), nn.ReLU()]
        self.initial_stage = Stage(
            nn.Sequential(*initial), width, hidden_width or 4 * width, skeleton
        )
        n_in = width + skeleton.n_joints + 1 + 2 * skeleton.n_limbs
        n_out = refinement_width or width
        n_hidden = refinement_hidden_width or n_out
        self.refinement_stages = nn.ModuleList(
            Stage(
                _refinement(n_in, n_out, n_hidden, of_refinement, n_refinement_blocks),
                n_out,
                n_out,
                skeleton,
            )
            for _ in range(n_refinement_stages)
        )

    def features(self, image: Tensor) -> Tensor:
        """The features (B, width, h, w) of images (B, 3, H, W), which all stages read."""
        x = image
        finer: list[Tensor] = []
        for i, layer in enumerate(self.trunk):
            x = layer(x)
            if self.is_skip[i]:
                finer.append(x)
        return self.context(x, finer)

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        features = self.features(image)
        stages = [self.initial_stage(features)]
        for stage in self.refinement_stages:
            stages.append(stage(torch.cat([features, *stages[-1]], dim=1)))
        return stages


def _refinement(n_in: int, width: int, hidden: int, rank: int | None, n_blocks: int) -> nn.Module:
    """The body of a refinement stage."""
    others = (RefinementBlock(width, width, hidden, rank) for _ in range(n_blocks - 1))
    return nn.Sequential(RefinementBlock(n_in, width, hidden, rank), *others)


def _trunk(
    widths: Sequence[int], atrous: bool, stride: int
) -> tuple[nn.Sequential, list[tuple[int, int]]]:
    """The trunk; and index and channels of its last layer at each stride the pyramid reads.

    Raises:
        ValueError: If it cannot have the stride.
    """
    strides = (4, 8) if atrous else (4, 8, 16)
    if stride not in strides:
        raise ValueError(
            f"stride: expected one of {', '.join(map(str, strides))} with "
            f"atrous={atrous}, got {stride!r}"
        )
    n_in, reached = widths[0], 2
    layers: list[nn.Module] = [nn.Conv2d(3, n_in, 3, stride=reached, padding=1), nn.ReLU()]
    last = {}
    dilations = [dilation for _, _, dilation in TRUNK]
    for i, (n_out, (_, step, dilation)) in enumerate(zip(widths[1:], TRUNK, strict=True)):
        if not atrous:
            # The block before the dilated one has a stride of 2, as in MobileNet. Up to the dilated
            # block, its cells are every second one of the atrous trunk.
            step *= max(dilations[i + 1 : i + 2], default=1)
            dilation = 1
        layers.append(SeparableConv(n_in, n_out, stride=step, dilation=dilation))
        n_in, reached = n_out, reached * step
        last[reached] = (len(layers) - 1, n_out)
    finer = [last[at] for at in sorted(last) if stride <= at < reached]
    return nn.Sequential(*layers), finer
