"""Person scores are probabilities: known answers, order, and the default thresholds."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import openpaf
from openpaf import Poses, Skeleton
from openpaf.cli.common import IMAGE_THRESHOLD, VIDEO_THRESHOLD
from openpaf.estimator.calibration import (
    COEFFICIENTS,
    REPRESENTATIVES,
    calibrate,
    features,
    logit,
    probability,
)
from openpaf.estimator.methods import METHODS
from openpaf.weights import resolve


def scored(raw: np.ndarray, joints: float | np.ndarray = 1.0) -> Poses:
    """People with raw scores, whose 17 joints have these scores."""
    keypoints = np.ones((len(raw), 17, 3))
    keypoints[..., 2] = joints
    return Poses.from_keypoints(keypoints, Skeleton.COCO17, person_scores=raw)


def test_the_features_are_raw_score_sure_joints_their_mean_and_the_size() -> None:
    joints = np.array([0.6] * 4 + [0.2] * 4 + [0.1] * 2 + [0.0] * 7)
    values = features(scored(np.array([0.5, 0.8]), joints), 736)
    mean = (4 * 0.6 + 4 * 0.2 + 2 * 0.1) / 10
    # Both are in one place, and the second has the higher score.
    np.testing.assert_allclose(values[0], [0, 8 / 17, mean, np.log(2), (10 / 10) ** 2], atol=1e-6)
    np.testing.assert_allclose(values[1], [np.log(4), 8 / 17, mean, np.log(2), 0], atol=1e-6)


def test_a_person_similar_to_a_better_one_is_less_likely() -> None:
    """In a pair; the better one keeps the score, and so does a person elsewhere."""
    spec = resolve("topdown").spec
    people = scored(np.array([0.5, 0.6, 0.55]))
    xy = np.random.default_rng(0).uniform(0, 100, (17, 2)) + np.zeros((3, 1, 1))
    xy[2] += 1000
    half = xy.copy()
    half[0, 8:] += 500  # 8 of 17 joints are where the better person has them
    apart = calibrate(people.replace(xy=xy + 1000 * np.arange(3)[:, None, None]), spec)
    together = calibrate(people.replace(xy=xy), spec)
    halfway = calibrate(people.replace(xy=half), spec)
    assert apart.person_scores[:2] == pytest.approx(together.person_scores[:2], abs=1e-6)
    assert apart.person_scores[2] > 2 * together.person_scores[2]
    assert together.person_scores[2] < halfway.person_scores[2] < apart.person_scores[2]
    slope = COEFFICIENTS["topdown"][-1]
    difference = logit(halfway.person_scores[2:]) - logit(apart.person_scores[2:])
    assert difference == pytest.approx(slope * (8 / 17) ** 2, abs=1e-4)
    # The parser of a bottom-up model drops such people itself: none is compared.
    bottom_up = resolve("default").spec
    assert calibrate(people.replace(xy=xy), bottom_up).person_scores[2] == pytest.approx(
        calibrate(people.replace(xy=half), bottom_up).person_scores[2]
    )


def test_the_probability_is_a_logistic_function_of_the_features() -> None:
    spec = resolve("default").spec
    offset, raw, share, mean, size, _ = COEFFICIENTS[spec.name]
    people = scored(np.array([0.5, 0.7]), 0.4)
    probabilities = calibrate(people, spec, 184).person_scores
    rest = offset + share + 0.4 * mean - size * np.log(2)
    expected = 1 / (1 + np.exp(-rest - raw * np.array([np.log(0.7 / 0.3), 0])))
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(probability(logit(probabilities)), probabilities, atol=1e-6)


@pytest.mark.parametrize("model", sorted(COEFFICIENTS))
def test_probabilities_rise_with_raw_scores_and_stay_within_0_and_1(model: str) -> None:
    raw = np.append(np.linspace(0, 0.9, 500), 1)
    spec = replace(resolve("default").spec, name=model)
    poses = calibrate(scored(raw[::-1], 0.7), spec)
    steps = np.diff(poses.person_scores)
    assert (steps <= 0).all()
    assert (steps[poses.person_scores[1:] < 0.999] < 0).all()  # float32 has ties near 1
    assert 0 <= poses.person_scores[-1] < 0.01
    assert 0.9 < poses.person_scores[0] <= 1


def test_people_are_sorted_by_probability_with_their_joints() -> None:
    """Few strong joints with the same raw score are another person than many weak ones."""
    people = scored(np.array([0.41, 0.4]), np.array([[0.2] * 17, [0.9] * 4 + [0.0] * 13]))
    poses = calibrate(people, resolve("default").spec)
    assert poses.person_scores[0] > poses.person_scores[1]
    assert (poses.scores > 0).sum(axis=1).tolist() == [4, 17]


@pytest.mark.parametrize("model", ["default", "fast"])
def test_the_estimator_finds_the_people_of_the_parser(model: str, repo_root: Path) -> None:
    """Only scores and order differ from what the parser says of the image's fields."""
    image = openpaf.read_image(repo_root / "data" / "photos" / "pedestrians_576.jpg")
    estimator = openpaf.PoseEstimator(model, engine="torch", size=256, threads=1)
    poses = estimator(image)
    letterbox = openpaf.Letterbox.fit(image.shape[:2], 256)
    raw = letterbox.undo(openpaf.decode(estimator.fields(image))).to(estimator.skeleton)
    assert len(poses) > 3
    assert poses == calibrate(raw, estimator.spec, 256)
    assert (np.diff(poses.person_scores) <= 0).all()
    assert 0 < poses.scores.max() <= 1


