"""Hostile inputs of every class, in processes of their own: a crash would take pytest with it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import openpaf

Rows = dict[str, list[int]]
CLASSES = (
    "images", "weights", "json", "toml", "fields", "steps", "configurations", "videos", "messages",
    "command-lines",
)  # fmt: skip
HEADINGS = [
    "refused clearly", "right", "refused unclearly", "traceback", "crash", "hang", "over memory",
    "silently wrong",
]  # fmt: skip
DECODE = """
import numpy as np
import openpaf
from openpaf.decoding.compiled import _decode

people = openpaf.Poses.from_keypoints([[(20 + 3 * k, 90 - 4 * k, 1) for k in range(17)]],
                                      openpaf.Skeleton.COCO17)
found = openpaf.decode(openpaf.encode_fields(people, (104, 104)))
assert len(found) == 1
print(openpaf.__file__, type(_decode._cache).__name__)
"""


def python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tried(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, str]:
    """A hundred of each class, all in one run: by class the counts, and what failed."""
    return fuzz(repo_root, tmp_path_factory.mktemp("fuzz"), "--number", "100", "--seed", "1")


def fuzz(repo_root: Path, cwd: Path, *arguments: str) -> tuple[Rows, str]:
    result = subprocess.run(
        [sys.executable, str(repo_root / "benchmarks" / "fuzz.py"), "--show", "1000",
         "--classes", ",".join(name for name in CLASSES if is_there(name)), *arguments],
        cwd=cwd, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(openpaf.__file__).parents[1])},
    )  # fmt: skip
    lines = [[cell.strip() for cell in line.strip("|").split("|")]
             for line in result.stdout.splitlines() if line.startswith("|")]  # fmt: skip
    assert len(lines) > 3, result.stderr[-2000:]
    headings, _, *rows = lines
    assert headings == ["class", "tried", *HEADINGS]
    counts = {row[0]: [int(cell.replace(",", "")) for cell in row[1:]] for row in rows}
    assert result.returncode == (1 if sum(counts["**all**"][3:]) else 0)
    return counts, result.stderr


def is_there(name: str) -> bool:
    """Whether what a class needs is installed."""
    needs = {"videos": "av", "messages": "aiohttp"}.get(name)
    return needs is None or importlib.util.find_spec(needs) is not None


@pytest.mark.parametrize("name", CLASSES)
def test_hostile_inputs_are_right_or_refused_clearly(tried: tuple[Rows, str], name: str) -> None:
    if not is_there(name):
        pytest.skip(f"what {name} need is not installed")
    (n, refused, right, *failed), said = tried[0][name], tried[1]
    assert n == refused + right + sum(failed) == 100
    assert refused
    assert right
    assert not any(failed), [line for line in said.splitlines() if line.startswith(f"{name}:")]


def test_the_harness_sees_every_kind_of_fault(repo_root: Path, tmp_path: Path) -> None:
    """Faults made on purpose, whose kind begins with the outcome that they must have."""
    keep = tmp_path / "keep"
    # The first twenty of this seed are of all twelve kinds.
    counts, said = fuzz(
        repo_root, tmp_path, "--classes", "faults", "--number", "20", "--seed", "12",
        "--memory-mb", "100", "--seconds", "4", "--keep", str(keep),
    )  # fmt: skip
    n, *outcomes = counts["faults"]
    assert (n, sum(outcomes)) == (20, 20)
    assert all(outcomes), dict(zip(HEADINGS, outcomes, strict=True))
    for line in said.splitlines():
        _, outcome, kind = line.split(": ")[:3]
        assert kind.startswith(outcome)
    kept = list(keep.iterdir())
    assert len(kept) == sum(outcomes[2:])
    for folder in kept:
        assert (folder / "input.txt").read_text() != ""
        command = (folder / "REPRODUCE.txt").read_text().splitlines()[0]
        assert command.startswith("python benchmarks/fuzz.py --seed 12 --only faults:")


def test_a_failing_input_comes_again(repo_root: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(repo_root / "benchmarks" / "fuzz.py"), "--seed", "1", "--only",
         "faults:6"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(openpaf.__file__).parents[1])},
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stdout == "traceback: traceback: TypeError: a fault of the program\n"


def test_decode_works_where_no_folder_for_the_compiled_code_is_writable(
    tmp_path: Path, repo_root: Path
) -> None:
    # A file where a folder should be keeps out even root, whom permissions do not.
    no_folder = tmp_path / "file"
    no_folder.touch()
    package = tmp_path / "openpaf"
    shutil.copytree(
        Path(openpaf.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()
    result = python(
        DECODE,
        tmp_path,
        PYTHONPATH=str(tmp_path),
        NUMBA_CACHE_DIR="",
        OPENPAF_CACHE="",
        **dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(no_folder / "below")),
    )
    assert (result.returncode, result.stdout) == (0, f"{package / '__init__.py'} KernelCache\n"), (
        result.stderr[-2000:]
    )
    assert "the parser is compiled for this process only" in result.stderr
    assert not list(tmp_path.rglob("*.kernel"))
