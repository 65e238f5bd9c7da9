"""Bottom-up, with offsets: people grow from joint to joint.

Reference:
    Papandreou et al., ECCV 2018: PersonLab.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.person_lab import PersonLabConfig, decode_person_lab
from openpaf.engines.base import Arrays, Engine
from openpaf.errors import WeightsError
from openpaf.estimator.arrays import ArrayMethod, Inferred
from openpaf.estimator.methods import Options
from openpaf.estimator.mirroring import lag_of, mirrored_edges, mirrored_maps, mirrored_pairs
from openpaf.fields import SIGMA_PX
from openpaf.poses import Poses
from openpaf.skeleton.trees import tree_of
from openpaf.weights.spec import ModelSpec


class PersonLab(ArrayMethod):
    """People by heatmaps, short-range and mid-range offsets; args as :class:`ArrayMethod`.

    The radius of the disks about joints is twice ``sigma_px`` of the model. With ``flip`` all
    arrays are averaged.

    Raises:
        ValueError: If the tree of joints cannot be mirrored where ``flip`` is set.
    """

    thresholds = PersonLabConfig()

    def __init__(self, engine: Engine, spec: ModelSpec, options: Options) -> None:
        super().__init__(engine, spec, options)
        self.edges = mirrored_edges(spec.skeleton, tree_of(spec.skeleton)) if options.flip else ()

    def people(self, inferred: Inferred) -> Poses:
        """The people of an image, in px of the network's input.

        Raises:
            WeightsError: If the network gives other arrays, or numbers that are not finite.
        """
        grid, skeleton = self.spec.heatmap_grid, self.spec.skeleton
        radius_px = 2 * (self.spec.sigma_px or SIGMA_PX)
        try:
            arrays = self._averaged(inferred)
            return decode_person_lab(arrays, grid, skeleton, radius_px, self.thresholds)
        except ValueError as error:
            raise WeightsError(f"{self.spec.name}: {error}") from error

    def _averaged(self, inferred: Inferred) -> Arrays:
        if inferred.mirrored is None:
            return inferred.arrays
        other, swap = inferred.mirrored, self.spec.skeleton.flip_permutation
        n_cells = other["heatmaps"].shape[2]
        shift, rest = lag_of(self.spec.heatmap_grid, n_cells, inferred.size_hw[1])
        forward, backward = self._mirrored_steps(other)
        everyone = range(len(self.edges))
        back = {
            "heatmaps": mirrored_maps(other["heatmaps"], swap, shift),
            "offsets": mirrored_pairs(other["offsets"], swap, shift, rest),
            "forward": mirrored_pairs(forward, everyone, shift, rest),
            "backward": mirrored_pairs(backward, everyone, shift, rest),
        }
        return {
            name: np.asarray((inferred.arrays[name] + array) / 2, np.float32)
            for name, array in back.items()
        }

    def _mirrored_steps(self, arrays: Arrays) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The mid-range offsets of each edge's mirror image, which may run backwards."""
        there, here = arrays["forward"].copy(), arrays["backward"].copy()
        for e, (image, backwards) in enumerate(self.edges):
            sources = ("backward", "forward") if backwards else ("forward", "backward")
            for target, source in zip((there, here), sources, strict=True):
                target[2 * e : 2 * e + 2] = arrays[source][2 * image : 2 * image + 2]
        return there, here
