"""Person scores as probabilities, so that a threshold means about the same for each model.

Reference:
    Platt, 1999: Probabilistic Outputs for Support Vector Machines.
"""

from __future__ import annotations

import math

import numpy as np

from openpaf.poses import Poses
from openpaf.weights.spec import ModelSpec

#: Offset and slope of the probability's logit in the raw score's. Fitted to the people that each
#: model finds at its usual sizes on 107 completely labeled images of COCO train2017 that were
#: held out from training (benchmarks/reliability.py).
COEFFICIENTS: dict[str, tuple[float, float]] = {
    "lightweight-coco17": (3.84, 2.79),
    "fast-coco17": (3.97, 3.21),
    "mask-rcnn-mobilenet": (-3.70, 1.03),
    "topdown": (4.52, 3.04),
    "topdown-fast": (7.13, 3.82),
    "topdown-best": (6.12, 3.65),
}
#: Whose coefficients other models of a method have.
_REPRESENTATIVES = {
    "part_affinity": "lightweight-coco17",
    "mask_rcnn": "mask-rcnn-mobilenet",
    "top_down": "topdown",
}


def calibrate(poses: Poses, spec: ModelSpec) -> Poses:
    """People with about the probability that they are true ones as their scores.

    A person is a true one if a labeled one has an object keypoint similarity of at least 0.5. The
    order of the people stays. A method without coefficients keeps its scores.

    Args:
        poses: People with the raw scores of the method, 0 to 1.
        spec: The model that found them.
    """
    coefficients = _coefficients(spec)
    if coefficients is None:
        return poses
    offset, slope = coefficients
    raw = np.clip(poses.person_scores.astype(np.float64), 1e-7, 1 - 1e-7)
    logit = offset + slope * (np.log(raw) - np.log1p(-raw))
    return poses.replace(person_scores=(1 / (1 + np.exp(-logit))).astype(np.float32))


def raw_score(score: float, spec: ModelSpec) -> float:
    """The raw score of a method that :func:`calibrate` makes this score of, 0 to 1.

    Args:
        score: 0 to 1; from 1 on no person has it.
        spec: The model.
    """
    coefficients = _coefficients(spec)
    if coefficients is None or not 0 < score < 1:
        return score
    offset, slope = coefficients
    logit = (math.log(score / (1 - score)) - offset) / slope
    return 1 / (1 + math.exp(-logit))


def _coefficients(spec: ModelSpec) -> tuple[float, float] | None:
    name = spec.name if spec.name in COEFFICIENTS else _REPRESENTATIVES.get(spec.method)
    return None if name is None else COEFFICIENTS[name]
