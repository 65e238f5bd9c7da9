"""Plain NumPy twins of the kernels that group joints by centers and by offsets."""

from __future__ import annotations

from typing import Any

import numpy as np

from openpaf.decoding.centers import CenterConfig
from openpaf.decoding.person_lab import PersonLabConfig
from openpaf.skeleton import Skeleton
from openpaf.skeleton.trees import tree_of

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]


def maxima(cells: Array, threshold: float) -> list[tuple[int, int]]:
    """Rows and columns that no neighbor exceeds, the highest first; of equals the first."""
    padded = np.pad(cells.astype(np.float64), 1, constant_values=-np.inf)
    h, w = cells.shape
    is_peak = cells >= threshold
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            other = padded[1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
            earlier = (dy, dx) < (0, 0)
            is_peak &= (cells > other) if earlier else (cells >= other)
    spots = [(int(r), int(c)) for r, c in zip(*np.nonzero(is_peak), strict=True)]
    return sorted(spots, key=lambda spot: -cells[spot])


def decode_centers(arrays: Arrays, config: CenterConfig) -> tuple[Array, Array, Array]:
    """Places (N, K, 2) in cells, joint scores (N, K) and person scores (N,)."""
    spots = maxima(arrays["centers"][0], config.min_center)[: config.max_people]
    heatmaps = arrays["heatmaps"]
    xy, scores = np.zeros((len(spots), len(heatmaps), 2)), np.zeros((len(spots), len(heatmaps)))
    for k, heatmap in enumerate(heatmaps):
        peaks = maxima(heatmap, config.min_peak)[: config.max_people]
        for i, (row, column) in enumerate(spots):
            at = np.array([column, row])
            place = at + arrays["joints"][2 * k : 2 * k + 2, row, column]
            middle = at + arrays["center_offsets"][:, row, column]
            size = arrays["sizes"][:, row, column]
            best, choice = config.reach * size.max(), None
            for r, c in peaks:
                peak = np.array([c, r]) + arrays["joint_offsets"][:, r, c]
                far = np.linalg.norm(peak - place)
                if (np.abs(peak - middle) <= size / 2).all() and far <= best:
                    best, choice = far, (peak, heatmap[r, c])
            if choice is None:
                c, r = np.floor(place + 0.5).astype(int)
                inside = 0 <= r < heatmap.shape[0] and 0 <= c < heatmap.shape[1]
                choice = place, heatmap[r, c] if inside else 0
            xy[i, k], scores[i, k] = choice[0], np.clip(choice[1], 1e-3, 1)
    person_scores = np.array([min(arrays["centers"][0][spot], 1) for spot in spots])
    return xy, scores, person_scores


def votes(heatmap: Array, offsets: Array, radius: float) -> Array:
    """What the cells of a joint vote for (h, w)."""
    h, w = heatmap.shape
    total = np.zeros((h, w))
    for row in range(h):
        for column in range(w):
            x, y = column + offsets[0, row, column], row + offsets[1, row, column]
            rows = np.maximum(1 - np.abs(np.arange(h) - y), 0)
            columns = np.maximum(1 - np.abs(np.arange(w) - x), 0)
            total += heatmap[row, column] / (np.pi * radius**2) * rows[:, None] * columns
    return total


def masses(total: Array) -> Array:
    """Sums over the nine cells about each."""
    padded = np.pad(total, 1)
    h, w = total.shape
    sums = [padded[dy : dy + h, dx : dx + w] for dy in range(3) for dx in range(3)]
    return np.sum(sums, axis=0).astype(np.float32)


def middle(total: Array, row: int, column: int) -> Array:
    """The middle (x, y) of the votes for a cell and its neighbors."""
    rows, columns = np.mgrid[: total.shape[0], : total.shape[1]]
    near = (np.abs(rows - row) <= 1) & (np.abs(columns - column) <= 1)
    weights = np.where(near, total, 0)
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


def person_lab(
    arrays: Arrays, skeleton: Skeleton, radius: float, same_joint: float, config: PersonLabConfig
) -> tuple[Array, Array, Array]:
    """Places (N, K, 2) in cells, joint scores (N, K) and person scores (N,), the best first."""
    heatmaps, offsets = arrays["heatmaps"], arrays["offsets"]
    k_joints, h, w = heatmaps.shape
    seeds = []
    for k in range(k_joints):
        if config.hough:
            total = votes(heatmaps[k], offsets[2 * k : 2 * k + 2], radius)
            for r, c in maxima(masses(total), config.min_peak):
                seeds.append((float(masses(total)[r, c]), k, middle(total, r, c)))
        else:
            for r, c in maxima(heatmaps[k], config.min_peak):
                place = np.array([c, r]) + offsets[2 * k : 2 * k + 2, r, c]
                seeds.append((float(heatmaps[k, r, c]), k, place))
    people: list[Array] = []
    for _, k, place in sorted(seeds, key=lambda seed: -seed[0]):
        if any(np.linalg.norm(person[k] - place) <= same_joint for person in people):
            continue
        if len(people) < config.max_people:
            people.append(_grown(k, place, arrays, skeleton, config.n_refinements))
    xy = np.array(people).reshape(-1, k_joints, 2)
    scores = np.zeros(xy.shape[:2])
    for i, person in enumerate(xy):
        area = max(np.ptp(person, axis=0).prod(), 1)
        for k in range(k_joints):
            r, c = _cell(person[k], (h, w))
            scores[i, k] = heatmaps[k, r, c]
            if config.hough:
                unit = 2 * area * (2 * skeleton.oks_sigmas[k]) ** 2
                scores[i, k] *= _expected(arrays, k, person[k], radius, unit)
    return _suppressed(xy, scores, same_joint)


def _cell(place: Array, size_hw: tuple[int, int]) -> tuple[int, int]:
    x, y = np.clip(place, 0, np.array(size_hw[::-1]) - 1)
    return int(np.floor(y + 0.5)), int(np.floor(x + 0.5))


def _grown(k: int, place: Array, arrays: Arrays, skeleton: Skeleton, n: int) -> Array:
    size_hw = arrays["heatmaps"].shape[1:]
    known = {k: np.asarray(place, np.float64)}
    while len(known) < skeleton.n_joints:
        for e, edge in enumerate(tree_of(skeleton)):
            for name, (a, b) in (("forward", edge), ("backward", edge[::-1])):
                if a in known and b not in known:
                    r, c = _cell(known[a], size_hw)
                    at = np.array([c, r]) + arrays[name][2 * e : 2 * e + 2, r, c]
                    for _ in range(n):
                        r, c = _cell(at, size_hw)
                        at = np.array([c, r]) + arrays["offsets"][2 * b : 2 * b + 2, r, c]
                    known[b] = at
    return np.array([known[joint] for joint in range(skeleton.n_joints)])


def _expected(arrays: Arrays, k: int, place: Array, radius: float, unit: float) -> float:
    heatmap = arrays["heatmaps"][k].astype(np.float64)
    rows, columns = np.mgrid[: heatmap.shape[0], : heatmap.shape[1]]
    x = columns + arrays["offsets"][2 * k] - place[0]
    y = rows + arrays["offsets"][2 * k + 1] - place[1]
    squared = x**2 + y**2
    # Of the cells of the square about the place, as far as they vote for places near it.
    low = np.maximum((place - radius).astype(int), 0)
    high = (place + radius).astype(int) + 1
    window = (columns >= low[0]) & (columns <= high[0]) & (rows >= low[1]) & (rows <= high[1])
    weights = np.where(window & (squared <= radius**2), heatmap, 0)
    total = weights.sum()
    return float((weights * np.exp(-squared / unit)).sum() / total) if total > 0 else 0.0


def _suppressed(xy: Array, scores: Array, same_joint: float) -> tuple[Array, Array, Array]:
    order = np.argsort(-scores.mean(axis=1), kind="stable")
    final = np.zeros(len(xy))
    for place, i in enumerate(order):
        for k in range(xy.shape[1]):
            better = xy[order[:place], k]
            if not (np.linalg.norm(better - xy[i, k], axis=1) <= same_joint).any():
                final[i] += scores[i, k] / xy.shape[1]
    order = np.argsort(-final, kind="stable")
    return xy[order], scores[order], final[order]
