"""``openpaf analyze`` of videos and of files of poses, and every command of docs/analyze.md."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_analysis import KNEE_DEG, TIMES_S, lines, squatting, standing

import openpaf.estimator
from openpaf import Poses, Skeleton
from openpaf.cli import main
from openpaf.video.writer import VideoWriter

PAGE = Path(__file__).parents[1] / "docs" / "analyze.md"


class Finder:
    """Finds the squatting person of frame after frame, in place of a network."""

    size, skeleton = 64, Skeleton.COCO17

    def __init__(self, model: Any = None, **options: Any) -> None:
        self.n = 0

    def infer(self, image: np.ndarray) -> np.ndarray:
        return image

    def postprocess(self, inferred: np.ndarray, image_hw: tuple[int, int]) -> Poses:
        self.n += 1
        return squatting(KNEE_DEG[self.n - 1]).replace(ids=None)


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", Finder)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", refuse)


def make_video(path: Path, images: list[np.ndarray], fps: float = 30) -> Path:
    with VideoWriter(path, fps=fps) as writer:
        for n, image in enumerate(images):
            writer.write(image, n / fps)
    return path


@pytest.fixture
def squats(tmp_path: Path) -> Path:
    pytest.importorskip("av", reason="PyAV is not installed (the extra 'video')")
    return make_video(tmp_path / "squats.mp4", [np.full((240, 320, 3), 90, np.uint8)] * 300)


def pose_file(folder: Path) -> Path:
    frames = [(n, TIMES_S[n], squatting(KNEE_DEG[n])) for n in range(len(TIMES_S))]
    (folder / "squats.jsonl").write_text(lines(frames))
    return folder / "squats.jsonl"


def test_squats_of_a_video_are_counted(
    finder: None, squats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "zones.json").write_text('{"mat": [[0, 0], [319, 0], [319, 239], [0, 239]]}')
    table, heatmap = tmp_path / "a.csv", tmp_path / "a.png"
    status = main([
        "analyze", str(squats), "--repetitions", "left_knee", "--csv", str(table),
        "--zones", str(tmp_path / "zones.json"), "--heatmap", str(heatmap),
    ])  # fmt: skip
    out = capsys.readouterr().out.splitlines()
    assert status == 0
    assert out[0].endswith("squats.mp4: 300 frames, 10.0 s, 1 person")
    assert out[1] == "person 1: seen for 10.0 s"
    low, high, speed, n = re.fullmatch(
        r"  left_knee: (\d+) to (\d+) degrees, at most (\d+) degrees per s, (\d) repetitions",
        out[2],
    ).groups()  # type: ignore[union-attr]
    assert int(low) == pytest.approx(75, abs=4)  # of smoothed joints
    assert int(high) == pytest.approx(175, abs=4)
    assert int(speed) == pytest.approx(50 * np.pi, rel=0.1)
    assert n == "5"
    assert out[3:] == ["  zone mat: 10.0 s", f"written: {table}, {heatmap}"]
    assert len(list(csv.DictReader(table.read_text().splitlines()))) == 300
    with Image.open(heatmap) as image:
        assert image.size == (320, 240)
        pixels = np.asarray(image).astype(int)
    assert abs(pixels[5, 5] - 45).max() <= 4  # the darkened frame
    assert pixels[200:220, 90:160].sum(axis=2).max() > 3 * 45 + 200  # the feet


def test_a_part_of_a_video(
    finder: None, squats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = ["--start", "2", "--end", "0:04", "--stride", "2"]
    assert main(["analyze", str(squats), "--csv", str(tmp_path / "a.csv"), *part]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(": 30 frames, 2.0 s, 1 person")
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [int(row["frame"]) for row in rows] == list(range(60, 120, 2))
    assert main(["analyze", str(pose_file(tmp_path)), *part]) == 2
    assert "--start, --end, --stride: expected a video" in capsys.readouterr().err


def test_a_file_of_poses_needs_no_network(
    no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["analyze", pose_file(tmp_path).name, "--repetitions", "left_knee"]) == 0
    assert capsys.readouterr().out == _blocks("text")[0]  # what the page shows
    command = ["analyze", str(tmp_path / "squats.jsonl"), "--repetitions", "left_knee"]
    assert main([*command, "--bent", "70", "--straight", "170"]) == 0
    assert "0 repetitions" in capsys.readouterr().out
    assert main([*command, "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_without_a_wish_all_angles_that_are_seen_are_told(
    no_network: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", str(pose_file(tmp_path))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("  left_knee: 75 to 175 degrees")


def test_angles_and_repetitions_are_drawn(no_network: None, tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    command = ["analyze", str(pose_file(tmp_path)), "--repetitions", "left_knee", "--plot"]
    assert main([*command, str(tmp_path / "a.png")]) == 0
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1210, 308)
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text as text
        assert main([*command, str(tmp_path / "a.svg")]) == 0
    text = (tmp_path / "a.svg").read_text()
    assert all(part in text for part in ("person 1: 5 repetitions", "left_knee, degrees"))


def test_of_many_people_those_in_most_frames_are_told(
    no_network: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [(n, n / 10, standing(5, 5, n % 25)) for n in range(51)]
    (tmp_path / "a.jsonl").write_text(lines(frames))
    assert main(["analyze", str(tmp_path / "a.jsonl")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("51 frames, 5.1 s, 25 people")
    assert out[1] == "person 0: seen for 0.3 s"
    assert out[-1] == "and 5 people seen in fewer frames"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["squats.jsonl", "--angles", "left_toe"], "angle 'left_toe': 'coco17' has left_elbow"),
        (["squats.jsonl", "--angles", "left_knee,,"], "--angles: expected names of angles"),
        (["squats.jsonl", "--bent", "150"], "--bent, --straight: expected degrees up to 180"),
        (["squats.jsonl", "--straight", "190"], "--bent, --straight: expected degrees up to 180"),
        (["squats.jsonl", "--plot", "a.txt"], "--plot: expected .png or .svg or .pdf, got a.txt"),
        (["squats.jsonl", "--heatmap", "a.svg"], "--heatmap: expected .png or .jpg, got a.svg"),
        (["squats.jsonl", "--csv", "squats.jsonl"], "--csv: squats.jsonl is the source"),
        (["squats.jsonl", "--csv", "none/a.csv"], "--csv: no folder none"),
        (["squats.jsonl", "--zones", "none.json"], "none.json: No such file"),
        (["squats.jsonl", "--joint-threshold", "2"], "--joint-threshold: expected a number from 0"),
        (["squats.jsonl", "--fps", "0"], "--fps: expected a number above 0"),
        (["a.mp4", "--fps", "10"], "--fps: expected a number above 0, and a file of poses"),
        (["none.jsonl"], "none.jsonl: No such file"),
        (["none.mp4"], "none.mp4: no such file"),
        (["bad.jsonl"], "bad.jsonl: "),
        (["sizeless.jsonl", "--heatmap", "a.png"], "image_hw: the recording does not say"),
    ],
)
def test_bad_use_is_one_line(
    no_network: None, arguments: list[str], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if message.endswith(".mp4: no such file"):
        pytest.importorskip("av", reason="PyAV is not installed (the extra 'video')")
    monkeypatch.chdir(tmp_path)
    pose_file(tmp_path)
    (tmp_path / "bad.jsonl").write_text("{")
    (tmp_path / "sizeless.jsonl").write_text(lines([(0, 0.0, squatting(90))], size=None))
    assert main(["analyze", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_without_matplotlib_the_extra_is_named_before_anything_is_run(
    no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    command = ["analyze", str(pose_file(tmp_path)), "--plot", str(tmp_path / "a.png")]
    assert main(command) == 2
    assert "--plot: 'matplotlib' is not installed; pip install '.[analyze]'" in (
        capsys.readouterr().err
    )


def _blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_every_command_of_the_page_runs(
    repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """By the default model, on a sample photo that moves."""
    pytest.importorskip("av", reason="PyAV is not installed (the extra 'video')")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    with Image.open(repo_root / "data" / "photos" / "astronaut.jpg") as photo:
        pixels = np.asarray(photo.convert("RGB").resize((128, 128)))
    images = [np.roll(pixels, 2 * n, axis=1) for n in range(2)]
    for name in ("squats", "shop"):
        make_video(tmp_path / f"{name}.mp4", images, fps=10)
    (zones,) = _blocks("json")
    (tmp_path / "zones.json").write_text(zones)
    assert set(json.loads(zones)) == {"door", "till"}
    for line in _blocks("")[0].splitlines():
        program, *arguments = shlex.split(line)
        assert program == "openpaf"
        assert main(arguments) == 0, line
        assert "2 frames" in capsys.readouterr().out
    assert (tmp_path / "knees.png").stat().st_size > 0
    assert (tmp_path / "map.png").stat().st_size > 0
    rows = list(csv.DictReader((tmp_path / "knees.csv").read_text().splitlines()))
    assert {row["person"] for row in rows} == {"1"}
    (tmp_path / "out" / "squats.jsonl").write_text(pose_file(tmp_path).read_text())
    (code,) = _blocks("python")
    exec(compile(code, str(PAGE), "exec"), {})
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("1 5 156.9")
    assert float(out[2].split()[0]) == pytest.approx(TIMES_S[-1] + 1 / 30, rel=1e-3)
