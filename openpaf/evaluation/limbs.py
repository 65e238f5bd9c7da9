"""Which limbs a skeleton should have, chosen by the parser on the fields of true people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from openpaf.decoding import decode
from openpaf.fields import Fields, encode_fields
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.skeleton.trees import tree_limbs

Pair = tuple[int, int]

_SCENE_PX = 320  # side of a scene
_PERSON_PX = (90.0, 150.0)  # longer sides of the people in it
_PEOPLE = 3  # in a scene; their places overlap
_HIDDEN = 0.25  # share of joints without a peak
_NEAR_PX = 4.0  # a peak within is the joint
_N_SCREEN, _N_BEST = 20, 12  # scenes of the first look at a pair, and pairs that get a second
_LENGTH_COST = 0.03  # of a limb as long as a person: networks learn long limbs less surely


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Limbs for a skeleton.

    Args:
        skeleton: With all limbs: its own, those that connect it, and the redundant ones.
        n_tree: Its first limbs so many are no suggestions for redundancy.
        scores: Share of joints that the parser joins to the right person, 0 to 1: with the first
            ``n_tree`` limbs, and after each redundant group was added.
        groups: The redundant limbs, by falling gain: a limb, or one and its mirror image.
    """

    skeleton: Skeleton
    n_tree: int
    scores: tuple[float, ...]
    groups: tuple[tuple[Pair, ...], ...]


def suggest_limbs(
    skeleton: Skeleton,
    keypoints: NDArray[np.float64],
    *,
    max_limbs: int | None = None,
    min_gain: float = 0.003,
    n_scenes: int = 80,
    seed: int = 0,
) -> Suggestion:
    """Choose limbs for a skeleton from labeled people.

    Joints that its limbs do not connect are connected by the shortest limbs. Redundant ones are
    added one after the other (with its mirror image, if another pair is that): each time the one by
    which the parser joins most joints to the right people, in scenes of the fields of three true
    people whose places overlap, and of whose joints a quarter is hidden. Of limbs that add about
    as much, the shorter is taken, as true fields do not show that networks learn it more surely.

    Args:
        skeleton: The joints, and the limbs that it has.
        keypoints: (N, K, 3) x, y in px and v of labeled people.
        max_limbs: At most so many redundant ones; as many as joints if None.
        min_gain: Stops where the share of joints that are joined grows by less.
        n_scenes: Scenes that are measured.
        seed: Of the scenes.

    Raises:
        ValueError: If no person has two labeled joints, or a joint is labeled in none.
    """
    people = _normalized(keypoints)
    distances = _distances(skeleton, people)
    tree = _connected(skeleton, distances)
    pairs = [*tree, *_others(skeleton.n_joints, tree)]
    whole = replace(skeleton, limbs=tuple(pairs))
    scenes = list(_scenes(whole, people, n_scenes, seed))
    pairs = [pair for pair in pairs[len(tree) :] if np.isfinite(distances[pair])]
    candidates = _with_mirror_images(pairs, skeleton.flip_permutation)
    costs = {group: _LENGTH_COST * float(distances[group[0]]) for group in candidates}
    limit = skeleton.n_joints if max_limbs is None else max_limbs
    chosen: list[Pair] = list(tree)
    groups: list[tuple[Pair, ...]] = []
    scores = [_score(scenes, chosen)]
    while candidates:
        best = _best(scenes[:_N_SCREEN], chosen, candidates, costs)[:_N_BEST]
        group = _best(scenes, chosen, best, costs)[0]
        score = _score(scenes, [*chosen, *group])
        too_many = len(chosen) + len(group) - len(tree) > limit
        if too_many or score - scores[-1] < min_gain:
            break
        chosen += group
        groups.append(group)
        scores.append(score)
        candidates.remove(group)
    return Suggestion(
        skeleton=replace(skeleton, limbs=tuple(chosen)),
        n_tree=len(tree),
        scores=tuple(scores),
        groups=tuple(groups),
    )


def _normalized(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, K, 2) joints around 0, longer side 1; NaN where unlabeled; of people with two or more."""
    xy = np.where(keypoints[..., 2:] > 0, keypoints[..., :2], np.nan)
    n_labeled = np.isfinite(xy[..., 0]).sum(axis=1)
    xy = xy[n_labeled >= 2]
    if not len(xy):
        raise ValueError("labels: expected people with two labeled joints or more, got none")
    low, high = np.nanmin(xy, axis=1), np.nanmax(xy, axis=1)
    side = (high - low).max(axis=1)
    xy = (xy - ((low + high) / 2)[:, None])[side > 0]
    return np.asarray(xy / side[side > 0, None, None])


def _distances(skeleton: Skeleton, people: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, K) median distances of joints, relative to a person's size; infinite where unknown."""
    if not np.isfinite(people[..., 0]).any(axis=0).all():
        unlabeled = ~np.isfinite(people[..., 0]).any(axis=0)
        names = ", ".join(skeleton.joints[k] for k in np.flatnonzero(unlabeled))
        raise ValueError(f"labels: no person has a labeled {names}")
    n = people.shape[1]
    distances = np.full((n, n), np.inf)
    for a, b in combinations(range(n), 2):
        both = np.linalg.norm(people[:, a] - people[:, b], axis=1)
        if np.isfinite(both).any():
            distances[a, b] = distances[b, a] = np.nanmedian(both)
    return distances


