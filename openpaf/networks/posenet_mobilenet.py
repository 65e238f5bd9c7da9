"""PoseNet: PersonLab with a MobileNet, as Google published it.

Reference:
    Papandreou et al., ECCV 2018: PersonLab; Howard et al., 2017: MobileNets, table 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openpaf.checks import check_number
from openpaf.decoding.person_lab import person_lab_channels
from openpaf.skeleton import Skeleton

# Output channels and stride of the depthwise-separable blocks. The stride of the twelfth is 1 in
# place of 2, so that the network stays at stride 16.
_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
    (512, 1), (512, 1), (512, 1), (512, 1),
)  # fmt: skip
_STRIDE = 16


class _Separable(nn.Module):
    """A depthwise 3x3 and a pointwise 1x1 convolution, each with a ReLU6."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(n_in, n_in, 3, stride=stride, padding=1, groups=n_in)
        self.pointwise = nn.Conv2d(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu6(self.depthwise(x))
        return nn.functional.relu6(self.pointwise(x))


class PoseNetMobileNet(nn.Module):
    """MobileNet at stride 16 and a 1x1 convolution for each array.

    The published network gives offsets in px, all y before all x; this one gives them in cells, x
    and y in turn, as the decoder takes them.

    Args:
        skeleton: The joints.
        width_percent: Channels of the trunk as a share of MobileNet's; 75 and 50 were published
            with the last two blocks as wide as the one before, as here 100 is, too.

    Input: (B, 3, H, W) float, RGB, normalized as ``(x - 128) / 128``.
    Output: One stage, the arrays of :func:`openpaf.decoding.person_lab.decode_person_lab`; h and w
        are H and W over 16, rounded up. Cell i lies at 16 i px.

    Raises:
        ValueError: If the width is not from 10 to 400 %.
    """

    #: How the published quantised files call the parameters.
    RENAMES = (
        (r"^(?:tower_0/)?MobilenetV1/Conv2d_0/weights.*$", "trunk.0.weight"),
        (r"^(?:tower_0/)?MobilenetV1/Conv2d_0/.*bias$", "trunk.0.bias"),
        (
            r"^(?:tower_0/)?MobilenetV1/Conv2d_(\d+)_(depthwise|pointwise)/(?:depthwise_)?weights.*$",
            r"trunk.\1.\2.weight",
        ),
        (
            r"^(?:tower_0/)?MobilenetV1/Conv2d_(\d+)_(depthwise|pointwise)/.*bias$",
            r"trunk.\1.\2.bias",
        ),
        (r"^(?:tower_0/)?MobilenetV1/(\w+)_2/weights.*$", r"\1.weight"),
        (r"^(?:tower_0/)?MobilenetV1/(\w+)_2/.*bias$", r"\1.bias"),
    )

    def __init__(self, skeleton: Skeleton, *, width_percent: int = 75) -> None:
        super().__init__()
        check_number("width_percent", width_percent, least=10, most=400, is_integer=True)
        widths = [n * width_percent // 100 for n in (32, *(n for n, _ in _BLOCKS))]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, stride=2, padding=1)]
        for n_in, n_out, (_, stride) in zip(widths, widths[1:], _BLOCKS, strict=False):
            layers.append(_Separable(n_in, n_out, stride))
        self.trunk = nn.ModuleList(layers)
        channels = person_lab_channels(skeleton)
        self.heatmap = nn.Conv2d(widths[-1], channels["heatmaps"], 1)
        self.offset = nn.Conv2d(widths[-1], channels["offsets"], 1)
        self.displacement_fwd = nn.Conv2d(widths[-1], channels["forward"], 1)
        self.displacement_bwd = nn.Conv2d(widths[-1], channels["backward"], 1)

    def stages(self, image: Tensor) -> list[tuple[Tensor, ...]]:
        """As ``forward``, with logits in place of probabilities, which the losses take."""
        x = nn.functional.relu6(self.trunk[0](image))
        for block in self.trunk[1:]:
            x = block(x)
        heads = (self.offset, self.displacement_fwd, self.displacement_bwd)
        return [(self.heatmap(x), *(_in_turn(head(x)) / _STRIDE for head in heads))]

    def forward(self, image: Tensor) -> list[tuple[Tensor, ...]]:
        ((logits, *offsets),) = self.stages(image)
        return [(torch.sigmoid(logits), *offsets)]


def _in_turn(offsets: Tensor) -> Tensor:
    """(B, 2K, h, w), all y before all x, as x and y in turn."""
    y, x = offsets.chunk(2, dim=1)
    return torch.stack([x, y], dim=2).flatten(1, 2)
