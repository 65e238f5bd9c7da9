"""The network of the 2017 paper: a VGG trunk, then stages of two branches that refine each other.

The modules have the names of CMU's Caffe files and are registered in the order in which they run,
so that the published weights load key for key. Branch ``L1`` of a stage is part affinity fields,
``L2`` is heatmaps.

Reference:
    Cao et al., Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields, CVPR 2017,
    figure 3 and equations 1 and 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openpaf.networks.vgg import vgg_layers
from openpaf.skeleton import Skeleton

_PUBLISHED_STAGES = 6


class TwoBranchNetwork(nn.Module):
    """The two-branch, multi-stage network of the 2017 paper (its figure 3).

    The trunk computes features F. Stage 1 computes heatmaps S and part affinity fields L from F,
    and every later stage from F and the output of the stage before it:
    ``S_t = rho_t(F, S_{t-1}, L_{t-1})`` (equation 1) and ``L_t = phi_t(F, S_{t-1}, L_{t-1})``
    (equation 2).

    Args:
        skeleton: Its joints and limbs define the channels of the branches.
        n_stages: At least 1; the published files hold 6, of which any number of first ones can be
            used.
        width: Channels of the features and inside the stages; 128 in the paper.
        trunk_width: Channels of the first layer of VGG, 64 as published; the other layers scale
            with it.

    Input: (B, 3, H, W) float, normalized as its weights require; the published weights need BGR.
    Output: ``(heatmaps (B, K+1, h, w), pafs (B, 2L, h, w))`` of each stage; the last is the result,
    all are used for supervision (equation 5); h and w are an eighth of H and W, rounded
    up. Channels are in the order of the weights. No activation follows a stage's last convolution.

    Raises:
        ValueError: If there is no stage, or a width is below 1.

    Reference:
        Cao et al., CVPR 2017, figure 3, equations 1, 2 and 5. That each later stage is five
        convolutions of 7x7 and two of 1x1 is from the same figure.
    """

    #: Patterns of published keys and their replacements; here the keys are the same.
    RENAMES: tuple[tuple[str, str], ...] = ()

    def __init__(
        self, skeleton: Skeleton, *, n_stages: int = 6, width: int = 128, trunk_width: int = 64
    ) -> None:
        super().__init__()
        if min(n_stages, width, trunk_width) < 1:
            raise ValueError(
                "n_stages, width, trunk_width: expected at least 1, got "
                f"{n_stages}, {width} and {trunk_width}"
            )
        self.n_stages = n_stages
        #: Patterns of published keys that are not used: those of later stages.
        later = range(n_stages + 1, _PUBLISHED_STAGES + 1)
        self.IGNORED = tuple(rf"^Mconv\d_stage{stage}_L[12]\." for stage in later)
        n_channels = {"L1": 2 * skeleton.n_limbs, "L2": skeleton.n_joints + 1}
        self._add_trunk(trunk_width, width)
        for branch, n_out in n_channels.items():
            sizes = [(3, width)] * 3 + [(1, 4 * width), (1, n_out)]
            self._add_branch("conv5_{}_CPM_" + branch, width, sizes)
        for stage in range(2, n_stages + 1):
            for branch, n_out in n_channels.items():
                sizes = [(7, width)] * 5 + [(1, width), (1, n_out)]
                n_in = sum(n_channels.values()) + width
                self._add_branch(f"Mconv{{}}_stage{stage}_{branch}", n_in, sizes)

    def _add_trunk(self, trunk_width: int, width: int) -> None:
        for name, layer in vgg_layers(trunk_width):
            self.add_module(name, layer)
        self.add_module("relu4_2", nn.ReLU())
        self.add_module("conv4_3_CPM", nn.Conv2d(8 * trunk_width, 4 * trunk_width, 3, padding=1))
        self.add_module("relu4_3_CPM", nn.ReLU())
        self.add_module("conv4_4_CPM", nn.Conv2d(4 * trunk_width, width, 3, padding=1))
        self.add_module("relu4_4_CPM", nn.ReLU())

    def _add_branch(self, name: str, n_in: int, sizes: list[tuple[int, int]]) -> None:
        """Convolutions of (kernel, channels), with a ReLU after each but the last."""
        for i, (kernel, n_out) in enumerate(sizes, 1):
            layer = name.format(i)
            self.add_module(layer, nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2))
            if i < len(sizes):
                self.add_module(layer.replace("conv", "relu"), nn.ReLU())
            n_in = n_out

    # TorchScript unrolls a loop over children, but knows no getattr(self, name).
    def _trunk(self, x: Tensor) -> Tensor:
        for name, layer in self.named_children():
            if "_L" not in name:
                x = layer(x)
        return x

    def _branch(self, suffix: str, x: Tensor) -> Tensor:
        for name, layer in self.named_children():
            if name.endswith(suffix):
                x = layer(x)
        return x

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        features = self._trunk(image)  # (B, width, h, w)
        pafs = self._branch("_CPM_L1", features)
        heatmaps = self._branch("_CPM_L2", features)
        stages = [(heatmaps, pafs)]
        for stage in range(2, self.n_stages + 1):
            x = torch.cat([pafs, heatmaps, features], dim=1)
            pafs = self._branch(f"_stage{stage}_L1", x)
            heatmaps = self._branch(f"_stage{stage}_L2", x)
            stages.append((heatmaps, pafs))
        return stages
