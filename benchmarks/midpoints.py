"""The 2017 paper's other ways to tie joints together: midpoints of limbs, and trees of limbs.

A network that detects midpoints has a heatmap for each, as for a joint (the paper's figure 6), in
place of the two channels of a part affinity field. A candidate limb scores what these heatmaps
hold at the midpoints between its two peaks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf import DecodeConfig, Fields, Poses, Skeleton, encode_fields
from openpaf.decoding import Limbs, Peaks, find_peaks, match_limbs, score_limbs
from openpaf.skeleton.trees import tree_limbs

Midpoints = NDArray[np.float32]
NEAR_PX = 8.0  # a peak within is the joint


def encode_midpoints(poses: Poses, size_hw: tuple[int, int], n: int) -> Midpoints:
    """(L, n, h, w): a Gaussian at each of the n points that divide a limb evenly."""
    a, b = np.array(poses.skeleton.limbs).T
    shares = (np.arange(n) + 1) / (n + 1)
    xy = poses.xy[:, a, None] + shares[:, None] * (poses.xy[:, b] - poses.xy[:, a])[:, :, None]
    scores = np.repeat(np.minimum(poses.scores[:, a], poses.scores[:, b]), n, axis=1)
    xy = xy.reshape(len(poses), -1, 2)
    points = Skeleton(
        name="midpoints",
        joints=tuple(f"{limb} {i}" for limb in range(len(a)) for i in range(n)),
        limbs=(),
        oks_sigmas=(0.05,) * (n * len(a)),
    )
    maps = encode_fields(poses.replace(xy=xy, scores=scores, skeleton=points), size_hw).heatmaps
    return maps[:-1].reshape(len(a), n, *maps.shape[1:])


def score_midpoints(maps: Midpoints, fields: Fields, peaks: Peaks, config: DecodeConfig) -> Limbs:
    """Candidate limbs: pairs of peaks with enough at the midpoints between them, on average."""
    skeleton, grid = fields.skeleton, fields.heatmap_grid
    limbs = tree_limbs(skeleton) if config.graph == "tree" else range(skeleton.n_limbs)
    types, pairs, scores = [], [], []
    n = maps.shape[1]
    for limb in limbs:
        a, b = skeleton.limbs[limb]
        first = np.arange(peaks.starts[a], peaks.starts[a + 1])
        second = np.arange(peaks.starts[b], peaks.starts[b + 1])
        start, end = peaks.xy[first][:, None], peaks.xy[second][None]
        values = [
            _bilinear(maps[limb, i], grid.to_cells(start + (i + 1) / (n + 1) * (end - start)))
            for i in range(n)
        ]
        score = np.mean(values, axis=0)
        i, j = np.nonzero(score >= config.limb_threshold)
        types.append(np.full(len(i), limb))
        pairs.append(np.stack([first[i], second[j]], axis=1))
        scores.append(score[i, j])
    pair, score = np.concatenate(pairs).astype(np.int32), np.concatenate(scores).astype(np.float32)
    weights = score * np.sqrt(peaks.scores[pair].min(axis=1))
    return Limbs(np.concatenate(types).astype(np.int32), pair, score, weights)


def _bilinear(array: NDArray[np.float32], xy: NDArray[Any]) -> NDArray[np.float32]:
    """Values of (h, w) at (..., 2) points in cells, clamped to the border."""
    last = np.array(array.shape[::-1]) - 1
    xy = np.clip(xy, 0, last)
    low = np.floor(xy).astype(int)
    high = np.minimum(low + 1, last)
    x, y = np.moveaxis(xy - low, -1, 0)
    top = array[low[..., 1], low[..., 0]] * (1 - x) + array[low[..., 1], high[..., 0]] * x
    bottom = array[high[..., 1], low[..., 0]] * (1 - x) + array[high[..., 1], high[..., 0]] * x
    return np.asarray(top * (1 - y) + bottom * y)


def measured_tree(scenes: Iterable[tuple[Fields, Poses]], skeleton: Skeleton) -> tuple[int, ...]:
    """Limbs of the maximum spanning tree of a skeleton by their reliability.

    A limb's is how many true people it connects, less how many it connects wrongly, if it is
    matched alone: the tree of the largest sum leaves people in the fewest fragments.
    """
    worth = np.zeros(skeleton.n_limbs)
    for fields, truth in scenes:
        peaks = find_peaks(fields)
        limbs = match_limbs(score_limbs(fields, peaks), DecodeConfig(n_fallbacks=0))
        person = _person_of(peaks, truth)
        a, b = person[limbs.peaks[:, 0]], person[limbs.peaks[:, 1]]
        np.add.at(worth, limbs.types, np.where((a == b) & (a >= 0), 1, -1))
    part = list(range(skeleton.n_joints))
    chosen = []
    for limb in np.argsort(-worth, kind="stable"):
        a, b = (part[k] for k in skeleton.limbs[limb])
        if a != b:
            part = [a if p == b else p for p in part]
            chosen.append(int(limb))
    return tuple(sorted(chosen))


def _person_of(peaks: Peaks, truth: Poses) -> NDArray[np.int64]:
    """(P,) the true person whose joint is nearest to each peak; -1 where none is near."""
    person = np.full(len(peaks.scores), -1)
    if not len(truth):
        return person
    for k in range(truth.skeleton.n_joints):
        here = slice(peaks.starts[k], peaks.starts[k + 1])
        distance = np.linalg.norm(peaks.xy[here, None] - truth.xy[None, :, k], axis=2)
        distance = np.where(np.isfinite(distance), distance, np.inf)
        person[here] = np.where(distance.min(axis=1) < NEAR_PX, distance.argmin(axis=1), -1)
    return person
