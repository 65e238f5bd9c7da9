"""People found at several sizes of an image, merged: small ones at a large size, and the reverse.

Reference:
    Papandreou et al., CVPR 2017: Towards Accurate Multi-person Pose Estimation in the Wild,
    section 3.4, for suppression by object keypoint similarity; Solovyev et al., Image and Vision
    Computing 2021: Weighted boxes fusion, for averaging instead of choosing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.estimator.calibration import logit, probability
from openpaf.estimator.methods import Method
from openpaf.oks import joint_similarity, joint_variance
from openpaf.poses import Poses

#: Two people as similar as this are one; chosen on COCO train2017.
MERGE_OKS = 0.4
#: Joints as similar as this to the best person's are averaged; chosen there, too.
SAME_JOINT = 0.5
#: By this power of the number of sizes the odds of a merged person are divided, so that scores
#: are probabilities; fitted to two to five sizes on COCO train2017 (log loss 0.163, without 0.175).
ODDS_POWER = 0.75
#: A scale from here on is a size in px, below it a multiple of the size.
LEAST_PX = 32


class MergedScales:
    """A method that runs another one at several sizes, each on its own, and merges the people.

    Args:
        method: Any method; its ``options.size`` is replaced, its network is shared.
        sizes: Short sides of the network's input in px.
    """

    def __init__(self, method: Method, sizes: Sequence[int]) -> None:
        self.engine, self.options = method.engine, method.options
        self.sizes = sizes
        self.methods = [_at_size(method, size) for size in sizes]

    def infer(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Any]]:
        """What the method gives for each image, in a list of one entry a size."""
        by_size = [method.infer(images) for method in self.methods]
        return [list(inferred) for inferred in zip(*by_size, strict=True)]

    def postprocess(
        self,
        inferred: list[Any],
        image_hw: tuple[int, int],
        passed: Callable[[str], None] | None = None,
    ) -> Poses:
        """The people of all sizes, merged, in px of the image.

        Args:
            inferred: Of one image.
            image_hw: Height and width of the image.
            passed: Called with the name of each step when it is done, once a size.
        """
        people = [
            method.postprocess(one_size, image_hw, passed)
            for method, one_size in zip(self.methods, inferred, strict=True)
        ]
        merged = merge_people(people, self.sizes)
        merged = merged.replace(person_scores=_of_the_best(merged.person_scores, len(people)))
        if passed is not None:
            passed("people")
        return merged


def at_scales(method: Method) -> Method:
    """The method itself, or at all scales of its options."""
    options = method.options
    if options.scales == (1.0,):
        return method
    return MergedScales(method, sizes_of(options.scales, options.size))


def merge_people(
    many: Sequence[Poses], sizes: Sequence[float] | None = None, oks: float = MERGE_OKS
) -> Poses:
    """People of one image, found several times, each once.

    All are sorted by person score. Of two who are similar the weaker is suppressed. The better
    takes over the joints that it lacks; where both have a joint at about the same place, it is the
    mean, weighted by ``(joint score * person score * size) ** 2``: joints are found about as many
    px of the network's input away from their place at each size.

    Args:
        many: The people of each time, in px of the same image; at least one, of one skeleton.
        sizes: The size of the network's input at each time; all alike if None.
        oks: Object keypoint similarity above which two people are one, over the joints of the
            weaker; its area is that of the box around the joints of the better one.

    Returns:
        People by falling score.
    """
    xy = np.concatenate([poses.xy for poses in many]).astype(np.float64)
    scores = np.concatenate([poses.scores for poses in many])
    person_scores = np.concatenate([poses.person_scores for poses in many])
    size = np.repeat(np.ones(len(many)) if sizes is None else sizes, [len(p) for p in many])
    order = np.argsort(-person_scores, kind="stable")
    xy, scores, person_scores, size = xy[order], scores[order], person_scores[order], size[order]
    people = many[0].replace(xy=xy.astype(np.float32), scores=scores, person_scores=person_scores)
    boxes = people.boxes().astype(np.float64)
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 16)
    variance = joint_variance(people.skeleton, areas)
    n_joints = np.maximum((scores > 0).sum(axis=1), 1)
    weights = (scores.astype(np.float64) * (person_scores * size)[:, None]) ** 2
    merged, merged_scores = people.xy.copy(), scores.copy()
    is_left = np.ones(len(people), bool)
    chosen = []
    for i in range(len(people)):
        if not is_left[i]:
            continue
        chosen.append(i)
        is_left[i] = False
        others = np.flatnonzero(is_left)
        squared_px = ((xy[others] - xy[i]) ** 2).sum(axis=2)
        similarity = joint_similarity(squared_px, variance[i]).sum(axis=1) / n_joints[others]
        same = others[similarity > oks]
        is_left[same] = False
        if len(same):
            group = np.append(i, same)
            merged[i], merged_scores[i] = _mean(
                xy[group], scores[group], weights[group], variance[i]
            )
    return people.replace(xy=merged, scores=merged_scores)[chosen]


def _mean(
    xy: NDArray[np.float64],
    scores: NDArray[np.float32],
    weights: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The joints (K, 2) of one person found N times, the best first, and their scores (K,).

    Args:
        xy: (N, K, 2) px.
        scores: (N, K), 0 where a joint was not found.
        weights: (N, K).
        variance: (K,) px^2, of :func:`openpaf.oks.joint_variance`.
    """
    first, joints = (scores > 0).argmax(axis=0), np.arange(len(variance))
    best, best_scores = xy[first, joints], scores[first, joints]
    similarity = joint_similarity(((xy - best) ** 2).sum(axis=2), variance)
    weights = np.where(similarity >= SAME_JOINT, weights, 0)
    total = weights.sum(axis=0)
    mean = np.einsum("nk,nkc->kc", weights, np.nan_to_num(xy)) / np.maximum(total, 1e-30)[:, None]
    return np.where(total[:, None] > 0, mean, best), best_scores


def _of_the_best(scores: NDArray[np.float32], n_times: int) -> NDArray[np.float32]:
    """Probabilities of people who are the best of several times; their order stays.

    A person who is found several times has the highest of the scores, and false people come from
    each time: the odds are divided by a power of the number of times.
    """
    return probability(logit(scores) - ODDS_POWER * np.log(n_times))


def sizes_of(scales: Sequence[float], size: int) -> list[int]:
    """Scales as sizes in px.

    Args:
        scales: Multiples of ``size``; from 32 on, sizes in px.
        size: In px.

    Raises:
        ValueError: If a size is not from 32 to 4096 px, or comes twice.
    """
    sizes = [round(scale if scale >= LEAST_PX else size * scale) for scale in scales]
    if not all(32 <= px <= 4096 for px in sizes):
        raise ValueError(f"scales: expected 32 to 4096 px, got {sizes} of {list(scales)}")
    if len(set(sizes)) != len(sizes):
        raise ValueError(f"scales: expected sizes that differ, got {sizes} px")
    return sizes


def _at_size(method: Method, size: int) -> Method:
    other = copy.copy(method)
    other.options = replace(method.options, size=size)
    return other
