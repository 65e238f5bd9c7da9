"""Whole training runs: killed and resumed, on two processes, gone astray, and on bad input."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noise_images import write_noise
from torch import nn

from openpaf.cli import main
from openpaf.io.extras import install_hint
from openpaf.training import loop, part_affinity
from openpaf.training.checkpoints import load_checkpoint
from openpaf.training.config_files import read_config, read_config_as
from openpaf.training.data.dataset import DatasetError
from openpaf.training.loop import TrainingError, train

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
import recipe_task
from recipe_task import RecipeConfig, RecipeTask
from train import train_recipe

OPTIMIZER = {
    "steps": 6, "batch_size": 3, "warmup": 2, "precision": '"float32"',
}  # fmt: skip
CONFIG = """\
output = "{output}"
name = "tiny"
[data]
workers = 1
[[data.sets]]
annotations = "people.json"
images = "images"
[network]
{network}
[optimizer]
{optimizer}
[augment]
crop_px = {crop_px}
person_px = [{person_px}]
{more}
"""
VALIDATION = '[data.validation]\nannotations = "people.json"\nimages = "images"\n'
FIELDS = """\
[network.options]
n_refinement_stages = 0
width = 16
hidden_width = 32
trunk_widths = [16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16]
"""
FAMILIES = {  # others than that of the shipped models
    "branches": """\
name = "cmu_coco"
options = {n_stages = 3, width = 4, trunk_width = 2}
""",
    "body25": """\
name = "body25"
[network.options]
n_paf_stages = 3
n_heatmap_stages = 2
widths = [4, 4]
hidden = [4, 4]
n_features = 4
trunk_width = 2
""",
}
DETECTOR = """\
name = "keypointrcnn_mobilenet_v2_fpn"
[network.options]
fpn_channels = 8
box_channels = 8
keypoint_channels = [8]
rpn_pre_nms_top_n_train = 20
rpn_post_nms_top_n_train = 10
box_batch_size_per_image = 16
"""
OBJECTS = DETECTOR.replace("keypointrcnn", "maskrcnn").replace("keypoint_", "mask_")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images of noise with a person each."""
    return write_noise(tmp_path, range(1, 5), category_id=1)


def config_file(
    folder: Path, output: str = "run", more: str = "", network: str = FIELDS, **optimizer: Any
) -> Path:
    """A run of six steps; values of ``[optimizer]`` as TOML has them."""
    path = folder / f"{output}.toml"
    lines = "\n".join(f"{key} = {value}" for key, value in {**OPTIMIZER, **optimizer}.items())
    is_detector = network in (DETECTOR, OBJECTS)
    path.write_text(
        CONFIG.format(
            output=output,
            network=network,
            optimizer=lines,
            crop_px=64 if is_detector else 32,
            person_px="30, 60" if is_detector else "20, 30",
            more=more,
        )
    )
    return path


def checkpoint(folder: Path, output: str) -> dict[str, Any]:
    return load_checkpoint(folder / output / "checkpoint.pt")


def script(folder: Path, text: str, *launcher: str) -> None:
    """Run a script in a process of its own, on one thread."""
    file = folder / "script.py"
    file.write_text(text)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, *launcher, str(file), str(folder)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


TWO = """\
import contextlib, signal, sys
import torch
from openpaf.training.config_files import read_config, read_config_as
from openpaf.training.loop import Run, train
from recipe_task import RecipeConfig
from train import train_recipe

signal.signal(signal.SIGINT, signal.default_int_handler)
folder = sys.argv[1]
torch.distributed.init_process_group("gloo")
train(read_config(f"{folder}/two.toml"))
train(read_config(f"{folder}/fewer.toml"), max_minutes=0)
train(read_config(f"{folder}/teacher.toml"))
for family in ("branches", "body25"):
    train(read_config(f"{folder}/{family}_two.toml"))
learn = Run.learn


def interrupted(run, batch):
    if run.step == 1 and run.processes.rank == 1:  # one of them alone
        signal.raise_signal(signal.SIGINT)
    return learn(run, batch)


Run.learn = interrupted
with contextlib.suppress(KeyboardInterrupt):
    train(read_config(f"{folder}/stopped.toml"))
Run.learn = learn
torch.distributed.barrier()  # until the file is there
train_recipe(read_config_as(RecipeConfig, f"{folder}/features_two.toml"))
torch.distributed.destroy_process_group()
"""
LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
TAUGHT = '[distillation]\nteacher = "teacher/tiny.safetensors"\n'
SGD = {"name": '"sgd"', "learning_rate": 1e-3}


