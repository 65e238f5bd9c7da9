"""The benchmarks of networks run, and say plainly what they cannot do."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch


def run(repo_root: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(repo_root / "benchmarks" / script), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=repo_root,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_benchmark_says_so_in_one_line(repo_root: Path) -> None:
    result = run(repo_root, "gpu.py")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("no GPU that torch can use")
    assert len(result.stderr.splitlines()) == 1


def test_the_benchmark_of_gpus_runs_on_a_cpu(repo_root: Path) -> None:
    result = run(
        repo_root, "gpu.py", "--device", "cpu", "--repeats", "1", "--size", "32",
        "--networks", "lightweight", "--batches", "1", "2",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if "float" in line]
    assert len(rows) == 2 * 2 * 3  # batches, network and whole way, modes
    assert all(float(row.split()[-1]) > 0 for row in rows)


def test_the_table_of_networks(repo_root: Path) -> None:
    result = run(
        repo_root, "networks.py", "--height", "64", "--width", "96", "--repeats", "1",
        "--threads", "1", "--networks", "lightweight_coco",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    head, _, row = (line.split(" | ") for line in result.stdout.splitlines()[:3])
    assert len(head) == len(row) >= 7
    assert row[:5] == ["| `lightweight_coco`", "4,091,698", "507", "8", "0"]
    assert "GMACs at 64x96" in head


def test_the_best_sets_of_sizes_for_their_cost(
    repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    scales = importlib.import_module("scales")
    row = scales.Row
    rows = [
        row((640,), False, 3.0, (0.5, 0.4)),
        row((256, 368), False, 1.5, (0.45, 0.47)),
        row((368,), False, 1.0, (0.4, 0.4)),
        row((256,), True, 1.0, (0.41, 0.41)),
        row((256, 640), True, 9.0, (0.5, 0.5), (0.3, 0.2, 0.4)),
    ]
    best = scales.front(rows)
    assert [(r.sizes, r.flip) for r in best] == [
        ((256,), True), ((256, 368), False), ((256, 640), True),
    ]  # fmt: skip
    lines = scales.table(best, ["AP, a", "AP, b"]).splitlines()
    assert lines[0] == "| options | cost | AP | AP, a | AP, b |"
    assert lines[2] == "| `--size 256 --flip` | 1.00x | 0.410 | 0.410 | 0.410 |"
    assert lines[3] == "| `--scales 256 368` | 1.50x | 0.460 | 0.450 | 0.470 |"
    assert lines[4].endswith("| 0.500 | 0.500 | 0.500 | 0.300 | 0.200 | 0.400 |")


def test_a_model_beside_itself_loses_nothing(repo_root: Path, tmp_path: Path) -> None:
    person = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 9e4,
              "bbox": [0, 0, 300, 300], "num_keypoints": 1,
              "keypoints": [223, 123, 2] + [0] * 48}  # fmt: skip
    (tmp_path / "images").symlink_to(repo_root / "data" / "photos")
    (tmp_path / "person_keypoints.json").write_text(
        json.dumps({
            "images": [{"id": 1, "file_name": "astronaut.jpg", "width": 512, "height": 512}],
            "annotations": [person], "categories": [{"id": 1, "name": "person"}],
        })
    )  # fmt: skip
    result = run(
        repo_root, "branches.py", "lightweight-coco17", "--data", str(tmp_path), "--size", "128"
    )
    assert result.returncode == 0, result.stderr
    rows = result.stdout.splitlines()[2:8]
    assert len({tuple(row.split()[-5:]) for row in rows[:4]}) == 1
    assert all("its initial stage" in row for row in rows[4:])
    assert "heatmaps 0.0000, PAFs 0.0000" in result.stdout
    views = run(
        repo_root, "views.py", "--data", str(tmp_path), "--size", "128", "--mirrored", "1", "1.5"
    )
    assert views.returncode == 0, views.stderr
    head, figures = views.stdout.splitlines()
    assert head.endswith("1 photos, 128 px, views at [1.0], mirrored at [1.0, 1.5]")
    assert figures.startswith("AP 1.000 AP50 1.000")


def test_the_page_of_networks_has_a_row_for_each(repo_root: Path) -> None:
    page = (repo_root / "docs" / "networks.md").read_text(encoding="utf-8")
    for row in (
        "| `cmu_coco` | 52,311,446 | 1364 | 8 | 3.5 | 242.3 |",
        "| `body25` | 26,166,084 | 1556 | 8 | 3.5 | 143.6 |",
        "| `lightweight_coco` | 4,091,698 | 507 | 8 | 0 | 15.8 |",
    ):
        assert row in page


def test_a_soak_of_the_pipeline_says_what_grows(repo_root: Path) -> None:
    result = run(
        repo_root, "realtime.py", "tests/inputs/raw.h264", "--engine", "torch", "--size", "32",
        "--frames", "4", "--minutes", "0.02",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("soak"))
    rows = [line.split() for line in lines[start + 1 :]]
    assert [row[0] for row in rows] == ["memory_mib", "descriptors", "threads"]
    for row in rows:
        assert row[2:] == [
            "at",
            "the",
            "start,",
            row[5],
            "at",
            "the",
            "end,",
            row[9],
            "a",
            "minute",
        ]
        assert float(row[1]) > 0
        assert float(row[5]) > 0
