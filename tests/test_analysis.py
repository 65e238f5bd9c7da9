"""Angles, repetitions, zones and heat maps of motion that is known."""

from __future__ import annotations

import csv
import doctest
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import openpaf
from openpaf import Poses, Skeleton
from openpaf.analysis import (
    Recording,
    angle_series,
    angular_speed,
    count_repetitions,
    person_heatmap,
    read_recording,
    read_zones,
    time_in_zones,
)
from openpaf.analysis.table import as_csv, motions_of
from openpaf.analysis.zones import inside
from openpaf.io.pose_files import FORMATS
from openpaf.io.pose_formats import FrameInfo

COCO17 = Skeleton.COCO17
FPS = 30
TIMES_S = np.arange(10 * FPS + 1) / FPS
KNEE_DEG = 125 + 50 * np.cos(np.pi * TIMES_S)  # five squats of 2 s, 75 to 175 degrees
SQUARE = [(0.0, 0.0), (100.0, 0.0), (100.0, 100.0), (0.0, 100.0)]


def squatting(degrees: float, x: float = 100.0, person: int = 1) -> Poses:
    """Hip, knee and ankle of the left leg, 60 px each, with an angle at the knee."""
    keypoints = np.zeros((1, 17, 3))
    angle = np.radians(degrees)
    keypoints[0, COCO17.index("left_hip")] = x, 100, 1
    keypoints[0, COCO17.index("left_knee")] = x, 160, 1
    keypoints[0, COCO17.index("left_ankle")] = x + 60 * np.sin(angle), 160 - 60 * np.cos(angle), 1
    return Poses.from_keypoints(keypoints, COCO17).replace(ids=np.array([person]))


def standing(x: float, y: float, person: int = 1) -> Poses:
    """A person whose ankles have their middle there."""
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 15:] = (x - 3, y, 1), (x + 3, y, 1)
    return Poses.from_keypoints(keypoints, COCO17).replace(ids=np.array([person]))


def squats() -> Recording:
    frames = [(n, TIMES_S[n], squatting(degrees)) for n, degrees in enumerate(KNEE_DEG)]
    return Recording.of_frames(frames, image_hw=(240, 320))


def both(one: Poses, other: Poses) -> Poses:
    return Poses(
        xy=np.concatenate([one.xy, other.xy]),
        scores=np.concatenate([one.scores, other.scores]),
        person_scores=np.ones(2, np.float32),
        skeleton=COCO17,
        ids=np.concatenate([one.ids, other.ids]),
    )


@pytest.mark.parametrize("degrees", [0, 30, 90, 135, 180])
def test_the_angle_of_a_knee(degrees: float) -> None:
    angles = squatting(degrees).angles()
    assert angles["left_knee"].tolist() == pytest.approx([degrees], abs=1e-3)
    assert np.isnan(angles["right_knee"]).all()
    assert set(angles) == {
        f"{side}_{joint}" for side in ("left", "right")
        for joint in ("elbow", "shoulder", "hip", "knee")
    }  # fmt: skip


def test_any_three_joints_have_an_angle_and_others_are_named() -> None:
    poses = squatting(90)
    name = "left_knee-left_hip-left_ankle"
    assert poses.angles([name])[name].tolist() == pytest.approx([45], abs=1e-3)
    with pytest.raises(ValueError, match=r"angle 'left_toe': 'coco17' has left_elbow, .* as A-B-C"):
        poses.angles(["left_toe"])
    with pytest.raises(ValueError, match="angle 'nose-nose-left_eye'"):
        poses.angles(["nose-nose-left_eye"])
    assert "left_ankle" in Poses.empty(Skeleton.BODY25).angles()
    here = poses.replace(xy=np.where(np.isnan(poses.xy), np.nan, 5).astype(np.float32))
    assert np.isnan(here.angles(["left_knee"])["left_knee"]).all()


