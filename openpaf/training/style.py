"""What the targets of fields are drawn with: from given weights, in these weights' own style."""

from __future__ import annotations

from typing import NamedTuple

from openpaf.fields import PAF_HALF_WIDTH_PX, SIGMA_PX
from openpaf.skeleton import Skeleton
from openpaf.training.config import TrainConfig
from openpaf.training.start import read_start


class Style(NamedTuple):
    """Widths of targets in px, and how much heatmaps count beside PAFs."""

    sigma_px: float
    paf_half_width_px: float
    heatmap_weight: float


_FRESH = Style(SIGMA_PX, PAF_HALF_WIDTH_PX, 1.0)
# Of weights whose file does not say it. With these widths the error of the shipped default asks for
# neither higher nor lower heatmaps and limbs of the tree, and with this weight its PAFs, whose
# error is twenty times that of the heatmaps, do not rule (models/recipes/NOTES.md).
_UNKNOWN = Style(7.5, 10.0, 10.0)


def target_style(config: TrainConfig, skeleton: Skeleton) -> Style:
    """The style of a run's targets; what the configuration leaves out is that of its start.

    Targets of another style, or a loss that the PAFs rule, would at first cost AP, even on the
    images that are learned.

    Args:
        config: The run.
        skeleton: Of its network; weights of another one have new heads, without a style.

    Raises:
        WeightsError: If the initial weights are missing or damaged.
    """
    start, style = read_start(config.network), _FRESH
    if start.spec is not None and start.fits(skeleton):
        style = _UNKNOWN._replace(
            sigma_px=start.spec.sigma_px or _UNKNOWN.sigma_px,
            paf_half_width_px=start.spec.paf_half_width_px or _UNKNOWN.paf_half_width_px,
        )
    given = {key: getattr(config.targets, key) for key in Style._fields}
    return style._replace(**{key: value for key, value in given.items() if value is not None})
