"""Preparing sets: the index, the survey, and what is said of sets that are missing or damaged."""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openpaf.training.config_files import read_config, read_index
from openpaf.training.data.dataset import load_photo_set

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))
from preparation import Source, main
from survey import as_text, survey

SOURCE = Source(
    name="tiny", annotations="people.json", images="images", weight=0.5, fully_annotated=False
)
HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos with 1, 2 and 3 people; person p of a photo has 5 (p + 1) joints."""
    (tmp_path / "set" / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i in range(3):
        Image.new("RGB", (100, 80)).save(tmp_path / "set" / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 100, "height": 80})
        for person in range(i + 1):
            joints = np.zeros((17, 3))
            n = 5 * (person + 1)
            joints[:n] = np.column_stack([np.linspace(10, 50, n), np.full(n, 20), np.ones(n)])
            annotations.append({"id": len(annotations), "image_id": i, "bbox": [10, 20, 40, 1],
                                "keypoints": joints.ravel().tolist()})  # fmt: skip
    data = {"images": images, "annotations": annotations}
    (tmp_path / "set" / "people.json").write_text(json.dumps(data))
    return tmp_path


def test_what_is_counted(folder: Path) -> None:
    found = survey(load_photo_set(folder / "set" / "people.json", folder / "set" / "images"))
    assert found.people.tolist() == [1, 2, 3]
    assert sorted(found.joints.tolist()) == [5, 5, 5, 10, 10, 15]
    assert (found.sizes_px == 40).all()
    assert (found.sizes_rel == 0.5).all()
    assert (found.hidden, found.labeled[0], found.labeled[16]) == (1.0, 1.0, 0.0)
    text = as_text(found)
    assert "3 photos, 6 people, 50 joints" in text
    assert "people per photo: mean 2.0; 1: 33%, 2: 33%, 3 to 4: 33%" in text
    assert "half 40" in text


def test_the_index_is_what_a_run_trains_on(folder: Path, capsys: Any) -> None:
    output = folder / "index"
    arguments = [str(folder / "set"), "--output", str(output)]
    assert main([SOURCE], folder=Path("none"), where="", argv=arguments) == 0
    assert "index.toml" in capsys.readouterr().out
    assert "3 photos" in (output / "tiny.txt").read_text()
    assert (output / "tiny.png").exists() == HAS_MATPLOTLIB
    other = Source(name="other", annotations="people.json", images="images", holdout=(1, 2))
    again = Source(name="tiny", annotations="people.json", images="images", weight=2.0)
    assert main([other, again], folder=Path("none"), where="", argv=arguments) == 0
    rows = read_index(output / "index.toml")
    assert [(row.name, row.weight, row.fully_annotated, row.holdout) for row in rows] == [
        ("tiny", 2.0, True, None), ("other", 1.0, True, (1, 2)),
    ]  # fmt: skip
    (folder / "run.toml").write_text('output = "run"\ndata = {index = "index/index.toml"}\n')
    config = read_config(folder / "run.toml")
    assert config.data.sets == rows
    assert Path(config.data.sets[0].annotations).samefile(folder / "set" / "people.json")
    (folder / "bad.toml").write_text("steps = 3\n")
    (folder / "run.toml").write_text('output = "run"\ndata = {index = "bad.toml"}\n')
    with pytest.raises(ValueError, match=r"bad\.toml: unknown key 'steps'"):
        read_config(folder / "run.toml")


def test_missing_and_wrong_photos_are_counted(folder: Path, capsys: Any) -> None:
    (folder / "set" / "images" / "0.png").unlink()
    Image.new("RGB", (90, 80)).save(folder / "set" / "images" / "1.png")
    (folder / "set" / "images" / "2.png").write_bytes(b"nothing")
    arguments = [str(folder / "set"), "--output", str(folder / "index")]
    assert main([SOURCE], folder=Path("none"), where="", argv=arguments) == 1
    said = capsys.readouterr()
    assert "0.png: no such file" in said.err
    assert "1.png: the image is 90 x 80 px, its labels are for 100 x 80 px" in said.err
    assert "2.png: not an image" in said.err
    assert "of another size: 3" in said.out


def test_photos_are_as_large_as_they_are_shown(folder: Path, capsys: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8  # a quarter turn
    for name, size in (("0.png", (80, 100)), ("1.png", (100, 80))):
        Image.new("RGB", size).save(folder / "set" / "images" / name, exif=exif)
    arguments = [str(folder / "set"), "--output", str(folder / "index")]
    assert main([SOURCE], folder=Path("none"), where="", argv=arguments) == 1
    said = capsys.readouterr().err
    assert "0.png" not in said
    assert "1.png: the image is 80 x 100 px, its labels are for 100 x 80 px" in said


def test_every_script_says_where_to_get_its_set(
    repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    scripts = sorted(repo_root.glob("data/*/prepare.py"))
    assert len(scripts) == 5
    for script in scripts:
        monkeypatch.setattr(sys, "argv", ["prepare.py", str(tmp_path / "none")])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(script), run_name="__main__")
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert "none: no such folder" in said
        assert "COCO" in said or "Leeds" in said or "Flickr8k" in said


def test_a_real_set(
    repo_root: Path, shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = shared_dir / "data" / "coco_train_tiny", tmp_path / "index"
    monkeypatch.setattr(sys, "argv", ["prepare.py", str(folder), "--output", str(output)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(repo_root / "data/coco_train_tiny/prepare.py"), run_name="__main__")
    assert stop.value.code == 0
    assert "25 photos, 57 people" in (output / "coco_train_tiny.txt").read_text()
