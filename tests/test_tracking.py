"""Ids hold over time on scenes with known truth; smoothing calms and does not wait."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openpaf import Poses, Skeleton, Smoothing, Tracker, TrackerConfig
from openpaf.evaluation.tracking import evaluate_tracking
from openpaf.oks import oks
from openpaf.tracking.kalman import Track
from openpaf.tracking.one_euro import OneEuro, smooth

FPS = 25
STANDING = np.array(
    [
        (0.00, 0.08), (0.02, 0.06), (-0.02, 0.06), (0.04, 0.07), (-0.04, 0.07),
        (0.10, 0.19), (-0.10, 0.19), (0.14, 0.34), (-0.14, 0.34), (0.15, 0.48), (-0.15, 0.48),
        (0.06, 0.52), (-0.06, 0.52), (0.07, 0.74), (-0.07, 0.74), (0.07, 0.96), (-0.07, 0.96),
    ]
)  # fmt: skip


def people(*places: tuple[float, float], height: float = 200.0) -> Poses:
    """People of a height whose heads are at these places, in px."""
    xy = np.array(places, np.float64).reshape(-1, 1, 2) + height * STANDING
    keypoints = np.concatenate([xy, np.ones((len(xy), 17, 1))], axis=2)
    return Poses.from_keypoints(keypoints, Skeleton.COCO17)


def ids(poses: Poses) -> list[int]:
    assert poses.ids is not None
    return [int(id) for id in poses.ids]


def test_two_people_cross_and_keep_their_ids() -> None:
    tracker, shown = Tracker(), []
    for n in range(101):
        left, right = (100 + 4 * n, 50), (500 - 4 * n, 52)
        both = [left, right] if n % 3 else [right, left]  # the parser's order means nothing
        found = ids(tracker(people(*both), n / FPS))
        shown.append(found if n % 3 else found[::-1])
    assert shown == [shown[0]] * 101
    assert sorted(shown[0]) == [1, 2]


def test_a_second_behind_a_pillar() -> None:
    tracker = Tracker()
    before = ids([tracker(people((4 * n, 50), (400, 50)), n / FPS) for n in range(50)][-1])
    for n in range(50, 75):
        assert ids(tracker(people((400, 50)), n / FPS)) == before[1:]
    assert ids(tracker(people((300, 50), (400, 50)), 75 / FPS)) == before


@pytest.mark.parametrize("gap_s", [0.01, 0.5, 1.0, 4.5])
def test_any_frame_rate(gap_s: float) -> None:
    tracker = Tracker()
    for n in range(6):
        assert ids(tracker(people((100 + n, 50), (400 - n, 50)), n * gap_s)) == [1, 2]


def test_who_is_away_too_long_is_somebody_new() -> None:
    tracker = Tracker(TrackerConfig(max_gap_s=0.5))
    for n in range(10):
        tracker(people((100, 50)), n / FPS)
    assert ids(tracker(Poses.empty(Skeleton.COCO17), 1.0)) == []
    assert ids(tracker(people((100, 50)), 1.04)) == [2]


def test_somebody_far_away_is_somebody_else() -> None:
    tracker = Tracker()
    tracker(people((100, 50)), 0.0)
    assert ids(tracker(people((600, 50)), 1 / FPS)) == [2]


def test_weak_people_continue_an_id_and_begin_none() -> None:
    tracker = Tracker()
    weak = people((100, 50)).replace(person_scores=np.array([0.25]))
    assert ids(tracker(weak, 0.0)) == []
    assert ids(tracker(people((100, 50)), 0.1)) == [1]
    assert ids(tracker(weak, 0.2)) == [1]


def test_somebody_new_and_weak_is_shown_when_seen_again() -> None:
    """What flashes up in one frame gets no id, and takes none."""
    tracker = Tracker()
    weak = people((300, 50), (100, 50)).replace(person_scores=np.array([1.0, 0.5]))
    assert ids(tracker(people((300, 50)), 0.0)) == [1]
    assert ids(tracker(weak, 0.04)) == [1]
    assert ids(tracker(people((300, 50)), 0.5)) == [1]  # it was a flash
    assert ids(tracker(people((300, 50), (500, 50)), 0.54)) == [1, 2]  # sure at once
    assert ids(tracker(weak, 0.58)) == [1]
    assert ids(tracker(weak, 0.62)) == [1, 3]
    weak = people((300, 50), (900, 50)).replace(person_scores=np.array([1.0, 0.5]))
    assert ids(tracker(weak, 1.62)) == [1, 4]  # at a frame a second there is no telling
    assert ids(Tracker()(weak, 0.0)) == [1, 2]  # nor in the first frame


def test_a_bad_detection_in_between_keeps_the_id() -> None:
    """Every tenth frame is so far off that it would be somebody else, were anybody else there."""

    def seen(config: TrackerConfig) -> set[int]:
        tracker, rng, found = Tracker(config), np.random.default_rng(0), set()
        for n in range(60):
            poses = people((100 + 3 * n, 50))
            if n % 10 == 9:
                poses = poses.replace(xy=poses.xy + rng.normal(0, 30, poses.xy.shape))
            found.update(ids(tracker(poses, n / FPS)))
        return found

    assert seen(TrackerConfig()) == {1}
    assert len(seen(TrackerConfig(second_reach=1))) > 1


def test_a_joint_that_leaps_for_a_frame_is_left_out() -> None:
    tracker, keeps = Tracker(), Tracker(TrackerConfig(max_joint_speed=float("inf")))
    for n in range(20):
        poses = people((100 + 4 * n, 50))
        xy = poses.xy.copy()
        if n == 10:
            xy[0, 9] = (600, 20)  # the left wrist, on somebody else
        if n >= 15:
            xy[0, 10] += (40, -90)  # the right one is raised: that is no leap
        found = tracker(poses.replace(xy=xy), n / FPS)
        missing = np.flatnonzero(np.isnan(found.xy[0, :, 0]))
        assert missing.tolist() == ([9] if n == 10 else [])
        assert found.scores[0, missing].tolist() == [0] * len(missing)
        assert not np.isnan(keeps(poses.replace(xy=xy), n / FPS).xy).any()


def test_a_second_detection_of_somebody_is_left_out() -> None:
    tracker = Tracker()
    tracker(people((100, 50)), 0.0)
    assert ids(tracker(people((100, 50), (103, 52)), 0.04)) == [1]


def test_nobody_at_any_time() -> None:
    tracker = Tracker()
    nobody = Poses.empty(Skeleton.COCO17)
    assert ids(tracker(nobody, 0.0)) == []
    tracker(people((0, 0)), 0.1)
    assert ids(tracker(nobody, 0.2)) == []
    assert ids(tracker(people((0, 0)), 0.3)) == [1]
    tracker.reset()
    assert ids(tracker(people((0, 0)), 0.0)) == [1]


def test_missing_joints_stay_missing_and_weak_ones_do_not_lead_astray() -> None:
    tracker = Tracker()
    tracker(people((100, 50)), 0.0)
    partly = people((101, 50))
    xy, scores = partly.xy.copy(), partly.scores.copy()
    xy[0, :5], scores[0, :5] = np.nan, 0
    xy[0, 13:], scores[0, 13:] = 900, 0.05
    found = tracker(partly.replace(xy=xy, scores=scores), 0.04)
    assert ids(found) == [1]
    assert np.isnan(found.xy[0, :5]).all()


@settings(max_examples=40)
@given(st.data())
def test_any_people_at_any_times(data: st.DataObject) -> None:
    """Whatever is found: ids are unique in a frame, and nothing is invented."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    tracker = Tracker(TrackerConfig(smoothing=None))
    time_s = 0.0
    for _ in range(8):
        n = data.draw(st.integers(0, 4))
        scores = rng.choice([0, 0.02, 0.5, 1], (n, 17)).astype(np.float32)
        xy = np.where(scores[..., None] > 0, rng.uniform(-50, 300, (n, 17, 2)), np.nan)
        poses = Poses(
            xy=xy, scores=scores, person_scores=rng.uniform(0, 1, n), skeleton=Skeleton.COCO17
        )
        time_s += data.draw(st.floats(1e-4, 5))
        found = tracker(poses, time_s)
        assert len(set(ids(found))) == len(found)
        for row in found.xy:  # joints may be left out
            kept = np.isfinite(row)
            assert any(np.array_equal(row[kept], one[kept]) for one in poses.xy)


