"""Step four of the parser: limbs become people."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.config import DecodeConfig
from openpaf.decoding.limbs import Limbs
from openpaf.decoding.peaks import Peaks
from openpaf.kernels import kernel
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton


def assemble_people(
    peaks: Peaks, limbs: Limbs, skeleton: Skeleton, config: DecodeConfig | None = None
) -> Poses:
    """People from matched limbs."""
    config = config or DecodeConfig()
    xy, scores, person_scores = _assemble(
        peaks.xy,
        peaks.scores,
        peaks.starts,
        limbs.peaks,
        limbs.scores,
        np.array(skeleton.oks_sigmas, np.float32),
        config.join_distance,
        config.duplicate_oks,
        config.min_joints,
        config.min_person_score,
        config.variant,
    )
    return Poses(xy=xy, scores=scores, person_scores=person_scores, skeleton=skeleton)


@kernel
def _assemble(
    xy, peak_scores, starts, pairs, limb_scores, sigmas, join_distance, duplicate_oks,
    min_joints, min_person_score, variant,
):  # type: ignore[no-untyped-def]
    n_peaks, n_joints = len(peak_scores), len(starts) - 1
    joint = np.empty(n_peaks, np.int32)
    for k in range(n_joints):
        joint[starts[k] : starts[k + 1]] = k
    # Every peak begins as a person of its own; people are merged along limbs.
    owner = np.arange(n_peaks)
    members = np.full((n_peaks, n_joints), -1, np.int32)
    size = np.ones(n_peaks, np.int32)
    support = np.zeros(n_peaks, np.float32)
    for p in range(n_peaks):
        members[p, joint[p]] = p
    order = np.argsort(-limb_scores, kind="mergesort")
    for i in order:
        p, q = owner[pairs[i, 0]], owner[pairs[i, 1]]
        if p == q:
            support[p] += limb_scores[i]
        elif _disjoint(members, p, q):
            p = _merge(members, owner, size, support, p, q)
            support[p] += limb_scores[i]
    if join_distance > 0:
        _join(xy, members, owner, size, support, join_distance)
    people = np.flatnonzero(size >= min_joints)
    person_scores = np.empty(len(people), np.float32)
    for i, p in enumerate(people):
        total = 0.0
        for k in range(n_joints):
            if members[p, k] >= 0:
                total += min(peak_scores[members[p, k]], 1.0)
        person_scores[i] = total / math.sqrt(size[p]) / math.sqrt(n_joints)
    rank = np.argsort(-person_scores, kind="mergesort")
    out_xy = np.full((len(people), n_joints, 2), np.nan, np.float32)
    out_scores = np.zeros((len(people), n_joints), np.float32)
    out_person = np.empty(len(people), np.float32)
    n = 0
    for r in rank:
        if person_scores[r] < min_person_score:
            break
        p = people[r]
        for k in range(n_joints):
            m = members[p, k]
            if m >= 0:
                out_xy[n, k] = xy[m]
                out_scores[n, k] = peak_scores[m]
            else:
                out_xy[n, k] = np.nan
                out_scores[n, k] = 0
        out_person[n] = person_scores[r]
        n += 1
    return out_xy[:n], out_scores[:n], out_person[:n]


@kernel
def _disjoint(members, p, q):  # type: ignore[no-untyped-def]
    for k in range(members.shape[1]):
        if members[p, k] >= 0 and members[q, k] >= 0:
            return False
    return True


@kernel
def _merge(members, owner, size, support, p, q):  # type: ignore[no-untyped-def]
    if size[p] < size[q]:
        p, q = q, p
    for k in range(members.shape[1]):
        m = members[q, k]
        if m >= 0:
            members[p, k] = m
            owner[m] = p
    size[p] += size[q]
    size[q] = 0
    support[p] += support[q]
    return p


@kernel
def _join(xy, members, owner, size, support, distance):  # type: ignore[no-untyped-def]
    people = np.flatnonzero(size)
    n_joints = members.shape[1]
    extent = np.zeros(len(size))
    for p in people:
        x0, y0, x1, y1 = 1e9, 1e9, -1e9, -1e9
        for k in range(n_joints):
            m = members[p, k]
            if m >= 0:
                x0, x1 = min(x0, xy[m, 0]), max(x1, xy[m, 0])
                y0, y1 = min(y0, xy[m, 1]), max(y1, xy[m, 1])
        extent[p] = math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2)
    order = people[np.argsort(-extent[people], kind="mergesort")]
    for i in range(len(order) - 1, 0, -1):
        q = order[i]
        best, best_d = -1, distance
        for j in range(i):
            p = order[j]
            if size[p] == 0 or extent[p] <= 0 or not _disjoint(members, p, q):
                continue
            nearest = 1e9
            for k in range(n_joints):
                a = members[q, k]
                if a < 0:
                    continue
                for m in range(n_joints):
                    b = members[p, m]
                    if b >= 0:
                        d = math.sqrt((xy[a, 0] - xy[b, 0]) ** 2 + (xy[a, 1] - xy[b, 1]) ** 2)
                        nearest = min(nearest, d)
            if nearest / extent[p] < best_d:
                best, best_d = p, nearest / extent[p]
        if best >= 0:
            _merge(members, owner, size, support, best, q)
