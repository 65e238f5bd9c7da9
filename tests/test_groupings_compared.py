"""benchmarks/groupings.py: all groupings learn from the same features, and have true arrays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from grouping_heads import Heads, Learned, Run, train
from grouping_methods import COMPARED, SKELETON
from scenes import random_people

from openpaf import Poses
from openpaf.training.config import AugmentConfig, OptimizerConfig
from openpaf.training.data.dataset import Photo, PhotoSet

benchmark = pytest.importorskip("groupings")
KINDS = sorted(COMPARED)
SIZE_HW = (368, 656)


def standing(n_people: int) -> Poses:
    poses: Poses = random_people(n_people, SIZE_HW, np.random.default_rng(n_people))
    return poses


@pytest.mark.parametrize("kind", KINDS)
def test_true_arrays_of_people_who_stand_apart_give_them_back(kind: str) -> None:
    truth = standing(3)
    people = COMPARED[kind].people(COMPARED[kind].truth(truth, SIZE_HW))
    assert len(people) == 3
    middles = people.xy[:, 5:7].mean(axis=1)
    for person in truth.xy:
        nearest = people.xy[np.linalg.norm(middles - person[5:7].mean(axis=0), axis=1).argmin()]
        assert np.nanmax(np.abs(nearest - person)) < 8  # of a cell


def crops(folder: Path) -> benchmark.PlannedCrops:
    person = standing(1)
    labels = np.dstack([person.xy, 2 * (person.scores > 0)]).astype(np.float32)
    nothing = np.zeros((0, 4), np.float32), np.zeros((0, 3), np.float32)
    photo = Photo(
        path=folder / "none.jpg",
        keypoints=np.nan_to_num(labels),
        boxes=person.boxes().astype(np.float32),
        ignore_boxes=nothing[0],
        uncertain_joints=nothing[1],
        size_hw=SIZE_HW,
    )
    photos = PhotoSet(name="one", photos=[photo], skeleton=SKELETON)
    augment = AugmentConfig(crop_px=96)
    return benchmark.PlannedCrops([photos], batch_size=8, augment=augment)


def learned(folder: Path) -> Learned:
    features = np.random.default_rng(0).normal(0, 1, (2, 128, 12, 12)).astype(np.float16)
    return Learned(crops(folder), list(features))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(kind: str, tmp_path: Path) -> None:
    optimizer = OptimizerConfig(steps=2, batch_size=2, warmup=0, learning_rate=1e-3)
    whole, parts = (
        Run(COMPARED[kind], 1, optimizer, 8, 24, tmp_path / name) for name in ("whole.pt", "two.pt")
    )
    first = train(whole, learned(tmp_path), float("inf"))
    assert train(parts, learned(tmp_path), 0.0) is None  # after the first of two steps
    second = train(parts, learned(tmp_path), 0.0)
    assert first is not None
    assert second is not None
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert a.equal(b)
    arrays = first.arrays(np.zeros((128, 5, 6), np.float16))
    shapes = {name: array.shape[1:] for name, array in arrays.items()}
    cells_hw = (10, 12) if COMPARED[kind].grid.stride == 4 else (5, 6)
    assert shapes == dict.fromkeys(COMPARED[kind].outputs, cells_hw)


def test_all_have_about_as_many_parameters() -> None:
    numbers = [
        sum(p.numel() for p in Heads(COMPARED[kind], rank=64, hidden=512).parameters())
        for kind in KINDS
    ]
    assert max(numbers) < 1.1 * min(numbers)


def test_the_whole_comparison_in_two_steps(
    repo_root: Path, shared_dir: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, str(repo_root / "benchmarks" / "groupings.py"), "--folder", str(tmp_path),
        "--data", str(shared_dir / "data"), "--crops", "2", "--steps", "2", "--batch", "2",
        "--photos", "11", "--scenes", "8", "--rates", "1e-3", "2e-3", "--try-steps", "1",
        "--scores", "--sets",
    ]  # fmt: skip
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2)]
    assert "step 2" in runs[0].stdout
    assert "step 2" not in runs[1].stdout  # all of it is there already
    lines = [line.split("|")[1:-1] for line in runs[1].stdout.splitlines() if line[:1] == "|"]
    figures = {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}
    assert all(float(cell) >= 0 for cell in figures["held out: AP"])
    assert all(float(cell) > 0.5 for cell in figures["all arrays true: AP"])
    assert figures["seeds"] == ["1"] * len(COMPARED)
    assert all(cell in ("0.001", "0.002") for cell in figures["learning rate"])