def test_another_model_of_the_method_has_its_representatives_coefficients() -> None:
    spec, raw = resolve("default").spec, scored(np.array([0.2, 0.4]))
    assert calibrate(raw, replace(spec, name="mine")) == calibrate(raw, spec)
    assert calibrate(raw, replace(spec, name="mine", method="other")) == raw
    assert set(REPRESENTATIVES) == set(METHODS)  # a threshold has a meaning for each
    assert set(REPRESENTATIVES.values()) <= set(COEFFICIENTS)


def test_the_default_threshold_is_a_raw_score_that_people_of_posenet_have() -> None:
    """0.38 at 368 px, and less at a larger size; few have 0.65."""
    spec = replace(resolve("default").spec, name="posenet-mobilenet-075", method="person_lab")
    scores = calibrate(scored(np.array([0.37, 0.40])), spec).person_scores
    assert scores[1] < IMAGE_THRESHOLD < scores[0]
    assert calibrate(scored(np.array([0.37])), spec, 640).person_scores[0] > scores[1]


@pytest.mark.parametrize(
    "model", ["default", "fast", "topdown", "topdown-fast", "mask-rcnn-mobilenet"]
)
def test_the_default_threshold_shows_people_and_no_phantom(model: str, repo_root: Path) -> None:
    """There are a man and half of another one beside a chair; four people; and one."""
    estimator = openpaf.PoseEstimator(model, engine="torch", threads=1)
    photos = repo_root / "data" / "photos"
    for name, n_least, n_people in (
        ("basketball.png", 1, 2), ("pedestrians_468.jpg", 2, 4), ("cameraman.png", 1, 1),
    ):  # fmt: skip
        scores = estimator(photos / name).person_scores
        assert n_least <= (scores >= IMAGE_THRESHOLD).sum() <= n_people, name
        assert (scores >= VIDEO_THRESHOLD).sum() >= n_people, name


def test_the_benchmark_fits_the_coefficients_that_made_its_people(
    repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    reliability = importlib.import_module("reliability")
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 1, 20_000)
    probabilities = 1 / (1 + np.exp(-(3.0 + 2.5 * logits)))
    truths = (rng.random(20_000) < probabilities).astype(float)
    other = rng.normal(0, 1, 20_000)
    fit = reliability.fitted(np.column_stack([logits, other]), truths)
    assert fit == pytest.approx((3.0, 2.5, 0.0), abs=0.15)
    for mean, share, n in reliability.tenths(probabilities, truths):
        assert share == pytest.approx(mean, abs=4 * 0.5 / np.sqrt(n))


def test_the_benchmark_notes_what_scores_were_made_of(
    repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    reliability = importlib.import_module("reliability")
    estimator = openpaf.PoseEstimator("fast", engine="torch", size=128, threads=1)
    photos = repo_root / "data" / "photos"
    names = ("astronaut.jpg", "pedestrians_576.jpg")
    images = {i: {"file_name": name} for i, name in enumerate(names)}
    labels = SimpleNamespace(imgs=images, skeleton=estimator.skeleton, category=1)
    detections, values = reliability.found(estimator, labels, photos, [0, 1])
    assert len(detections) == len(values) > 2
    offset, *slopes = COEFFICIENTS["fast-coco17"]
    scores = [person["score"] for person in detections]
    np.testing.assert_allclose(probability(offset + values @ slopes), scores, atol=1e-6)
    assert [person["number"] for person in detections] == list(range(len(values)))
