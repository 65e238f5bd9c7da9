"""Step four of the parser: limbs become people."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.checks import checked_limbs, checked_peaks
from openpaf.decoding.config import DEFAULTS, DecodeConfig
from openpaf.decoding.exchange import exchange_joints
from openpaf.decoding.fragments import (
    assign_shared_joints,
    complete_along_limbs,
    complete_nearby,
    merge_fragments,
    merge_if_disjoint,
    singletons,
)
from openpaf.decoding.sorting import falling
from openpaf.decoding.types import Limbs, Peaks
from openpaf.kernels.compile import kernel, leaf, part
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton


def assemble_people(
    peaks: Peaks, limbs: Limbs, skeleton: Skeleton, config: DecodeConfig | None = None
) -> Poses:
    """People from peaks and the limbs between them.

    1. Every peak is a fragment. Limbs, by falling weight, merge two fragments unless both have
       the same joint. A limb that contradicts a better one is thus skipped, and redundant limbs
       and fallbacks are used instead. Where one between two people is strong against all others
       of both, they exchange joints (:mod:`openpaf.decoding.exchange`).
    2. Fragments without a joint in common that nearly touch, relative to size, are merged.
    3. Missing joints are filled in: weak peaks along a limb, peaks near a joint that they could
       have a limb with, and peaks of another person that a strong limb leads to.
    4. People are sorted by a score that predicts their object keypoint similarity, and of two
       that are nearly the same the weaker is dropped.

    Args:
        peaks: From :func:`find_peaks`.
        limbs: From :func:`match_limbs`; merged in this order.
        skeleton: The joints of the peaks.
        config: Uses ``peak_threshold`` and all thresholds from ``exchange_gain`` on.

    Returns:
        People by falling score, in px of the network's input. A joint's score is the height of
        its peak, at most 1. A person's is
        ``sqrt(sum(s ** 2) / K) * size / (size + score_size_px)`` of its joints' scores s, size
        being the diagonal in px of the box around those of at least ``peak_threshold``.

    Raises:
        ValueError: If peaks or limbs are not as the steps before return them, or do not belong
            together.

    Reference:
        Cao et al., CVPR 2017, section 2.4.
    """
    config = config or DEFAULTS
    peaks = checked_peaks(peaks, skeleton)
    limbs = checked_limbs("limbs", limbs, peaks, skeleton)
    arrays = _assemble_alone(
        (peaks.xy, peaks.scores, peaks.starts),
        (limbs.peaks, limbs.scores),
        _tables(skeleton),
        _people_numbers(config),
    )
    return _poses(arrays[0], arrays[1], arrays[2], skeleton)


def _people_numbers(config: DecodeConfig) -> tuple[float | int, ...]:
    """The scalar arguments of :func:`_assemble`."""
    return (
        float(config.peak_threshold),
        float(config.merge_distance),
        float(config.merge_size_px),
        float(config.share_threshold),
        float(config.complete_reach),
        float(config.complete_distance),
        float(config.single_threshold),
        float(config.duplicate_oks),
        float(config.score_size_px),
        int(config.min_joints),
        float(config.min_person_score),
        float(config.exchange_gain),
    )


def _poses(
    xy: NDArray[np.float32],
    scores: NDArray[np.float32],
    person_scores: NDArray[np.float32],
    skeleton: Skeleton,
) -> Poses:
    """Poses without their checks, which take as long as parsing nine people.

    Scores are clipped to 1, which peaks of a network exceed. A joint has coordinates exactly where
    it has a peak.
    """
    poses = object.__new__(Poses)
    poses.__dict__.update(
        xy=xy,
        scores=np.minimum(scores, 1),
        person_scores=person_scores,
        skeleton=skeleton,
        ids=None,
    )
    return poses


@lru_cache(maxsize=64)
def _tables(skeleton: Skeleton) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """OKS sigmas, and (K, most) joints that each joint has a limb with, -1 where none."""
    others: list[list[int]] = [[] for _ in skeleton.joints]
    for a, b in skeleton.limbs:
        others[a].append(b)
        others[b].append(a)
    neighbors = np.full((skeleton.n_joints, max(map(len, others)) or 1), -1, np.int32)
    for k, joints in enumerate(others):
        neighbors[k, : len(joints)] = joints
    return np.array(skeleton.oks_sigmas, np.float32), neighbors


@kernel
def _assemble_alone(peaks, limbs, tables, numbers):  # type: ignore[no-untyped-def]
    return _assemble(peaks, limbs, tables, numbers)


@part
def _assemble(peaks, limbs, tables, numbers):  # type: ignore[no-untyped-def]
    """Arrays of :class:`Poses`."""
    xy, scores, starts = peaks
    pairs, limb_scores = limbs
    sigmas, neighbors = tables
    (
        strong, merge_distance, merge_size, share_threshold, complete_reach, complete_distance,
        single_threshold, duplicate_oks, score_size, min_joints, min_person_score, exchange_gain,
    ) = numbers  # fmt: skip
    f = singletons(xy, starts)
    n_peaks = len(scores)
    is_strong = np.empty(len(pairs), np.bool_)
    _merge_along_limbs(f, pairs, scores, strong, is_strong)
    exchange_joints(f, xy, pairs, limb_scores, is_strong, len(starts) - 1, exchange_gain)
    # Single weak peaks are set aside, so that fragments are merged before they are completed.
    for p in range(n_peaks):
        if f.size[p] == 1 and scores[p] < strong:
            f.size[p] = 0
    if merge_distance > 0:
        merge_fragments(f, xy, merge_distance, merge_size)
    # First, so that weak peaks do not take the place of joints that two people share.
    shared = assign_shared_joints(f, pairs, limb_scores, share_threshold)
    complete_along_limbs(f, xy, pairs, complete_reach, merge_size)
    if complete_distance > 0:
        complete_nearby(f, xy, scores, neighbors, complete_distance)
    for p in range(n_peaks):
        if f.size[p] < min_joints or (f.size[p] == 1 and scores[p] < single_threshold):
            f.size[p] = 0
    people_xy, people_scores = _joints_of_people(f, xy, scores, shared, len(starts) - 1)
    person_scores = _person_scores(people_xy, people_scores, strong, score_size)
    order = _without_duplicates(
        people_xy, people_scores, person_scores, sigmas, duplicate_oks, min_person_score
    )
    return _taken_people(people_xy, people_scores, person_scores, order)


@leaf
def _merge_along_limbs(f, pairs, scores, strong, is_strong):  # type: ignore[no-untyped-def]
    """Merge fragments along limbs between strong peaks; writes which those limbs are.

    A leaf: counting references at each limb took a fifth of the time of a parse.
    """
    for i in range(len(pairs)):
        a, b = pairs[i, 0], pairs[i, 1]
        is_strong[i] = scores[a] >= strong and scores[b] >= strong
        if is_strong[i]:
            merge_if_disjoint(f, f.name[a], f.name[b])


@part
def _joints_of_people(f, xy, scores, shared, n_joints):  # type: ignore[no-untyped-def]
    """(N, K, 2) px, NaN where missing, and (N, K) scores of the fragments that are people."""
    people = np.flatnonzero(f.size)
    out_xy = np.full((len(people), n_joints, 2), np.nan, np.float32)
    out_scores = np.zeros((len(people), n_joints), np.float32)
    ranks = np.full(len(scores), -1, np.int32)
    for i, person in enumerate(people):
        ranks[person] = i
        p = person
        for _ in range(f.size[person]):
            out_xy[i, f.joint[p], 0], out_xy[i, f.joint[p], 1] = xy[p, 0], xy[p, 1]
            out_scores[i, f.joint[p]] = scores[p]
            p = f.next[p]
    for i in range(len(shared)):
        person, p = ranks[f.name[shared[i, 0]]], shared[i, 1]
        if person < 0:
            continue  # dropped for too few joints
        out_xy[person, f.joint[p], 0], out_xy[person, f.joint[p], 1] = xy[p, 0], xy[p, 1]
        out_scores[person, f.joint[p]] = scores[p]
    return out_xy, out_scores


@part
def _without_duplicates(  # type: ignore[no-untyped-def]
    xy, scores, person_scores, sigmas, duplicate_oks, min_person_score
):
    """Indices of the people to keep, by falling score."""
    boxes = _boxes(xy, scores, 0.0)
    order = falling(person_scores)
    n = 0
    for i in order:
        if person_scores[i] >= min_person_score and not _is_duplicate(
            xy, scores, sigmas, boxes, order[:n], i, duplicate_oks
        ):
            order[n] = i
            n += 1
    return order[:n]


@part
def _taken_people(xy, scores, person_scores, order):  # type: ignore[no-untyped-def]
    """The arrays of the people of some indices, in their order."""
    n, n_joints = len(order), scores.shape[1]
    best_xy = np.empty((n, n_joints, 2), np.float32)
    best_scores = np.empty((n, n_joints), np.float32)
    best_person_scores = np.empty(n, np.float32)
    for i in range(n):
        best_person_scores[i] = person_scores[order[i]]
        for k in range(n_joints):
            best_scores[i, k] = scores[order[i], k]
            best_xy[i, k, 0], best_xy[i, k, 1] = xy[order[i], k, 0], xy[order[i], k, 1]
    return best_xy, best_scores, best_person_scores


@part
def _boxes(xy, scores, least):  # type: ignore[no-untyped-def]
    """(N, 4) float64 x0, y0, x1, y1 in px around each person's joints with the least score."""
    boxes = np.empty((len(scores), 4))
    for i in range(len(scores)):
        x0, y0, x1, y1 = np.inf, np.inf, -np.inf, -np.inf
        for k in range(scores.shape[1]):
            if scores[i, k] > 0 and scores[i, k] >= least:
                x0, x1 = min(x0, xy[i, k, 0]), max(x1, xy[i, k, 0])
                y0, y1 = min(y0, xy[i, k, 1]), max(y1, xy[i, k, 1])
        boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3] = x0, y0, x1, y1
    return boxes


