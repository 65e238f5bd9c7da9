"""The pipeline in several processes: same results, and a process that dies takes none with it."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bulk_fake
import pytest
from PIL import Image

from openpaf.bulk.inputs import Input
from openpaf.bulk.process import PipelineConfig
from openpaf.bulk.workers import WorkerError, WorkerJob, process_in_workers


def job(**changes: Any) -> WorkerJob[tuple[str, int | str]]:
    settings: dict[str, Any] = {
        "load": bulk_fake.FakeEstimator, "finish": bulk_fake.finish, "config": PipelineConfig(),
    }  # fmt: skip
    return WorkerJob(**{**settings, **changes})


def photos(folder: Path, colors: list[Any]) -> list[Input]:
    for n, color in enumerate(colors):
        Image.new("RGB", (8, 6), color).save(folder / f"{n}.png")
    return [Input(str(folder / f"{n}.png")) for n in range(len(colors))]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_results_are_those_of_one_process(tmp_path: Path, batch_size: int) -> None:
    inputs = photos(tmp_path, [(n % 5, 0, 0) for n in range(60)])
    inputs.append(Input(str(tmp_path / "missing.png")))
    inputs.append(Input("big", data=(tmp_path / "3.png").read_bytes() + bytes(1_000_000)))
    config = PipelineConfig(batch_size=batch_size)
    done = dict(process_in_workers(iter(inputs), job(config=config), 2))
    assert len(done) == 62
    assert [done[one.path] for one in inputs[:60]] == [n % 5 for n in range(60)]
    assert done["big"] == 3
    assert "no such file" in str(done[str(tmp_path / "missing.png")])


def test_an_image_that_kills_is_named_and_takes_no_other_with_it(tmp_path: Path) -> None:
    colors: list[Any] = [(1, 0, 0)] * 40
    colors[7] = colors[30] = (0, 255, 0)
    inputs = photos(tmp_path, colors)
    done = dict(process_in_workers(iter(inputs), job(), 2))
    failed = {path for path, found in done.items() if found != 1}
    assert failed == {inputs[7].path, inputs[30].path}
    assert "the process died of it (SIGKILL)" in str(done[inputs[7].path])
    assert len(done) == 40


def test_an_image_that_hangs_is_ended_and_takes_no_other_with_it(tmp_path: Path) -> None:
    """Its process is given up after a time without any result; what waited behind it is run."""
    colors: list[Any] = [(1, 0, 0)] * 40
    colors[7] = (0, 64, 0)
    inputs = photos(tmp_path, colors)
    done = dict(process_in_workers(iter(inputs), job(timeout_s=2), 2))
    assert done.pop(inputs[7].path) == "no result within 2 s"
    assert done == {one.path: 1 for one in inputs if one is not inputs[7]}


def test_only_time_in_which_a_result_is_waited_for_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller, or a listing, that takes an hour ends no process."""
    inputs, slept_s = photos(tmp_path, [(1, 0, 0)] * 40), 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + slept_s)
    monkeypatch.setattr("openpaf.bulk.workers.time", clock)

    def slow_listing() -> Iterator[Input]:
        nonlocal slept_s
        for one in inputs:
            slept_s += 3600
            yield one

    done = []
    for one in process_in_workers(slow_listing(), job(), 2):
        slept_s += 3600
        done.append(one)
    assert sorted(done) == sorted((one.path, 1) for one in inputs)


def test_a_process_that_is_killed_is_replaced(tmp_path: Path) -> None:
    """Its images are run by another, each once."""
    inputs = photos(tmp_path, [(2, 0, 0)] * 80)
    running = process_in_workers(iter(inputs), job(), 1)
    done = [next(running)]  # so the process has started
    children = subprocess.run(
        ["ps", "-ww", "--no-headers", "-o", "pid,args", "--ppid", str(os.getpid())],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    worker = next(line.split()[0] for line in children.splitlines() if "spawn_main" in line)
    os.kill(int(worker), signal.SIGKILL)
    done += running
    assert sorted(done) == sorted((one.path, 2) for one in inputs)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_is_not_for_processes_that_start(tmp_path: Path) -> None:
    """A terminal sends it to all; a process that has just begun would show a traceback."""
    (one,) = photos(tmp_path, [(1, 0, 0)])
    load = functools.partial(bulk_fake.load_and_note_signals, tmp_path / "blocked")
    assert list(process_in_workers([one], job(load=load), 1)) == [(one.path, 1)]
    assert "SIGINT" in (tmp_path / "blocked").read_text()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_what_is_wrong_with_all_ends_the_run(tmp_path: Path) -> None:
    inputs = photos(tmp_path, [(1, 0, 0)])
    with pytest.raises(WorkerError, match="no such model"):
        list(process_in_workers(iter(inputs), job(load=bulk_fake.cannot_load), 1))
    with pytest.raises(WorkerError, match="ends at its start"):
        list(process_in_workers(iter(inputs), job(load=os.abort), 1))


def test_inputs_are_taken_as_they_are_needed(tmp_path: Path) -> None:
    (one,) = photos(tmp_path, [(1, 0, 0)])
    taken = 0

    def inputs() -> Iterator[Input]:
        nonlocal taken
        for _ in range(300):
            taken += 1
            yield one

    running = process_in_workers(inputs(), job(), 2)
    next(running)
    assert taken <= 2 * PipelineConfig().n_waiting + 5
    started = time.monotonic()
    running.close()
    assert time.monotonic() - started < 10


@pytest.mark.skipif(
    not list(Path(str(resources.files("openpaf.models"))).glob("*.safetensors")),
    reason="no weights in openpaf.models",
)
def test_predict_with_workers(tmp_path: Path, repo_root: Path) -> None:
    """The real command: every row is the estimator's, with one engine and one thread."""
    import openpaf

    (tmp_path / "broken.jpg").write_text("no image")
    status = subprocess.run(
        [sys.executable, "-m", "openpaf", "predict", str(repo_root / "data" / "photos"),
         str(tmp_path / "broken.jpg"), "--output", str(tmp_path / "out"), "--format", "coco,jsonl",
         "--size", "96", "--workers", "2", "--threshold", "0.1"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert status.returncode == 1, status.stderr
    text = (tmp_path / "out" / "people-00000.jsonl").read_text()
    rows = {row["path"]: row for row in map(json.loads, text.splitlines())}
    assert len(rows) == 7
    assert "not an image" in rows.pop(str(tmp_path / "broken.jpg"))["error"]
    estimator = openpaf.PoseEstimator(engine="torch", threads=1, size=96, min_score=0.1)
    for path, row in rows.items():
        expected = estimator(path).to_dict(path=path)
        assert row["engine"] == "torch"
        assert row["n_people"] == expected["n_people"]
        for name in ("boxes", "keypoints", "joint_scores", "person_scores"):
            assert row[name] == expected[name]
        assert (tmp_path / "out" / f"{Path(path).stem}.json").exists()
