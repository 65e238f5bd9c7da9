"""``openpaf train`` without a configuration file, and the reference of its keys."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from openpaf import Grid, PoseEstimator, Skeleton
from openpaf.cli import main, quick_training
from openpaf.networks import build
from openpaf.training import best
from openpaf.training.checkpoints import load_checkpoint
from openpaf.training.config_files import read_config
from openpaf.weights import ModelSpec, read_header, save
from openpaf.weights.checkpoints import read_state

SMALL = {"width": 8, "hidden_width": 8, "trunk_widths": [8] * 12, "n_refinement_stages": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight images with a person each, and a model of random weights."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for i in range(8):
        pixels = rng.integers(0, 100, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 64})
        joints = np.column_stack([rng.uniform(8, 56, (17, 2)), np.full(17, 2)])
        annotations.append(
            {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [8, 8, 48, 48],
             "num_keypoints": 17, "keypoints": joints.ravel().tolist(), "area": 2304.0}
        )  # fmt: skip
    write_labels(tmp_path, images, annotations)
    spec = ModelSpec(
        name="start", builder="lightweight", options=SMALL, skeleton=Skeleton.COCO17,
        heatmap_grid=Grid(8), paf_grid=Grid(8, 0.0), mean=128.0, scale=255.0,
        licence="Apache-2.0", metrics={},
    )  # fmt: skip
    torch.manual_seed(1)
    state = build(spec.builder, spec.skeleton, **spec.options).state_dict()
    save(state, tmp_path / "start.safetensors", spec)
    return tmp_path


def write_labels(folder: Path, images: list[Any], annotations: list[Any]) -> None:
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    (folder / "my.json").write_text(json.dumps(data))


def flags(folder: Path, **changes: str | None) -> list[str]:
    values = {"from": folder / "start.safetensors", "data": folder / "my.json",
              "images": folder / "images", "output": folder / "run", **changes}  # fmt: skip
    given = [(key.replace("_", "-"), value) for key, value in values.items() if value is not None]
    return ["train", *(text for key, value in given for text in (f"--{key}", str(value)))]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of three steps."""
    few = {"steps": 3, "batch_size": 2, "precision": "float32", "validation_size": 64}
    for name in ("FINE_TUNING", "NEW_HEADS", "FRESH"):
        monkeypatch.setattr(quick_training, name, few)


