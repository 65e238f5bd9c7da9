"""People of several sizes, merged: known answers, every method, and the places that run them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import openpaf
from openpaf import Poses, Skeleton
from openpaf.estimator.merging import ODDS_POWER, MergedScales, merge_people, sizes_of
from openpaf.estimator.methods import Options
from openpaf.evaluation.compare import methods_of
from openpaf.evaluation.steps import run_in_steps
from openpaf.oks import oks
from openpaf.video.pipeline import overlap

S = Skeleton.COCO17


def person(seed: int, score: float, shift: float = 0.0, joints: slice = slice(None)) -> Poses:
    """One person in a box of 100 x 200 px, some of whose joints were found."""
    xy = np.random.default_rng(seed).uniform((0, 0), (100, 200), (17, 2)) + 500 * seed + shift
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, joints, :2], keypoints[0, joints, 2] = xy[joints], score
    return Poses.from_keypoints(keypoints, S, person_scores=[score])


def together(*people: Poses) -> Poses:
    return people[0].replace(
        xy=np.concatenate([p.xy for p in people]),
        scores=np.concatenate([p.scores for p in people]),
        person_scores=np.concatenate([p.person_scores for p in people]),
    )


def without_scores(poses: Poses) -> Poses:
    return poses.replace(person_scores=np.ones(len(poses)))


def test_the_people_of_one_size_stay() -> None:
    people = together(person(0, 0.9), person(1, 0.5), person(2, 0.7))
    merged = merge_people([people])
    assert merged == people[[0, 2, 1]]
    assert merge_people([Poses.empty(S), people]) == merged
    assert merge_people([Poses.empty(S), Poses.empty(S)]) == Poses.empty(S)


def test_of_a_person_found_twice_joints_are_those_of_both() -> None:
    legs, head = slice(11, 17), slice(0, 13)
    merged = merge_people([person(0, 0.6, shift=2), person(0, 0.8, joints=head)])
    assert len(merged) == 1
    assert merged.person_scores[0] == np.float32(0.8)
    weights = np.array([0.8, 0.6]) ** 4  # joints have the person's score
    mean = person(0, 0.8).xy[0, head] + 2 * weights[1] / weights.sum()
    np.testing.assert_allclose(merged.xy[0, head], mean, rtol=1e-6)
    np.testing.assert_array_equal(merged.scores[0, head], np.float32(0.8))
    np.testing.assert_array_equal(merged.xy[0, 13:], person(0, 0.6, shift=2).xy[0, 13:])
    np.testing.assert_array_equal(merged.scores[0, 13:], np.float32(0.6))
    legs_alone = merge_people([person(0, 0.8), person(0, 0.3, shift=1, joints=legs)])
    np.testing.assert_array_equal(legs_alone.xy[0, :11], person(0, 0.8).xy[0, :11])


def test_joints_of_a_larger_size_count_more() -> None:
    near, far = person(0, 0.8), person(0, 0.8, shift=3)
    for sizes, share in (((256, 256), 1 / 2), ((256, 512), 4 / 5), ((768, 256), 1 / 10)):
        merged = merge_people([near, far], sizes)
        np.testing.assert_allclose(merged.xy - near.xy, 3 * share, atol=1e-4)
    weak = person(0, 0.8, shift=3)
    weak = weak.replace(scores=weak.scores / 2)  # (a / 2)^2 is a quarter
    np.testing.assert_allclose(merge_people([near, weak]).xy - near.xy, 3 / 5, atol=1e-4)


def test_a_joint_elsewhere_does_not_move_that_of_the_better() -> None:
    better, other = person(0, 0.9), person(0, 0.8, shift=1)
    other.xy[0, 9] += 60
    merged = merge_people([better, other])
    assert len(merged) == 1
    np.testing.assert_array_equal(merged.xy[0, 9], better.xy[0, 9])
    assert (merged.xy[0, :9] > better.xy[0, :9]).all()


@given(st.integers(0, 1000), st.integers(2, 6))
def test_the_mean_of_noisy_joints_is_nearer_than_most(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    truth = person(1, 0.9)
    found = [truth.replace(xy=truth.xy + rng.normal(0, 2, (1, 17, 2))) for _ in range(n)]
    merged = merge_people(found)
    assert len(merged) == 1

    def error(poses: Poses) -> float:
        return float(((poses.xy - truth.xy) ** 2).mean())

    assert error(merged) < np.mean([error(poses) for poses in found])
    low, high = (limit([one.xy for one in found], axis=0) for limit in (np.min, np.max))
    assert (merged.xy >= low - 1e-3).all()
    assert (merged.xy <= high + 1e-3).all()


def test_missing_joints_come_from_the_best_who_has_them() -> None:
    people = [
        person(0, 0.9, joints=slice(0, 15)),
        person(0, 0.4, shift=3),
        person(0, 0.7, shift=1, joints=slice(0, 16)),
    ]
    merged = merge_people(people)
    assert len(merged) == 1
    np.testing.assert_array_equal(merged.scores[0, 14:], np.float32([0.9, 0.7, 0.4]))


def test_people_apart_stay_apart() -> None:
    """The limit is on the similarity over the joints of the weaker one."""
    for shift in np.arange(0, 60, 3):
        better, weaker = person(0, 0.9), person(0, 0.5, shift=shift)
        similarity = oks(weaker.replace(xy=better.xy), weaker)[0, 0]  # box and joints of the better
        merged = merge_people([better, weaker])
        assert len(merged) == (1 if similarity > 0.4 else 2)
    assert len(merged) == 2
    assert len(merge_people([person(0, 0.9), person(0, 0.5, shift=20)], oks=0.01)) == 1


def test_scales_are_multiples_or_px() -> None:
    assert sizes_of((1.0, 0.5, 1.5), 256) == [256, 128, 384]
    assert sizes_of((256.0, 2.0), 320) == [256, 640]


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ((), "positive numbers"), ((0,), "positive numbers"), ((-1, 1), "positive numbers"),
        ((float("nan"),), "positive numbers"), ("big", "positive numbers"),
        (3j, "positive numbers"),
        ((1, 0.01), "expected 32 to 4096 px"), ((1, 5000), "expected 32 to 4096 px"),
        ((1, 368), "expected sizes that differ"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("model", [None, "mask-rcnn-mobilenet"])
def test_bad_scales(model: str | None, scales: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"scales: .*{message}"):
        openpaf.PoseEstimator(model, scales=scales)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "flip"), [("fast", False), ("fast", True), ("mask-rcnn-mobilenet", False)]
)
def test_every_method_runs_at_several_sizes(model: str, flip: bool, repo_root: Path) -> None:
    images = [
        openpaf.read_image(repo_root / "data" / "photos" / "astronaut.jpg"),
        np.zeros((90, 120, 3), np.uint8),
    ]
    estimator = openpaf.PoseEstimator(
        model, engine="torch", size=128, scales=(1, 2), flip=flip, threads=1
    )
    single = [
        openpaf.PoseEstimator(model, engine="torch", size=size, flip=flip, threads=1)
        for size in (128, 256)
    ]
    merged = estimator.batch(images)
    for image, poses in zip(images, merged, strict=True):
        wanted = merge_people([one(image) for one in single], [128, 256])
        assert without_scores(poses) == without_scores(wanted)
        assert estimator.postprocess(estimator.infer(image), image.shape[:2]) == poses
        assert run_in_steps(estimator, image)[0] == poses
    assert len(merged[0])
    (through_pipeline,) = overlap(
        [images[0]], estimator.infer, lambda inferred: estimator.postprocess(inferred, (512, 512))
    )
    assert through_pipeline == merged[0]
    for other in (copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator))):
        assert other(images[0]) == merged[0]
    with pytest.raises(ValueError, match="fields: "):
        estimator.fields(images[0])


class Same:
    """A method that finds the same people at every size."""

    engine = "none"

    def __init__(self, people: Poses) -> None:
        self.people, self.options = people, Options()

    def infer(self, images: Sequence[np.ndarray]) -> list[None]:
        return [None] * len(images)

    def postprocess(
        self,
        inferred: None,
        image_hw: tuple[int, int],
        passed: Callable[[str], None] | None = None,
    ) -> Poses:
        return self.people


@pytest.mark.parametrize("n", [2, 4])
def test_odds_of_the_best_of_several_are_lower(n: int) -> None:
    people = together(person(0, 0.8), person(1, 0.5))
    method = MergedScales(Same(people), [64 * (i + 1) for i in range(n)])
    (inferred,) = method.infer([np.zeros((9, 9, 3), np.uint8)])
    poses = method.postprocess(inferred, (9, 9))
    odds = poses.person_scores / (1 - poses.person_scores)
    np.testing.assert_allclose(odds, np.array([4, 1]) / n**ODDS_POWER, rtol=1e-4)
    assert without_scores(poses) == without_scores(people)
    nobody = MergedScales(Same(Poses.empty(S)), [64, 128])
    assert nobody.postprocess([None, None], (9, 9)) == Poses.empty(S)


def test_times_of_the_steps_are_those_of_all_sizes(repo_root: Path) -> None:
    estimator = openpaf.PoseEstimator("fast", engine="torch", size=64, scales=(1, 2), threads=1)
    _, times = run_in_steps(estimator, np.zeros((90, 120, 3), np.uint8))
    steps = sum(ms for step, ms in times.items() if step != "total")
    assert steps == pytest.approx(times["total"])


def test_a_comparison_has_each_model_alone_and_merged() -> None:
    methods = methods_of(["default", "fast"], [368], [], scales=(256, 640), flip=True)
    assert [method.name for method in methods] == [
        "default", "default 256+640", "fast", "fast 256+640",
    ]  # fmt: skip
    assert [method.scales for method in methods[:2]] == [(1.0,), (256.0, 640.0)]
    assert all(method.flip for method in methods)
    several = methods_of(["fast"], [128, 256], [], scales=(1, 2))
    assert [method.name for method in several] == [
        "fast 128", "fast 256", "fast 128+256", "fast 256+512",
    ]  # fmt: skip
    in_px = methods_of(["fast"], [128, 256], [], scales=(128, 256))
    assert [method.name for method in in_px] == ["fast 128", "fast 256", "fast 128+256"]