def test_the_speed_of_an_angle_is_its_derivative() -> None:
    (degrees,) = angle_series(squats(), "left_knee").values()
    np.testing.assert_allclose(degrees, KNEE_DEG, atol=1e-3)
    speed = angular_speed(degrees, TIMES_S)
    np.testing.assert_allclose(speed[1:-1], -50 * np.pi * np.sin(np.pi * TIMES_S)[1:-1], atol=0.5)
    uneven_s = np.array([0, 0.1, 0.3, 0.35, 1.0])
    np.testing.assert_allclose(angular_speed(90 - 20 * uneven_s, uneven_s), -20)


def test_no_speed_over_frames_that_a_person_is_not_seen_in() -> None:
    degrees = np.array([90, 100, np.nan, 150, np.nan, 170, 180])
    speed = angular_speed(degrees, np.arange(7.0))
    np.testing.assert_allclose(speed, [10, 10, np.nan, np.nan, np.nan, 10, 10])


def test_weak_joints_are_left_out() -> None:
    weak = squatting(90)
    weak = weak.replace(scores=np.where(weak.scores > 0, [[0.19]], 0).astype(np.float32))
    sure = Recording.of_frames([(0, 0.0, weak), (1, 0.1, squatting(120))]).without_weak_joints(0.2)
    (degrees,) = angle_series(sure, "left_knee").values()
    np.testing.assert_allclose(degrees, [np.nan, 120], atol=1e-3)
    assert np.isnan(sure.places()[0]).all()
    assert sure.seconds_of(1) == pytest.approx(0.2)


def test_repetitions_are_counted_with_their_times() -> None:
    done = count_repetitions(KNEE_DEG, TIMES_S)
    assert [r.lowest_s for r in done] == pytest.approx([1, 3, 5, 7, 9], abs=1 / FPS)
    assert [r.lowest_deg for r in done] == pytest.approx([75] * 5, abs=0.5)
    straight_s = np.arccos((150 - 125) / 50) / np.pi  # when the knee leaves 150 degrees
    assert done[1].start_s == pytest.approx(2 + straight_s, abs=1.5 / FPS)
    assert done[1].end_s == pytest.approx(4 - straight_s, abs=1.5 / FPS)


@pytest.mark.parametrize(
    ("degrees", "n"),
    [
        ([170, 100, 120, 100, 120, 100, 170], 1),  # trembling while bent
        ([170, 100, 145, 155, 145, 155, 100, 170], 2),  # trembling while straight
        ([100, 170, 100, 170, 100], 1),  # halves at the beginning and the end
        ([170, 120, 170], 0),  # not bent enough
        ([170, 100, 140], 0),  # not straight again
        ([170, np.nan, 100, np.nan, 170], 1),  # frames in which it is not seen
        ([np.nan] * 5, 0),
        ([], 0),
    ],
)
def test_hysteresis(degrees: list[float], n: int) -> None:
    assert len(count_repetitions(np.array(degrees), np.arange(len(degrees)) / 2)) == n


def test_an_error_of_one_frame_is_no_repetition() -> None:
    degrees = np.full(60, 175.0)
    degrees[30] = 60
    assert count_repetitions(degrees, np.arange(60) / FPS) == []
    assert len(count_repetitions(degrees, np.arange(60) / FPS, min_s=0)) == 1


def test_noise_does_not_change_the_count() -> None:
    rng = np.random.default_rng(0)
    shaken = KNEE_DEG + rng.normal(0, 8, len(KNEE_DEG))
    assert len(count_repetitions(shaken, TIMES_S)) == 5


def test_wrong_thresholds() -> None:
    with pytest.raises(ValueError, match="straight_deg: expected a number of degrees > 120"):
        count_repetitions(KNEE_DEG, TIMES_S, bent_deg=120, straight_deg=100)
    with pytest.raises(ValueError, match="degrees: expected as many as times_s"):
        count_repetitions(KNEE_DEG[1:], TIMES_S)


def test_points_inside_of_a_polygon() -> None:
    u_shape = [(0, 0), (30, 0), (30, 30), (20, 30), (20, 10), (10, 10), (10, 30), (0, 30)]
    points = [(5, 20), (15, 20), (25, 20), (15, 5), (-1, 5), (31, 5), (np.nan, np.nan)]
    found = inside(u_shape, np.array(points, np.float32))
    assert found.tolist() == [True, False, True, True, False, False, False]
    mirrored = inside(u_shape[::-1], np.array(points, np.float32))
    assert mirrored.tolist() == found.tolist()