@part
def _person_scores(xy, scores, strong, score_size):  # type: ignore[no-untyped-def]
    """Quadratic mean over all joints, lower for small people: it predicts a person's OKS."""
    n_people, n_joints = scores.shape
    out = np.empty(n_people, np.float32)
    # A weak joint may be noise far away, so it does not count for a person's size.
    boxes = _boxes(xy, scores, strong)
    for i in range(n_people):
        total = 0.0
        for k in range(n_joints):
            total += min(scores[i, k], 1.0) ** 2
        # One px is added, so that single joints have a size and a rank.
        width, height = max(boxes[i, 2] - boxes[i, 0], 0.0), max(boxes[i, 3] - boxes[i, 1], 0.0)
        size = math.sqrt(width**2 + height**2) + 1
        out[i] = math.sqrt(total / n_joints) * size / (size + score_size)
    return out


@part
def _is_duplicate(xy, scores, sigmas, boxes, better, i, threshold):  # type: ignore[no-untyped-def]
    """Whether a better person has all joints of person i at nearly the same places."""
    n_joints = scores.shape[1]
    if threshold > 1:
        return False
    n = 0
    for k in range(n_joints):
        n += scores[i, k] > 0
    for j in better:
        if (
            boxes[i, 0] > boxes[j, 2]
            or boxes[j, 0] > boxes[i, 2]
            or boxes[i, 1] > boxes[j, 3]
            or boxes[j, 1] > boxes[i, 3]
        ):
            continue
        area = (boxes[j, 2] - boxes[j, 0]) * (boxes[j, 3] - boxes[j, 1])
        may_lose = (1 - threshold) * n
        for k in range(n_joints):
            if scores[i, k] <= 0:
                continue
            loss = 1.0  # 1 - openpaf.oks.joint_similarity
            if scores[j, k] > 0:
                dx, dy = xy[i, k, 0] - xy[j, k, 0], xy[i, k, 1] - xy[j, k, 1]
                variance = 4 * sigmas[k] * sigmas[k] * area
                loss = 1 - math.exp(-(dx * dx + dy * dy) / (2 * variance + 1e-6))
            may_lose -= loss
            if may_lose < 0:
                break
        if may_lose >= 0:
            return True
    return False
