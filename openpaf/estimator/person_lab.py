"""Bottom-up, with offsets: people grow from joint to joint.

Reference:
    Papandreou et al., ECCV 2018: PersonLab.
"""

from __future__ import annotations

from openpaf.decoding.person_lab import PersonLabConfig, decode_person_lab
from openpaf.engines.base import Engine
from openpaf.errors import WeightsError
from openpaf.estimator.arrays import ArrayMethod, Inferred
from openpaf.estimator.center_net import refuse_flip
from openpaf.estimator.methods import Options
from openpaf.fields import SIGMA_PX
from openpaf.poses import Poses
from openpaf.weights.spec import ModelSpec


class PersonLab(ArrayMethod):
    """People by heatmaps, short-range and mid-range offsets; args as :class:`ArrayMethod`.

    The radius of the disks about joints is twice ``sigma_px`` of the model.

    Raises:
        ValueError: If ``flip`` is given.
    """

    thresholds = PersonLabConfig()

    def __init__(self, engine: Engine, spec: ModelSpec, options: Options) -> None:
        refuse_flip(options)
        super().__init__(engine, spec, options)

    def people(self, inferred: Inferred) -> Poses:
        """The people of an image, in px of the network's input.

        Raises:
            WeightsError: If the network gives other arrays, or numbers that are not finite.
        """
        grid, skeleton = self.spec.heatmap_grid, self.spec.skeleton
        radius_px = 2 * (self.spec.sigma_px or SIGMA_PX)
        try:
            return decode_person_lab(inferred.arrays, grid, skeleton, radius_px, self.thresholds)
        except ValueError as error:
            raise WeightsError(f"{self.spec.name}: {error}") from error
