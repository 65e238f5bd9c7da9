"""The lightweight network with the heads of CenterNet, of PersonLab and of G-RMI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from openpaf.decoding.centers import center_channels
from openpaf.decoding.person_lab import person_lab_channels
from openpaf.networks.lightweight_arrays import LightweightArrays
from openpaf.skeleton import Skeleton

#: Added to what the heads of heatmaps give, whose biases start at 0: most cells are background, and
#: at first all of them have a probability of 0.1.
PRIOR_LOGIT = -2.19
_HEATMAPS = ("centers", "heatmaps")


class _Heads(LightweightArrays):
    """A head for each array; those of heatmaps give logits.

    Args:
        skeleton: The joints.
        channels: Of each array by name.
        **options: As of :class:`LightweightArrays`.
    """

    def __init__(self, skeleton: Skeleton, channels: Mapping[str, int], **options: Any) -> None:
        super().__init__(skeleton, list(channels.values()), **options)
        self.is_heatmap = [name in _HEATMAPS for name in channels]

    def stages(self, image: Tensor) -> list[tuple[Tensor, ...]]:
        """As ``forward``, with logits in place of probabilities, which the losses take."""
        (arrays,) = super().forward(image)
        chances = zip(arrays, self.is_heatmap, strict=True)
        return [tuple(array + PRIOR_LOGIT if is_map else array for array, is_map in chances)]

    def forward(self, image: Tensor) -> list[tuple[Tensor, ...]]:  # type: ignore[override]
        (arrays,) = self.stages(image)
        chances = zip(arrays, self.is_heatmap, strict=True)
        return [tuple(torch.sigmoid(array) if is_map else array for array, is_map in chances)]


class LightweightCenterNet(_Heads):
    """Centers and offsets to joints from the trunk of the lightweight network.

    Args:
        skeleton: The joints.
        stride: Px per cell; 4 as in the paper.
        **options: As of :class:`LightweightArrays`.

    Input: (B, 3, H, W) float, RGB, normalized as its weights require.
    Output: One stage, the arrays of :func:`openpaf.decoding.centers.decode_centers`.

    Raises:
        ValueError: If an option is out of range.

    Reference:
        Zhou et al., 2019: Objects as Points.
    """

    def __init__(self, skeleton: Skeleton, *, stride: int = 4, **options: Any) -> None:
        super().__init__(skeleton, center_channels(skeleton), stride=stride, **options)


class LightweightPersonLab(_Heads):
    """Heatmaps, short-range and mid-range offsets from the trunk of the lightweight network.

    Args:
        skeleton: The joints.
        **options: As of :class:`LightweightArrays`.

    Input: (B, 3, H, W) float, RGB, normalized as its weights require.
    Output: One stage, the arrays of :func:`openpaf.decoding.person_lab.decode_person_lab`.

    Raises:
        ValueError: If an option is out of range.

    Reference:
        Papandreou et al., ECCV 2018: PersonLab.
    """

    def __init__(self, skeleton: Skeleton, **options: Any) -> None:
        super().__init__(skeleton, person_lab_channels(skeleton), **options)


class LightweightOffsets(_Heads):
    """Heatmaps and offsets of one person from the trunk of the lightweight network.

    Args:
        skeleton: The joints.
        **options: As of :class:`LightweightArrays`.

    Input: (B, 3, H, W) float, RGB crops, normalized as its weights require.
    Output: One stage: heatmaps (B, K, h, w), and offsets (B, 2K, h, w) from the cell to each joint,
        x and y in turn, in cells.

    Raises:
        ValueError: If an option is out of range.

    Reference:
        Papandreou et al., CVPR 2017: Towards Accurate Multi-person Pose Estimation in the Wild.
    """

    def __init__(self, skeleton: Skeleton, **options: Any) -> None:
        n = skeleton.n_joints
        super().__init__(skeleton, {"heatmaps": n, "offsets": 2 * n}, **options)
