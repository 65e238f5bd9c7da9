"""Person scores as probabilities, so that a threshold means about the same for each model.

Reference:
    Platt, 1999: Probabilistic Outputs for Support Vector Machines.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from openpaf.oks import oks
from openpaf.poses import Poses
from openpaf.weights.spec import ModelSpec

#: Of the probability's logit: its offset, and its slopes in :func:`features`. Fitted to the people
#: that each model finds on completely labeled images of COCO train2017 (bottom-up models: at five
#: sizes, on images that they were not trained on), by benchmarks/reliability.py. Joints and size
#: tell nothing more of pairs, and the similarity to a better person nothing more of bottom-up
#: models, whose parser drops duplicates. CenterNet's are not fitted, as its file could not be had:
#: where its publishers' program shows people, from 0.3 on, the probability is 0.65 and more. The
#: slope is PoseNet's.
COEFFICIENTS: dict[str, tuple[float, float, float, float, float, float]] = {
    "lightweight-coco17": (3.07, 2.25, -3.22, 5.01, -0.26, 0.0),
    "fast-coco17": (5.79, 3.62, -3.86, 2.68, -0.86, 0.0),
    "mask-rcnn-mobilenet": (-5.86, 0.79, 0.0, 13.93, 0.0, 0.0),
    "topdown": (4.83, 2.83, 0.0, 0.0, 0.0, -7.42),
    "topdown-fast": (5.9, 3.0, 0.0, 0.0, 0.0, -6.63),
    "topdown-best": (5.37, 2.85, 0.0, 0.0, 0.0, -6.03),
    "posenet-mobilenet-075": (1.6, 2.04, 0.0, 0.0, 0.72, 0.0),
    "centernet-hourglass": (2.35, 2.04, 0.0, 0.0, 0.0, 0.0),
}
#: Whose coefficients other models of a method have. With tags the raw score is a mean over all
#: joints, as PoseNet's is.
REPRESENTATIVES = {
    "part_affinity": "lightweight-coco17",
    "mask_rcnn": "mask-rcnn-mobilenet",
    "top_down": "topdown",
    "person_lab": "posenet-mobilenet-075",
    "associative_embedding": "posenet-mobilenet-075",
    "center_net": "centernet-hourglass",
}
_SURE_JOINT = 0.2  # weaker joints complete people and may be noise
_USUAL_SIZE = 368.0  # px, where the coefficient of the size has no effect


def calibrate(poses: Poses, spec: ModelSpec, size: int = 368) -> Poses:
    """People with about the probability that they are true ones as their scores.

    A person is a true one if a labeled one has an object keypoint similarity of at least 0.5. A
    method without coefficients keeps its scores.

    Args:
        poses: People with the raw scores of the method, 0 to 1.
        spec: The model that found them.
        size: Short side of the network's input in px.

    Returns:
        The people by falling probability.
    """
    coefficients = _coefficients(spec)
    if coefficients is None:
        return poses
    offset, *slopes = coefficients
    values = features(poses, size, compares=slopes[-1] != 0)
    scores = probability(offset + values @ slopes)
    return poses.replace(person_scores=scores)[np.argsort(-scores, kind="stable")]


def raw_score(score: float, spec: ModelSpec) -> float:
    """The raw score from which on :func:`calibrate` gives people of a pair this score, 0 to 1.

    People who are similar to a better one need a higher raw score.

    Args:
        score: 0 to 1; from 1 on no person has it.
        spec: The pair.
    """
    coefficients = _coefficients(spec)
    if coefficients is None or not 0 < score < 1:
        return score
    offset, slope, *others, similarity = coefficients
    assert not any(others)
    assert similarity <= 0
    return 1 / (1 + math.exp((offset - math.log(score / (1 - score))) / slope))


def _coefficients(spec: ModelSpec) -> tuple[float, ...] | None:
    name = spec.name if spec.name in COEFFICIENTS else REPRESENTATIVES.get(spec.method)
    return None if name is None else COEFFICIENTS[name]


def features(poses: Poses, size: int, *, compares: bool = True) -> NDArray[np.float64]:
    """What the probability of each person depends on.

    Args:
        poses: People with the raw scores of the method, 0 to 1.
        size: Short side of the network's input in px.
        compares: Whether people are compared with each other; if not, the similarity is 0.

    Returns:
        (N, 5): logit of the raw score; share of the joints that are sure; mean score of the joints
        that are found; logarithm of the size, relative to 368 px; squared object keypoint
        similarity to the most similar of the people with a higher raw score, 0 to 1.
    """
    share = (poses.scores >= _SURE_JOINT).mean(axis=1)
    mean = poses.scores.sum(axis=1) / np.maximum((poses.scores > 0).sum(axis=1), 1)
    log_size = np.full(len(poses), math.log(size / _USUAL_SIZE))
    similarity = _to_better_people(poses) ** 2 if compares else np.zeros(len(poses))
    return np.column_stack([logit(poses.person_scores), share, mean, log_size, similarity])


def _to_better_people(poses: Poses) -> NDArray[np.float64]:
    """(N,) similarity of each person to the most similar of those with a higher raw score.

    Two boxes around one person give two people who are alike, but not enough to drop one: their
    joints may be those of two people who stand close together. Such a person is less likely.

    Reference:
        Bodla et al., ICCV 2017: Soft-NMS.
    """
    order = np.argsort(-poses.person_scores, kind="stable")
    ranked = poses[order]
    similarity = np.empty(len(poses))
    similarity[order] = np.tril(oks(ranked, ranked), -1).max(axis=1, initial=0)
    return similarity


def logit(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """The logarithm of the odds, which are 1e7 to 1 at most and 1 to 1e7 at least."""
    p = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(p) - np.log1p(-p))


def probability(logit: NDArray[np.float64]) -> NDArray[np.float32]:
    """The inverse of :func:`logit`."""
    return np.asarray(1 / (1 + np.exp(-logit)), np.float32)
