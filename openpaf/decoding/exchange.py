"""Joints that two people exchange: fragments that limbs tie together are divided anew.

Limbs are merged one after the other, the strongest first. One wrong limb between two people who
overlap may thus give one the legs of the other, against all other limbs of both.
"""

from __future__ import annotations

import numpy as np

from openpaf.decoding.fragments import divide
from openpaf.kernels.compile import leaf, part

_ROUNDS = 2  # a third changes next to nothing


@part
def exchange_joints(f, xy, pairs, limb_scores, is_strong, n_joints, least_gain):  # type: ignore[no-untyped-def]
    """Exchange joints between fragments that a limb connects, but that have a joint in common.

    Each such pair is divided so that the scores of the limbs inside both sum up to more: the joint
    whose exchange gains most, or loses least, is exchanged, each joint once, and the best of the
    divisions on the way is taken.

    Args:
        f: The fragments, which are changed.
        xy: (P, 2) peaks in px.
        pairs: (M, 2) peaks of the limbs, the strongest first.
        limb_scores: (M,) scores of the limbs.
        is_strong: (M,) whether both peaks may begin a person.
        n_joints: Of the skeleton.
        least_gain: A pair is divided anew where the sum becomes larger by more than this.

    Reference:
        Kernighan and Lin, An efficient heuristic procedure for partitioning graphs, 1970.
    """
    n_limbs, n_peaks = len(pairs), len(xy)
    ties, sums = np.empty((4, n_limbs), np.int32), np.empty(n_limbs)
    n_ties = _find_ties(
        f, (pairs, limb_scores, is_strong), np.full(n_peaks, -1, np.int32), ties, sums, least_gain
    )
    if n_ties == 0:
        return
    starts, of_peak = np.zeros(n_peaks + 2, np.int32), np.empty(n_limbs, np.int32)
    _list_limbs(pairs, is_strong, starts, of_peak)
    _exchange_all(
        f, xy, (pairs, limb_scores, starts, of_peak), (ties[0, :n_ties], ties[1, :n_ties], sums),
        (np.empty(n_peaks, np.int32), np.zeros(n_peaks, np.bool_)),
        (np.empty((2, n_joints), np.int32), np.empty(n_joints, np.int32)),
        (np.empty((n_joints, n_joints)), np.empty(n_joints), np.empty(n_joints, np.int32)),
        least_gain,
    )  # fmt: skip


@leaf
def _find_ties(f, limbs, first, ties, sums, least_gain):  # type: ignore[no-untyped-def]
    """Write the limbs between two fragments; returns their number, or 0 if no two may gain enough.

    Two fragments gain no more than the scores of the limbs between them. Their sum for limb
    ``ties[0, i]`` is ``sums[ties[1, i]]``. ``first`` holds -1.
    """
    pairs, limb_scores, is_strong = limbs
    # The sums of a fragment are a chain, which begins at ``first``: of which other one, and the
    # next sum.
    others, following = ties[2], ties[3]
    n = n_sums = 0
    most = 0.0
    for i in range(len(pairs)):
        p, q = f.name[pairs[i, 0]], f.name[pairs[i, 1]]
        if not is_strong[i] or p == q:
            continue
        p, q = min(p, q), max(p, q)
        at = first[p]
        while at >= 0 and others[at] != q:
            at = following[at]
        if at < 0:
            at = n_sums
            n_sums += 1
            sums[at], others[at], following[at] = 0.0, q, first[p]
            first[p] = at
        sums[at] += limb_scores[i]
        most = max(most, sums[at])
        ties[0, n], ties[1, n] = i, at
        n += 1
    return n if most > least_gain else 0


@leaf
def _list_limbs(pairs, is_strong, starts, of_peak):  # type: ignore[no-untyped-def]
    """Write the limbs of each first peak p: ``starts[p]`` to ``starts[p + 1]`` of ``of_peak``."""
    for i in range(len(pairs)):
        starts[pairs[i, 0] + 2] += is_strong[i]
    for p in range(2, len(starts)):
        starts[p] += starts[p - 1]
    for i in range(len(pairs)):
        if is_strong[i]:
            of_peak[starts[pairs[i, 0] + 1]] = i
            starts[pairs[i, 0] + 1] += 1