def test_bad_arguments() -> None:
    tracker = Tracker()
    tracker(people((0, 0)), 1.0)
    with pytest.raises(ValueError, match=r"time_s: expected more than 1.0, got 1.0"):
        tracker(people((0, 0)), 1.0)
    with pytest.raises(ValueError, match=r"poses: expected skeleton 'coco17'"):
        tracker(Poses.empty(Skeleton.BODY25), 2.0)
    with pytest.raises(ValueError, match="max_gap_s: expected a number > 0, got 0"):
        TrackerConfig(max_gap_s=0)
    with pytest.raises(ValueError, match=r"min_similarity: .* got 2"):
        TrackerConfig(min_similarity=2)
    with pytest.raises(ValueError, match=r"second_reach: .* >= 1, got 0.5"):
        TrackerConfig(second_reach=0.5)
    with pytest.raises(ValueError, match=r"max_joint_speed: .* got nan"):
        TrackerConfig(max_joint_speed=float("nan"))
    with pytest.raises(ValueError, match="beta: expected a number >= 0, got -1"):
        Smoothing(beta=-1)


# Motion


@settings(max_examples=50)
@given(st.integers(0, 10**6))
def test_motion_is_the_textbook_filter(seed: int) -> None:
    """Against matrices, and medians that skip what is missing."""
    rng = np.random.default_rng(seed)

    def joints() -> np.ndarray:
        xy = rng.normal(0, 40, (17, 2)) * (1, rng.uniform(0.01, 2))
        xy[rng.permutation(17)[: rng.integers(0, 15)]] = np.nan
        return xy

    track, time_s, acceleration = Track(joints(), 0.0), 0.0, 1.5
    for _ in range(4):
        dt = rng.uniform(0.01, 1)
        time_s += dt
        step = np.array([[1, dt], [0, 1]])
        noise = np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        covariance = step @ track.covariance @ step.T
        covariance += (acceleration * track.size_px) ** 2 * noise
        expected = track.xy + track.velocity * dt
        track.predict(time_s, acceleration)
        np.testing.assert_allclose(track.covariance, covariance, rtol=1e-9)
        np.testing.assert_allclose(track.xy, expected)

        found = joints()
        found[rng.random(17) < 0.2] += 300
        distance = np.linalg.norm(found - track.xy, axis=1)
        extent = np.nanmedian(np.linalg.norm(found - np.nanmedian(found, axis=0), axis=1))
        allowed = max(track.size_px, 2 * extent) * (1 + 2.0 * (time_s - track.joint_seen_s))
        far = distance > allowed
        far &= 2 * far.sum() < np.isfinite(distance).sum()
        np.testing.assert_array_equal(track.jumps(found, time_s, 2.0), far)

        both = np.isfinite(distance)
        error = np.median((found - track.xy)[both], axis=0) if both.any() else np.zeros(2)
        expected = np.where(np.isfinite(found), found, track.xy + error)
        track.update(found, time_s)
        np.testing.assert_allclose(track.xy, expected)


