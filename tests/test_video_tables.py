"""Videos as tables, and parts of videos."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import openpaf.estimator
from openpaf.cli import main
from openpaf.errors import VideoError
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.tables.files import read_table
from openpaf.video.excerpt import Excerpt
from openpaf.video.open import open_video

av = pytest.importorskip("av")


class Estimator:
    """Finds one person, who stands still."""

    def __init__(self, model: Any = None, **options: Any) -> None:
        self.spec, self.engine, self.size = SimpleNamespace(name="fake"), "none", 64

    def infer(self, image: np.ndarray) -> np.ndarray:
        return image

    def postprocess(self, image: np.ndarray, image_hw: tuple[int, int]) -> Poses:
        xy = np.arange(34, dtype=np.float32).reshape(1, 17, 2)
        return Poses(
            xy=xy, scores=np.full((1, 17), 0.8), person_scores=[0.9], skeleton=Skeleton.COCO17
        )


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """20 frames, 10 a second."""
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(20):
            image = np.full((48, 64, 3), 10 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_table_has_frames_times_and_ids(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", Estimator)
    out = tmp_path / "out"
    flags = ["--output", str(out), "--format", "csv,parquet,jsonl"]
    assert main(["predict", str(film), *flags, "--quiet"]) == 0
    names = ["film_people.csv", "film_people.jsonl", "film_people.parquet"]
    assert sorted(path.name for path in out.glob("film*")) == names
    with open(out / "film_people.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(20))
    assert [float(row["time_s"]) for row in rows] == pytest.approx([n / 10 for n in range(20)])
    assert {row["path"] for row in rows} == {str(film)}
    ids = {row["id"] for row in rows if row["id"]}
    assert len(ids) == 1
    table = read_table(out / "film_people.parquet")
    assert table.column("frame").to_pylist() == list(range(20))
    assert table.column("ids").to_pylist()[-1] == [int(ids.pop())]
    lines = (out / "film_people.jsonl").read_text().splitlines()
    assert [json.loads(line)["n_people"] for line in lines] == table["n_people"].to_pylist()


def test_a_part_of_a_video(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", Estimator)
    flags = ["--output", str(tmp_path / "out"), "--format", "image,coco"]
    flags += ["--start", "0:0.5", "--end", "1.5", "--stride", "3"]
    assert main(["predict", str(film), *flags]) == 0
    lines = (tmp_path / "out" / "film.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [5, 8, 11, 14]
    with av.open(str(tmp_path / "out" / "film.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0, 0.3, 0.6, 0.9])
    before = (tmp_path / "out" / "film.mp4").stat().st_mtime_ns
    assert main(["predict", str(film), *flags, "--skip-existing"]) == 0
    assert (tmp_path / "out" / "film.mp4").stat().st_mtime_ns == before
    assert main(["predict", str(film), *flags[:4], "--start", "1:00"]) == 1
    assert "no frame between start and end" in capsys.readouterr().err


def test_an_excerpt_knows_its_length(film: Path) -> None:
    with Excerpt(open_video(film), 0.5, None, 2) as video:
        assert video.n_frames == 8
        assert video.fps == 5
        assert [frame.index for frame in video] == [5, 7, 9, 11, 13, 15, 17, 19]
    with Excerpt(open_video(film), 7) as video, pytest.raises(VideoError, match="no frame"):
        list(video)


def test_photos_and_a_video_share_a_model(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    class Counted(Estimator):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__()
            loaded.append(options["min_score"])

        def batch(self, images: list[np.ndarray]) -> list[Poses]:
            return [self.postprocess(image, (1, 1)) for image in images]

    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", Counted)
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    flags = ["--output", str(tmp_path / "out"), "--format", "coco", "--quiet"]
    assert main(["predict", str(tmp_path / "a.png"), str(film), *flags]) == 0
    assert loaded == [0.1]


def test_videos_of_a_folder_have_tables_of_their_own(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are found while the photos are listed."""
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", Estimator)
    monkeypatch.setattr(
        Estimator, "batch", lambda self, images: [self.postprocess(i, (1, 1)) for i in images],
        raising=False,
    )  # fmt: skip
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    flags = ["--output", str(out), "--format", "jsonl", "--quiet"]
    assert main(["predict", str(tmp_path), *flags]) == 0
    names = ["film_people.jsonl", "people-00000.jsonl"]
    assert sorted(path.name for path in out.glob("*.jsonl")) == names
    assert len((out / "people-00000.jsonl").read_text().splitlines()) == 1
