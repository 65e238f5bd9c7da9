"""Habits of the command line: guesses at what was meant, and errors before the work."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import openpaf
from openpaf.cli import GROUPS, command_parser, main
from openpaf.cli.common import waiting
from openpaf.cli.thresholds import thresholds_of
from openpaf.decoding.tags import TagConfig
from openpaf.engines import onnx_engine
from openpaf.errors import did_you_mean
from openpaf.weights import resolve

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
        (["predict", PHOTO, "--treshold", "0.3"], "--threshold"),
        (["predict", PHOTO, "--threshhold=0.3"], "--threshold"),
        (["predict", PHOTO, "--format", "cooc"], "coco"),
        (["predict", PHOTO, "--set", "peak_treshold=0.3"], "peak_threshold"),
        (["export", "fast", "--tto", "onnx"], "--to"),
        (["weights", "fetch", "cmu-coco", "--acept-licence"], "--accept-licence"),
        (["demo", "fields", PHOTO, "--limb", "left_elbow-left_wris"], "left_elbow-left_wrist"),
        (["--verison"], "--version"),
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


def test_what_follows_two_dashes_is_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--", "--outpt"]) == 2
    assert "required: --output (see" in capsys.readouterr().err


# Defaults


def verbs() -> dict[str, argparse.ArgumentParser]:
    """All verbs, and their actions by both names."""
    made: dict[str, argparse.ArgumentParser] = {}

    def add(parser: argparse.ArgumentParser, name: str) -> None:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for verb, of_verb in action.choices.items():
                    add(of_verb, f"{name} {verb}".strip())
                return
        made[name] = parser

    add(command_parser(), "")
    return made


def test_the_help_has_each_verb_in_one_group(capsys: pytest.CaptureFixture[str]) -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted({name.split()[0] for name in verbs()})
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in grouped:
        assert sum(line.startswith(f"    {name} ") for line in lines) == 1
    assert max(map(len, lines)) <= 100
    assert len(lines) < 65


def test_defaults_are_the_same_in_every_verb() -> None:
    """But where a sentence of the help says why."""
    shared = {"engine", "size", "scales", "flip", "model", "weights", "device", "threads", "set"}
    by_flag: dict[str, set[str]] = {}
    for name, parser in verbs().items():
        for action in parser._actions:
            if action.dest in shared and parser.get_default(action.dest) is not None:
                default = parser.get_default(action.dest)
                default = default[0] if action.dest == "size" and default == [368] else default
                if name != "compare" or action.dest != "model":  # a list of them
                    by_flag.setdefault(action.dest, set()).add(str(default))
    assert by_flag["engine"] == {"auto"}
    assert by_flag["size"] == {"368"}
    assert {flag for flag, defaults in by_flag.items() if len(defaults) > 1} == set()
    thresholds = {name: parser.get_default("threshold") for name, parser in verbs().items()}
    thresholds = {name: value for name, value in thresholds.items() if value is not None}
    assert thresholds == {
        "bulk": 0.65, "serve": 0.65, "evaluate": 0.65, "compare": 0.65,  # of images
        "analyze": 0.1, "webcam": 0.1,  # of videos
        "annotate": 0.5,  # labels
    }  # fmt: skip


def test_every_verb_that_runs_a_network_takes_the_same_flags() -> None:
    for name, parser in verbs().items():
        flags = set(parser._option_string_actions)
        if "--engine" in flags:
            assert {"--model", "--device", "--threads", "-v"} <= flags, name
        if "--scales" in flags:
            assert {"--flip", "--size", "--set"} <= flags, name
    for name in ("benchmark", "compare", "evaluate", "predict"):
        assert "--set" in verbs()[name]._option_string_actions


def test_thresholds_of_the_parser_are_set_by_name() -> None:
    spec = resolve("default").spec
    config = thresholds_of(spec, [("matching", "greedy"), ("max_peaks", "7"), ("max_peaks", "9")])
    assert config == openpaf.DecodeConfig(matching="greedy", max_peaks=9)
    tags = thresholds_of(replace(spec, method="associative_embedding"), [("refine", "False")])
    assert tags == TagConfig(refine=False)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("peak_threshold", "expected KEY=VALUE, got 'peak_threshold'"),
        ("=3", "expected KEY=VALUE, got '=3'"),
        ("max_peaks=many", "--set: max_peaks: expected a whole number, got 'many'"),
        ("max_peaks=1.5", "--set: max_peaks: expected a whole number, got '1.5'"),
        ("peak_threshold=-1", "--set: peak_threshold: expected a number > 0, got -1.0"),
        ("peak_threshold=nan", "--set: peak_threshold: expected a number > 0, got nan"),
        ("graph=line", "--set: graph: expected one of tree, redundant, full, got 'line'"),
    ],
)
def test_thresholds_that_cannot_be_set(
    setting: str, said: str, repo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(repo_root / PHOTO)
    assert main(["predict", photo, "--output", str(tmp_path), "--set", setting]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert main(["predict", photo, "--output", str(tmp_path), "--model", "topdown",
                 "--set", "max_peaks=3"]) == 2  # fmt: skip
    assert "topdown has no thresholds that can be set" in capsys.readouterr().err


def test_thresholds_reach_the_people(
    repo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, settings = str(repo_root / PHOTO), ["--set", "peak_threshold=0.999", "--size", "128"]
    assert main(["predict", photo, "--output", str(tmp_path), *settings]) == 0
    assert ": 0 people" in capsys.readouterr().out


# What is told


def test_what_takes_over_a_second_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "openpaf.waiting")
    with waiting("counting sheep"):
        time.sleep(1.2)
    with waiting("blinking"):
        pass
    time.sleep(1.1)
    assert [record.getMessage() for record in caplog.records] == ["counting sheep ..."]


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


def test_doctor_names_an_engine_that_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(source: object, precision: str) -> bool:
        raise OSError("libgomp is missing")

    monkeypatch.setattr(onnx_engine, "available", broken)
    assert main(["doctor"]) == 0
    assert "onnx is broken (libgomp is missing)" in capsys.readouterr().out


def test_doctor_fails_where_a_package_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert main(["doctor"]) == 1
    assert "pycocotools  cannot be imported" in capsys.readouterr().out


def test_a_folder_for_an_export_is_missed_before_the_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    monkeypatch.setattr(onnx_engine, "onnx_bytes", None)
    file = tmp_path / "nowhere" / "fast.onnx"
    assert main(["export", "fast", "--to", "onnx", "--output", str(file)]) == 2
    assert capsys.readouterr().err == f"openpaf: --output: no folder {file.parent}\n"


@pytest.mark.parametrize(
    ("module", "extra", "command"),
    [
        ("av", "video", ["predict", "a.mp4", "--output", "out"]),
        ("av", "video", ["predict", "a.mp4", "--output", "out", "--format", "csv"]),
        ("av", "video", ["analyze", "a.mp4"]),
        ("matplotlib", "analyze", ["analyze", "a.mp4", "--plot", "a.png"]),
        ("pyarrow", "tables", ["predict", "a.png", "--output", "out", "--format", "parquet"]),
        ("pillow_heif", "heic", ["predict", "a.heic", "--output", "out"]),
        ("pillow_heif", "heic", ["annotate", "a.heic", "--output", "a.json"]),
        ("aiohttp", "demo", ["demo", "browser"]),
        ("fastapi", "serve", ["serve"]),
        ("uvicorn", "serve", ["serve"]),
        ("ray", "ray", ["bulk", "a.png", "--output", "out"]),
        ("shtab", "completion", ["completion", "bash"]),
        ("onnxruntime", "onnx", ["predict", "a.png", "--output", "out", "--engine", "onnx"]),
        ("onnxscript", "onnx", ["predict", "a.png", "--output", "out", "--engine", "onnx"]),
        ("openvino", "openvino", ["predict", "a.png", "--output", "o", "--engine", "openvino"]),
        ("onnxscript", "onnx", ["export", "fast", "--to", "onnx"]),
        ("coremltools", "coreml", ["export", "fast", "--to", "coreml"]),
        ("nncf", "export", ["export", "fast", "--to", "openvino", "--precision", "int8"]),
    ],
)
def test_each_extra_is_missed_before_a_network_is_read(
    module: str, extra: str, command: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def read(*_: object, **__: object) -> None:
        raise AssertionError("a network is read")

    for package in ("torch_engine", "onnx_engine", "openvino_engine"):
        monkeypatch.setattr(f"openpaf.engines.{package}.load_network", read)
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").write_bytes(b"x")
    Path("a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    Image.new("RGB", (64, 64)).save("a.png")
    monkeypatch.setitem(sys.modules, module, None)
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"pip install '.[{extra}]' in a clone of openpaf" in line


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
