"""The stages of the lightweight family on a dilated MobileNetV2, which has ImageNet weights.

Reference:
    Sandler et al., MobileNetV2, CVPR 2018, table 2; the stages as in
    :mod:`openpaf.networks.lightweight`.
"""

from __future__ import annotations

from torch import Tensor, nn

from openpaf.networks.lightweight import Context, LightweightNetwork
from openpaf.networks.rcnn.mobilenet import ConvNorm, MobileNetV2
from openpaf.skeleton import Skeleton

# Blocks up to the last of 96 channels, and the first that would have the stride of 16.
_N_BLOCKS, _FIRST_DILATED = 13, 6
_N_CHANNELS = 96


class DilatedMobileNetV2(MobileNetV2):
    """MobileNetV2 up to its 96 channels, with a dilation of 2 in place of the stride of 16.

    Input: (B, 3, H, W) float of RGB / 127.5 - 1. Output: features (B, 96, h, w); h and w are H and
    W over 8, rounded up. Its batch norms are frozen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks = self.blocks[:_N_BLOCKS]
        for i, block in enumerate(self.blocks[_FIRST_DILATED:]):
            layer = block.depthwise
            assert isinstance(layer, ConvNorm)
            dilation = 2 if i else 1  # the block with the stride sees cells that are still dense
            layer.stride, layer.conv.stride = 1, (1, 1)
            layer.conv.padding = layer.conv.dilation = (dilation, dilation)

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        height, width = images.shape[2:]
        x = nn.functional.pad(images, (0, -width % 8, 0, -height % 8))
        x = nn.functional.relu6(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return x


class MobileNetV2Network(LightweightNetwork):
    """A dilated MobileNetV2, an initial stage, and any number of refinement stages.

    Args:
        skeleton: Its joints and limbs define the channels of the heads.
        n_refinement_stages: Stages after the initial one; at least 0.
        width: Channels of the features that the stages share.

    Input: (B, 3, H, W) float, RGB, normalized as ``(x - 128) / 255``.
    Output: ``(heatmaps (B, K+1, h, w), pafs (B, 2L, h, w))`` of each stage; the last is the result,
    all are used for supervision; h and w are an eighth of H and W, rounded up.

    Raises:
        ValueError: If the number of stages is negative or the width below 1.
    """

    def __init__(
        self, skeleton: Skeleton, *, n_refinement_stages: int = 1, width: int = 128
    ) -> None:
        super().__init__(skeleton, n_refinement_stages=n_refinement_stages, width=width)
        self.trunk = DilatedMobileNetV2()  # type: ignore[assignment]
        self.context = Context(_N_CHANNELS, width, [], None)

    def features(self, image: Tensor) -> Tensor:
        """The features (B, width, h, w) of images (B, 3, H, W), which all stages read."""
        # To the range that the trunk was trained with, but for 1 in 255.
        return self.context(self.trunk(2 * image), [])