# Smoothing


def test_one_euro_by_hand() -> None:
    """The paper's algorithm for one coordinate, written out."""
    settings = Smoothing(min_cutoff_hz=1.0, beta=0.5, speed_cutoff_hz=1.0)
    values, size, dt = [0.0, 10.0, 4.0, 4.0], 20.0, 0.1
    run = OneEuro(1, settings)
    smoothed = [run(np.float32([[v, 0]]), size, n * dt)[0, 0] for n, v in enumerate(values)]

    def alpha(cutoff: float) -> float:
        return 1 / (1 + 1 / (2 * np.pi * cutoff * dt))

    last_raw = last = speed = 0.0
    expected = [0.0]
    for value in values[1:]:
        speed += alpha(1.0) * ((value - last_raw) / dt - speed)
        last += alpha(1.0 + 0.5 * abs(speed) / size) * (value - last)
        last_raw = value
        expected.append(last)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_people_smoothed_together_are_as_if_alone(seed: int) -> None:
    """Joints come and go, people pause, and frames are missing."""
    rng = np.random.default_rng(seed)
    together, alone = ([OneEuro(5, Smoothing()) for _ in range(4)] for _ in range(2))
    time_s = 0.0
    for _ in range(8):
        time_s += float(rng.choice([0.04, 0.1, 0.5]))
        chosen = np.flatnonzero(rng.random(4) < 0.8)
        xy = rng.uniform(0, 300, (len(chosen), 5, 2)).astype(np.float32)
        xy[rng.random(xy.shape[:2]) < 0.3] = np.nan
        sizes = rng.uniform(10, 99, len(chosen))
        found = smooth([together[n] for n in chosen], xy, sizes, time_s)
        for n, one, size, row in zip(chosen, xy, sizes, found, strict=True):
            np.testing.assert_array_equal(row, alone[n](one, size, time_s))
            np.testing.assert_array_equal(np.isnan(row), np.isnan(one))


