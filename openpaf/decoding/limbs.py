"""Steps two and three of the parser: candidate limbs, and the best one-to-one choice of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding.config import DecodeConfig
from openpaf.decoding.peaks import Peaks, _grown
from openpaf.fields import Fields
from openpaf.kernels import kernel


class Limbs(NamedTuple):
    """Candidate limbs or chosen ones, limb type after limb type.

    Attributes:
        types: (M,) int32, which limb of the skeleton.
        peaks: (M, 2) int32, indices into the peaks: where it begins and where it ends.
        scores: (M,) float32, mean PAF along it.
    """

    types: NDArray[np.int32]
    peaks: NDArray[np.int32]
    scores: NDArray[np.float32]


def limb_table(fields: Fields) -> NDArray[np.int32]:
    return np.array(fields.skeleton.limbs, np.int32).reshape(-1, 2)


def score_limbs(fields: Fields, peaks: Peaks, config: DecodeConfig | None = None) -> Limbs:
    """Line integrals of the PAFs between peaks."""
    config = config or DecodeConfig()
    types, pairs, scores = _score_limbs(
        fields.pafs,
        limb_table(fields),
        peaks.xy,
        peaks.scores,
        peaks.starts,
        fields.paf_grid.stride,
        fields.paf_grid.offset_px,
        config.limb_samples,
        config.limb_point_threshold,
        config.limb_fraction,
        config.limb_threshold,
        config.variant,
    )
    return Limbs(types, pairs, scores)


def match_limbs(candidates: Limbs, config: DecodeConfig | None = None) -> Limbs:
    """Greedy one-to-one choice."""
    config = config or DecodeConfig()
    if config.variant & 2:
        return candidates
    n_peaks = int(candidates.peaks.max()) + 1 if len(candidates.peaks) else 0
    chosen = _match_greedy(candidates.types, candidates.peaks, candidates.scores, n_peaks)
    return Limbs(candidates.types[chosen], candidates.peaks[chosen], candidates.scores[chosen])


@kernel
def _match_greedy(types, peaks, scores, n_peaks):  # type: ignore[no-untyped-def]
    used = np.full((n_peaks, 2), -1, np.int32)
    chosen = np.empty(len(types), np.int32)
    n = 0
    start = 0
    while start < len(types):
        limb = types[start]
        end = start
        while end < len(types) and types[end] == limb:
            end += 1
        order = np.argsort(-scores[start:end], kind="mergesort")
        for i in order:
            a, b = peaks[start + i, 0], peaks[start + i, 1]
            if used[a, 0] != limb and used[b, 1] != limb:
                used[a, 0] = limb
                used[b, 1] = limb
                chosen[n] = start + i
                n += 1
        start = end
    return chosen[:n]


@kernel
def _score_limbs(
    pafs, limbs, xy, peak_scores, starts, stride, offset, n_samples, point_threshold, fraction,
    threshold, variant,
):  # type: ignore[no-untyped-def]
    h, w = pafs.shape[2], pafs.shape[3]
    types = np.empty(512, np.int32)
    pairs = np.empty((512, 2), np.int32)
    scores = np.empty(512, np.float32)
    n = 0
    for limb in range(limbs.shape[0]):
        field_x, field_y = pafs[limb, 0], pafs[limb, 1]
        ja, jb = limbs[limb, 0], limbs[limb, 1]
        for a in range(starts[ja], starts[ja + 1]):
            ax, ay = (xy[a, 0] - offset) / stride, (xy[a, 1] - offset) / stride
            for b in range(starts[jb], starts[jb + 1]):
                bx, by = (xy[b, 0] - offset) / stride, (xy[b, 1] - offset) / stride
                dx, dy = bx - ax, by - ay
                length = math.sqrt(dx * dx + dy * dy)
                if length < 1e-6:
                    continue
                mx = min(max(int(0.5 * (ax + bx) + 0.5), 0), w - 1)
                my = min(max(int(0.5 * (ay + by) + 0.5), 0), h - 1)
                if field_x[my, mx] * dx + field_y[my, mx] * dy <= point_threshold * length * 0.5:
                    continue
                ux, uy = dx / length, dy / length
                total = 0.0
                good = 0
                for i in range(n_samples):
                    t = (i + 0.5) / n_samples if variant & 4 else i / (n_samples - 1.0)
                    along = _sample(field_x, field_y, ax + t * dx, ay + t * dy, ux, uy)
                    total += along
                    if along > point_threshold:
                        good += 1
                total /= n_samples
                if good < fraction * n_samples or total < threshold:
                    continue
                if n == len(scores):
                    types, pairs, scores = _grown(types, n), _grown(pairs, n), _grown(scores, n)
                types[n] = limb
                pairs[n, 0] = a
                pairs[n, 1] = b
                scores[n] = total
                n += 1
    return types[:n], pairs[:n], scores[:n]


@kernel
def _sample(field_x, field_y, x, y, ux, uy):  # type: ignore[no-untyped-def]
    """The PAF at (x, y), in cells, along the unit vector (ux, uy); bilinear."""
    h, w = field_x.shape
    x = min(max(x, 0.0), w - 1.0)
    y = min(max(y, 0.0), h - 1.0)
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, w - 1), min(y0 + 1, h - 1)
    fx, fy = x - x0, y - y0
    a = field_x[y0, x0] * ux + field_y[y0, x0] * uy
    b = field_x[y0, x1] * ux + field_y[y0, x1] * uy
    c = field_x[y1, x0] * ux + field_y[y1, x0] * uy
    d = field_x[y1, x1] * ux + field_y[y1, x1] * uy
    return (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy
