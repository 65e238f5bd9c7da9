"""What a model is: all that must be known to run it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openpaf.channels import CHANNEL_ORDERS
from openpaf.errors import WeightsError, printable
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton
from openpaf.weights.header import read_note


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What must be known of a checkpoint to run it.

    Args:
        name: As ``PoseEstimator(model=...)`` takes it.
        builder: Name of the network for :func:`openpaf.networks.build`.
        options: Arguments of the builder, the skeleton apart.
        skeleton: Its joints and limbs; also the order of its channels, unless ``channel_order``
            says otherwise.
        result: The joints of the people that are found with it, taken from the skeleton's by
            name; all of them where not given.
        bgr: Whether the network takes BGR; its engine takes RGB all the same.
        channel_order: Name of the one of :data:`openpaf.channels.CHANNEL_ORDERS` in which the
            network gives its channels, for this very skeleton; its engine gives them in the
            skeleton's order.
        heatmap_grid: Where the cells of the heatmaps lie.
        paf_grid: Where the cells of the PAFs lie.
        mean: Subtracted from values of 0 to 255.
        scale: The difference is divided by this.
        licence: In plain words.
        metrics: Figures of its card, e.g. AP.
    """

    name: str
    builder: str
    options: dict[str, Any]
    skeleton: Skeleton
    heatmap_grid: Grid
    paf_grid: Grid
    mean: float
    scale: float
    licence: str
    metrics: dict[str, Any]
    result: Skeleton | None = None
    bgr: bool = False
    channel_order: str | None = None

    def __post_init__(self) -> None:
        if self.channel_order is None:
            return
        order = CHANNEL_ORDERS.get(self.channel_order)
        if order is None or order.skeleton != self.skeleton:
            raise ValueError(
                f"channel_order: expected one for {self.skeleton.name!r} among "
                f"{', '.join(CHANNEL_ORDERS)}, got {self.channel_order!r}"
            )

    def to_metadata(self) -> dict[str, str]:
        """As strings, for the header of a safetensors file."""
        return {
            "openpaf": json.dumps(
                {
                    "name": self.name,
                    "builder": self.builder,
                    "options": self.options,
                    "skeleton": self.skeleton.to_dict(),
                    "result": self.result.to_dict() if self.result else None,
                    "heatmap_grid": [self.heatmap_grid.stride, self.heatmap_grid.offset],
                    "paf_grid": [self.paf_grid.stride, self.paf_grid.offset],
                    "mean": self.mean,
                    "scale": self.scale,
                    "bgr": self.bgr,
                    "channel_order": self.channel_order,
                    "licence": self.licence,
                    "metrics": self.metrics,
                }
            )
        }

    @classmethod
    def from_metadata(cls, metadata: dict[str, str] | None, path: Path) -> ModelSpec:
        """Read back what :meth:`to_metadata` wrote.

        Raises:
            WeightsError: If the file does not say how it is to be run.
        """
        text = (metadata or {}).get("openpaf")
        if text is None:
            raise WeightsError(f"{path}: no description of an openpaf model in it")
        try:
            return cls(**read_note(text))
        except ValueError as error:
            raise WeightsError(
                f"{path}: its description of the model cannot be used: {printable(error, 400)}"
            ) from error