def test_two_processes_learn_what_one_learns_and_one_resumes_alone(folder: Path) -> None:
    names = ("one", "two", "fewer", "teacher", "stopped")
    files = {name: config_file(folder, name, **SGD) for name in names}  # 3 crops: 1 and 2
    for family, network in FAMILIES.items():
        for name in (f"{family}_one", f"{family}_two"):
            files[name] = config_file(folder, name, network=network, **SGD)
    hints = "[recipe]\nhint_weight = 1.0\nfeature_steps = 6\n"
    for name in ("features_one", "features_two"):
        files[name] = config_file(folder, name, TAUGHT + hints, **SGD)
    script(folder, TWO, *LAUNCHER)
    train(read_config(files["one"]))
    assert checkpoint(folder, "fewer")["step"] == 1
    assert checkpoint(folder, "stopped")["step"] == 2  # where a signal to one stopped both
    train(read_config(files["fewer"]))
    start = torch.cat([v.flatten() for v in _fresh(files["one"]).values()])
    one = _flat(folder, "one")
    moved = float((one - start).norm())
    assert moved > 1e-3
    for name in ("two", "fewer"):  # but for activations so near 0 that rounding decides
        assert float((_flat(folder, name) - one).norm()) < 0.05 * moved
    for family in FAMILIES:
        train(read_config(files[f"{family}_one"]))
        fresh = torch.cat([v.flatten() for v in _fresh(files[f"{family}_one"]).values()])
        ours, theirs = (_flat(folder, f"{family}_{n}") for n in ("one", "two"))
        moved = float((ours - fresh).norm())
        assert moved > 1e-3, family
        assert float((theirs - ours).norm()) < 1e-3 * moved, family
    # Of features alone too, but for their variance, which each process takes of its own crops.
    train_recipe(read_config_as(RecipeConfig, files["features_one"]))
    ours, theirs = (_flat(folder, f"features_{n}") - start for n in ("one", "two"))
    assert float(ours.norm()) > 1e-4
    assert float(nn.functional.cosine_similarity(ours, theirs, dim=0)) > 0.95
    losses = [_log_lines(folder, name)[-1]["loss"] for name in ("one", "two", "fewer")]
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-3)


TWO_DETECTORS = """\
import json, os, sys
import torch
from openpaf.cli import main
from openpaf.training.rcnn.detection import DetectionTask

crops, loss, folder = [], DetectionTask.loss, sys.argv[1]


def counted(task, batch, step):
    crops.append(len(batch.targets))
    counted.task = task
    return loss(task, batch, step)


DetectionTask.loss = counted
torch.distributed.init_process_group("gloo")
for kind in ("people", "objects"):
    crops.clear()
    assert main(["train", f"{folder}/{kind}_two.toml"]) == 0
    state = counted.task.network.state_dict()
    total = sum(float(value.double().sum()) for value in state.values())
    with open(f"{folder}/{kind}-{os.environ['RANK']}.json", "w") as file:
        json.dump([crops, total], file)
torch.distributed.destroy_process_group()
"""


