"""What is installed: a light import, a command, weights with their cards, and nothing else."""

from __future__ import annotations

import configparser
import hashlib
import json
import re
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import openpaf

HEAVY = {
    "av", "cv2", "numba", "PIL", "pycocotools", "requests", "safetensors.torch", "scipy", "torch",
    "tqdm",
}  # fmt: skip


@pytest.fixture(scope="module")
def installed() -> metadata.Distribution:
    # A checkout may hold an egg-info folder, which a build leaves behind: that is no installation.
    found = [d for d in metadata.distributions(name="openpaf") if d.read_text("RECORD")]
    if not found:
        pytest.skip("openpaf runs from its checkout, not installed")
    return found[0]


@pytest.fixture(scope="module")
def setup_cfg(repo_root: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(repo_root / "setup.cfg", encoding="utf-8")
    return parser


@pytest.mark.parametrize(
    "statement",
    ["import openpaf", "import openpaf.cli", "from openpaf.cli import main; main(['--help'])"],
)
def test_heavy_modules_wait_until_they_are_used(tmp_path: Path, statement: str) -> None:
    code = f"{statement}; import json, sys; print(); print(json.dumps(list(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert not HEAVY & set(json.loads(result.stdout.splitlines()[-1]))


def test_the_first_parse_waits_for_no_linear_algebra_and_numba_still_has_it() -> None:
    code = (
        "import sys, openpaf.decoding\n"
        "from numba.core.registry import cpu_target\n"
        "cpu_target.target_context.refresh()\n"  # what loading a kernel from the cache begins with
        "assert 'numba.np.arraymath' in sys.modules and 'scipy.linalg' not in sys.modules\n"
        "from numba.np.linalg import ensure_blas\n"
        "ensure_blas()\n"
        "assert 'scipy.linalg.cython_blas' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_public_name_is_there() -> None:
    for name in openpaf.__all__:
        assert getattr(openpaf, name) is not None
    assert dir(openpaf) == sorted(openpaf.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        openpaf.nonsense  # noqa: B018


def test_weights_come_with_their_cards() -> None:
    """And the card names each file by its hash: it is about these very weights."""
    folder = resources.files("openpaf.models")
    files = [entry for entry in folder.iterdir() if entry.name.endswith((".safetensors", ".bin"))]
    files += [entry for entry in folder.iterdir() if entry.name.endswith(".xml")]
    assert {"lightweight-coco17.safetensors", "lightweight-coco17-int8.bin"} <= {
        entry.name for entry in files
    }
    for entry in files:
        model = entry.name.rpartition(".")[0].removesuffix("-int8")
        card = (folder / f"{model}.md").read_text(encoding="utf-8")
        assert hashlib.sha256(entry.read_bytes()).hexdigest() in card, entry.name


def test_type_hints_are_announced() -> None:
    assert resources.files("openpaf").joinpath("py.typed").is_file()


def test_the_command_is_installed(installed: metadata.Distribution) -> None:
    commands = {e.name: e.value for e in installed.entry_points if e.group == "console_scripts"}
    assert commands == {"openpaf": "openpaf.cli:main"}


def test_version_and_licence(installed: metadata.Distribution) -> None:
    assert installed.version == openpaf.__version__
    assert "Apache-2.0" in (
        installed.metadata.get("License-Expression") or installed.metadata["License"]
    )
    licences = set(installed.metadata.get_all("License-File") or [])
    assert licences >= {"LICENSE", "NOTICE"}


def test_no_tests_are_installed(installed: metadata.Distribution) -> None:
    tops = {path.parts[0] for path in installed.files or []}
    assert not tops & {"tests", "models", "data", "demos", "benchmarks", "docs", "build"}


def test_setup_cfg_names_every_package(
    setup_cfg: configparser.ConfigParser, repo_root: Path
) -> None:
    named = set(setup_cfg["options"]["packages"].split())
    folders = {path.parent for path in (repo_root / "openpaf").rglob("*.py")}
    there = {".".join(folder.relative_to(repo_root).parts) for folder in folders}
    assert named == there | {"openpaf.models"}


def test_constraints_cover_every_dependency(
    setup_cfg: configparser.ConfigParser, repo_root: Path
) -> None:
    extras = dict(setup_cfg["options.extras_require"])
    assert set(extras) == {
        "openvino", "onnx", "caffe", "video", "export", "demo", "train", "tensorboard", "test",
        "benchmarks", "compare", "dev", "heic",
    }  # fmt: skip
    lines = "\n".join([setup_cfg["options"]["install_requires"], *extras.values()]).splitlines()
    wanted = {re.split(r"[<>=;\s]", line)[0] for line in lines if line and line[0] != "#"}
    pins = (repo_root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0] for line in pins if "==" in line}
    assert wanted <= pinned