def test_the_command_ends_in_time_with_what_it_started_from(folder: Path) -> None:
    """In a process of its own: AP before and after, a model, and a run that goes on."""
    done = subprocess.run(
        [sys.executable, "-m", "openpaf", *flags(folder), "--max-minutes", "0.03"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    aps = [line for line in lines if "validation AP" in line]
    assert aps[0].startswith("step 0: validation AP 0.000")
    last = load_checkpoint(folder / "run" / "checkpoint.pt")
    assert aps[-1].startswith(f"step {last['step']}: validation AP")
    assert 0 < last["step"] == last["validated"] < quick_training.FINE_TUNING["steps"]
    steps = quick_training.FINE_TUNING["steps"]
    assert f"stopped after the given time at step {last['step']} of {steps}, " in done.stderr
    assert "AP 0.000 at the start, and no later weights are better" in done.stderr
    weights = folder / "run" / "model.safetensors"
    assert done.stdout == f"weights: {weights}\n"
    ours, theirs = read_state(weights), read_state(folder / "start.safetensors")
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())
    assert read_header(weights).paf_grid == Grid(8, 0.0)
    PoseEstimator(weights, size=64, engine="torch")(np.zeros((64, 64, 3), np.uint8))
    written = read_config(folder / "run" / "run.toml")
    assert written.data.sets[0].holdout == (0, 5)
    assert written.data.validation == written.data.sets[0]


def test_better_weights_are_kept_and_told(
    folder: Path, tiny: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    aps = iter([0.25, 0.4, 0.5])  # the start, halfway, and the last
    monkeypatch.setattr(best.Validation, "__call__", lambda *_: {"AP": next(aps)})
    assert main(flags(folder)) == 0
    assert "AP 0.250 at the start, 0.500 after step 3" in caplog.text
    assert read_header(folder / "run" / "model.safetensors").metrics["step"] == 3


def test_a_run_goes_on_with_the_same_flags(folder: Path, tiny: None) -> None:
    for _ in range(2):
        assert main([*flags(folder), "--max-minutes", "0"]) == 0
    assert load_checkpoint(folder / "run" / "checkpoint.pt")["step"] == 2
    assert main(flags(folder)) == 0
    assert main(flags(folder, output=str(folder / "whole"))) == 0
    states = [load_checkpoint(folder / name / "checkpoint.pt")["network"]
              for name in ("run", "whole")]  # fmt: skip
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_a_new_network_and_labels_for_validation(folder: Path, tiny: None) -> None:
    changes = {"from": None, "network": "mobilenet_v2", "val": str(folder / "my.json")}
    assert main([*flags(folder, **changes), "--max-minutes", "0"]) == 0
    spec = read_header(folder / "run" / "model.safetensors")
    assert (spec.builder, spec.skeleton) == ("mobilenet_v2", Skeleton.COCO17)
    config = read_config(folder / "run" / "run.toml")
    assert config.data.sets[0].holdout is None
    assert config.data.validation is not None
    assert config.data.validation.images == str(folder / "images")


@pytest.mark.parametrize(("n_joints", "rates"), [(17, "FINE_TUNING"), (3, "NEW_HEADS")])
def test_other_joints_and_flags_of_the_data(folder: Path, n_joints: int, rates: str) -> None:
    """Heads that are new learn faster than what is given."""
    names = [*Skeleton.COCO17.joints] if n_joints == 17 else ["a", "b", "c"]
    category = {"name": "thing", "keypoints": names, "skeleton": [[1, 2], [2, 3]]}
    data = json.loads((folder / "my.json").read_text())
    for annotation in data["annotations"]:
        annotation["keypoints"] = annotation["keypoints"][: 3 * n_joints]
    data["categories"] = [{"id": 1, **category}, {"id": 2, **category, "name": "other"}]
    (folder / "my.json").write_text(json.dumps(data))
    parser = argparse.ArgumentParser()
    parser.add_argument("config", nargs="?")
    quick_training.add_arguments(parser)
    (folder / "own.toml").write_text(f"joints = {json.dumps(names)}\nlimbs = [[0, 1], [1, 2]]\n")
    chosen = {"category": "thing", "skeleton": str(folder / "own.toml")}
    values = quick_training.configuration(parser.parse_args(flags(folder, **chosen)[1:]))
    chosen_rates = getattr(quick_training, rates)
    assert {key: values["optimizer"][key] for key in chosen_rates} == chosen_rates
    assert {key: values["data"][key] for key in chosen} == chosen


def test_a_model_of_tags_is_trained_further(folder: Path, tiny: None) -> None:
    options = {"width": 8, "hidden_width": 8, "trunk_widths": [8] * 12}
    spec = dataclasses.replace(
        read_header(folder / "start.safetensors"), builder="lightweight_tags", options=options,
        paf_grid=Grid(8), method="associative_embedding",
    )  # fmt: skip
    network = build(spec.builder, spec.skeleton, **options)
    save(network.state_dict(), folder / "start.safetensors", spec)
    assert main(flags(folder)) == 0
    assert read_header(folder / "run" / "model.safetensors").method == "associative_embedding"


def labels(places: list[int], n_images: int) -> tuple[list[Any], list[Any]]:
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(n_images)]
    return images, [{"image_id": i, "keypoints": [1, 1, 2]} for i in places]


@pytest.mark.parametrize(
    ("places", "n_images", "expected"),
    [
        (list(range(10)), 10, [0, 5]),
        (list(range(1000)), 1000, [0, 10]),  # about a hundred
        ([1, 2], 3, [1, 5]),
        ([0, 5], 6, [0, 4]),  # with every fifth, nothing would be left to learn from
        ([0, 60], 61, [0, 7]),
    ],
)
def test_which_images_are_held_out(
    tmp_path: Path, places: list[int], n_images: int, expected: list[int]
) -> None:
    write_labels(tmp_path, *labels(places, n_images))
    remainder, every = quick_training.held_out(tmp_path / "my.json")
    assert [remainder, every] == expected
    assert 0 < sum(place % every == remainder for place in places) < len(places)


def test_one_image_is_not_enough(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_labels(folder, *labels([3], 8))
    assert main(flags(folder)) == 2
    assert "in two images or more, to keep some for validation, found them in 1; --val" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["train"], "expected CONFIG.toml, or --data, --images and --output; --data, --images, "),
        (["train", "--data", "a.json"], "and --output; --images, --output not given"),
        (["train", "a.toml", "--from", "default"], "--from: expected either flags or a.toml, got"),
        (["train", "a.toml", "--val-images", "b"], "--val-images: expected either flags or a.toml"),
    ],
)
def test_flags_that_lack_or_are_too_many(
    more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(more) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"from": "nothing"}, "model 'nothing': neither a file, nor a shipped model"),
        ({"from": "tinypose-256x192"}, "tinypose-256x192: a model that cannot be trained further"),
        ({"network": "body25"}, "network.name: expected 'lightweight', that of"),
        ({"trunk": "vgg19.pth"}, "trunk: expected none beside weights"),
        ({"val_images": "elsewhere"}, "--val-images: expected --val too"),
        ({"data": "none.json"}, "none.json: cannot be read"),
    ],
)
def test_flags_that_do_not_fit(
    folder: Path, changes: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags(folder, **changes)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_the_reference_of_keys_is_that_of_the_tables(
    repo_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If it differs: openpaf train --keys > docs/training_keys.md."""
    assert main(["train", "--keys"]) == 0
    page = capsys.readouterr().out
    assert page == (repo_root / "docs" / "training_keys.md").read_text(encoding="utf-8")
    row = "| `steps` | whole number >= 1 | `1000` | Of the whole run. |"
    assert row in page.splitlines()
