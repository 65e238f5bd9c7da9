"""Fragments of people: sets of peaks that belong together, and how they are merged."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.sorting import falling
from openpaf.kernels.compile import inlined, leaf, part


class Fragments(NamedTuple):
    """Which peaks belong together. A fragment is named by one of its peaks."""

    name: NDArray[np.int32]  # (P,) the fragment of each peak
    next: NDArray[np.int32]  # (P,) the peaks of a fragment form a ring
    joint: NDArray[np.int32]  # (P,) the joint of each peak
    size: NDArray[np.int32]  # (P,) peaks of the fragment so named; 0 if none is
    has: NDArray[np.uint64]  # (P, K / 64) its joints, one bit each
    box: NDArray[np.float32]  # (P, 4) x0, y0, x1, y1 in px


@part
def singletons(xy, starts):  # type: ignore[no-untyped-def]
    """The fragments of one peak each."""
    n_peaks, n_joints = len(xy), len(starts) - 1
    joint = np.empty(n_peaks, np.int32)
    has = np.zeros((n_peaks, (n_joints + 63) // 64), np.uint64)
    box = np.empty((n_peaks, 4), np.float32)
    for k in range(n_joints):
        for p in range(starts[k], starts[k + 1]):
            joint[p] = k
            has[p, k // 64] = np.uint64(1) << np.uint64(k % 64)
            box[p, 0] = box[p, 2] = xy[p, 0]
            box[p, 1] = box[p, 3] = xy[p, 1]
    names = np.arange(n_peaks).astype(np.int32)
    return Fragments(names, names.copy(), joint, np.ones(n_peaks, np.int32), has, box)


@inlined
def _be_alone(f, xy, p):  # type: ignore[no-untyped-def]
    """Make peak p a fragment."""
    f.name[p] = f.next[p] = p
    f.size[p] = 1
    for word in range(f.has.shape[1]):
        f.has[p, word] = 0
    f.has[p, f.joint[p] // 64] = np.uint64(1) << np.uint64(f.joint[p] % 64)
    f.box[p, 0] = f.box[p, 2] = xy[p, 0]
    f.box[p, 1] = f.box[p, 3] = xy[p, 1]


@leaf
def divide(f, xy, both):  # type: ignore[no-untyped-def]
    """Make two fragments anew, of (2, K) peaks, -1 where none; their first peaks name them."""
    for side in range(2):
        first = -1
        for k in range(both.shape[1]):
            p = both[side, k]
            if p < 0:
                continue
            _be_alone(f, xy, p)
            if first < 0:
                first = p
            else:
                merge_if_disjoint(f, first, p)


@inlined
def _disjoint(f, p, q):  # type: ignore[no-untyped-def]
    for word in range(f.has.shape[1]):
        if f.has[p, word] & f.has[q, word]:
            return False
    return True


@inlined
def merge_if_disjoint(f, p, q):  # type: ignore[no-untyped-def]
    """Merge fragments p and q into p; False if they are one already or have a joint in common."""
    if p == q or not _disjoint(f, p, q):
        return False
    peak = q
    for _ in range(f.size[q]):
        f.name[peak] = p
        peak = f.next[peak]
    f.next[p], f.next[q] = f.next[q], f.next[p]  # two rings become one
    f.size[p] += f.size[q]
    f.size[q] = 0
    for word in range(f.has.shape[1]):
        f.has[p, word] |= f.has[q, word]
    f.box[p, 0], f.box[p, 1] = min(f.box[p, 0], f.box[q, 0]), min(f.box[p, 1], f.box[q, 1])
    f.box[p, 2], f.box[p, 3] = max(f.box[p, 2], f.box[q, 2]), max(f.box[p, 3], f.box[q, 3])
    return True


@part
def _merge(f, p, q):  # type: ignore[no-untyped-def]
    """:func:`merge_if_disjoint`, compiled once, for callers outside of the loop over limbs."""
    return merge_if_disjoint(f, p, q)


@inlined
def _diagonal(f, p):  # type: ignore[no-untyped-def]
    dx, dy = f.box[p, 2] - f.box[p, 0], f.box[p, 3] - f.box[p, 1]
    return math.sqrt(np.float64(dx) * dx + np.float64(dy) * dy)


@part
def merge_fragments(f, xy, distance, merge_size):  # type: ignore[no-untyped-def]
    """Merge fragments that nearly touch, each into the nearest larger one."""
    order = np.flatnonzero(f.size)
    diagonals, sizes = np.empty(len(order), np.float32), np.empty(len(xy))
    for i, p in enumerate(order):
        diagonals[i] = _diagonal(f, p)
        sizes[p] = _diagonal(f, p) + merge_size
    order = order[falling(diagonals)]
    for i in range(len(order) - 1, 0, -1):
        q = order[i]
        best = _nearest_of(f, xy, order[:i], sizes, q, distance)
        if best >= 0:
            _merge(f, best, q)
            sizes[best] = _diagonal(f, best) + merge_size


@leaf
def _nearest_of(f, xy, larger, sizes, q, distance):  # type: ignore[no-untyped-def]
    """The larger fragment nearest to q, relative to the other's size; -1 if all are too far.

    A leaf, as crowds have millions of pairs. Boxes are compared first, as nearly all are far apart.
    """
    best, best_gap = -1, np.float64(distance)
    x0, y0, x1, y1 = f.box[q, 0], f.box[q, 1], f.box[q, 2], f.box[q, 3]
    for p in larger:
        near = best_gap * sizes[p]
        if max(x0 - f.box[p, 2], f.box[p, 0] - x1) > near:
            continue
        if max(y0 - f.box[p, 3], f.box[p, 1] - y1) > near or not _disjoint(f, p, q):
            continue
        gap = _nearest(f, xy, p, q) / sizes[p]
        if gap < best_gap:
            best, best_gap = p, gap
    return best


@leaf
def _nearest(f, xy, p, q):  # type: ignore[no-untyped-def]
    """Distance in px between the nearest joints of two fragments."""
    best = np.inf  # squared, so that one root is taken for all pairs
    a = p
    for _ in range(f.size[p]):
        b = q
        for _ in range(f.size[q]):
            dx, dy = np.float64(xy[a, 0]) - xy[b, 0], np.float64(xy[a, 1]) - xy[b, 1]
            best = min(best, dx * dx + dy * dy)
            b = f.next[b]
        a = f.next[a]
    return math.sqrt(best)


@inlined
def _distance(xy, a, b):  # type: ignore[no-untyped-def]
    dx, dy = np.float64(xy[a, 0]) - xy[b, 0], np.float64(xy[a, 1]) - xy[b, 1]
    return math.sqrt(dx * dx + dy * dy)


@part
def complete_along_limbs(f, xy, pairs, reach, least_size):  # type: ignore[no-untyped-def]
    """Merge weak peaks into people along limbs, repeated as each one may connect the next.

    The direction of a weak field is unreliable, so limbs that are too long for the person are
    skipped.
    """
    for _ in range(3):
        changed = False
        for i in range(len(pairs)):
            p, q = f.name[pairs[i, 0]], f.name[pairs[i, 1]]
            if (f.size[p] == 0) == (f.size[q] == 0):
                continue
            if f.size[p] == 0:
                p, q = q, p
            if _distance(xy, pairs[i, 0], pairs[i, 1]) > reach * (_diagonal(f, p) + least_size):
                continue
            f.size[q] = 1
            if _merge(f, p, q):
                changed = True
            else:
                f.size[q] = 0
        if not changed:
            return


@part
def complete_nearby(f, xy, scores, neighbors, distance):  # type: ignore[no-untyped-def]
    """Give unused peaks, the highest first, to the nearest person who lacks that joint."""
    people, left_over = np.empty(len(scores), np.int32), np.empty(len(scores), np.int32)
    heights = np.empty(len(scores), np.float32)
    n_people = n_left = 0
    for p in range(len(scores)):  # loops: array expressions take numba seconds to compile
        if f.size[p] > 1:
            people[n_people] = p
            n_people += 1
        elif f.size[p] == 1 or f.name[p] == p:
            left_over[n_left], heights[n_left] = p, scores[p]
            n_left += 1
    people, sizes = people[:n_people], np.empty(len(xy))
    for p in people:  # type: ignore[assignment]
        sizes[p] = _diagonal(f, p)
    for i in falling(heights[:n_left]):
        q = left_over[i]
        best = _nearest_with_limb(f, xy, people, sizes, q, neighbors, distance)
        if best >= 0:
            f.size[q] = 1
            _merge(f, best, q)
            sizes[best] = _diagonal(f, best)


@leaf
def _nearest_with_limb(f, xy, people, sizes, q, neighbors, distance):  # type: ignore[no-untyped-def]
    """The person nearest to peak q, relative to size, with a joint to form a limb with; or -1."""
    best, best_gap = -1, np.float64(distance)
    x, y, k = xy[q, 0], xy[q, 1], f.joint[q]
    for p in people:
        near = best_gap * sizes[p]
        if max(x - f.box[p, 2], f.box[p, 0] - x) > near:
            continue
        if max(y - f.box[p, 3], f.box[p, 1] - y) > near or not _disjoint(f, p, q):
            continue
        peak = p
        for _ in range(f.size[p]):
            if _contains(neighbors[k], f.joint[peak]):
                gap = _distance(xy, peak, q) / max(sizes[p], 1e-6)
                if gap < best_gap:
                    best, best_gap = p, gap
            peak = f.next[peak]
    return best


@inlined
def _contains(values, value):  # type: ignore[no-untyped-def]
    for other in values:
        if other == value:
            return True
    return False


@part
def assign_shared_joints(f, pairs, limb_scores, threshold):  # type: ignore[no-untyped-def]
    """(n, 2) people, and peaks of other people that they get as well."""
    shared = np.empty((len(pairs), 2), np.int32)
    n = 0
    for i in range(len(pairs)):
        if limb_scores[i] < threshold:
            continue
        for side in range(2):
            mine, other = pairs[i, side], pairs[i, 1 - side]
            person = f.name[mine]
            # Both must be people of at least two joints: a single joint is no evidence.
            if f.size[person] < 2 or f.name[other] == person or f.size[f.name[other]] == 0:
                continue
            k = f.joint[other]
            bit = np.uint64(1) << np.uint64(k % 64)
            if not f.has[person, k // 64] & bit and n < len(shared):
                f.has[person, k // 64] |= bit
                shared[n, 0], shared[n, 1] = person, other
                n += 1
    return shared[:n]
