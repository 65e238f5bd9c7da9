"""Habits of the command line: guesses at what was meant, and errors before the work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import openpaf
from openpaf.cli import main
from openpaf.engines import onnx_engine
from openpaf.errors import did_you_mean

PHOTO = "data/photos/astronaut.jpg"


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        (["predcit", PHOTO], "predict"),
        (["weights", "lst"], "list"),
        (["export", "fast", "--to", "onx", "--photos", PHOTO], "onnx"),
        (["weights", "list", "topdwn"], "topdown"),
        (["predict", PHOTO, "--model", "fsat"], "fast"),
        (["predict", PHOTO, "--engine", "openvin"], "openvino"),
    ],
)
def test_what_was_meant_is_guessed(
    command: list[str], meant: str, tmp_path: Path, repo_root: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(repo_root)
    output = ["--output", str(tmp_path)] if command[0] == "predict" else []
    assert main([*command, *output]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"(did you mean {meant!r}?)" in line


def test_nothing_is_guessed_where_nothing_is_close() -> None:
    assert did_you_mean("nonsense", ["predict", "train"]) == ""
    assert did_you_mean("Fast", ["fast"]) == " (did you mean 'fast'?)"


def test_doctor_says_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some").write_bytes(bytes(1_500_000))
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "av", None)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    lines = {line[:12].strip(): line[13:] for line in out.splitlines()}
    assert lines["openpaf"].startswith(f"{openpaf.__version__}, ")
    assert lines["engines"].startswith("torch")
    assert "video" not in lines["extras"]
    assert "video" in lines["not there"]
    assert lines["cache"] == f"{tmp_path}: 1 files, 1.5 MB"
    assert f"OPENPAF_CACHE={tmp_path}" in lines["environment"] or "OPENPAF_" in out


def test_doctor_fails_where_a_package_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert main(["doctor"]) == 1
    assert "pycocotools  cannot be imported" in capsys.readouterr().out


def test_the_shell_completes_verbs_and_models(tmp_path: Path) -> None:
    pytest.importorskip("shtab", reason="shtab is not installed")
    script = tmp_path / "completion.bash"
    command = [sys.executable, "-m", "openpaf", "completion", "bash"]
    script.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    for words, completed in (
        ("openpaf pred", "predict"),
        ("openpaf webcam --model topdown-f", "topdown-fast"),
        ("openpaf webcam --mirr", "--mirror"),
    ):
        n_words = len(words.split())
        code = (
            f"source {script}; COMP_WORDS=({words}); COMP_CWORD={n_words - 1}; "
            "_shtab_openpaf; echo ${COMPREPLY[@]}"
        )
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
        assert done.stdout.split() == [completed], done.stderr


def test_a_missing_extra_is_told_before_the_model_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setattr(onnx_engine, "onnx_bytes", None)
    assert main(["export", str(tmp_path / "no.safetensors"), "--to", "onnx", "--photos", "x"]) == 2
    assert "--to: 'onnxscript' is not installed; pip install '.[onnx]' in a clone of openpaf" in (
        capsys.readouterr().err
    )
    (tmp_path / "a.mp4").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "av", None)
    video = [str(tmp_path / "a.mp4"), "--output", str(tmp_path), "--model", "no.safetensors"]
    assert main(["predict", *video]) == 2
    assert "videos: 'av' is not installed; pip install '.[video]'" in capsys.readouterr().err


def test_ap_of_different_protocols_is_in_different_tables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["weights", "list"]) == 0
    table, _, figures = capsys.readouterr().out.partition("\n\n")
    assert "AP" not in table.replace("Apache", "")
    groups = [part.splitlines() for part in figures.split(":\n")[1:]]
    names = [{line.split()[0] for line in group if line.startswith("  ")} for group in groups]
    assert {"topdown", "topdown-fast", "topdown-best"} in names
    assert {"cmu-coco", "cmu-coco-pytorch"} in names
    assert not [group for group in names if {"lightweight-coco17", "cmu-coco"} <= group]
