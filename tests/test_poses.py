"""The result type: what it holds, how it is indexed, what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from openpaf import Poses, Skeleton

COCO17 = Skeleton.COCO17


def some_poses(n: int = 4, skeleton: Skeleton = COCO17, ids: bool = False) -> Poses:
    rng = np.random.default_rng(n)
    keypoints = rng.uniform(1, 100, (n, skeleton.n_joints, 3))
    keypoints[..., 2] /= 100
    keypoints[rng.random((n, skeleton.n_joints)) < 0.3] = 0
    poses = Poses.from_keypoints(keypoints, skeleton, person_scores=rng.random(n))
    return poses.replace(ids=np.arange(n) + 10) if ids else poses


def test_types_and_shapes() -> None:
    poses = some_poses()
    assert poses.xy.shape == (4, 17, 2)
    assert poses.scores.shape == (4, 17)
    assert poses.person_scores.shape == (4,)
    assert {poses.xy.dtype, poses.scores.dtype, poses.person_scores.dtype} == {np.dtype("float32")}
    assert some_poses(ids=True).ids.dtype == np.int64  # type: ignore[union-attr]
    assert repr(poses) == "Poses(4 people, coco17)"


def test_nobody() -> None:
    nobody = Poses.empty(COCO17)
    assert len(nobody) == 0
    assert not list(nobody)
    assert nobody.boxes().shape == (0, 4)
    assert nobody.joint("nose").shape == (0, 3)
    assert nobody.to(Skeleton.BODY25).xy.shape == (0, 25, 2)
    assert nobody[[]] == nobody[:5] == nobody[np.zeros(0, bool)] == nobody
    assert Poses.from_keypoints([], COCO17) == nobody


def test_a_missing_joint_cannot_pass_as_a_coordinate() -> None:
    poses = some_poses()
    missing = poses.scores == 0
    assert missing.any()
    assert np.isnan(poses.xy[missing]).all()
    assert np.isfinite(poses.xy[~missing]).all()


def test_from_cocos_visibilities() -> None:
    rows = np.zeros((1, 17, 3))
    rows[0, 0] = 5, 6, 2
    rows[0, 1] = 7, 8, 1
    rows[0, 2] = 9, 9, 0
    poses = Poses.from_keypoints(rows, COCO17)
    assert poses.scores[0, :3].tolist() == [1, 1, 0]
    assert poses.person_scores.tolist() == [1]
    assert np.isnan(poses.xy[0, 2]).all()


@pytest.mark.parametrize("shape", [(1, 16, 3), (2, 17, 2), (5,), (1, 18, 3)])
def test_from_keypoints_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"keypoints: expected shape \(N, 17, 3\), got \("):
        Poses.from_keypoints(np.zeros(shape), COCO17)


def test_indexing() -> None:
    poses = some_poses(ids=True)
    for index, chosen in [
        (2, [2]),
        (-1, [3]),
        (np.int64(1), [1]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -1), [3, 2, 1, 0]),
        ([3, 0], [3, 0]),
        (np.array([False, True, True, False]), [1, 2]),
        ([True, False, False, True], [0, 3]),
        (poses.person_scores > 2, []),
    ]:
        part = poses[index]  # type: ignore[index]
        assert isinstance(part, Poses)
        np.testing.assert_array_equal(part.xy, poses.xy[chosen])
        np.testing.assert_array_equal(part.scores, poses.scores[chosen])
        np.testing.assert_array_equal(part.person_scores, poses.person_scores[chosen])
        assert part.ids is not None
        assert part.ids.tolist() == [10 + i for i in chosen]


@pytest.mark.parametrize("index", [4, -5, [4]])
def test_people_who_are_not_there(index: Any) -> None:
    with pytest.raises(IndexError):
        some_poses()[index]


def test_iteration() -> None:
    poses = some_poses()
    assert [len(person) for person in poses] == [1] * 4
    assert [person == poses[n] for n, person in enumerate(poses)] == [True] * 4


def test_equality() -> None:
    assert some_poses() == some_poses()
    assert some_poses(ids=True) == some_poses(ids=True)
    assert some_poses() != some_poses(3)
    assert some_poses() != some_poses(ids=True)
    assert some_poses() != some_poses().replace(person_scores=np.zeros(4))
    assert some_poses() != "poses"
    with pytest.raises(TypeError):
        hash(some_poses())


def test_joint() -> None:
    poses = some_poses()
    wrist = poses.joint("left_wrist")
    assert wrist.shape == (4, 3)
    np.testing.assert_array_equal(wrist[:, :2], poses.xy[:, 9])
    np.testing.assert_array_equal(wrist[:, 2], poses.scores[:, 9])
    with pytest.raises(ValueError, match="'tail' is not in skeleton 'coco17'"):
        poses.joint("tail")


def test_boxes() -> None:
    rows = np.zeros((2, 17, 3))
    rows[0, [3, 5, 9]] = (10, 20, 1), (30, 5, 1), (15, 40, 0.1)
    boxes = Poses.from_keypoints(rows, COCO17).boxes()
    assert boxes[0].tolist() == [10, 5, 30, 40]
    assert np.isnan(boxes[1]).all()
    assert boxes.dtype == np.float32


def test_to_a_skeleton_with_neck_and_mid_hip() -> None:
    rows = np.zeros((2, 17, 3))
    rows[:, 5], rows[:, 6] = (10, 20, 0.9), (30, 24, 0.5)
    rows[0, 11], rows[0, 12] = (12, 60, 0.4), (28, 64, 0.8)
    body = Poses.from_keypoints(rows, COCO17).to(Skeleton.BODY25)
    np.testing.assert_allclose(body.joint("neck"), [[20, 22, 0.5]] * 2)
    np.testing.assert_allclose(body.joint("mid_hip")[0], [20, 62, 0.4])
    assert np.isnan(body.joint("mid_hip")[1, :2]).all()
    assert body.joint("mid_hip")[1, 2] == 0
    assert (body.joint("left_heel")[:, 2] == 0).all()


@pytest.mark.parametrize("other", [Skeleton.COCO18, Skeleton.BODY25], ids=lambda s: s.name)
def test_to_another_skeleton_and_back(other: Skeleton) -> None:
    poses = some_poses(ids=True)
    assert poses.to(other).to(COCO17) == poses
    assert poses.to(COCO17) == poses


def test_a_neck_that_is_there_is_kept() -> None:
    poses = some_poses(skeleton=Skeleton.COCO18)
    np.testing.assert_array_equal(poses.to(Skeleton.BODY25).joint("neck"), poses.joint("neck"))


def test_replace() -> None:
    poses = some_poses()
    moved = poses.replace(xy=poses.xy + 1)
    np.testing.assert_array_equal(moved.xy, poses.xy + 1)
    with pytest.raises(ValueError, match=r"replace: unknown arguments \['score'\]"):
        poses.replace(score=1)


def test_nothing_can_be_assigned() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        some_poses().xy = np.zeros(3)  # type: ignore[misc, assignment]


GOOD: dict[str, Any] = {
    "xy": np.zeros((2, 17, 2)),
    "scores": np.ones((2, 17)),
    "person_scores": np.ones(2),
    "skeleton": COCO17,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xy": np.zeros((2, 18, 2))}, r"xy: expected shape \(2, 17, 2\), got \(2, 18, 2\)"),
        ({"xy": np.zeros((2, 17, 3))}, r"xy: expected shape .* got \(2, 17, 3\)"),
        ({"xy": np.zeros(())}, "xy: expected shape"),
        ({"scores": np.ones((2, 16))}, r"scores: expected shape \(2, 17\), got \(2, 16\)"),
        ({"scores": np.ones((3, 17))}, r"scores: expected shape \(2, 17\), got \(3, 17\)"),
        ({"person_scores": np.ones(3)}, r"person_scores: expected shape \(2,\), got \(3,\)"),
        ({"person_scores": [[1], [1]]}, "person_scores: expected shape"),
        ({"ids": [1]}, r"ids: expected shape \(2,\), got \(1,\)"),
        ({"scores": np.full((2, 17), -0.1)}, "^scores: expected finite numbers >= 0"),
        ({"scores": np.full((2, 17), np.nan)}, "^scores: expected finite"),
        ({"person_scores": [1, np.inf]}, "^person_scores: expected finite"),
        ({"xy": np.full((2, 17, 2), np.nan)}, "xy: expected finite coordinates where scores > 0"),
        ({"scores": np.zeros((2, 17))}, "and NaN where scores == 0"),
        ({"xy": np.full((2, 17, 2), np.inf)}, "xy: expected finite coordinates"),
        ({"xy": np.zeros((2, 17, 2)) * [1, np.nan]}, "xy: expected finite coordinates"),
    ],
)
def test_wrong_arrays(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Poses(**{**GOOD, **change})
