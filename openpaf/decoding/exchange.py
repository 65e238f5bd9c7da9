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
    ties, outside = np.empty(n_limbs, np.int32), np.zeros(n_peaks)
    n_ties = _find_ties(f, pairs, limb_scores, is_strong, least_gain, ties, outside)
    if n_ties == 0:
        return
    # The limbs of each first peak, side by side.
    starts, of_peak = np.zeros(n_peaks + 2, np.int32), np.empty(n_limbs, np.int32)
    for i in range(n_limbs):
        starts[pairs[i, 0] + 2] += is_strong[i]
    for p in range(n_peaks):
        starts[p + 2] += starts[p + 1]
    for i in range(n_limbs):
        if is_strong[i]:
            of_peak[starts[pairs[i, 0] + 1]] = i
            starts[pairs[i, 0] + 1] += 1
    limbs = (pairs, limb_scores, starts, of_peak)
    both, joints = np.empty((2, n_joints), np.int32), np.empty(n_joints, np.int32)
    bonds, gains = np.zeros((n_joints, n_joints)), np.empty(n_joints)
    order = np.empty(n_joints, np.int32)
    tried = np.empty(n_peaks, np.int32)
    for _ in range(_ROUNDS):
        changed = False
        for p in range(n_peaks):
            tried[p] = -1
        for i in ties[:n_ties]:
            p, q = f.name[pairs[i, 0]], f.name[pairs[i, 1]]
            if p == q or tried[p] == q or tried[q] == p:
                continue
            tried[p] = q
            n = _joints_of(f, p, q, both, joints)
            if n == 0:
                continue
            _sum_bonds(f, (p, q), limbs, both, joints[:n], bonds)
            if _exchange_best(both, joints[:n], bonds, gains, order, least_gain):
                divide(f, xy, both)
                changed = True
        if not changed:
            return


@leaf
def _find_ties(f, pairs, limb_scores, is_strong, least_gain, ties, outside):  # type: ignore[no-untyped-def]
    """Write the limbs between two fragments that may gain enough; returns their number.

    No pair gains more than the scores of the limbs that leave one of the two. ``outside`` is a
    buffer of zeros.
    """
    for i in range(len(pairs)):
        p, q = f.name[pairs[i, 0]], f.name[pairs[i, 1]]
        if is_strong[i] and p != q:
            outside[p] += limb_scores[i]
            outside[q] += limb_scores[i]
    n = 0
    for i in range(len(pairs)):
        p, q = f.name[pairs[i, 0]], f.name[pairs[i, 1]]
        if is_strong[i] and p != q and min(outside[p], outside[q]) > least_gain:
            ties[n] = i
            n += 1
    return n


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