def test_two_processes_learn_a_detector_as_one_does(folder: Path) -> None:
    more = {**SGD, "batch_size": 3, "steps": 20}
    kinds = {"people": DETECTOR, "objects": OBJECTS}
    files = {
        (kind, n): config_file(folder, f"{kind}_{n}", network=network, **more)
        for kind, network in kinds.items()
        for n in ("one", "two")
    }
    script(folder, TWO_DETECTORS, *LAUNCHER)
    for kind in kinds:
        ranks = [json.loads((folder / f"{kind}-{rank}.json").read_text()) for rank in (0, 1)]
        assert [crops for crops, _ in ranks] == [[1] * 20, [2] * 20]
        assert ranks[0][1] == ranks[1][1]  # the same weights in both
        train(read_config(files[kind, "one"]))
        start = torch.cat([v.flatten() for v in _fresh(files[kind, "one"]).values()])
        ours, theirs = (_flat(folder, f"{kind}_{n}") - start for n in ("one", "two"))
        assert float(ours.norm()) > 1e-3
        assert float((theirs - ours).norm()) < 1e-2 * float(ours.norm()), kind
        steps = [line["step"] for line in _log_lines(folder, f"{kind}_two")]
        assert steps == [20]  # one log, of one run


def test_gradients_are_averaged_where_some_process_has_them() -> None:
    """Two processes of one machine, told by what they send: the sum over both is known."""
    network = nn.ModuleList([nn.Linear(1, 1, bias=False) for _ in range(3)])
    first, second, third = (layer.weight for layer in network)
    first.grad, second.grad = torch.tensor([[4.0]]), torch.tensor([[6.0]])

    class Two(loop.Processes):
        def mean(self, values: torch.Tensor) -> torch.Tensor:  # the other has gradients 0, 2, none
            return (values + torch.tensor([1.0, 0, 0, 0, 0, 0])) / 2

    Two(device=torch.device("cpu"), n=2).average_gradients(network)
    assert (float(first.grad), float(second.grad), third.grad) == (2.0, 3.0, None)


