"""Exact matching: all limbs chosen together, which matching limb by limb approximates."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from openpaf.decoding.types import Limbs, Peaks

#: The exact solution takes seconds from about this many candidates on, and may take hours.
MAX_EXACT = 3000


def match_exactly(peaks: Peaks, candidates: Limbs) -> NDArray[np.int32]:
    """Indices of the candidates of largest total weight that make whole people.

    All limbs are chosen together, so that no two peaks of one joint are connected, through however
    many limbs: the K-partite matching that the paper calls NP-hard. It is solved as an integer
    program. For every chain of limbs that connects two peaks of one joint a constraint is added,
    and the program solved again, until there is none.

    Args:
        peaks: From :func:`openpaf.decoding.find_peaks`.
        candidates: From :func:`openpaf.decoding.score_limbs`.

    Raises:
        ValueError: If there are more than ``MAX_EXACT`` candidates, or the solver finds no
            solution in two minutes.

    Reference:
        Cao et al., CVPR 2017, section 2.4 and figure 6b; the constraints on chains are those of
        Chopra and Rao, The partition problem, Mathematical Programming 59, 1993.
    """
    types, pairs, _, weights = candidates
    if len(types) > MAX_EXACT:
        raise ValueError(
            f"matching: 'exact' is for small scenes of at most {MAX_EXACT} candidate limbs, "
            f"this one has {len(types)}"
        )
    if not len(types):
        return np.empty(0, np.int32)
    joint = np.repeat(np.arange(len(peaks.starts) - 1), np.diff(peaks.starts))
    rows = _one_limb_a_peak(types, pairs)
    while True:
        chosen = _solve(rows, weights)
        chains = _contradictions(chosen, pairs, joint)
        if not chains:
            return _by_weight(chosen, weights)
        rows += [(chain, len(chain) - 1) for chain in chains]


def _by_weight(chosen: NDArray[np.int32], weights: NDArray[np.float32]) -> NDArray[np.int32]:
    return chosen[np.argsort(-weights[chosen], kind="stable")] if len(chosen) else chosen


def _one_limb_a_peak(
    types: NDArray[np.int32], pairs: NDArray[np.int32]
) -> list[tuple[list[int], int]]:
    """Constraints (candidates, at most how many of them): a peak has one limb of each type."""
    of: dict[tuple[int, int, int], list[int]] = {}
    for i, (limb, pair) in enumerate(zip(types.tolist(), pairs.tolist(), strict=True)):
        for side, peak in enumerate(pair):
            of.setdefault((limb, side, peak), []).append(i)
    return [(members, 1) for members in of.values() if len(members) > 1]


def _solve(rows: list[tuple[list[int], int]], weights: NDArray[np.float32]) -> NDArray[np.int32]:
    n = len(weights)
    constraints = []
    if rows:
        columns = np.concatenate([members for members, _ in rows])
        starts = np.cumsum([0, *(len(members) for members, _ in rows)])
        matrix = csr_array((np.ones(len(columns)), columns, starts), shape=(len(rows), n))
        constraints = [LinearConstraint(matrix, ub=np.array([most for _, most in rows]))]
    result = milp(
        -weights.astype(np.float64),
        constraints=constraints,
        integrality=np.ones(n, np.int64),
        bounds=Bounds(0, 1),
        options={"time_limit": 120, "mip_rel_gap": 0},
    )
    if result.x is None:
        raise ValueError(f"matching: 'exact' found no solution in time ({result.message})")
    return np.flatnonzero(result.x > 0.5).astype(np.int32)


def _contradictions(
    chosen: NDArray[np.int32], pairs: NDArray[np.int32], joint: NDArray[np.int64]
) -> list[list[int]]:
    """Shortest chains of chosen candidates from a peak to another of the same joint."""
    links: dict[int, list[tuple[int, int]]] = {}
    for i in chosen.tolist():
        a, b = pairs[i].tolist()
        links.setdefault(a, []).append((b, i))
        links.setdefault(b, []).append((a, i))
    chains: dict[tuple[int, ...], list[int]] = {}
    for start in links:
        came: dict[int, tuple[int, int]] = {start: (-1, -1)}
        queue = [(0, start)]
        while queue:
            steps, peak = heapq.heappop(queue)
            if peak != start and joint[peak] == joint[start]:
                chain = []
                while peak != start:
                    peak, limb = came[peak]
                    chain.append(limb)
                chains.setdefault(tuple(sorted(chain)), chain)
                break
            for other, limb in links[peak]:
                if other not in came:
                    came[other] = (peak, limb)
                    heapq.heappush(queue, (steps + 1, other))
    return list(chains.values())
