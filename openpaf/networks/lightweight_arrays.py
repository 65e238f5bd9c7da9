"""The lightweight network with other heads, for other ways to group joints than by PAFs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from openpaf.networks.lightweight import Head, LightweightNetwork
from openpaf.skeleton import Skeleton


class LightweightArrays(LightweightNetwork):
    """Trunk, context and first stage of :class:`LightweightNetwork`, and a head for each array.

    The layers have the names and shapes of that network's, so that ``network.trunk`` of a training
    run may be one of its files.

    Args:
        skeleton: Of the network that it is made of; its heads are left out.
        channels: Of each array.
        width: As of :class:`LightweightNetwork`.
        hidden_width: As of :class:`LightweightNetwork`, of each head.
        **options: As of :class:`LightweightNetwork`: ``ranks``, ``trunk_widths``, ``atrous``,
            ``stride``.

    Input: As of :class:`LightweightNetwork`.
    Output: One stage, a tuple of the arrays (B, channels, h, w).
    """

    def __init__(
        self,
        skeleton: Skeleton,
        channels: Sequence[int],
        *,
        width: int = 128,
        hidden_width: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(skeleton, n_refinement_stages=0, width=width, **options)
        del self.initial_stage.heatmaps, self.initial_stage.pafs, self.refinement_stages
        self.heads = nn.ModuleList(Head(width, hidden_width or 4 * width, n) for n in channels)

    def forward(self, image: Tensor) -> list[tuple[Tensor, ...]]:  # type: ignore[override]
        features = self.initial_stage.body(self.features(image))
        return [tuple(head(features) for head in self.heads)]


class LightweightTags(LightweightArrays):
    """Heatmaps and tags (B, K, h, w) each, for associative embedding.

    Args:
        skeleton: Its joints, a heatmap and a map of tags each.
        **options: As of :class:`LightweightArrays`.

    Reference:
        Newell et al., NeurIPS 2017: Associative Embedding, section 3.1, for the outputs.
    """

    def __init__(self, skeleton: Skeleton, **options: Any) -> None:
        super().__init__(skeleton, (skeleton.n_joints, skeleton.n_joints), **options)