def _log_lines(folder: Path, output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / output / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("more", ["", "hint_weight = 1.0\n", "cached_crops = 6\n"])
def test_batches_made_ahead_lead_to_the_same_bits(
    folder: Path, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(read_config(config_file(folder, "teacher")))
    taught = f"{TAUGHT}[recipe]\n{more}"
    train_recipe(read_config_as(RecipeConfig, config_file(folder, "one", taught)))
    ahead, made_ahead = [], recipe_task.made_ahead

    def counted(*arguments: Any) -> Any:
        for batch in made_ahead(*arguments):
            ahead.append(batch)
            yield batch

    monkeypatch.setattr(recipe_task, "made_ahead", counted)
    monkeypatch.setattr(RecipeTask, "makes_ahead", True)  # as on a GPU
    train_recipe(read_config_as(RecipeConfig, config_file(folder, "ahead", taught)))
    assert len(ahead) == 6
    assert torch.equal(_flat(folder, "ahead"), _flat(folder, "one"))


def test_the_benchmark_of_training_times_a_run(folder: Path, repo_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(repo_root / "benchmarks" / "training.py"), str(config_file(folder)),
         "--steps", "1", "--batches", "2", "--loop", "20"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()[2:]
    figures = {row[:21].strip(): row[21:].split()[0] for row in rows}
    assert all(float(figures[name]) > 0 for name in ("encode_fields", "loader", "step", "loop"))
    assert "waiting for data" in done.stdout
    assert ("GPU busy" in done.stdout) == torch.cuda.is_available()


ON_GPU = """\
import sys
from openpaf.training.config_files import read_config
from openpaf.training.loop import train

if __name__ == "__main__":  # other processes, which draw the crops, import this
    train(read_config(f"{sys.argv[1]}/two.toml"))
"""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_two_processes_with_a_gpu_learn_what_one_learns(folder: Path) -> None:
    """By NCCL, which takes two processes on one GPU if each says that it is on another machine."""
    files = {name: config_file(folder, name, **SGD) for name in ("one", "two")}
    start = torch.cat([v.flatten() for v in _fresh(files["one"]).values()])
    (folder / "script.py").write_text(ON_GPU)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    nodes = []
    for rank in ("0", "1"):
        nodes.append(subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", rank,
             "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port,
             str(folder / "script.py"), str(folder)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "NCCL_HOSTID": rank,
                 "NCCL_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ))  # fmt: skip
    said = [node.communicate(timeout=240)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(said)
    train(read_config(files["one"]))
    one, two = _flat(folder, "one").cpu(), _flat(folder, "two").cpu()
    moved = float((one - start).abs().max())
    assert moved > 1e-4
    assert float((two - one).abs().max()) < 0.02 * moved  # convolutions are in TF32
    losses = [_log_lines(folder, name)[-1]["loss"] for name in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def _flat(folder: Path, output: str) -> torch.Tensor:
    return torch.cat([v.flatten() for v in checkpoint(folder, output)["network"].values()])


def _fresh(file: Path) -> dict[str, torch.Tensor]:
    run = loop.Run(read_config(file), loop.Processes(device=torch.device("cpu")))
    run.task.load_start()
    return run.network.state_dict()


def test_too_few_crops_for_the_processes() -> None:
    processes = loop.Processes(device=torch.device("cpu"), rank=1, n=3)
    assert processes.rows(8) == range(2, 5)
    with pytest.raises(ValueError, match="batch_size: expected at least one crop for each of 3"):
        processes.rows(2)


# --- going astray


def test_a_bad_step_is_left_out_and_many_stop_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = part_affinity.fields_loss, {2}

    def sometimes(*args: Any, **more: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, parts = good(*args, **more)
        sometimes.calls += 1  # type: ignore[attr-defined]
        return (loss * np.nan if sometimes.calls - 1 in bad else loss), parts  # type: ignore[attr-defined]

    sometimes.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(part_affinity, "fields_loss", sometimes)
    train(read_config(config_file(folder)))
    assert "step 2: the gradient is not finite" in caplog.text
    state = checkpoint(folder, "run")
    for part in ("network", "average"):
        assert all(torch.isfinite(value).all() for value in state[part].values())
    bad.update(range(9, 100))  # 6 steps were made above: 3 more are good
    path = config_file(folder, "diverged", checkpoint_every=1, steps=40)
    with pytest.raises(TrainingError, match=r"not finite 10 times in a row.*checkpoint\.pt"):
        train(read_config(path))
    assert checkpoint(folder, "diverged")["step"] == 3
    assert torch.isfinite(_flat(folder, "diverged")).all()


def test_weights_that_explode_are_never_saved(folder: Path) -> None:
    explosive = {"name": '"sgd"', "learning_rate": 3e38, "clip": 1e9, "checkpoint_every": 1}
    config = read_config(config_file(folder, **explosive))
    with pytest.raises(TrainingError, match=r"not finite|no longer finite"):
        train(config)
    path = folder / "run" / "checkpoint.pt"
    assert not path.exists() or torch.isfinite(_flat(folder, "run").float()).all()
    assert not (folder / "run" / "tiny.safetensors").exists()


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    config = read_config(config_file(folder))
    run = loop.Run(config, loop.Processes(device=torch.device("cpu")))
    run.resume_or_start()
    run._refuse_bad_weights()
    next(iter(run.average.values())).fill_(np.nan)
    with pytest.raises(TrainingError, match="the weights are no longer finite"):
        run._refuse_bad_weights()


def test_nothing_is_saved_while_steps_are_bad(folder: Path) -> None:
    config = read_config(config_file(folder, checkpoint_every=1))
    run = loop.Run(config, loop.Processes(device=torch.device("cpu")))
    run.resume_or_start()
    run.step, run.bad_steps = 1, 1
    run._keep(stop=True)
    assert not run.checkpoint_file.exists()
    run.bad_steps = 0
    run._keep(stop=True)
    assert run.checkpoint_file.exists()


def test_the_trunk_can_be_frozen(folder: Path) -> None:
    path = config_file(folder, trunk_rate=0, learning_rate=1e-2)
    start = {k: v.clone() for k, v in _fresh(path).items()}
    train(read_config(path))
    for key, value in checkpoint(folder, "run")["network"].items():
        assert torch.equal(value, start[key]) == key.startswith("trunk."), key


# --- what a run tells


def test_tensorboard_is_written_or_its_absence_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    path = config_file(folder)
    train(read_config(path), max_minutes=0)
    assert caplog.text.count(install_hint("tensorboard")) == 1
    monkeypatch.undo()
    pytest.importorskip("tensorboard")
    train(read_config(path))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "run" / "tensorboard"))
    events.Reload()
    line = _log_lines(folder, "run")[-1]
    last = events.Scalars("loss")[-1]
    assert (last.step, last.value) == (6, pytest.approx(line["loss"], rel=1e-4))
    assert {"images_per_s", "waiting", "rate", "gradient", "heatmaps_1"} <= set(line)


def test_a_resumed_log_has_each_step_once(folder: Path) -> None:
    config = read_config(config_file(folder))
    train(config, max_minutes=0)
    log = folder / "run" / "log.jsonl"
    log.write_text('{"step": 1, "loss": 3}\n{"step": 5, "loss": 2}\n{"step": 6, "lo')
    train(config)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 6]


def test_the_best_weights_are_in_the_checkpoint(folder: Path) -> None:
    path = config_file(
        folder, more=VALIDATION, validation_size=32, validate_every=1, checkpoint_every=1
    )
    train(read_config(path), max_minutes=0)
    weights = folder / "run" / "tiny.safetensors"
    best = weights.read_bytes()
    weights.unlink()  # as where only the checkpoint was carried to another machine
    train(read_config(path), max_minutes=0)
    assert weights.exists()
    assert checkpoint(folder, "run")["best_file"] == best or checkpoint(folder, "run")["best"] > 0


def test_validation_that_cannot_be_measured_is_refused_before_the_first_step(folder: Path) -> None:
    data = json.loads((folder / "people.json").read_text())
    del data["annotations"][2]["area"]
    (folder / "bare.json").write_text(json.dumps(data))
    path = config_file(folder, more=VALIDATION.replace("people", "bare"))
    with pytest.raises(DatasetError, match=r"bare.json: .*'area' is missing; not so in 1 of 4"):
        train(read_config(path))


# --- bad input, as the command tells it


def fails(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    capsys.readouterr()
    assert main(["train", str(path), *more]) == 2
    lines = [s for s in capsys.readouterr().err.splitlines() if s.startswith("openpaf: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 6", "step = 6", "optimizer: unknown key 'step'"),
        ("[[data.sets]]", "[[sets]]", "unknown key 'sets'; known: output, name, seed"),
        ('images = "images"', 'images = "nowhere"', "nowhere: expected a folder of photos"),
        ('"people.json"', '"nobody.json"', "nobody.json: cannot be read (No such file"),
        ("[network]", '[network]\nweights = "none.pt"', "none.pt: "),
        ("[network]", '[network]\nname = "none"', "expected one of lightweight, lightweight_coco"),
        ("[network]", '[network]\nname = "keypointrcnn_mobilenet_v2_fpn"', "n_refinement_stages"),
        ("width = 16", 'width = "wide"', "[network] "),
    ],
)  # fmt: skip
def test_bad_configurations_are_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    path = config_file(folder)
    path.write_text(path.read_text().replace(old, new))
    assert message in fails(path, capsys)


def test_a_recipe_is_for_a_network_that_gives_fields(folder: Path) -> None:
    config = read_config_as(RecipeConfig, config_file(folder, network=DETECTOR))
    message = r"network\.name: expected a network that gives heatmaps and PAFs"
    with pytest.raises(ValueError, match=message):
        train_recipe(config)


def test_a_negative_time(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fails(config_file(folder), capsys, "--max-minutes", "-1")
    assert "--max-minutes: expected 0 or more, got -1.0" in line


def change(folder: Path, **values: Any) -> None:
    """Change the first annotation; None takes a key away."""
    file = folder / "people.json"
    data = json.loads(file.read_text())
    row = {**data["annotations"][0], **values}
    data["annotations"][0] = {key: value for key, value in row.items() if value is not None}
    file.write_text(json.dumps(data))


def test_a_set_without_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads((folder / "people.json").read_text())
    for row in data["annotations"]:
        row["keypoints"] = [0] * 51
    (folder / "people.json").write_text(json.dumps(data))
    assert "people.json: no people with keypoints in it" in fails(config_file(folder), capsys)


def test_broken_annotations(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder, keypoints=[1, 2, 2] * 16)
    assert "annotation 1 has 48 numbers in 'keypoints'" in fails(config_file(folder), capsys)
    change(folder, keypoints=["left"] * 51)
    assert "people.json: an entry is not as COCO's are" in fails(config_file(folder), capsys)
    change(folder, image_id=None)
    assert "an entry is not as COCO's are (no 'image_id')" in fails(config_file(folder), capsys)


def test_joints_outside_of_the_picture_are_left_out_and_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    joints = [10.0, 10.0, 2.0] * 17
    joints[0:3], joints[3:6], joints[6:9] = [900, 5, 2], [51, -2, 2], [-1e5, 5, 2]
    change(folder, keypoints=joints)
    config = read_config(config_file(folder))
    photo = part_affinity.make_batches(config).sets[0].photos[0]
    assert photo.keypoints[0, :4, 2].tolist() == [0, 2, 0, 2]
    assert "2 joints lie outside of their images" in caplog.text
    assert "annotation 1" in caplog.text
    assert np.isfinite(part_affinity.make_batches(config).batch(0).heatmaps.numpy()).all()


def test_corrupt_photos(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "images" / "2.png").write_bytes(b"no picture")
    assert main(["train", str(config_file(folder)), "--max-minutes", "0"]) == 0
    path = config_file(folder)
    assert main(["train", str(path)]) == 0
    assert "skipped: " in caplog.text
    assert "2.png" in caplog.text
    assert "1 images could not be read" in caplog.text
    (folder / "images" / "3.png").unlink()
    assert "2 of 4 photos cannot be read" in fails(config_file(folder, "other"), capsys)


def test_another_configuration_is_refused_with_the_difference(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(config_file(folder)), "--max-minutes", "0"]) == 0
    path = config_file(folder, clip=3.0)
    path.write_text(path.read_text().replace("[augment]", "[augment]\nblur = 0.4"))
    line = fails(path, capsys)
    assert "optimizer.clip: 10.0 -> 3.0; augment.blur: 0.1 -> 0.4" in line
    state = checkpoint(folder, "run")
    for table, key in (("optimizer", "clip"), ("augment", "min_cover")):
        del state["config"][table][key]  # a checkpoint from before these keys
    del state["config"]["data"]["sets"][0]["masks"]
    torch.save(state, folder / "run" / "checkpoint.pt")
    assert main(["train", str(config_file(folder)), "--max-minutes", "0"]) == 0
    state["config"] = {"sets": [], "steps": 6}  # one of the time before tables
    torch.save(state, folder / "run" / "checkpoint.pt")
    assert "made by another version of this library" in fails(config_file(folder), capsys)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_that_fills(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config_file(folder)
    assert main(["train", str(path), "--max-minutes", "0"]) == 0
    (folder / "run" / "checkpoint.pt.partial").symlink_to("/dev/full")
    line = fails(path, capsys)
    assert "checkpoint.pt" in line
    assert "No space left on device); the one before it is kept" in line
    assert checkpoint(folder, "run")["step"] == 1
