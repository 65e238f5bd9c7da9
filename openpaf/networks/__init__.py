"""Networks that turn a picture into heatmaps and part affinity fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from openpaf import topdown
from openpaf.networks.lightweight import LightweightNetwork
from openpaf.skeleton import Skeleton

__all__ = ["LightweightNetwork", "build"]

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "lightweight": LightweightNetwork,
    **topdown.BUILDERS,
}


def build(name: str, skeleton: Skeleton = Skeleton.COCO17, **options: Any) -> nn.Module:
    """A network by name, with fresh weights.

    Args:
        name: ``"lightweight"``.
        skeleton: Its joints and limbs give the channels of the heads.
        **options: Passed to the network, e.g. ``n_refinement_stages``.

    Raises:
        ValueError: If there is no such network; the message lists those there are.
    """
    if name not in _BUILDERS:
        raise ValueError(f"network: expected one of {', '.join(_BUILDERS)}, got {name!r}")
    return _BUILDERS[name](skeleton, **options)