def tree_of(skeleton: Skeleton) -> Skeleton:
    """The skeleton without the limbs that close a circle."""
    return replace(skeleton, limbs=tuple(skeleton.limbs[limb] for limb in tree_limbs(skeleton)))


def _connected(skeleton: Skeleton, distances: NDArray[np.float64]) -> list[Pair]:
    """The skeleton's limbs, and the shortest that connect the rest (Kruskal's algorithm)."""
    part = list(range(skeleton.n_joints))
    for a, b in skeleton.limbs:
        _join(part, a, b)
    pairs = sorted(combinations(range(skeleton.n_joints), 2), key=lambda pair: distances[pair])
    return [*skeleton.limbs, *((a, b) for a, b in pairs if _join(part, a, b))]


def _join(part: list[int], a: int, b: int) -> bool:
    """Make the parts of two joints one; whether they were two."""
    old, new = part[b], part[a]
    part[:] = [new if p == old else p for p in part]
    return old != new


def _others(n_joints: int, tree: Sequence[Pair]) -> list[Pair]:
    """The pairs of joints that are no limbs."""
    known = {frozenset(pair) for pair in tree}
    return [pair for pair in combinations(range(n_joints), 2) if frozenset(pair) not in known]


def _with_mirror_images(pairs: Sequence[Pair], swap: Sequence[int]) -> list[tuple[Pair, ...]]:
    """Pairs, each together with its mirror image where that is another one."""
    left = {frozenset(pair): pair for pair in pairs}
    groups: list[tuple[Pair, ...]] = []
    while left:
        key, pair = next(iter(left.items()))
        del left[key]
        image = left.pop(frozenset(swap[k] for k in pair), None)
        groups.append((pair,) if image is None else (pair, (swap[pair[0]], swap[pair[1]])))
    return groups


def _scenes(
    whole: Skeleton, people: NDArray[np.float64], n_scenes: int, seed: int
) -> Iterator[tuple[Fields, Poses]]:
    """Fields of people whose places overlap, and the people, some of whose joints are hidden."""
    rng = np.random.default_rng(seed)
    for _ in range(n_scenes):
        xy = people[rng.integers(len(people), size=_PEOPLE)]
        sizes = rng.uniform(*_PERSON_PX, (_PEOPLE, 1, 1))
        centers = _SCENE_PX / 2 + rng.uniform(-0.25, 0.25, (_PEOPLE, 1, 2)) * _SCENE_PX
        xy = xy * sizes + centers
        hidden = rng.random(xy.shape[:2]) < _HIDDEN
        inside = ((xy >= 0) & (xy < _SCENE_PX)).all(axis=2)
        scores = (inside & ~hidden).astype(np.float32)
        poses = Poses(
            xy=np.where(scores[..., None] > 0, xy, np.nan),
            scores=scores,
            person_scores=np.ones(_PEOPLE, np.float32),
            skeleton=whole,
        )
        yield encode_fields(poses, size_hw=(_SCENE_PX, _SCENE_PX)), poses


def _best(
    scenes: Sequence[tuple[Fields, Poses]],
    limbs: Sequence[Pair],
    candidates: Sequence[tuple[Pair, ...]],
    costs: Mapping[tuple[Pair, ...], float],
) -> list[tuple[Pair, ...]]:
    """The candidates by the score that they give, added to the limbs, less their costs."""
    gains = {group: _score(scenes, [*limbs, *group]) - costs[group] for group in candidates}
    return sorted(candidates, key=lambda group: -gains[group])


def _score(scenes: Sequence[tuple[Fields, Poses]], limbs: Sequence[Pair]) -> float:
    """How well the parser joins the joints of the scenes with these limbs alone, 0 to 1."""
    whole = scenes[0][0].skeleton
    places = {frozenset(pair): i for i, pair in enumerate(whole.limbs)}
    signs = [1 if pair in whole.limbs else -1 for pair in limbs]
    channels = [places[frozenset(pair)] for pair in limbs]
    skeleton = replace(whole, limbs=tuple(limbs))
    shares = []
    for fields, poses in scenes:
        pafs = fields.pafs[channels] * np.array(signs, np.float32)[:, None, None, None]
        shares += _joined(poses, decode(replace(fields, pafs=pafs, skeleton=skeleton)))
    return float(np.mean(shares))


def _joined(truth: Poses, people: Poses) -> list[float]:
    """For each true person the largest overlap with one that is found: 2 both / (one + other)."""
    distance = np.linalg.norm(truth.xy[:, None] - people.xy[None], axis=3)
    both = (distance <= _NEAR_PX).sum(axis=2)  # NaN is not
    n_true, n_found = (truth.scores > 0).sum(axis=1), (people.scores > 0).sum(axis=1)
    overlap = 2 * both / np.maximum(n_true[:, None] + n_found[None], 1)
    return [float(overlap[i].max(initial=0)) for i in np.flatnonzero(n_true)]