def test_time_in_zones_of_two_who_walk() -> None:
    """One walks right by 10 px a frame of 0.1 s from x = 5, the other stands from frame 10 on."""
    frames = [
        (n, n / 10, both(standing(5 + 10 * n, 50), standing(55, 55, 2)) if n >= 10
         else standing(5 + 10 * n, 50))
        for n in range(20)
    ]  # fmt: skip
    recording = Recording.of_frames(frames)
    zones = {"left": SQUARE, "right": [(x + 100, y) for x, y in SQUARE], "none": [(500, 0)] * 3}
    seconds = time_in_zones(recording, zones)
    assert seconds["left"] == pytest.approx({1: 1.0, 2: 1.0})
    assert seconds["right"] == pytest.approx({1: 1.0})
    assert seconds["none"] == {}
    assert recording.seconds_of(1) == pytest.approx(2.0)
    assert recording.ids == [1, 2]


def test_the_time_of_uneven_frames() -> None:
    frames = [(0, 0.0, standing(5, 5)), (1, 0.5, standing(5, 5)), (4, 2.5, standing(5, 5)),
              (5, 3.0, standing(500, 5))]  # fmt: skip
    recording = Recording.of_frames(frames)
    assert recording.durations_s.tolist() == [0.5, 2.0, 0.5, 0.5]
    assert time_in_zones(recording, {"here": SQUARE})["here"] == pytest.approx({1: 3.0})


def test_without_ankles_a_person_stands_at_the_foot_of_their_box() -> None:
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, [0, 5]] = (40, 20, 1), (60, 70, 1)
    poses = Poses.from_keypoints(keypoints, COCO17).replace(ids=np.array([4]))
    one_ankle = standing(80, 90, 5)
    one_ankle = one_ankle.replace(
        scores=one_ankle.scores * (np.arange(17) != 15),
        xy=np.where(np.arange(17)[:, None] == 15, np.nan, one_ankle.xy),
    )
    places = Recording.of_frames([(0, 0.0, both(poses, one_ankle))]).places()
    assert places.tolist() == [[50, 70], [83, 90]]


def test_the_heat_map_holds_the_time_of_all() -> None:
    frames = [(n, n / 10, standing(40, 30)) for n in range(10)]
    frames += [(n, n / 10, standing(119, 0)) for n in range(10, 15)]  # in a corner
    frames += [(n, n / 10, standing(400, 0)) for n in range(15, 20)]  # outside
    recording = Recording.of_frames(frames, image_hw=(60, 120))
    seconds = person_heatmap(recording, sigma_px=3)
    assert seconds.shape == (60, 120)
    assert seconds.sum() == pytest.approx(1.5, rel=1e-4)
    assert seconds[:, :80].sum() == pytest.approx(1.0, rel=1e-4)
    assert np.unravel_index(seconds[:, :80].argmax(), (60, 80)) == (30, 40)
    assert seconds[30, 40] == pytest.approx(1 / (2 * np.pi * 9), rel=0.02)  # a Gaussian's height
    with pytest.raises(ValueError, match="image_hw: the recording does not say"):
        person_heatmap(Recording.of_frames(frames))


def test_the_table_has_a_line_for_each_person_of_each_frame() -> None:
    recording = squats()
    motions = motions_of(recording, ["left_knee", "right_knee"], counted=["left_knee"])
    table = as_csv(recording, motions, {"mat": [(0, 0), (320, 0), (320, 240), (0, 240)]})
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == len(TIMES_S)
    assert list(rows[0]) == [
        "frame", "time_s", "person", "x", "y", "left_knee_deg", "left_knee_deg_per_s",
        "left_knee_repetitions", "right_knee_deg", "right_knee_deg_per_s", "zone_mat",
    ]  # fmt: skip
    assert [float(row["left_knee_deg"]) for row in rows] == pytest.approx(KNEE_DEG, abs=0.01)
    assert [int(row["left_knee_repetitions"]) for row in rows][::60] == [0, 1, 2, 3, 4, 5]
    assert {(row["right_knee_deg"], row["zone_mat"]) for row in rows} == {("", "1")}


