"""Runs that are copied into one folder, to train elsewhere."""

# ruff: noqa: F811  # fixtures of another file

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from test_training_data import folder, write_config  # noqa: F401
from test_training_labels import CONFIG, INPUTS, given

from openpaf.training.config_files import read_config_as
from openpaf.training.data.dataset import DatasetError
from openpaf.training.part_affinity import make_batches

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
from recipe_task import RecipeConfig
from train import main


def test_a_packed_run_is_the_same_run(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    main([str(write_config(folder)), "--pack", str(packed)])
    copies = sorted((packed / "set-0" / "images").iterdir())
    assert [copy.read_bytes() for copy in copies] == [
        path.read_bytes() for path in sorted((folder / "images").iterdir())
    ]
    assert not (packed / "set-1").exists()  # training and validation share their photos
    plain, moved = (read_config_as(RecipeConfig, one / "run.toml") for one in (folder, packed))
    assert moved == msgspec.structs.replace(plain, output=moved.output, data=moved.data)
    assert moved.data.workers == 1
    for step in range(3):
        one, two = make_batches(plain).batch(step), make_batches(moved).batch(step)
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.pafs, two.pafs)
    main([str(packed / "run.toml")])
    assert "val_AP" in (packed / "run" / "log.jsonl").read_text()


def test_a_packed_run_takes_its_weights_along(folder: Path, tmp_path: Path) -> None:
    """Also where two files of different folders have one name."""
    names = ("weights", "teacher")
    for name in names:
        (folder / name).mkdir()
        (folder / name / "wide.safetensors").write_bytes(name.encode())
    table = '[distillation]\nteacher = "teacher/wide.safetensors"'
    path = write_config(folder, network='weights = "weights/wide.safetensors"', more=table)
    main([str(path), "--pack", str(tmp_path / "packed")])
    moved = read_config_as(RecipeConfig, tmp_path / "packed" / "run.toml")
    for name, copy in zip(names, (moved.network.weights, moved.distillation.teacher), strict=True):
        assert Path(copy).parent == tmp_path / "packed"
        assert Path(copy).read_bytes() == name.encode()


@pytest.fixture
def given_folder(tmp_path: Path) -> Path:
    """The run of one photo of the inputs, whose labels a test writes."""
    (tmp_path / "images").mkdir()
    shutil.copy(INPUTS / "1.jpg", tmp_path / "images")
    (tmp_path / "run.toml").write_text(CONFIG.format(more=""))
    return tmp_path


@pytest.mark.parametrize("first", ["/etc/hostname", "../../secret.txt", "out.jpg"])
def test_a_label_file_packs_nothing_else(given_folder: Path, first: str) -> None:
    (given_folder / "secret.txt").write_text("secret")
    (given_folder / "images" / "out.jpg").symlink_to(given_folder / "secret.txt")
    data = given("hostile/pack_traversal.json")
    data["images"][0]["file_name"], data["images"][1]["file_name"] = "1.jpg", first
    (given_folder / "people.json").write_text(json.dumps(data))
    packed = given_folder / "packed"
    with pytest.raises(DatasetError, match=r"people\.json: an entry .* \(file_name: ") as error:
        main([str(given_folder / "run.toml"), "--pack", str(packed)])
    assert repr(first) in str(error.value)
    assert not [path for path in packed.rglob("*") if path.is_file()]


def test_packing_into_the_packed_folder_is_refused(given_folder: Path) -> None:
    (given_folder / "people.json").write_text(json.dumps(given("two_categories.json")))
    packed = given_folder / "packed"
    main([str(given_folder / "run.toml"), "--pack", str(packed)])
    photos = sorted((packed / "set-0" / "images").iterdir())
    whole = [path.read_bytes() for path in photos]
    with pytest.raises(ValueError, match="holds the photos that are to be packed"):
        main([str(packed / "run.toml"), "--pack", str(packed)])
    assert [path.read_bytes() for path in photos] == whole
    main([str(given_folder / "run.toml"), "--pack", str(packed)])  # once more
    assert sorted((packed / "set-0" / "images").iterdir()) == photos
