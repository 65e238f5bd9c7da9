"""Bottom-up, with centers: people are points, and their joints are offsets from them.

Reference:
    Zhou, Wang and Krähenbühl, 2019: Objects as Points.
"""

from __future__ import annotations

from openpaf.decoding.centers import CenterConfig, decode_centers
from openpaf.engines.base import Engine
from openpaf.errors import WeightsError
from openpaf.estimator.arrays import ArrayMethod, Inferred
from openpaf.estimator.methods import Options
from openpaf.poses import Poses
from openpaf.weights.spec import ModelSpec


class CenterNet(ArrayMethod):
    """People by their centers; args are those of :class:`ArrayMethod`.

    Raises:
        ValueError: If ``flip`` is given.
    """

    thresholds = CenterConfig()

    def __init__(self, engine: Engine, spec: ModelSpec, options: Options) -> None:
        refuse_flip(options)
        super().__init__(engine, spec, options)

    def people(self, inferred: Inferred) -> Poses:
        """The people of an image, in px of the network's input.

        Raises:
            WeightsError: If the network gives other arrays, or numbers that are not finite.
        """
        grid, skeleton = self.spec.heatmap_grid, self.spec.skeleton
        try:
            return decode_centers(inferred.arrays, grid, skeleton, self.thresholds)
        except ValueError as error:
            raise WeightsError(f"{self.spec.name}: {error}") from error


def refuse_flip(options: Options) -> None:
    """Refuse mirrored images.

    Raises:
        ValueError: If they are asked for.
    """
    if options.flip:
        raise ValueError(
            "flip: a model that groups joints by offsets does not average mirrored ones"
        )
