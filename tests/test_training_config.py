"""Configurations of training runs: tables that are checked wherever they are made."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from openpaf.io.extras import install_hint
from openpaf.io.skeleton_files import read_skeleton
from openpaf.io.toml_files import read_toml, toml_rows
from openpaf.training.config import (
    AugmentConfig,
    DataConfig,
    DistillationConfig,
    NetworkConfig,
    OptimizerConfig,
    SetConfig,
    TargetsConfig,
    TrainConfig,
)
from openpaf.training.config_files import read_config
from openpaf.training.tables import as_table, plain

SET = '[[data.sets]]\nannotations = "a.json"\nimages = "photos"\n'
HEAD = 'output = "x"\n'
HEAD_TEACHER = f'{HEAD}[distillation]\nteacher = "t"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps =", "not TOML"),
        pytest.param("steps = " + "[" * 100_000, "not TOML", id="deep"),
        pytest.param(f"{HEAD}{SET}[optimizer]\nsteps = 1{'0' * 400}", "steps: expect", id="long"),
        (SET, "missing key 'output'"),
        (HEAD, "missing key 'data'"),
        (f"{HEAD}[data]", "data.sets: expected at least one [[data.sets]], or an index of some"),
        (f'{HEAD}[data.sets]\nimages = "b"', "data.sets: expected list, got {'images': 'b'}"),
        (f"{HEAD}{SET}holdout = [2, 2]", "data.sets[0].holdout: expected [r, n] with r below n"),
        (f"{HEAD}{SET}holdout = [2]", "data.sets[0].holdout: expected list of length 2, got [2]"),
        (f"{HEAD}{SET}trusted = true", "data.sets[0]: unknown key 'trusted'; known: annotations, "),
        (f'{HEAD}{SET}[[data.sets]]\nannotations = "a"', "data.sets[1]: missing key 'images'"),
        (f'{HEAD}{SET}[data.validation]\nimages = "b"', "data.validation: missing key"),
        (f"{HEAD}speed = 3\n{SET}", "unknown key 'speed'; known: output, name, seed, "),
        (f"{HEAD}[optimizer]\nsteps = 0\n{SET}", "optimizer.steps: expected int >= 1, got 0"),
        (f"{HEAD}[optimizer]\nsteps = 6.5\n{SET}", "optimizer.steps: expected int, got 6.5"),
        (f'{HEAD}[optimizer]\nsteps = "many"\n{SET}', "optimizer.steps: expected int, got 'many'"),
        (f"{HEAD}[optimizer]\nstep = 3\n{SET}", "optimizer: unknown key 'step'; known: name,"),
        (f'{HEAD}[optimizer]\nname = "adam"\n{SET}',
         "optimizer.name: expected one of adamw, sgd, got 'adam'"),
        (f"{HEAD}[optimizer]\nclip = nan\n{SET}", "optimizer.clip: expected float > 0.0, got nan"),
        (f"{HEAD}[optimizer]\naverage = 1\n{SET}", "optimizer.average: expected float < 1.0"),
        (f"{HEAD}[targets]\ngrid_offsets = [1]\n{SET}",
         "targets.grid_offsets: expected list of length 2, got [1]"),
        (f"{HEAD}[augment]\ncrop_px = 100\n{SET}", "augment.crop_px: expected a multiple of 8"),
        (f"{HEAD}[augment]\nperson_px = [20, 9]\n{SET}", "augment.person_px: expected two rising"),
        (f"{HEAD}[augment]\ncolour = 0.2\n{SET}", "augment: unknown key 'colour'; known: crop_px,"),
        (f"{HEAD}[network]\nwidth = 9\n{SET}", "network: unknown key 'width'; known: name,"),
        (f"{HEAD}[distillation]\nweight = 0.5\n{SET}", "distillation.weight: expected a teacher"),
        (f'{HEAD_TEACHER}engine = "onnx"\n{SET}', "distillation: unknown key 'engine'; known: te"),
        (f"augment = 3\n{HEAD}{SET}", "augment: expected a table, got 3"),
    ],
)  # fmt: skip
def test_errors_name_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_config(path)
    assert str(error.value).startswith(f"{path}: ")
    assert len(str(error.value)) < 500


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.toml: cannot be read"):
        read_config(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    ("method", "network"),
    [
        ("part-affinity", ""),
        ("part_affinity", 'name = "body25"'),
        ("part-affinity", 'weights = "default"'),
        ("mask-rcnn", 'name = "keypointrcnn_mobilenet_v2_fpn"'),
        ("mask-rcnn", 'name = "maskrcnn_mobilenet_v2_fpn"'),
        ("center-net", 'name = "lightweight_center_net"'),
    ],
)
def test_files_that_name_their_method_work(tmp_path: Path, method: str, network: str) -> None:
    """The network's name says it."""
    path = tmp_path / "run.toml"
    path.write_text(f"{HEAD}[network]\n{network}\n{SET}")
    plainly = read_config(path)
    path.write_text(f'method = "{method}"\n{HEAD}[network]\n{network}\n{SET}')
    assert read_config(path) == plainly


