"""The network of the 2019 paper: all stages of part affinity fields, then those of heatmaps.

The modules have the names of CMU's Caffe file and are registered in the order in which they run,
so that the published weights load key for key. In that file ``L2`` is part affinity fields and
``L1`` is heatmaps, the reverse of the file of 2017, and stages count from 0.

Reference:
    Cao et al., OpenPose: Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields,
    TPAMI 2019, figure 3 and equations 1 to 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openpaf.networks.vgg import vgg_layers
from openpaf.skeleton import Skeleton

_PUBLISHED_STAGES = {"L2": 4, "L1": 2}


class Body25Network(nn.Module):
    """The network of the 2019 paper (its figure 3), as CMU published it for BODY_25.

    Stages of part affinity fields L refine each other on the features F:
    ``L_t = phi_t(F, L_{t-1})`` (equation 1, the first of F alone); then those of heatmaps S, given
    the last L: the first is ``rho(F, L_last)`` (equation 2), the next
    ``S_t = rho_t(F, L_last, S_{t-1})`` (equation 3). A stage is five blocks of three chained
    convolutions of 3x3, whose outputs are concatenated, and two convolutions of 1x1.

    Args:
        skeleton: Its joints and limbs define the channels of the stages.
        n_paf_stages: At least 1; 4 as published.
        n_heatmap_stages: At least 1; 2 as published.
        widths: Channels of each convolution of a block, in the first stage of either kind and in
            the later ones.
        hidden: Channels of the second last layer, in the first stage of either kind and in the
            later ones.
        n_features: Channels of the features that all stages read.
        trunk_width: Channels of the first layer of VGG, 64 as published; the other layers scale
            with it.

    Input: (B, 3, H, W) float, normalized as its weights require; the published weights need BGR.
    Output: pairs ``(heatmaps (B, K+1, h, w), pafs (B, 2L, h, w))``, the last of which is the
    result; h and w are an eighth of H and W, rounded up. The last stages of both kinds are paired,
    then the ones before: as published (S0, L0), (S0, L1), (S0, L2), (S1, L3). The first stage of
    the kind with fewer stages repeats; :meth:`branches` returns every stage once, as in the losses
    of the paper (equations 4 to 6). Channels are in the order of the weights.

    Raises:
        ValueError: If there is no stage of a kind, or a width is below 1.

    Reference:
        Cao et al., TPAMI 2019, figure 3, equations 1 to 6.
    """

    #: Patterns of published keys and their replacements; here the keys are the same.
    RENAMES: tuple[tuple[str, str], ...] = ()

    def __init__(
        self,
        skeleton: Skeleton,
        *,
        n_paf_stages: int = 4,
        n_heatmap_stages: int = 2,
        widths: tuple[int, int] = (96, 128),
        hidden: tuple[int, int] = (256, 512),
        n_features: int = 128,
        trunk_width: int = 64,
    ) -> None:
        super().__init__()
        if min(n_paf_stages, n_heatmap_stages) < 1:
            raise ValueError(
                "n_paf_stages, n_heatmap_stages: expected at least 1, got "
                f"{n_paf_stages} and {n_heatmap_stages}"
            )
        channels = (*widths, *hidden, n_features, trunk_width)
        if (len(widths), len(hidden)) != (2, 2) or min(channels) < 1:
            raise ValueError(
                "widths, hidden, n_features, trunk_width: expected two, two, one and one number "
                f"of at least 1, got {widths}, {hidden}, {n_features} and {trunk_width}"
            )
        self.n_paf_stages, self.n_heatmap_stages = n_paf_stages, n_heatmap_stages
        built = {"L2": n_paf_stages, "L1": n_heatmap_stages}
        #: Patterns of published keys that are not used: those of later stages.
        self.IGNORED = tuple(
            rf"^M(conv|prelu)\d_stage{stage}_{branch}[_.]"
            for branch, n_published in _PUBLISHED_STAGES.items()
            for stage in range(built[branch], n_published)
        )
        self._add_trunk(trunk_width, n_features)
        n_pafs, n_heatmaps = 2 * skeleton.n_limbs, skeleton.n_joints + 1
        for branch, n_out, n_more in (("L2", n_pafs, 0), ("L1", n_heatmaps, n_pafs)):
            for stage in range(built[branch]):
                later = min(stage, 1)
                n_in = n_features + n_more + later * n_out
                self._add_stage(f"stage{stage}_{branch}", n_in, widths[later], hidden[later], n_out)

    def _add_trunk(self, trunk_width: int, n_features: int) -> None:
        for name, layer in vgg_layers(trunk_width):
            self.add_module(name, layer)
        self.add_module("prelu4_2", nn.PReLU(8 * trunk_width))
        self.add_module("conv4_3_CPM", nn.Conv2d(8 * trunk_width, 4 * trunk_width, 3, padding=1))
        self.add_module("prelu4_3_CPM", nn.PReLU(4 * trunk_width))
        self.add_module("conv4_4_CPM", nn.Conv2d(4 * trunk_width, n_features, 3, padding=1))
        self.add_module("prelu4_4_CPM", nn.PReLU(n_features))

    def _add_stage(self, stage: str, n_in: int, width: int, hidden: int, n_out: int) -> None:
        for block in range(1, 6):
            for part in range(3):
                name = f"{block}_{stage}_{part}"
                self.add_module(f"Mconv{name}", nn.Conv2d(n_in, width, 3, padding=1))
                self.add_module(f"Mprelu{name}", nn.PReLU(width))
                n_in = width
            n_in = 3 * width  # the three parts, concatenated
        self.add_module(f"Mconv6_{stage}", nn.Conv2d(n_in, hidden, 1))
        self.add_module(f"Mprelu6_{stage}", nn.PReLU(hidden))
        self.add_module(f"Mconv7_{stage}", nn.Conv2d(hidden, n_out, 1))

    # TorchScript unrolls a loop over children, but knows no getattr(self, name).
    def _trunk(self, x: Tensor) -> Tensor:
        for name, layer in self.named_children():
            if "_L" not in name:
                x = layer(x)
        return x

    def _stage(self, stage: str, x: Tensor) -> Tensor:
        parts: list[Tensor] = []
        for name, layer in self.named_children():
            if stage in name:
                x = layer(x)
                if "Mprelu" in name and "Mprelu6" not in name:
                    parts.append(x)
                    if len(parts) == 3:
                        x = torch.cat(parts, dim=1)  # (B, 3 * width, h, w)
                        parts = []
        return x

    def branches(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Every stage once: heatmaps (B, K+1, h, w) and PAFs (B, 2L, h, w), each in order."""
        features = self._trunk(image)  # (B, n_features, h, w)
        pafs = [self._stage("_stage0_L2", features)]
        for stage in range(1, self.n_paf_stages):
            pafs.append(self._stage(f"_stage{stage}_L2", torch.cat([features, pafs[-1]], dim=1)))
        x = torch.cat([features, pafs[-1]], dim=1)
        heatmaps = [self._stage("_stage0_L1", x)]
        for stage in range(1, self.n_heatmap_stages):
            x = torch.cat([features, heatmaps[-1], pafs[-1]], dim=1)
            heatmaps.append(self._stage(f"_stage{stage}_L1", x))
        return heatmaps, pafs

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        heatmaps, pafs = self.branches(image)
        n_stages = max(len(heatmaps), len(pafs))
        stages: list[tuple[Tensor, Tensor]] = []
        for i in range(n_stages):
            of_heatmaps = max(0, i - n_stages + len(heatmaps))
            of_pafs = max(0, i - n_stages + len(pafs))
            stages.append((heatmaps[of_heatmaps], pafs[of_pafs]))
        return stages
