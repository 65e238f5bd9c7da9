"""The parser once more, in plain Python and NumPy, to compare the compiled kernels with.

Written for reading, not for speed: one function a step, people as sets of peaks.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from openpaf import DecodeConfig, Fields, Poses
from openpaf.decoding import Limbs, Peaks
from openpaf.oks import joint_similarity, joint_variance


def decode(fields: Fields, config: DecodeConfig | None = None) -> Poses:
    """What :func:`openpaf.decode` should give."""
    config = config or DecodeConfig()
    peaks = find_peaks(fields, config)
    limbs = match_limbs(score_limbs(fields, peaks, config), config)
    return assemble_people(peaks, limbs, fields.skeleton, config)


def find_peaks(fields: Fields, config: DecodeConfig) -> Peaks:
    xy, scores, starts = [], [], [0]
    sigma = config.sigma_px / fields.heatmap_grid.stride
    support = config.peak_support * math.exp(-0.5 / sigma**2) / math.exp(-0.5 / (7 / 8) ** 2)
    for plane in fields.heatmaps[:-1].astype(np.float64):
        spots = [
            spot for spot in np.argwhere(plane > np.float32(config.weak_peak_threshold)).tolist()
            if _is_peak(plane, *spot, support)
        ]  # fmt: skip
        own, seconds = [], []
        padded = np.pad(plane, 1, constant_values=np.nan)
        for row, column in spots:
            is_strong = plane[row, column] >= np.float32(config.peak_threshold)
            around = padded[row : row + 3, column : column + 3]
            logs = _logs(around, plane, spots if is_strong else [], row, column, sigma)
            dx, rise_x = _vertex(logs, sigma)
            dy, rise_y = _vertex(logs.T, sigma)
            # A Gaussian's center lies inside its highest cell, so noise alone rises far more.
            rise = min(rise_x + rise_y, (0.5 / sigma) ** 2 + 0.3)
            own.append((column + dx, row + dy, plane[row, column] * math.exp(rise)))
            if own[-1][2] >= config.peak_threshold:
                _split(plane, spots, (row, column), sigma, config, own, seconds)
        for x, y, score in own + seconds:
            xy.append(fields.heatmap_grid.to_px(np.array([x, y])))
            scores.append(score)
        starts.append(len(xy))
    return Peaks(
        np.array(xy, np.float32).reshape(-1, 2),
        np.array(scores, np.float32),
        np.array(starts, np.int32),
    )


def _split(plane, spots, spot, sigma, config, own, seconds):
    """Two joints in the last peak of ``own``: changes it, and adds one to ``seconds``."""
    (row, column), (h, w), height = spot, plane.shape, own[-1][2]
    if not (0 < row < h - 1 and 0 < column < w - 1 and sigma >= 0.8):
        return
    cells = {
        (r, c): plane[row + r, column + c] / plane[row, column]
        for r, c in itertools.product(range(-2, 3), repeat=2)
        if 0 <= row + r < h and 0 <= column + c < w
    }

    def bend(r, c):
        logs = [math.log(max(cells[at], 1e-4)) for at in ((r, c), (-r, -c))]
        return sum(logs) / (r * r + c * c)

    bends = [bend(*at) for at in ((0, 1), (1, 0), (1, 1), (1, -1))]
    if max(bends) <= (config.split_flatness - 1) / sigma**2 or min(bends) > -0.85 / sigma**2:
        return
    taken = _of_others(plane, spots, row, column, sigma)
    two, error = _two_gaussians(cells, taken, sigma)
    if two is None:
        return
    spread = np.linalg.norm(two[0][:2] - two[1][:2]) / sigma
    heights = [share * plane[row, column] / height for _, _, share in two]
    if not (0.57 <= spread <= 2.86 and min(heights) >= 0.4 and max(heights) <= 1.4):
        return
    if max(abs(two[0][:2]).max(), abs(two[1][:2]).max()) >= 2.2:
        return
    nearest = [(math.floor(y + 0.5), math.floor(x + 0.5)) for x, y, _ in two]
    has_cells = all(cells.get(at, 0) > 0.08 and at not in taken for at in nearest)
    if error < 0.02 and has_cells:
        own[-1], second = [(column + dx, row + dy, plane[row, column] * s) for dx, dy, s in two]
        seconds.append(second)


def _two_gaussians(cells, taken, sigma):
    """[(x, y, height)] of two Gaussians in cells {(row, column): share}, and the error."""
    cells = {at: share for at, share in cells.items() if share > 0.08}
    value = {at: math.log(s) + (at[0] ** 2 + at[1] ** 2) / 2 / sigma**2 for at, s in cells.items()}
    bends = [
        sum(value.get(at, 0) for at in ((r, c), (-r, -c))) / (r * r + c * c)
        for r, c in ((0, 1), (1, 0), (1, 1), (-1, 1))
    ]
    along = ((0, 1), (1, 0), (1, 1), (-1, 1))[int(np.argmax(bends))]
    free = [at for at in cells if at not in taken]
    corner = np.array([[1, c, r] for r, c in free], float)
    values = np.array([value[at] for at in free])
    weights = np.array([cells[at] for at in free]) ** 2
    position = corner[:, 1:] @ along[::-1]
    is_first = position > np.average(position, weights=weights)
    for _ in range(4):
        planes, share = [], weights[is_first].sum() / weights.sum()
        for side in (is_first, ~is_first):
            w, at = weights[side], corner[side, 1:]
            if not len(w) or np.linalg.det(np.cov(at.T, aweights=w, ddof=0)) < 1e-5:
                return None, math.inf
            root = np.sqrt(w)[:, None]
            planes.append(np.linalg.lstsq(corner[side] * root, values[side] * root[:, 0])[0])
        is_first = corner @ planes[0] > corner @ planes[1]
    if min(share, 1 - share) < 0.1:
        return None, math.inf
    error = np.maximum(*(corner @ plane for plane in planes)) - values
    two = [
        np.array([x * sigma**2, y * sigma**2,
                  math.exp(min(a + (x * x + y * y) * sigma**2 / 2, 5))])
        for a, x, y in planes
    ]  # fmt: skip
    return two, math.sqrt(np.average(error**2, weights=weights))


def _is_peak(plane, row, column, support):
    value, direct = plane[row, column], []
    for r, c in itertools.product((row - 1, row, row + 1), (column - 1, column, column + 1)):
        if (r, c) == (row, column) or not (0 <= r < plane.shape[0] and 0 <= c < plane.shape[1]):
            continue
        if plane[r, c] > value or (plane[r, c] == value and (r, c) < (row, column)):
            return False
        if r == row or c == column:
            direct.append(plane[r, c])
    if len(direct) == 2:
        support *= 0.5
    return not direct or np.mean(direct) >= support * value


def _of_others(plane, spots, row, column, sigma):
    """The (row, column) beside a peak where another one, of a similar height, may be higher."""
    taken = set()
    for other_row, other_column in spots:
        r, c = other_row - row, other_column - column
        share = plane[other_row, other_column] / plane[row, column]
        if 0 < max(abs(r), abs(c)) <= 4 and share > 0.3:
            ahead = 2 * sigma**2 * math.log(share) + 1.5
            taken |= {
                (y, x) for y, x in itertools.product(range(-2, 3), repeat=2)
                if (y - r) ** 2 + (x - c) ** 2 < y * y + x * x + ahead
            }  # fmt: skip
    return taken


def _logs(around, plane, spots, row, column, sigma):
    """(3, 3) logarithms relative to a peak; NaN outside and where another peak may be higher."""
    logs = np.log(np.maximum(around / plane[row, column], 1e-4))
    for r, c in _of_others(plane, spots, row, column, sigma):
        if max(abs(r), abs(c)) <= 1:
            logs[r + 1, c + 1] = np.nan
    return logs


def _vertex(logs, sigma):
    """(offset in cells, logarithm of the rise) along the rows of (3, 3) logarithms."""
    before, after = logs[1, 0], logs[1, 2]
    if math.isnan(before) and math.isnan(after):
        return 0.0, 0.0
    if math.isnan(before) or math.isnan(after):
        curvature = 1 / sigma**2
        slope = -before - curvature / 2 if math.isnan(after) else after + curvature / 2
    else:
        rows = [r for r in range(3) if not np.isnan(logs[r]).any() or r == 1]
        weights = [2.0 if r == 1 else math.exp(2 * logs[r, 1]) for r in rows]
        slope = np.average([(logs[r, 2] - logs[r, 0]) / 2 for r in rows], weights=weights)
        curvature = np.average([2 * logs[r, 1] - logs[r, 0] - logs[r, 2] for r in rows],
                               weights=weights)  # fmt: skip
    if curvature < 1e-6:
        return 0.0, 0.0
    shift = float(np.clip(slope / curvature, -0.75, 0.75))
    return shift, max(shift * (slope - curvature * shift / 2), 0.0)


def score_limbs(fields: Fields, peaks: Peaks, config: DecodeConfig) -> Limbs:
    h, w = fields.size_cells
    cells = np.clip(fields.paf_grid.to_cells(peaks.xy), 0, [w - 1, h - 1])
    rows = []
    for limb, (ja, jb) in enumerate(fields.skeleton.limbs):
        field = fields.pafs[limb].astype(np.float64)
        for a in range(peaks.starts[ja], peaks.starts[ja + 1]):
            for b in range(peaks.starts[jb], peaks.starts[jb + 1]):
                score = _integral(field, peaks.xy[[a, b]], cells[[a, b]], config)
                if score >= config.limb_threshold and score > 0:
                    rows.append((limb, a, b, score))
    types, pairs = [r[0] for r in rows], [r[1:3] for r in rows]
    scores = np.array([r[3] for r in rows], np.float32)
    pairs = np.array(pairs, np.int32).reshape(-1, 2)
    weights = scores * np.sqrt(peaks.scores[pairs].min(axis=1)) if len(rows) else scores
    return Limbs(np.array(types, np.int32), pairs, scores, weights.astype(np.float32))


def _integral(field, xy, cells, config):
    for at in (0.25, 0.5, 0.75):
        column, row = np.floor(cells[0] + at * (cells[1] - cells[0]) + 0.5).astype(int)
        if field[:, row, column] @ (cells[1] - cells[0]) <= 0:
            return -1.0
    direction = xy[1].astype(np.float64) - xy[0]
    length = np.linalg.norm(direction)
    if length < 1e-6:
        return -1.0
    t = (np.arange(config.limb_samples) + 0.5) / config.limb_samples
    along = [
        _bilinear(field, *(cells[0] + at * (cells[1] - cells[0]))) @ direction / length for at in t
    ]
    n_good = sum(value > config.limb_point_threshold for value in along)
    n_may_fail = int(config.limb_samples * (1 - config.limb_fraction) + 1e-6)
    return np.mean(along) if n_good >= config.limb_samples - n_may_fail else -1.0


def _bilinear(field, x, y):
    h, w = field.shape[1:]
    column, row = int(x), int(y)
    right, below = min(column + 1, w - 1), min(row + 1, h - 1)
    fx, fy = x - column, y - row
    top = field[:, row, column] * (1 - fx) + field[:, row, right] * fx
    low = field[:, below, column] * (1 - fx) + field[:, below, right] * fx
    return top * (1 - fy) + low * fy


def match_limbs(candidates: Limbs, config: DecodeConfig) -> Limbs:
    first = _assigned(candidates) if config.matching == "optimal" else []
    rest = [i for i in _greedy(candidates, config) if i not in set(first)]
    if config.matching == "optimal" and config.n_fallbacks == 0:
        rest = []
    chosen = np.array(first + rest, np.int64)
    return Limbs(*(column[chosen] for column in candidates))


def _assigned(candidates: Limbs) -> list[int]:
    """Limb by limb the assignment of the largest total weight, by scipy."""
    chosen = []
    for limb in set(candidates.types.tolist()):
        rows = np.flatnonzero(candidates.types == limb)
        (first, a), (second, b) = (
            np.unique(candidates.peaks[rows, side], return_inverse=True) for side in (0, 1)
        )
        total, index = np.zeros((len(first), len(second))), np.full((len(first), len(second)), -1)
        total[a, b], index[a, b] = candidates.weights[rows], rows
        taken = index[linear_sum_assignment(total, maximize=True)]
        chosen += taken[taken >= 0].tolist()
    return sorted(chosen, key=lambda i: -candidates.weights[i])


def _greedy(candidates: Limbs, config: DecodeConfig) -> list[int]:
    taken: dict[tuple[int, ...], int] = {}
    chosen = []
    for i in np.argsort(-candidates.weights, kind="stable"):
        limb, (a, b) = int(candidates.types[i]), candidates.peaks[i].tolist()
        ends = ((limb, 0, a), (limb, 1, b))
        if all(taken.get(end, 0) <= config.n_fallbacks for end in ends):
            chosen.append(int(i))
            for end in ends:
                taken[end] = taken.get(end, 0) + 1
    return chosen


class _People:
    """Peaks in fragments; a fragment is named by one of its peaks."""

    def __init__(self, peaks: Peaks) -> None:
        self.xy = peaks.xy.astype(np.float64)
        self.joint = np.repeat(np.arange(len(peaks.starts) - 1), np.diff(peaks.starts))
        self.name = list(range(len(self.xy)))
        self.members = {p: [p] for p in self.name}
        self.waiting: set[int] = set()
        self.shared: dict[tuple[int, int], int] = {}

    def joints(self, name):
        own = {self.joint[p] for p in self.members[name]}
        return own | {joint for p, joint in self.shared if p == name}

    def is_disjoint(self, p, q):
        return not self.joints(p) & self.joints(q)

    def merge(self, p, q):
        if p == q or not self.is_disjoint(p, q):
            return False
        for peak in self.members[q]:
            self.name[peak] = p
        self.members[p] += self.members.pop(q)
        return True

    def diagonal(self, name):
        return float(np.linalg.norm(np.ptp(self.xy[self.members[name]], axis=0)))

    def gap(self, p, q):
        return min(
            float(np.linalg.norm(self.xy[a] - self.xy[b]))
            for a in self.members[p]
            for b in self.members[q]
        )


def assemble_people(peaks: Peaks, limbs: Limbs, skeleton, config: DecodeConfig) -> Poses:
    people, scores = _People(peaks), peaks.scores
    for a, b in limbs.peaks:
        if min(scores[a], scores[b]) >= config.peak_threshold:
            people.merge(people.name[a], people.name[b])
    for _ in range(2):
        _exchange(people, limbs, scores, config)
    people.waiting = {
        p for p in people.members
        if len(people.members[p]) == 1 and scores[p] < config.peak_threshold
    }  # fmt: skip
    _join(people, config)
    shared = _share(people, limbs, config)
    _complete(people, limbs, skeleton, scores, config)
    kept = [
        p for p in sorted(people.members)
        if p not in people.waiting and len(people.members[p]) >= config.min_joints
        and (len(people.members[p]) > 1 or scores[p] >= config.single_threshold)
    ]  # fmt: skip
    has = {p: dict(zip(people.joint[people.members[p]], people.members[p], strict=True))
           for p in kept}  # fmt: skip
    for (p, _), peak in shared.items():
        if people.name[p] in has:
            has[people.name[p]][people.joint[peak]] = peak
    return _to_poses([has[p] for p in kept], peaks, skeleton, config)


def _exchange(people, limbs, scores, config):
    """Divide people anew whom a limb ties together, where limbs inside gain enough."""
    bond = {
        frozenset((a, b)): float(score)
        for (a, b), score in zip(limbs.peaks.tolist(), limbs.scores, strict=True)
        if min(scores[a], scores[b]) >= config.peak_threshold
    }
    tried = {}
    for a, b in (tuple(pair) for pair in limbs.peaks.tolist() if frozenset(pair) in bond):
        p, q = people.name[a], people.name[b]
        if p == q or tried.get(p) == q or tried.get(q) == p:
            continue
        tried[p] = q
        if people.is_disjoint(p, q):
            continue
        both = [{people.joint[m]: m for m in people.members[name]} for name in (p, q)]
        order = _best_exchange(both, bond, config.exchange_gain)
        for k in order:
            one, other = both[0].pop(k, None), both[1].pop(k, None)
            both[0] |= {} if other is None else {k: other}
            both[1] |= {} if one is None else {k: one}
        if order:
            del people.members[p], people.members[q]
            for members in both:
                name = members[min(members)]
                people.members[name] = list(members.values())
                for peak in members.values():
                    people.name[peak] = name


def _best_exchange(both, bond, least_gain):
    """The joints of two people whose exchange gains most, and enough, in sum of limbs inside."""
    joints = sorted(both[0].keys() | both[1].keys())

    def inside(swapped):
        """The sum of the scores of limbs between joints of one person."""
        total = 0.0
        for k, m in itertools.combinations(joints, 2):
            for side, other in itertools.product((0, 1), (0, 1)):
                if (side ^ (k in swapped)) == (other ^ (m in swapped)):
                    total += bond.get(frozenset((both[side].get(k), both[other].get(m))), 0)
        return total

    order, most, n_best = [], inside([]) + least_gain, 0
    while len(order) < len(joints) - 1:
        rest = [k for k in joints if k not in order]
        sums = [round(inside([*order, k]), 6) for k in rest]
        order.append(rest[int(np.argmax(sums))])
        if max(sums) > most:
            most, n_best = max(sums), len(order)
    return order[:n_best]


def _join(people, config):
    names = [p for p in sorted(people.members) if p not in people.waiting]
    names.sort(key=lambda p: -np.float32(people.diagonal(p)))
    for i in range(len(names) - 1, 0, -1):
        q, best = names[i], (config.merge_distance, None)
        for p in names[:i]:
            if p in people.members and people.is_disjoint(p, q):
                gap = people.gap(p, q) / (people.diagonal(p) + config.merge_size_px)
                if gap < best[0]:
                    best = (gap, p)
        if best[1] is not None:
            people.merge(best[1], q)


def _share(people, limbs, config):
    """Peaks that a second person is given as well, by that person and the joint."""
    shared: dict[tuple[int, int], int] = {}
    for (a, b), score in zip(limbs.peaks, limbs.scores, strict=True):
        for mine, other in ((a, b), (b, a)):
            p, q = people.name[mine], people.name[other]
            joint = people.joint[other]
            if score < config.share_threshold or p == q or {p, q} & people.waiting:
                continue
            if len(people.members[p]) > 1 and joint not in people.joints(p):
                shared.setdefault((p, joint), other)
    people.shared = shared
    return shared


def _complete(people, limbs, skeleton, scores, config):
    changed = True
    for _ in range(3):
        if not changed:
            break
        changed = False
        for a, b in limbs.peaks:
            p, q = people.name[a], people.name[b]
            if (p in people.waiting) == (q in people.waiting):
                continue
            if p in people.waiting:
                p, q = q, p
            reach = config.complete_reach * (people.diagonal(p) + config.merge_size_px)
            if np.linalg.norm(np.float64(people.xy[a]) - people.xy[b]) > reach:
                continue
            if people.merge(p, q):
                people.waiting.discard(q)
                changed = True
    singles = [p for p in sorted(people.members) if len(people.members[p]) == 1]
    several = [p for p in sorted(people.members) if len(people.members[p]) > 1]
    linked = {frozenset(limb) for limb in skeleton.limbs}
    for q in sorted(singles, key=lambda p: -scores[p]):
        best = (config.complete_distance, None)
        for p in several:
            near = [
                float(np.linalg.norm(people.xy[peak] - people.xy[q]))
                for peak in people.members[p]
                if frozenset((people.joint[peak], people.joint[q])) in linked
            ]
            if near and people.is_disjoint(p, q):
                gap = min(near) / max(people.diagonal(p), 1e-6)
                if gap < best[0]:
                    best = (gap, p)
        if best[1] is not None:
            people.merge(best[1], q)
            people.waiting.discard(q)


def _to_poses(rows, peaks, skeleton, config):
    n, k = len(rows), skeleton.n_joints
    xy, scores = np.full((n, k, 2), np.nan), np.zeros((n, k))
    for i, row in enumerate(rows):
        for joint, peak in row.items():
            xy[i, joint], scores[i, joint] = peaks.xy[peak], min(peaks.scores[peak], 1)
    poses = Poses(xy=xy, scores=scores, person_scores=np.zeros(n), skeleton=skeleton)
    boxes = poses.boxes().astype(np.float64).reshape(-1, 4)
    strong = poses.scores >= np.float32(config.peak_threshold)
    sizes = [np.linalg.norm(np.ptp(p[s], axis=0)) if s.any() else 0.0
             for p, s in zip(poses.xy.astype(np.float64), strong, strict=True)]  # fmt: skip
    size = np.array(sizes) + 1
    ranks = np.sqrt((np.minimum(scores, 1) ** 2).sum(axis=1) / k)
    ranks = (ranks * size / (size + config.score_size_px)).astype(np.float32)
    kept: list[int] = []
    for i in np.argsort(-ranks, kind="stable"):
        oks = [_oks(poses[int(i)], poses[j], boxes[j]) for j in kept]
        if ranks[i] >= config.min_person_score and max(oks, default=0.0) < config.duplicate_oks:
            kept.append(int(i))
    return poses.replace(person_scores=ranks)[kept]


def _oks(weaker, better, box):
    area = (box[2] - box[0]) * (box[3] - box[1])
    variance = joint_variance(weaker.skeleton, np.array([area]))[0] + 0.5e-6  # as of a point
    has = weaker.scores[0] > 0
    d2 = np.square(weaker.xy[0] - better.xy[0]).sum(axis=1)
    return joint_similarity(d2, variance)[has].mean()