def lines(recording_frames: list[tuple[int, float, Poses]], **changes: Any) -> str:
    """The file that ``openpaf predict`` writes of a video."""
    text = ""
    for number, time_s, poses in recording_frames:
        info = FrameInfo(index=number, time_s=time_s, image_hw=(240, 320))
        line = json.loads(FORMATS["coco"].line(poses, info)) | changes
        text += json.dumps({k: v for k, v in line.items() if v is not None}) + "\n"
    return text


FRAMES = [(0, 0.0, squatting(170)), (1, 0.04, Poses.empty(COCO17)), (2, 0.08, squatting(90, 120))]


def test_a_file_of_poses_is_a_recording(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(lines(FRAMES))
    recording = read_recording(file)
    assert recording.times_s.tolist() == [0.0, 0.04, 0.08]
    assert recording.image_hw == (240, 320)
    assert recording.frame_of.tolist() == [0, 2]
    (degrees,) = angle_series(recording, "left_knee").values()
    np.testing.assert_allclose(degrees, [170, np.nan, 90], atol=0.01)


def test_times_of_a_file_without_any_follow_from_the_frames_a_second(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(lines(FRAMES, time_s=None, size=None))
    recording = read_recording(file, fps=10)
    assert recording.times_s.tolist() == [0.0, 0.1, 0.2]
    assert recording.image_hw is None
    with pytest.raises(ValueError, match=r"a\.jsonl: frame 0 has no time_s; give fps"):
        read_recording(file)


def test_one_person_needs_no_id_and_two_do(tmp_path: Path) -> None:
    alone = [(n, t, poses.replace(ids=None)) for n, t, poses in FRAMES]
    assert Recording.of_frames(alone).ids == [1]
    two = [(9, 1.0, both(squatting(90), squatting(90, 50, 2)).replace(ids=None))]
    file = tmp_path / "a.jsonl"
    file.write_text(lines([*alone, *two]))
    with pytest.raises(ValueError, match=r"a\.jsonl: people: expected ids over time"):
        read_recording(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": FRAMES[:1], "time_s": "soon"}, "frame 0 has no time_s"),
        ({"frames": FRAMES, "time_s": 1.0}, "times_s: expected finite numbers that rise"),
        ({"frames": FRAMES, "size": [0, 4]}, "size: expected width and height in px, got"),
        ({"frames": [(0, 0.0, both(squatting(90), squatting(90)))]}, "an id comes twice"),
    ],
)
def test_wrong_files_of_poses(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "a.jsonl").write_text(lines(change.pop("frames"), **change))
    with pytest.raises(ValueError, match=message):
        read_recording(tmp_path / "a.jsonl")


def test_photos_are_no_video(tmp_path: Path) -> None:
    openpaf.write_poses(squatting(90), tmp_path / "a.json", image_id="photo")
    with pytest.raises(ValueError, match=r"a\.json: expected the frames of a video"):
        read_recording(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text",
    ['{"a": [[0, 0], [1, 1]]}', '{"a": [[0, 0], [1, 1], [1]]}', '{"a": [[0, 0], [1, 1], [1, "2"]]}',
     '{"a": {}}', "[]", "{}"],
)  # fmt: skip
def test_wrong_zones(tmp_path: Path, text: str) -> None:
    (tmp_path / "z.json").write_text(text)
    with pytest.raises(ValueError, match=r"z\.json: (zone 'a': )?expected"):
        read_zones(tmp_path / "z.json")


def test_a_recording_without_people() -> None:
    recording = Recording.of_frames([(0, 0.0, Poses.empty(COCO17))], image_hw=(8, 8))
    assert recording.ids == []
    assert person_heatmap(recording).sum() == 0
    assert time_in_zones(recording, {"a": SQUARE}) == {"a": {}}
    assert as_csv(recording, motions_of(recording, ["left_knee"]), {}).count("\n") == 1
    assert Recording.of_frames([]).durations_s.tolist() == []


def test_the_example_of_the_package() -> None:
    assert doctest.testmod(openpaf.analysis) == doctest.TestResults(failed=0, attempted=6)