def test_a_standing_person_shakes_less_and_a_jump_is_followed() -> None:
    rng = np.random.default_rng(0)
    tracker, raw, smooth = Tracker(), [], []
    for n in range(75):
        poses = people((100, 50))
        poses = poses.replace(xy=poses.xy + rng.normal(0, 2, poses.xy.shape))
        raw.append(poses.xy[0])
        smooth.append(tracker(poses, n / FPS).xy[0])
    before, after = (np.diff(np.stack(track), axis=0).std() for track in (raw, smooth))
    assert after < before / 2
    for n in range(75, 100):  # walks off at a person's height a second
        poses = people((100 + 8 * (n - 75), 50))
        found = tracker(poses, n / FPS)
    assert np.abs(found.xy - poses.xy).max() < 10


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Smoothing(min_cutoff_hz=1.7e308), 8.0),
        (Smoothing(beta=1.7e308), 8.0),
        (Smoothing(min_cutoff_hz=5e-324, beta=0), 0.0),
    ],
)
def test_extreme_settings_smooth_nothing_or_everything(
    settings: Smoothing, expected: float
) -> None:
    one = OneEuro(1, settings)
    one(np.zeros((1, 2), np.float32), 10.0, 0.0)
    moved = one(np.full((1, 2), 8, np.float32), 10.0, 0.04)
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_smoothing_is_the_same_at_any_size_of_person() -> None:
    def track(scale: float) -> np.ndarray:
        tracker, rng = Tracker(), np.random.default_rng(1)
        for n in range(10):
            poses = people((100, 50))
            noisy = poses.xy + rng.normal(0, 3, poses.xy.shape)
            found = tracker(poses.replace(xy=noisy * scale), n / FPS)
        return found.xy / scale

    np.testing.assert_allclose(track(0.5), track(2.0), atol=1e-2)


# Figures


def test_figures_by_hand() -> None:
    truth = people((0, 0), (300, 0)).replace(ids=np.array([7, 8]))
    right = truth.replace(ids=np.array([1, 2]))
    swapped = truth.replace(ids=np.array([2, 1]))
    figures = evaluate_tracking([(truth, right), (truth, right), (truth, swapped)])
    assert (figures.n_missed, figures.n_false, figures.n_switches) == (0, 0, 2)
    assert figures.mota == pytest.approx(1 - 2 / 6)
    assert figures.idf1 == pytest.approx(2 * 4 / 12)
    figures = evaluate_tracking([(truth, right[:1]), (truth[:1], right)])
    assert (figures.n_missed, figures.n_false, figures.n_switches) == (1, 1, 0)
    with pytest.raises(ValueError, match="found: these people have no ids"):
        evaluate_tracking([(truth, people((0, 0)))])


def test_oks_by_hand() -> None:
    truth = people((0, 0))
    moved = truth.replace(xy=truth.xy + np.float32([3, 0]))
    area = np.prod(np.ptp(truth.xy[0].astype(float), axis=0))
    sigmas = np.array(Skeleton.COCO17.oks_sigmas)
    expected = np.exp(-9 / (2 * area * (2 * sigmas) ** 2)).mean()
    np.testing.assert_allclose(oks(truth, moved), [[expected]], rtol=1e-5)
    assert oks(truth, Poses.empty(Skeleton.COCO17)).shape == (1, 0)
