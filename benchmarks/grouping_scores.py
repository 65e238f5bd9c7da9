"""What the scores of people of learned arrays mean, by people of held-out photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from grouping_features import MeasuredPhoto
from grouping_heads import Heads
from grouping_methods import Compared
from reliability import fitted, judged

from openpaf.estimator.calibration import COEFFICIENTS, REPRESENTATIVES, logit
from openpaf.evaluation.coco import as_results
from openpaf.evaluation.label_files import Annotations
from openpaf.evaluation.matching import precision_at

_DEFAULT = 0.65  # of the command line's ``--threshold``


class Scores(NamedTuple):
    """Offset and slope of a fit, and what the library's own coefficients give."""

    offset: float
    slope: float
    n_people: int
    n_true: int  # of them, with an object keypoint similarity of at least 0.5 to a labelled one
    raw: float  # score that the library's coefficients map to the default threshold
    precision: float  # of people from that score on
    recall: float


def score_figures(
    compared: Compared, heads: Heads, annotations: Annotations, photos: Sequence[MeasuredPhoto]
) -> Scores:
    """The fit is that of :data:`openpaf.estimator.calibration.COEFFICIENTS`, the others 0."""
    people: list[Any] = []
    raw: list[float] = []
    for photo in photos:
        poses = photo.letterbox.undo(compared.people(heads.arrays(photo.features)))
        results = as_results(poses, photo.image_id, annotations)
        for score, one in zip(poses.person_scores.tolist(), results, strict=True):
            people.append({**one, "number": len(people), "score": score})
            raw.append(score)
    ids = [photo.image_id for photo in photos]
    judgement = judged(annotations, people, logit(np.array(raw))[:, None], ids)
    offset, slope = fitted(judgement.features, judgement.truths)
    least = _raw_default(compared.grouping.method)
    precision, recall = precision_at(annotations, people, ids, min_score=least)
    n_true = int(judgement.truths.sum())
    return Scores(
        round(float(offset), 2), round(float(slope), 2), len(people), n_true,
        round(least, 3), round(precision, 3), round(recall, 3),
    )  # fmt: skip


def _raw_default(method: str) -> float:
    """The raw score that becomes the default threshold at the usual size."""
    offset, slope, *others = COEFFICIENTS[REPRESENTATIVES[method]]
    assert others[:2] == [0, 0]
    return 1 / (1 + math.exp((offset - math.log(_DEFAULT / (1 - _DEFAULT))) / slope))
