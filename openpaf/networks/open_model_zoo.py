"""The network ``human-pose-estimation-0001`` of the Open Model Zoo, and its layers' names.

Reference:
    Osokin, Real-time 2D Multi-Person Pose Estimation on CPU: Lightweight OpenPose, 2018.
    The file is the Open Model Zoo's (Intel, Apache-2.0), its batch norms folded into convolutions.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from openpaf.networks.lightweight import LightweightNetwork
from openpaf.skeleton import Skeleton

_BLOCKS = "2_1 2_2 3_1 3_2 4_1 4_2 5_1 5_2 5_3 5_4 5_5".split()


def _layer_names() -> dict[str, str]:
    """The name of each layer here, and in the Model Zoo."""
    names = {"trunk.0": "conv1"}
    for i, block in enumerate(_BLOCKS):
        names[f"trunk.{i + 2}.depthwise"] = f"conv{block}/dw"
        names[f"trunk.{i + 2}.pointwise"] = f"conv{block}/sep"
    names |= {"context.align": "conv4_3_CPM/al", "context.reduce": "conv4_3_CPM/red"}
    for i, last in enumerate(("dw1/1x1", "dw2/1x1", "inc")):
        names[f"context.separable.{i}.depthwise"] = f"conv4_3_CPM/dw{i + 1}"
        names[f"context.separable.{i}.pointwise"] = f"conv4_3_CPM/{last}"
    names["context.out"] = "conv4_4_CPM"
    for i in range(3):
        names[f"initial_stage.body.{2 * i}"] = f"conv5_{i + 1}_CPM_L1"
    for branch, field in (("L1", "pafs"), ("L2", "heatmaps")):
        for i, layer in enumerate(("hidden", "out")):
            names[f"initial_stage.{field}.{layer}"] = f"conv5_{i + 4}_CPM_{branch}"
            names[f"refinement_stages.0.{field}.{layer}"] = f"Mconv{i + 6}_stage2_{branch}"
    for i in range(5):
        for layer, last in (("squeeze", "sq"), ("conv", "3x3"), ("dilated", "3x3/2")):
            names[f"refinement_stages.0.body.{i}.{layer}"] = f"Mconv{i + 1}_stage2_L1/{last}"
    return names


#: The name of each layer here, and in the Model Zoo.
LAYERS: dict[str, str] = _layer_names()


class OpenModelZooNetwork(LightweightNetwork):
    """The lightweight network with one refinement stage, as in the Open Model Zoo.

    It differs from :class:`~openpaf.networks.lightweight.LightweightNetwork` in the order in which
    the refinement stage reads its input: PAFs, heatmaps, features.

    Args:
        skeleton: Its joints and limbs define the channels of the heads.

    Input: (B, 3, H, W) float, BGR, normalized as ``(x - 128) / 255``.
    Output: ``(heatmaps (B, K+1, h, w), pafs (B, 2L, h, w))`` of both stages; the last is the
    result. Channels are in the order of the weights.

    Reference:
        Osokin 2018, section 4.1 and figure 4.
    """

    #: Patterns of published keys and their replacements.
    RENAMES: tuple[tuple[str, str], ...] = tuple(
        (rf"^{re.escape(theirs)}\.(weight|bias)$", rf"{ours}.\1") for ours, theirs in LAYERS.items()
    )

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__(skeleton, n_refinement_stages=1)

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        features = self.features(image)
        stages = [self.initial_stage(features)]
        for stage in self.refinement_stages:
            heatmaps, pafs = stages[-1]
            stages.append(stage(torch.cat([pafs, heatmaps, features], dim=1)))
        return stages
