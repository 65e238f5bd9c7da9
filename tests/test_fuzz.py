"""A few hundred strange fields, in a process of their own: a crash would take pytest with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import openpaf

STRANGE = """
import sys
sys.path.insert(0, {benchmarks!r})
from fuzz import runs, warm_up
from strange import strange_case

warm_up()
for i, run in enumerate(runs(strange_case({seed}, i) for i in range(345))):
    if run.fault:
        print(f"--seed {seed} --only {{i}}: {{run.kind}}: {{run.fault}}")
"""
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


@pytest.mark.parametrize("seed", [1])
def test_strange_fields_give_valid_people_or_one_clear_error(
    tmp_path: Path, repo_root: Path, seed: int
) -> None:
    code = STRANGE.format(benchmarks=str(repo_root / "benchmarks"), seed=seed)
    result = python(code, tmp_path)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr[-2000:]


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
        NUMBA_OPT="0",  # it is compiled sooner, and not asked to be fast
        **dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(no_folder / "below")),
    )
    assert (result.returncode, result.stdout) == (0, f"{package / '__init__.py'} KernelCache\n"), (
        result.stderr[-2000:]
    )
    assert "the parser is compiled for this process only" in result.stderr
    assert not list(tmp_path.rglob("*.kernel"))
