"""A network learns the five joints of a kite from nothing, is measured and run like any other."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

import openpaf
from openpaf import PoseEstimator
from openpaf.cli import main

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from synthetic_objects import write_set

CONFIG = """
output = "run"
name = "kite"
[data]
workers = 1
[[data.sets]]
annotations = "train/kite.json"
images = "train/images"
[network.options]
width = 48
hidden_width = 96
trunk_widths = [16, 24, 32, 32, 48, 48, 64, 64, 64, 64, 64, 64]
n_refinement_stages = 0
[optimizer]
steps = 700
batch_size = 8
learning_rate = 1e-2
warmup = 20
average = 0.97
precision = "float32"
checkpoint_every = 700
[augment]
crop_px = 96
person_px = [55, 90]
max_enlarge = 2
rotation_deg = 10
color = 0.1
gray = 0
blur = 0
shift = 0.2
"""


def test_kites_are_learned_from_nothing(tmp_path: Path) -> None:
    """About 20 s of one core, to AP 0.38 to 0.56 by seed; with weights that do not learn, 0."""
    torch.manual_seed(0)
    write_set("kite", tmp_path / "train", 200, size=128, most=2, turn=0.4)
    labels = write_set("kite", tmp_path / "new", 32, seed=1, size=128, most=2, turn=0.4)
    (tmp_path / "run.toml").write_text(CONFIG)
    assert main(["train", str(tmp_path / "run.toml")]) == 0
    model, images = tmp_path / "run" / "kite.safetensors", tmp_path / "new" / "images"
    command = ["evaluate", "--annotations", str(labels), "--images", str(images)]
    command += ["--model", str(model), "--size", "160", "--quiet", "--fresh"]
    assert main([*command, "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["AP"] > 0.2
    assert figures["AP50"] > 0.5
    assert figures["pck"]["reference"] == "box"
    assert list(figures["errors"]["by_joint"]) == ["top", "left", "right", "bottom", "tail"]

    estimator = PoseEstimator(str(model), size=160, engine="torch", flip=True)
    poses = estimator(openpaf.read_image(images / "00001.png"))
    assert poses.skeleton.name == "kite"
    assert poses.skeleton.oks_sigmas == (0.11,) * 5
    assert len(poses) >= 1
