"""Verbs killed while they write: nothing half-written, and the next run is as any other."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import openpaf


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes of POSIX")
@pytest.mark.parametrize("verb", ["predict", "video", "evaluate", "annotate", "fetch"])
def test_a_killed_command_leaves_nothing_half_written(
    repo_root: Path, tmp_path: Path, verb: str
) -> None:
    """benchmarks/kills.py has the long form."""
    if verb == "video" and importlib.util.find_spec("av") is None:
        pytest.skip("PyAV is not installed (the extra 'video')")
    result = subprocess.run(
        [sys.executable, str(repo_root / "benchmarks" / "kills.py"), "--kills", "2", "--seed", "3",
         "--verbs", verb], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(openpaf.__file__).parents[1])},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.splitlines()[-1].split("|")[2:4] == [" 2 ", " 0 "]
