"""benchmarks/one_person.py: Gaussians, or disks and offsets, of one person on the same features."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_whole_comparison_in_two_steps(
    repo_root: Path, shared_dir: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, str(repo_root / "benchmarks" / "one_person.py"), "--folder", str(tmp_path),
        "--data", str(shared_dir / "data"), "--crops", "4", "--steps", "2", "--batch", "2",
        "--photos", "8", "--sets",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.split("|")[1:-1] for line in run.stdout.splitlines() if line[:1] == "|"]
    figures = {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}
    assert float(figures["TinyPose's own"][0]) > 0.4
    for title in ("Gaussians", "disks and offsets"):
        assert float(figures[title][0]) >= 0
        assert float(figures[f"{title}, true arrays in true boxes"][0]) > 0.9
