"""How wide the targets of fields are: from given weights, as these weights' own."""

from __future__ import annotations

from typing import NamedTuple

from openpaf.fields import PAF_HALF_WIDTH_PX, SIGMA_PX
from openpaf.skeleton import Skeleton
from openpaf.training.config import TrainConfig
from openpaf.training.start import read_start


class Style(NamedTuple):
    """Widths of targets in px."""

    sigma_px: float
    paf_half_width_px: float


_FRESH = Style(SIGMA_PX, PAF_HALF_WIDTH_PX)
# Of weights whose file does not say it. With these widths the error of the shipped default asks for
# neither higher nor lower heatmaps and limbs of the tree (models/recipes/NOTES.md).
_UNKNOWN = Style(7.5, 10.0)


def target_style(config: TrainConfig, skeleton: Skeleton) -> Style:
    """The style of a run's targets; what the configuration leaves out is that of its start.

    Targets of another style would at first cost AP, even on the images that are learned.

    Args:
        config: The run.
        skeleton: Of its network; weights of another one have new heads, without a style.

    Raises:
        WeightsError: If the initial weights are missing or damaged.
    """
    start, style = read_start(config.network), _FRESH
    if start.spec is not None and start.fits(skeleton):
        style = Style(
            start.spec.sigma_px or _UNKNOWN.sigma_px,
            start.spec.paf_half_width_px or _UNKNOWN.paf_half_width_px,
        )
    given = {key: getattr(config.targets, key) for key in Style._fields}
    return style._replace(**{key: value for key, value in given.items() if value is not None})
