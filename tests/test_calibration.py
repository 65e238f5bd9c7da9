"""Person scores are probabilities: known answers, order, and the default thresholds."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import openpaf
from openpaf import Poses, Skeleton
from openpaf.cli.common import IMAGE_THRESHOLD, VIDEO_THRESHOLD
from openpaf.estimator.calibration import COEFFICIENTS, calibrate
from openpaf.weights import resolve


def scored(raw: np.ndarray) -> Poses:
    keypoints = np.ones((len(raw), 17, 3))
    return Poses.from_keypoints(keypoints, Skeleton.COCO17, person_scores=raw)


def test_the_probability_is_a_logistic_function_of_the_raw_scores_logit() -> None:
    spec = resolve("default").spec
    offset, slope = COEFFICIENTS[spec.name]
    even = 1 / (1 + np.exp(offset / slope))  # where offset + slope * logit is 0
    probabilities = calibrate(scored(np.array([even, 0.5])), spec).person_scores
    assert probabilities[0] == pytest.approx(0.5, abs=1e-6)
    assert probabilities[1] == pytest.approx(1 / (1 + np.exp(-offset)), abs=1e-6)


@pytest.mark.parametrize("model", ["default", "fast", "mask-rcnn-mobilenet"])
def test_probabilities_rise_with_raw_scores_and_stay_within_0_and_1(model: str) -> None:
    raw = np.append(np.linspace(0, 0.9, 500), 1)
    probabilities = calibrate(scored(raw), resolve(model).spec).person_scores
    assert (np.diff(probabilities) > 0).all()
    assert 0 <= probabilities[0] < 0.01
    assert 0.9 < probabilities[-1] <= 1


@pytest.mark.parametrize("model", ["default", "fast"])
def test_the_estimator_ranks_people_as_the_parser(model: str, repo_root: Path) -> None:
    """Only the person scores differ from what the parser says, and not their order."""
    image = openpaf.read_image(repo_root / "data" / "photos" / "pedestrians_576.jpg")
    estimator = openpaf.PoseEstimator(model, engine="torch", size=256, threads=1)
    poses = estimator(image)
    raw = openpaf.decode(estimator.fields(image))
    assert poses == calibrate(poses.replace(person_scores=raw.person_scores), estimator.spec)
    assert (np.diff(poses.person_scores) <= 0).all()
    assert 0 < poses.scores.max() <= 1


def test_another_model_of_the_method_has_its_representatives_coefficients() -> None:
    spec, raw = resolve("default").spec, scored(np.array([0.2, 0.4]))
    assert calibrate(raw, replace(spec, name="mine")) == calibrate(raw, spec)
    assert calibrate(raw, replace(spec, name="mine", method="other")) == raw


def test_the_default_thresholds_show_people_and_no_phantom(repo_root: Path) -> None:
    """On the chair of basketball.png the parser sees somebody, with a score of 0.15."""
    estimator = openpaf.PoseEstimator(engine="torch", threads=1)
    scores = estimator(repo_root / "data" / "photos" / "basketball.png").person_scores
    assert (scores >= IMAGE_THRESHOLD).sum() == 1
    assert (scores >= VIDEO_THRESHOLD).sum() >= 3
    street = estimator(repo_root / "data" / "photos" / "pedestrians_468.jpg").person_scores
    assert (street >= IMAGE_THRESHOLD).sum() == 4


def test_the_benchmark_fits_the_coefficients_that_made_its_people(
    repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    reliability = importlib.import_module("reliability")
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 1, 20_000)
    probabilities = 1 / (1 + np.exp(-(3.0 + 2.5 * logits)))
    truths = (rng.random(20_000) < probabilities).astype(float)
    assert reliability.fitted(logits, truths) == pytest.approx((3.0, 2.5), abs=0.15)
    for mean, share, n in reliability.tenths(probabilities, truths):
        assert share == pytest.approx(mean, abs=4 * 0.5 / np.sqrt(n))
