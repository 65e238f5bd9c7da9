"""Command lines: arguments of all kinds, and files that are not what they should be.

The command must end with 0, or with 1 or 2 and one line for each thing that is wrong; what it has
written must be whole.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

import openpaf.estimator
from fuzzing import command
from fuzzing.case import Case
from fuzzing.json_files import labels

_VALUES = (
    "", " ", "0", "-1", "1", "64", "1e9", "9" * 400, "nan", "inf", "1e400", "0x10", "1_000", "٣",
    "-", "--", "..", ".", "/", "/dev/null", "a.jpg", "photos", "missing", "missing/deep.json",
    "a\nb", "\x1b[31m", "x" * 5000, "cpu", "cuda:99", "torch", "onnx", "coco,openpose", "image,",
    "default", "fast", "cmu-coco", "no-model",
    "maskrcnn-coco", "mask-rcnn-mobilenet", "bbox", "segm", "10:30.mp4", "http://127.0.0.1:1/x.jpg",
    "rtsp://user:pa@ss@127.0.0.1:1/x", "tcp://[::1", "*.jpg", "[", "**/*", "labels.json",
    "results.json", "bad.json", "bad.jpg", "bad.mp4", "bad.pth", "train.toml", "é.png", "\udcff",
    "peak_threshold=0.3", "graph=tree", "max_peaks=x", "pipe.jpg", "link.jpg",
    "$HOME", "%s", "%n", "`id`", "~", "~nobody/x",
)  # fmt: skip
_FLAGS = {
    "predict": ("--output", "--format", "--model", "--weights", "--engine", "--device", "--size",
                "--scales", "--flip", "--threshold", "--batch-size", "--no-smoothing", "--boxes",
                "--set", "--quiet"),
    "evaluate": ("--annotations", "--images", "--results", "--json", "--save-results", "--gallery",
                 "--size", "--scales", "--subset", "--image-ids", "--pck-alpha",
                 "--pck-reference", "--partial", "--method", "--model", "--fresh", "--flip",
                 "--task", "--threshold", "--set"),
    "annotate": ("--output", "--format", "--images-root", "--threshold", "--ignore-threshold",
                 "--joint-threshold", "--image-prefix", "--review", "--model", "--weights",
                 "--engine", "--device", "--size", "--scales", "--workers", "--batch-size",
                 "--partial", "--fresh", "--flip", "--quiet", "--set"),
    "convert": ("--from", "--to", "--image-dir", "--category", "--skeleton", "--split",
                "--image-prefix", "--extract-images", "--overwrite"),
    "train": ("--max-minutes", "--show-targets", "--samples"),
    "weights": ("--cache",),
    "export": ("--output", "--format", "--model", "--size"),
    "compare": ("--annotations", "--images", "--json", "--size", "--scales", "--flip"),
}  # fmt: skip
_SWITCHES = ("--no-smoothing", "--quiet", "--fresh", "--flip", "--boxes", "--overwrite")


#: Models are loaded once for each set of arguments, not for each command.
_kept = functools.lru_cache(4)(openpaf.estimator.PoseEstimator)


def _loaded(model: Any = None, *, scales: Any = (1.0,), **options: Any) -> Any:
    """An estimator, loaded once for the same arguments."""
    return _kept(model, scales=tuple(scales), **options)


def make(rng: np.random.Generator, folder: Path) -> Case:
    _fill(rng, folder)
    verb = str(rng.choice(list(_FLAGS), p=[0.35, 0.2, 0.15, 0.05, 0.08, 0.07, 0.05, 0.05]))
    arguments = _base(rng, verb)
    for _ in range(int(rng.integers(0, 4))):
        choice = rng.random()
        if choice < 0.6:
            flag = str(rng.choice(_FLAGS[verb]))
            value = [] if flag in _SWITCHES else [_value(rng)]
            arguments += [flag, *value]
        elif choice < 0.8 and len(arguments) > 1:
            arguments[int(rng.integers(1, len(arguments)))] = _value(rng)
        elif choice < 0.9:
            arguments.insert(int(rng.integers(1, len(arguments) + 1)), _value(rng))
        elif len(arguments) > 1:
            del arguments[int(rng.integers(1, len(arguments)))]
    (folder / "command.json").write_text(json.dumps(arguments))
    return Case(f"{verb}", lambda: _run(arguments, folder))


def _value(rng: np.random.Generator) -> str:
    return _VALUES[int(rng.integers(len(_VALUES)))]


def _base(rng: np.random.Generator, verb: str) -> list[str]:
    """A command that works, and takes a moment."""
    if verb == "predict":
        sources = [
            str(rng.choice(["a.jpg", "photos", "é.png", "photos/*.png", "bad.jpg", "bad.mp4"]))
        ]
        return ["predict", *sources, "--output", "out", "--size", "32", "--engine", "torch"]
    if verb == "annotate":
        sources = [str(rng.choice(["a.jpg", "photos", "é.png", "photos/*.png", "bad.jpg"]))]
        return ["annotate", *sources, "--output", "made.json", "--partial", "partial.jsonl",
                "--size", "32", "--engine", "torch"]  # fmt: skip
    if verb == "evaluate":
        return ["evaluate", "--annotations", "labels.json", "--results", "results.json"]
    if verb == "convert":
        outputs = ["made.json", "made.xml", "made", "made.label-studio.json"]
        return ["convert", "labels.json", str(rng.choice(outputs))]
    if verb == "train":  # never one that trains
        return [
            "train",
            str(rng.choice(["missing.toml", "bad.json", "train.toml"])),
            "--show-targets",
            "targets",
        ]
    if verb == "weights":
        action = str(rng.choice(["list", "verify"]))
        return ["weights", action, str(rng.choice(["cmu-coco", "fast-coco17", "no-model"]))]
    return [verb, "--output", "out"] if verb == "export" else [verb, "labels.json"]


def _fill(rng: np.random.Generator, folder: Path) -> None:
    """Files good and bad, by the names that the command lines use."""
    picture = Image.fromarray(rng.integers(0, 256, (40, 50, 3)).astype(np.uint8))
    (folder / "photos").mkdir()
    for name in ("a.jpg", "é.png", "photos/0.png", "photos/1.png"):
        picture.save(folder / name)
    annotations, results = labels(rng, unusual=False)
    (folder / "labels.json").write_text(json.dumps(annotations))
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "train.toml").write_text(
        'output = "run"\n[[sets]]\nannotations = "labels.json"\nimages = "photos"\n'
    )
    for name in ("bad.jpg", "bad.mp4", "bad.pth", "bad.json"):
        (folder / name).write_bytes(rng.bytes(64))
    os.mkfifo(folder / "pipe.jpg")
    if rng.random() < 0.2:
        os.mkfifo(folder / "photos" / "pipe.jpg")
    (folder / "link.jpg").symlink_to("link.jpg")


def _run(arguments: list[str], folder: Path) -> str | None:
    before = os.getcwd()
    os.chdir(folder)
    try:
        with mock.patch.object(openpaf.estimator, "PoseEstimator", _loaded):
            return command.run(arguments) or _half_written(folder)
    finally:
        os.chdir(before)


def _half_written(folder: Path) -> str | None:
    """What of the results is not whole."""
    for path in sorted([*(folder / "out").glob("*"), *folder.glob("made*")]):
        if path.name.startswith("."):
            return f"left behind: {path.name}"
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix in (".jpg", ".png"):
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                image.load()
    return None
