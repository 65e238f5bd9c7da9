"""The page about other programs: its code runs, and what it says of their files is true."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import openpaf
from openpaf.video.writer import VideoWriter

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.filterwarnings("ignore")  # of supervision's own
def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pandas", "supervision", "rerun", "av"):
        pytest.importorskip(name)
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    for name in ("photos", "videos"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "data" / "photos" / "astronaut.jpg", tmp_path / "photos")
    image = openpaf.read_image(ROOT / "data" / "photos" / "astronaut.jpg")
    for camera in ("cam1", "cam2"):
        with VideoWriter(tmp_path / "videos" / f"{camera}.mp4", fps=10) as writer:
            for n in range(2):
                writer.write(image, n / 10)
    page = (ROOT / "docs" / "bridges.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S))
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(code, "docs/bridges.md", "exec"), names)
    assert len(names["table"]) == len(names["keypoints"]) == 1  # type: ignore[arg-type]
    assert (tmp_path / "photos.rrd").stat().st_size > 10_000
    for camera in ("cam1", "cam2"):
        files = sorted((tmp_path / "project" / "pose" / f"{camera}_json").iterdir())
        # What Pose2Sim (personAssociation.py of 0.10) asks of names: the last number is the frame.
        assert [int(re.split(r"(\d+)", file.name)[-2]) for file in files] == [0, 1]
        (person,) = json.loads(files[0].read_text())["people"]
        nose, ankle = np.reshape(person["pose_keypoints_2d"], (17, 3))[[0, 16]]
        assert (abs(nose[:2] - (224, 131)) < 25).all()
        assert 0 <= ankle[2] <= 1
