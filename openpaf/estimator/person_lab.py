"""Bottom-up, with offsets: people grow from joint to joint.

Reference:
    Papandreou et al., ECCV 2018: PersonLab.
"""

from __future__ import annotations

from openpaf.decoding.person_lab import decode_person_lab, person_lab_channels
from openpaf.engines.base import Arrays
from openpaf.estimator.whole_image import WholeImage
from openpaf.fields import SIGMA_PX
from openpaf.poses import Poses
from openpaf.weights.spec import ModelSpec


class PersonLab(WholeImage):
    """People by heatmaps, short-range and mid-range offsets; see :class:`WholeImage`.

    The radius of the disks is twice ``sigma_px`` of the model.
    """

    @staticmethod
    def channels(spec: ModelSpec) -> dict[str, int]:
        return person_lab_channels(spec.skeleton)

    def decode(self, arrays: Arrays) -> Poses:
        radius_px = 2 * (self.spec.sigma_px or SIGMA_PX)
        return decode_person_lab(arrays, self.spec.heatmap_grid, self.spec.skeleton, radius_px)
