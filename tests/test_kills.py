"""Verbs killed while they write: nothing half-written, and the next run is as any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import openpaf

VERBS = ["predict", "video", "evaluate", "annotate", "fetch"]


@pytest.fixture(scope="module")
def killed(
    repo_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[str]:
    """Two kills of each verb, by one process, which forks a process for each."""
    pytest.importorskip("av", reason="PyAV is not installed (the extra 'video')")
    return subprocess.run(
        [sys.executable, str(repo_root / "benchmarks" / "kills.py"), "--kills", "2", "--seed", "3",
         "--verbs", ",".join(VERBS)],
        cwd=tmp_path_factory.mktemp("kills"), capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(openpaf.__file__).parents[1])},
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes of POSIX")
@pytest.mark.parametrize("n", range(len(VERBS)), ids=VERBS)
def test_a_killed_command_leaves_nothing_half_written(
    killed: subprocess.CompletedProcess[str], n: int
) -> None:
    """benchmarks/kills.py has the long form."""
    rows = [line.split("|")[2:4] for line in killed.stdout.splitlines()[2:]]
    assert len(rows) == len(VERBS), killed.stderr[-2000:]
    assert rows[n] == [" 2 ", " 0 "], killed.stderr[-2000:]