@leaf
def _exchange_all(f, xy, limbs, ties, of_peaks, of_joints, room, least_gain):  # type: ignore[no-untyped-def]
    """Divide anew each two fragments that may gain enough; all arrays beside are buffers."""
    pairs = limbs[0]
    chosen, sum_of, sums = ties
    (tried, is_new), (both, joints) = of_peaks, of_joints
    for _ in range(_ROUNDS):
        changed = False
        for p in range(len(tried)):
            tried[p] = -1
        for at, i in enumerate(chosen):
            p, q = f.name[pairs[i, 0]], f.name[pairs[i, 1]]
            if p == q or tried[p] == q or tried[q] == p:
                continue
            if sums[sum_of[at]] <= least_gain and not is_new[p] and not is_new[q]:
                continue
            tried[p] = q
            n = _joints_of(f, p, q, both, joints)
            if n == 0:
                continue
            bonds, gains, order = room
            _sum_bonds(f, (p, q), limbs, both, joints[:n], bonds)
            if _exchange_best(both, joints[:n], bonds, gains, order, least_gain):
                divide(f, xy, both)
                is_new[p] = is_new[q] = True
                for side in range(2):
                    for k in joints[:n]:
                        if both[side, k] >= 0:
                            is_new[both[side, k]] = True
                changed = True
        if not changed:
            return


@leaf
def _joints_of(f, p, q, both, joints):  # type: ignore[no-untyped-def]
    """Write the peaks of fragments p and q by joint, -1 where none, and the joints of either.

    Returns the number of joints; 0 if none is common.
    """
    for side in range(2):
        for k in range(both.shape[1]):
            both[side, k] = -1
        name = q if side else p
        peak = name
        for _ in range(f.size[name]):
            both[side, f.joint[peak]] = peak
            peak = f.next[peak]
    n = n_common = 0
    for k in range(both.shape[1]):
        if both[0, k] >= 0 or both[1, k] >= 0:
            joints[n] = k
            n += 1
            n_common += both[0, k] >= 0 and both[1, k] >= 0
    return n if n_common else 0


@leaf
def _sum_bonds(f, names, limbs, both, joints, bonds):  # type: ignore[no-untyped-def]
    """Write, for joints k and l, the scores of limbs inside two fragments less those across."""
    pairs, limb_scores, starts, of_peak = limbs
    for k in joints:
        for l in joints:  # noqa: E741
            bonds[k, l] = 0
    for side in range(2):
        for k in joints:
            a = both[side, k]
            if a < 0:
                continue
            for at in range(starts[a], starts[a + 1]):
                b = pairs[of_peak[at], 1]
                if f.name[b] == names[side]:
                    score = np.float64(limb_scores[of_peak[at]])
                elif f.name[b] == names[1 - side]:
                    score = -np.float64(limb_scores[of_peak[at]])
                else:
                    continue
                bonds[k, f.joint[b]] += score
                bonds[f.joint[b], k] += score


@leaf
def _exchange_best(both, joints, bonds, gains, order, least_gain):  # type: ignore[no-untyped-def]
    """Exchange peaks of two fragments where that gains enough; whether it does.

    ``gains`` and ``order`` are buffers.
    """
    for k in joints:
        gains[k] = 0
        for l in joints:  # noqa: E741
            gains[k] -= bonds[k, l]
    total, most, n_best = 0.0, least_gain, 0
    for n in range(len(joints) - 1):  # to exchange all would change nothing
        best = joints[0]
        for k in joints:
            if gains[k] > gains[best]:
                best = k
        total += gains[best]
        gains[best] = -np.inf  # not again
        order[n] = best
        if total > most:
            most, n_best = total, n + 1
        for k in joints:
            gains[k] += 2 * bonds[best, k]
    for n in range(n_best):
        k = order[n]
        both[0, k], both[1, k] = both[1, k], both[0, k]
    return n_best > 0
