"""Limbs matched by assignment of the largest total weight, the optimum that greedy comes near."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from openpaf.decoding.limbs import Limbs


def match_optimal(candidates: Limbs) -> NDArray[np.int32]:
    """Indices of the candidates in each limb's assignment of the largest total weight.

    Args:
        candidates: From :func:`openpaf.decoding.score_limbs`.

    Reference:
        Cao et al., CVPR 2017, equations 12 to 14, solved by the Hungarian algorithm.
    """
    types, pairs, _, weights = candidates
    chosen: list[int] = []
    for limb in np.unique(types):
        rows = np.flatnonzero(types == limb)
        first, a = np.unique(pairs[rows, 0], return_inverse=True)
        second, b = np.unique(pairs[rows, 1], return_inverse=True)
        total = np.zeros((len(first), len(second)))  # pairs that are no candidates add nothing
        index = np.full(total.shape, -1)
        total[a, b], index[a, b] = weights[rows], rows
        taken = index[linear_sum_assignment(total, maximize=True)]
        chosen += taken[taken >= 0].tolist()
    order = np.array(chosen, np.int32)
    return order[np.argsort(-weights[order], kind="stable")] if len(order) else order
