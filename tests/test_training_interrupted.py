"""Runs of each method that are killed, interrupted, terminated, and prolonged."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from noise_images import write_noise

from openpaf.cli import main
from openpaf.training import best, checkpoints, loop
from openpaf.training.checkpoints import load_checkpoint
from openpaf.training.interrupts import HeldSignals
from openpaf.weights import load_model

METHODS = ["fields", "mask-rcnn"]
KILLED = [*METHODS, "objects"]
NETWORKS = {
    "fields": """\
[network.options]
n_refinement_stages = 0
width = 8
hidden_width = 8
trunk_widths = [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]
""",
    "mask-rcnn": """\
name = "keypointrcnn_mobilenet_v2_fpn"
[network.options]
fpn_channels = 8
box_channels = 8
keypoint_channels = [8]
rpn_pre_nms_top_n_train = 20
rpn_post_nms_top_n_train = 10
rpn_pre_nms_top_n_test = 20
rpn_post_nms_top_n_test = 10
box_batch_size_per_image = 16
""",
    "objects": """\
name = "maskrcnn_mobilenet_v2_fpn"
[network.options]
fpn_channels = 8
box_channels = 8
mask_channels = [8]
min_size = 32
max_size = 64
rpn_pre_nms_top_n_train = 20
rpn_post_nms_top_n_train = 10
rpn_pre_nms_top_n_test = 20
rpn_post_nms_top_n_test = 10
box_batch_size_per_image = 16
""",
}
CONFIG = """\
output = "{output}"
name = "tiny"
{more}
[data]
workers = 1
[[data.sets]]
annotations = "people.json"
images = "images"
[data.validation]
annotations = "people.json"
images = "images"
[network]
{network}
[optimizer]
steps = {steps}
batch_size = {batch_size}
warmup = 2
precision = "float32"
validation_size = 32
validate_every = 4
checkpoint_every = {checkpoint_every}
[augment]
crop_px = 32
person_px = [20, 30]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of noise with a person each."""
    return write_noise(tmp_path, range(3), category_id=0)


@pytest.fixture(scope="module")
def with_whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder for each method, in which ``whole`` is a run that nothing interrupts."""

    @functools.cache
    def make(method: str) -> Path:
        folder = write_noise(tmp_path_factory.mktemp(method), range(3), category_id=0)
        assert main(["train", str(config_file(folder, method, "whole"))]) == 0
        return folder

    return make


def config_file(folder: Path, method: str, output: str = "run", **changes: Any) -> Path:
    path = folder / f"{output}.toml"
    values = {"output": output, "steps": 6, "batch_size": 2, "checkpoint_every": 100, "more": ""}
    path.write_text(CONFIG.format(**{**values, "network": NETWORKS[method], **changes}))
    return path


def state_of(folder: Path, output: str) -> dict[str, Any]:
    return load_checkpoint(folder / output / "checkpoint.pt")


def assert_same_run(folder: Path, one: str, two: str) -> None:
    """The same weights to the bit, and the same figures."""
    states = [state_of(folder, output) for output in (one, two)]
    assert states[0]["step"] == states[1]["step"]
    for part in ("network", "average"):
        for key, value in states[0][part].items():
            assert torch.equal(value, states[1][part][key]), key
    for key in ("best", "best_file", "validated"):
        assert states[0][key] == states[1][key], key
    files = [(folder / output / "tiny.safetensors").read_bytes() for output in (one, two)]
    assert files[0] == files[1] == states[0]["best_file"]
    rows = [
        [json.loads(line) for line in (folder / output / "log.jsonl").read_text().splitlines()]
        for output in (one, two)
    ]
    aps = [[(row["step"], row["val_AP"]) for row in some if "val_AP" in row] for some in rows]
    assert [step for step, _ in aps[0]] == [0, 4, 6]
    assert aps[0] == aps[1]
    leftover = [path.name for path in (folder / two).iterdir() if path.suffix == ".partial"]
    assert not leftover


# --- killed

