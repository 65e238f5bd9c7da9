"""LiteRT: its files run by themselves, at any size, and are read with limits."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from openpaf import PoseEstimator, WeightsError
from openpaf.cli import main
from openpaf.engines.export import export_model
from openpaf.engines.load import load_engine
from openpaf.io.images import list_images
from openpaf.weights import resolve
from openpaf.weights.exported import LITERT_NOTE

INPUTS = Path(__file__).parent / "inputs"


def _described(folder: Path, content: bytes, note: str) -> Path:
    path = folder / "tiny.tflite"
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(LITERT_NOTE, note)
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Of each 8 x 8 px the mean of red, as every heatmap, and that of green less blue, as PAFs.

    As litert-torch 0.10 wrote it for images of 64 x 96 px; with the default model's description.
    """
    note = resolve().spec.converted().to_metadata()["openpaf"]
    return _described(tmp_path, (INPUTS / "means.tflite").read_bytes(), note)


def test_a_file_runs_at_any_size_and_number_of_images(tiny: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    engine, spec = load_engine(tiny, threads=1)
    assert (engine.name, spec.name) == ("litert", resolve().spec.name)
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 64, 96), (2, 3, 64, 96), (1, 3, 32, 40)):
        images = rng.uniform(0, 255, shape).astype(np.float32)
        cells = images.reshape(*shape[:2], shape[2] // 8, 8, shape[3] // 8, 8).mean((3, 5)) / 255
        arrays = engine(images)
        assert (arrays["heatmaps"].shape[1], arrays["pafs"].shape[1]) == (19, 62)
        for name, expected in (("heatmaps", cells[:, 0]), ("pafs", cells[:, 1] - cells[:, 2])):
            full = np.broadcast_to(expected[:, None], arrays[name].shape)
            np.testing.assert_allclose(arrays[name], full, atol=1e-5)


def test_an_estimator_takes_a_file_and_no_other_engine(tiny: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    assert len(PoseEstimator(tiny)(np.zeros((64, 96, 3), np.uint8))) == 0
    with pytest.raises(ValueError, match="runs with 'litert', got 'torch'"):
        PoseEstimator(tiny, engine="torch")
    with pytest.raises(ValueError, match="'litert' runs files of `openpaf export --to litert`"):
        PoseEstimator("fast", engine="litert")
    with pytest.raises(ValueError, match="runs on 'cpu' only"):
        PoseEstimator(tiny, device="cuda")


def test_a_missing_litert_names_its_extra(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[litert\]' in a clone"):
        load_engine(tiny)


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    content = (INPUTS / "means.tflite").read_bytes()
    path = tmp_path / "other.tflite"
    for damaged, message in (
        (b"", "cannot be read as LiteRT"),
        (b"abcdTFL3" + b"\xff" * 40, "a place outside of the file"),
        (content, "no description of an openpaf model in it"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match=message):
            resolve(path)
    described = _described(tmp_path, content, json.dumps({"name": "x"}))
    with pytest.raises(WeightsError):
        resolve(described)
    long = _described(tmp_path, content, " " * (2 << 20))
    with pytest.raises(WeightsError, match="no description"):
        resolve(long)


def test_a_pair_of_several_sizes_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    command = ["export", "topdown-best", "--to", "litert"]
    assert main([*command, "--output", str(tmp_path / "pair.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a file for litert has one size of input, but 'rtmdet-nano' of 'topdown-best'" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    importlib.util.find_spec("litert_torch") is None, reason="litert-torch is not installed"
)
def test_an_export_says_what_torch_says(tmp_path: Path, repo_root: Path) -> None:
    photos = list_images(repo_root / "data" / "photos")[:2]
    path = tmp_path / "default.tflite"
    measured = export_model(None, path, to="litert", photos=photos, size=128)
    assert measured.fields < 1e-4
    assert measured.n_same == measured.n_people >= 1