@pytest.mark.parametrize(
    ("method", "network", "message"),
    [
        ('"mask-rcnn"', "", "expected 'part-affinity', that of the network 'lightweight', or none"),
        ('"mask-rcnn"', 'weights = "default"', "expected 'part-affinity', that of the network"),
        ('"part-affinity"', 'name = "fasterrcnn_mobilenet_v2_fpn"', "expected 'mask-rcnn', that"),
        ('"part-affinity"', 'name = "lightweight_tags"', "expected 'associative-embedding', that"),
        ('"steam"', "", "or none, got 'steam'"),
        ("3", "", "or none, got 3"),
    ],
)
def test_a_method_that_is_not_the_networks_is_refused(
    tmp_path: Path, method: str, network: str, message: str
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f"method = {method}\n{HEAD}[network]\n{network}\n{SET}")
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_config(path)
    assert str(error.value).startswith(f"{path}: method: ")


def test_names_of_models_and_skeletons_are_no_paths(tmp_path: Path) -> None:
    """Only where there may be one: a folder may be called as a model is."""
    path = tmp_path / "run.toml"
    named = '[data]\nskeleton = "coco17"\n[network]\ntrunk = "fast"\n'
    path.write_text(f'output = "default"\n{named}{SET}')
    config = read_config(path)
    assert config.output == str(tmp_path / "default")
    assert config.network.trunk == str(tmp_path / "fast")
    assert config.data.skeleton == "coco17"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptimizerConfig(steps=0), "steps: expected int >= 1, got 0"),
        (lambda: OptimizerConfig(name="adam"), "name: expected one of adamw, sgd"),
        (lambda: replace(OptimizerConfig(), clip=-1.0), "clip: expected float > 0.0, got -1.0"),
        (lambda: DistillationConfig(weight=2, teacher="t"), "weight: expected float <= 1.0, got 2"),
        (lambda: SetConfig(annotations=3, images="b"), "annotations: expected text, got 3"),
        (lambda: DataConfig(), "sets: expected at least one"),
        (lambda: AugmentConfig(crop_px=9), "crop_px: expected a multiple of 8, got 9"),
    ],
)  # fmt: skip
def test_python_is_checked_too(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_paths_are_relative_to_the_file_and_the_rest_is_as_it_says(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        f'output = "o"\nseed = 3\n{SET}holdout = [1, 2]\n[network]\nweights = "w"\n'
        '[network.options]\nranks = [1, 2, 3]\n[distillation]\nteacher = "/t"\nweight = 1\n'
    )
    config = read_config(path)
    assert config.output == str(tmp_path / "o")
    assert config.network.weights == str(tmp_path / "w")
    named = replace(config, network=replace(config.network, weights="default"))
    (tmp_path / "named.toml").write_text("".join(toml_rows(plain(named))))
    assert read_config(tmp_path / "named.toml").network.weights == "default"
    assert config.network.options == {"ranks": [1, 2, 3]}
    assert config.distillation.teacher == "/t"
    assert config.distillation.weight == 1.0
    assert config.data.sets[0].images == str(tmp_path / "photos")
    assert config.data.sets[0].holdout == (1, 2)
    assert config.targets == TargetsConfig()
    again = tmp_path / "again.toml"
    again.write_text("".join(toml_rows(plain(config))))
    assert read_config(again) == config


def test_the_examples_of_the_docs_are_runs(repo_root: Path, tmp_path: Path) -> None:
    text = (repo_root / "docs" / "training.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    skeletons = [example for example in examples if "joints" in example]
    assert (len(examples), len(skeletons)) == (4, 1)
    (tmp_path / "kite.toml").write_text(skeletons[0])
    assert read_skeleton(tmp_path / "kite.toml").n_joints == 5
    for example in set(examples) - set(skeletons):
        whole = example if "output" in example else f'output = "o"\ndata.index = "i"\n{example}'
        (tmp_path / "run.toml").write_text(whole)
        as_table(TrainConfig, read_toml(tmp_path / "run.toml"))
    assert len(examples[0].splitlines()) <= 10  # a whole run


def test_a_plain_run_has_at_most_30_keys() -> None:
    tables = {"data": DataConfig, "network": NetworkConfig, "targets": TargetsConfig,
              "optimizer": OptimizerConfig}  # fmt: skip
    top = set(TrainConfig.__struct_fields__) - {*tables, "augment", "distillation"}
    keys = [*top, *(key for table in tables.values() for key in table.__struct_fields__)]
    assert len(keys) <= 30


def test_a_missing_package_is_told_with_its_extra(tmp_path: Path) -> None:
    """In a process of its own, as this one has it."""
    code = (
        "import sys; sys.modules['msgspec'] = None; from openpaf.cli import main; "
        "sys.exit(main(['train', 'run.toml']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"openpaf: training needs msgspec: {install_hint('train')}\n"