# Children are forked from one process that has imported everything, so that a kill costs no second
# start. The first kills itself between the writing and the renaming of a checkpoint.
KILL = """\
import os, random, signal, sys, time
import torch
from openpaf.cli import main

torch.set_num_threads(1)
chance = random.Random(7)


def child(file, before=lambda: None):
    number = os.fork()
    if number == 0:
        before()
        os._exit(main(["train", file]))
    return number


def die_in_a_checkpoint():
    calls, fsync = [], os.fsync

    def dying(number):
        calls.append(number)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(number)

    os.fsync = dying


for folder in sys.argv[1:]:
    whole, killed = f"{folder}/whole.toml", f"{folder}/killed.toml"
    assert os.waitpid(child(whole), 0)[1] == 0
    assert os.waitpid(child(killed, die_in_a_checkpoint), 0)[1] == signal.SIGKILL
    assert os.path.exists(f"{folder}/killed/checkpoint.pt.partial")
    for _ in range(3):
        number = child(killed)
        time.sleep(chance.uniform(0.1, 1.0))
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
    assert os.waitpid(child(killed), 0)[1] == 0
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each method with a run that was killed four times, and one that was not."""
    folders = {}
    for method in KILLED:
        folder = write_noise(tmp_path_factory.mktemp("killed"), range(3), category_id=0)
        for output in ("whole", "killed"):
            config_file(folder, method, output, checkpoint_every=1)
        folders[method] = folder
    done = subprocess.run(
        [sys.executable, "-c", KILL, *map(str, folders.values())],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=480,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folders


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("method", KILLED)
def test_a_killed_run_resumes_bit_exactly(killed: dict[str, Path], method: str) -> None:
    assert_same_run(killed[method], "whole", "killed")


# --- interrupted and terminated


def at_call(n: int, do: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which does something in its n-th call, after its own work."""
    calls = []

    def wrapped(*arguments: Any, **more: Any) -> Any:
        result = function(*arguments, **more)
        calls.append(0)
        if len(calls) == n:
            do()
        return result

    return wrapped


# Where a signal comes, and the step that the checkpoint is of then. A step is made to its end; a
# validation is broken off, and made when the run goes on.
PLACES = {"step": 3, "validation": 4, "checkpoint": 6}


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("step", signal.SIGINT),
        ("step", signal.SIGTERM),
        ("validation", signal.SIGINT),
        ("checkpoint", signal.SIGTERM),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_writes_its_checkpoint_and_resumes_bit_exactly(
    with_whole: Callable[[str], Path],
    method: str,
    place: str,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    folder, output = with_whole(method), f"{place}-{number.name}"
    path = str(config_file(folder, method, output))
    target, name, n = {
        "step": (loop.Run, "learn", 3),
        "validation": (best.Validation, "__call__", 2),
        "checkpoint": (os, "fsync", 1),
    }[place]
    with monkeypatch.context() as patch:
        stop = at_call(n, lambda: signal.raise_signal(number), getattr(target, name))
        patch.setattr(target, name, stop)
        status = main(["train", path])
    assert status == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    state = state_of(folder, output)
    assert state["step"] == PLACES[place]
    assert state["validated"] == {"step": 0, "validation": 0, "checkpoint": 6}[place]
    assert main(["train", path]) == 0
    assert_same_run(folder, "whole", output)


def test_a_run_terminated_from_outside(folder: Path) -> None:
    """The real command, as docker stop and Slurm end it."""
    path = config_file(folder, "fields", steps=10**6)
    said = []
    with subprocess.Popen(
        [sys.executable, "-m", "openpaf", "train", str(path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.startswith("step 0: validation"):  # it has begun
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 143, "".join(said)
    assert said[-1] == "openpaf: terminated\n"
    assert any("the same call resumes from there" in line for line in said)
    assert state_of(folder, "run")["validated"] >= 0


def test_signals_are_held_until_the_outermost_block_is_done() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals, done = HeldSignals(), []

    def interrupted() -> None:
        with signals.held():
            with signals.held():
                signal.raise_signal(signal.SIGINT)
                done.append("inner")
            assert signals.pending == signal.SIGINT
            done.append("outer")
        done.append("never")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["inner", "outer"]
    assert signals.pending is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with signals.held(False), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


# --- the start counts too


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_nothing_worse_than_its_start(
    with_whole: Callable[[str], Path], method: str
) -> None:
    """Nobody is found in noise: no later weights are better than the first ones."""
    folder = with_whole(method)
    state = state_of(folder, "whole")
    assert load_model(folder / "whole" / "tiny.safetensors")[1].metrics["step"] == 0
    assert state["best"] == 0.0


@pytest.mark.parametrize("method", METHODS)
def test_the_best_weights_go_back_to_what_the_checkpoint_says(folder: Path, method: str) -> None:
    path = str(config_file(folder, method, steps=2))
    assert main(["train", path]) == 0
    weights = folder / "run" / "tiny.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[:100], None):  # half written, or not there
        weights.unlink() if damaged is None else weights.write_bytes(damaged)
        assert main(["train", path]) == 0
        assert weights.read_bytes() == whole


# --- prolonged


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_prolonged_and_its_batches_change(
    folder: Path, method: str, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    caplog.set_level("INFO")
    assert main(["train", str(config_file(folder, method, steps=2))]) == 0
    path = config_file(folder, method, steps=4, batch_size=1)
    assert main(["train", str(path)]) == 0
    assert "steps: 2 until now, 4 from here on" in caplog.text
    assert "batch_size: 2 until now, 1 from here on" in caplog.text
    state = state_of(folder, "run")
    table = state["config"]["optimizer"]
    assert (state["step"], table["steps"], table["batch_size"]) == (4, 4, 1)
    capsys.readouterr()
    assert main(["train", str(config_file(folder, method, steps=3))]) == 2
    assert (
        "is at step 4 already; optimizer.steps: expected no less, got 3" in capsys.readouterr().err
    )
    assert main(["train", str(config_file(folder, method, steps=4, more="seed = 5\n"))]) == 2
    assert "made with another configuration (seed: 0 -> 5)" in capsys.readouterr().err


def test_a_prolonged_run_learns_at_the_rate_of_its_new_length(folder: Path) -> None:
    for output in ("stopped", "prolonged"):
        assert main(["train", str(config_file(folder, "fields", output, steps=4)),
                     "--max-minutes", "0"]) == 0  # fmt: skip
    assert main(["train", str(config_file(folder, "fields", "stopped", steps=4))]) == 0
    file = folder / "prolonged" / "checkpoint.pt"
    state = load_checkpoint(file)
    state["config"]["optimizer"]["steps"] = 1  # as if one step had been the whole run
    checkpoints.save_checkpoint(state, file)
    assert main(["train", str(config_file(folder, "fields", "prolonged", steps=4))]) == 0
    one, two = state_of(folder, "stopped"), state_of(folder, "prolonged")
    assert all(torch.equal(one["network"][key], two["network"][key]) for key in one["network"])
