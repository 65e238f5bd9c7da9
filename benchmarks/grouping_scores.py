"""From the raw person scores of learned arrays to probabilities, by people of held-out photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from grouping_features import MeasuredPhoto
from grouping_heads import Heads
from grouping_methods import Compared
from reliability import fitted, judged

from openpaf.estimator.calibration import logit
from openpaf.evaluation.coco import as_results
from openpaf.evaluation.label_files import Annotations


def score_coefficients(
    compared: Compared, heads: Heads, annotations: Annotations, photos: Sequence[MeasuredPhoto]
) -> tuple[float, float]:
    """Offset and slope of :data:`openpaf.estimator.calibration.COEFFICIENTS`, the others 0."""
    people: list[Any] = []
    raw: list[float] = []
    for photo in photos:
        poses = photo.letterbox.undo(compared.people(heads.arrays(photo.features)))
        results = as_results(poses, photo.image_id, annotations)
        people += [{**one, "number": n} for n, one in enumerate(results, len(people))]
        raw += poses.person_scores.tolist()
    logits = logit(np.array(raw))[:, None]
    judgement = judged(annotations, people, logits, [photo.image_id for photo in photos])
    offset, slope = fitted(judgement.features, judgement.truths)
    return round(float(offset), 2), round(float(slope), 2)
