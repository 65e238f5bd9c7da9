"""Hourglass-104 with the heads of CenterNet, as published.

Reference:
    Newell et al., ECCV 2016: Stacked Hourglass Networks; Law and Deng, ECCV 2018: CornerNet,
    section 3.5, for this one; Zhou et al., 2019: Objects as Points, for the heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from openpaf.checks import check_number
from openpaf.networks.folded import Normalize
from openpaf.skeleton import Skeleton

# Of blue, green and red, by the publisher.
_MEAN, _STD = (0.408, 0.447, 0.470), (0.289, 0.274, 0.278)
_WIDTHS = (256, 256, 384, 384, 384, 512)  # from stride 4 to 128
_N_BLOCKS, _N_LAST_BLOCKS = 2, 4  # of each stride, and of the last
_PRIOR_LOGIT = -2.19  # most cells are background
# Names of the published heads, in the order of the decoder's arrays, and which are heatmaps.
_HEADS = ("hm", "wh", "reg", "hps", "hm_hp", "hp_offset")
_HEATMAPS = ("hm", "hm_hp")


class _Convolution(nn.Module):
    """A convolution with a ReLU, and a batch norm or a bias."""

    def __init__(
        self, n_in: int, n_out: int, size: int = 3, stride: int = 1, has_norm: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, size, stride, size // 2, bias=not has_norm)
        self.bn = nn.BatchNorm2d(n_out) if has_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.bn(self.conv(x)))


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 one where shapes differ."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.skip = _projection(n_in, n_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = nn.functional.relu(self.bn1(self.conv1(x)))
        return nn.functional.relu(self.bn2(self.conv2(inner)) + self.skip(x))


def _projection(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))


def _residuals(n_in: int, n_out: int, n: int, stride: int = 1) -> nn.Sequential:
    """Blocks of which the first changes channels and size."""
    first = _Residual(n_in, n_out, stride)
    return nn.Sequential(first, *(_Residual(n_out, n_out) for _ in range(n - 1)))


class _Hourglass(nn.Module):
    """An hourglass: blocks at a stride, beside those of all coarser ones, upsampled.

    Where a side is odd, what is upsampled has a cell too many, which is cut off.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        width, coarser = widths[:2]
        self.up1 = _residuals(width, width, _N_BLOCKS)
        self.low1 = _residuals(width, coarser, _N_BLOCKS, 2)
        self.low2: nn.Module = (
            _Hourglass(widths[1:])
            if len(widths) > 2
            else _residuals(coarser, coarser, _N_LAST_BLOCKS)
        )
        others = (_Residual(coarser, coarser) for _ in range(_N_BLOCKS - 1))
        self.low3 = nn.Sequential(*others, _Residual(coarser, width))

    def forward(self, x: Tensor) -> Tensor:
        low = self.low3(self.low2(self.low1(x)))
        up = nn.functional.interpolate(low, scale_factor=2.0, mode="nearest")
        return self.up1(x) + up[:, :, : x.shape[2], : x.shape[3]]


class HourglassCenterNet(nn.Module):
    """Stacked hourglasses with the heads of CenterNet after each.

    Args:
        skeleton: The joints.
        n_stacks: Hourglasses one after the other, from 1 to 8; 2 were published.
        widths: Channels at stride 4, 8 and so on, at least two.

    Input: (B, 3, H, W) float, BGR of 0 to 1.
    Output: For each hourglass the arrays of :func:`openpaf.decoding.centers.decode_centers`, at
        stride 4; the last is the result. Cell i lies at 4 i px.

    Raises:
        ValueError: If an option is out of range.
    """

    def __init__(
        self, skeleton: Skeleton, *, n_stacks: int = 2, widths: Sequence[int] = _WIDTHS
    ) -> None:
        super().__init__()
        check_number("n_stacks", n_stacks, least=1, most=8, is_integer=True)
        if len(widths) < 2 or min(widths) < 2:
            raise ValueError(f"widths: expected two or more numbers >= 2, got {list(widths)}")
        width, k = widths[0], skeleton.n_joints
        self.normalize = Normalize(_MEAN, _STD)
        self.pre = nn.Sequential(_Convolution(3, width // 2, 7, 2), _Residual(width // 2, width, 2))
        self.kps = nn.ModuleList(_Hourglass(widths) for _ in range(n_stacks))
        self.cnvs = nn.ModuleList(_Convolution(width, width) for _ in range(n_stacks))
        between = range(n_stacks - 1)
        self.inters = nn.ModuleList(_Residual(width, width) for _ in between)
        self.inters_ = nn.ModuleList(_projection(width, width) for _ in between)
        self.cnvs_ = nn.ModuleList(_projection(width, width) for _ in between)
        for name, n_out in zip(_HEADS, (1, 2, 2, 2 * k, k, 2), strict=True):
            prior = _PRIOR_LOGIT if name in _HEATMAPS else 0.0
            heads = (_head(width, n_out, prior) for _ in range(n_stacks))
            setattr(self, name, nn.ModuleList(heads))

    def stages(self, image: Tensor) -> list[tuple[Tensor, ...]]:
        """As ``forward``, with logits in place of probabilities, which the losses take."""
        x = self.pre(self.normalize(image))
        stages = []
        for i, (hourglass, convolution) in enumerate(zip(self.kps, self.cnvs, strict=True)):
            features = convolution(hourglass(x))
            stages.append(tuple(getattr(self, name)[i](features) for name in _HEADS))
            if i < len(self.inters):
                x = nn.functional.relu(self.inters_[i](x) + self.cnvs_[i](features))
                x = self.inters[i](x)
        return stages

    def forward(self, image: Tensor) -> list[tuple[Tensor, ...]]:
        return [
            tuple(
                torch.sigmoid(array) if name in _HEATMAPS else array
                for name, array in zip(_HEADS, stage, strict=True)
            )
            for stage in self.stages(image)
        ]


def _head(width: int, n_out: int, prior: float) -> nn.Sequential:
    """Two convolutions; at first every cell gives about the prior."""
    last = nn.Conv2d(width, n_out, 1)
    nn.init.constant_(last.bias, prior)  # type: ignore[arg-type]
    return nn.Sequential(_Convolution(width, width, has_norm=False), last)
