"""Every command of docs/tutorial.md does what it says, on a smaller set."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from openpaf.cli import main

ROOT = Path(__file__).parents[1]
SMALLER = {"--images 300": "--images 20", "--images 50": "--images 3",
           "--max-minutes 60": "--max-minutes 0.1"}  # fmt: skip


def _commands() -> list[list[str]]:
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    for given, taken in SMALLER.items():
        assert given in text
        text = text.replace(given, taken)
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="needs a clone")
def test_every_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts in processes of their own, the command in this one."""
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for program, *arguments in _commands():
        if program == "openpaf":
            status, said = main(arguments), capsys.readouterr().err
        else:
            assert program == "python"
            done = subprocess.run(
                [sys.executable, str(ROOT / arguments[0]), *arguments[1:]],
                env=environment, capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            status, said = done.returncode, done.stderr
        assert status == 0, f"{program} {shlex.join(arguments)}\n{said}"
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert (tmp_path / "worst.html").exists()
    assert len(list((tmp_path / "targets").iterdir())) >= 8
    assert len(list((tmp_path / "out").glob("*.json"))) == 3
    assert (tmp_path / "hand.onnx").exists()
