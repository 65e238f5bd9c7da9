"""Networks of every family train: they start, learn, resume, and are run with what they learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from openpaf import Grid, PoseEstimator, Skeleton
from openpaf.errors import WeightsError
from openpaf.networks import build
from openpaf.training.checkpoints import load_checkpoint
from openpaf.training.config import NetworkConfig, TrainConfig
from openpaf.training.loop import Run, train
from openpaf.training.optimizer import autocast, keep_gradients_exact
from openpaf.training.part_affinity import PartAffinityTask
from openpaf.training.start import read_start
from openpaf.training.tables import as_table
from openpaf.weights import ModelSpec, read_header, save
from openpaf.weights.checkpoints import read_state

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "lightweight": ("lightweight", {"width": 8, "hidden_width": 8, "trunk_widths": [8] * 12}),
    "batch norms": (
        "lightweight_batch_norm", {"width": 8, "hidden_width": 8, "trunk_widths": [8] * 12}
    ),
    "lightweight_coco": ("lightweight_coco", {"width": 8, "n_refinement_stages": 1}),
    "open_model_zoo": ("open_model_zoo", {}),
    "mobilenet_v2": ("mobilenet_v2", {"width": 8}),
    "two branches": ("cmu_coco", {"n_stages": 3, "width": 8, "trunk_width": 4}),
    "body25": (
        "body25",
        {"n_paf_stages": 3, "n_heatmap_stages": 2, "widths": [4, 4], "hidden": [8, 8],
         "n_features": 8, "trunk_width": 4},
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of noise with a person each, whose joints are bright."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for i in range(3):
        pixels = rng.integers(0, 100, (64, 64, 3), dtype=np.uint8)
        joints = np.column_stack([rng.uniform(8, 56, (17, 2)), np.full(17, 2)])
        for k, (x, y, _) in enumerate(joints.astype(int)):
            pixels[y - 2 : y + 3, x - 2 : x + 3] = 255 - 10 * k
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 64})
        annotations.append(
            {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [8, 8, 48, 48],
             "num_keypoints": 17, "keypoints": joints.ravel().tolist(), "area": 2304.0}
        )  # fmt: skip
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    (tmp_path / "people.json").write_text(json.dumps(data))
    return tmp_path


def config_for(folder: Path, output: str, **tables: dict[str, Any]) -> TrainConfig:
    values: dict[str, dict[str, Any]] = {
        "data": {
            "sets": [
                {"annotations": str(folder / "people.json"), "images": str(folder / "images")}
            ],
            "workers": 1,
        },
        "optimizer": {
            "steps": 2, "batch_size": 2, "warmup": 0, "precision": "float32", "clip": 1e6,
            "checkpoint_every": 2, "validate_every": 100,
        },
        "augment": {"crop_px": 32, "person_px": [20, 30]},
    }  # fmt: skip
    for name, table in tables.items():
        values[name] = {**values.get(name, {}), **table}
    return as_table(TrainConfig, {"output": str(folder / output), "name": "tiny", **values})


def network_of(family: str) -> dict[str, Any]:
    name, options = FAMILIES[family]
    return {"name": name, "options": options}


class Killed(Exception):
    """Ends a run at once."""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_is_killed_resumes_bit_exactly_and_predicts(
    folder: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {"network": network_of(family), "optimizer": {"steps": 4}}
    whole, killed = (config_for(folder, output, **tables) for output in ("whole", "killed"))
    weights = train(whole)
    learn = Run.learn

    def dies(run: Run, batch: Any) -> Any:
        if run.step == 3:  # the last checkpoint is that of step 2
            raise Killed
        return learn(run, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "learn", dies)
        with pytest.raises(Killed):
            train(killed)
    assert load_checkpoint(folder / "killed" / "checkpoint.pt")["step"] == 2
    assert train(killed).read_bytes() == weights.read_bytes()
    states = [load_checkpoint(folder / name / "checkpoint.pt") for name in ("whole", "killed")]
    for part in ("network", "average"):
        for key, value in states[0][part].items():
            assert torch.equal(value, states[1][part][key]), key
    estimator = PoseEstimator(weights, size=32, engine="torch")
    fields = estimator.fields(np.zeros((32, 40, 3), np.uint8))
    assert fields.heatmaps.shape == (18, 4, 5)
    assert np.isfinite(fields.heatmaps).all()
    assert np.isfinite(fields.pafs).all()
    assert read_header(weights).builder == FAMILIES[family][0]


def test_a_stage_that_gives_one_kind_of_fields_counts_once(folder: Path) -> None:
    """Of body25: three stages of PAFs, then two of heatmaps; equations 4 to 6 of the 2019 paper."""
    tables = {"network": network_of("body25"), "targets": {"heatmap_weight": 1}}
    run = Run(config_for(folder, "run", **tables), _one_process())
    run.resume_or_start()
    task = run.task
    assert isinstance(task, PartAffinityTask)
    batch = next(task.batches(0, 1, _no_progress()))
    loss, parts = task.loss(batch, 0)
    with torch.no_grad():
        heatmaps, pafs = run.network.branches(task.inputs(batch))
    cells = 2 * 4 * 4
    expected = sum(
        float(((field - target).square() * weight).sum()) / cells
        for fields, target, weight in (
            (heatmaps, batch.heatmaps, batch.heatmap_weights),
            (pafs, batch.pafs, batch.paf_weights),
        )
        for field in fields
    )
    assert set(parts) == {"heatmaps_1", "heatmaps_3", "pafs_1", "pafs_2", "pafs_3"}
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("sigma_px", "warns"), [(2.9, True), (3.0, False)])
def test_narrow_peaks_are_told(
    folder: Path, caplog: pytest.LogCaptureFixture, sigma_px: float, warns: bool
) -> None:
    """Those of which so little is left in the nearest cells that the parser loses them."""
    tables = {"network": network_of("lightweight"), "targets": {"sigma_px": sigma_px}}
    PartAffinityTask(config_for(folder, "run", **tables), _one_process())
    assert ("targets.sigma_px: 2.9 px are so narrow at a stride of 8 px" in caplog.text) == warns


@pytest.mark.parametrize("dilation", [1, 2])
def test_gradients_in_bfloat16_are_those_of_float32(dilation: int) -> None:
    """Where a CPU computes in it, torch's own are wrong if there is a dilation."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(1, 64, 32, 32, generator=rng).to(memory_format=torch.channels_last)
    network = nn.Sequential(nn.Conv2d(64, 64, 3, padding=dilation, dilation=dilation, groups=64))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    keep_gradients_exact(network)
    weight = network[0].weight
    factors = torch.randn(network(images).shape, generator=rng)
    gradients = []
    for precision in (torch.float32, torch.bfloat16):
        weight.grad = None
        with autocast(torch.device("cpu"), precision):
            result = network(images)
        (result.float() * factors).sum().backward()
        gradients.append(weight.grad)
    exact, close = gradients
    assert float((close - exact).norm() / exact.norm()) < 0.02


def _one_process() -> Any:
    from openpaf.training.distributed import Processes

    return Processes(device=torch.device("cpu"))


def _no_progress() -> Any:
    from openpaf.training.logging import Progress

    return Progress(0, 1, 2, shown=False)


# --- from weights


SMALL = {"width": 8, "hidden_width": 8, "trunk_widths": [8] * 12, "n_refinement_stages": 1}


def start_file(folder: Path, **changes: Any) -> Path:
    """A model of random weights, whose grids and input are its own."""
    values: dict[str, Any] = {
        "name": "start", "builder": "lightweight", "options": SMALL, "skeleton": Skeleton.COCO17,
        "heatmap_grid": Grid(8, 3.0), "paf_grid": Grid(8, 0.5), "mean": 100.0, "scale": 50.0,
        "licence": "not for sale", "metrics": {}, **changes,
    }  # fmt: skip
    spec = ModelSpec(**values)
    torch.manual_seed(1)
    path = folder / "start.safetensors"
    save(build(spec.builder, spec.skeleton, **spec.options).state_dict(), path, spec)
    return path


def test_everything_of_the_weights_is_taken(folder: Path) -> None:
    path = start_file(folder)
    config = config_for(folder, "run", network={"weights": str(path)})
    task = PartAffinityTask(config, _one_process())
    assert task.grids == (Grid(8, 3.0), Grid(8, 0.5))
    spec, start = task.spec({}), read_header(path)
    names = ("builder", "options", "skeleton", "heatmap_grid", "paf_grid", "mean", "scale",
             "licence", "bgr", "channel_order")  # fmt: skip
    for name in names:
        assert getattr(spec, name) == getattr(start, name), name
    batch = task.maker.batch(0)
    torch.testing.assert_close(task.inputs(batch), (batch.images - 100) / 50)
    task.load_start()
    theirs = read_state(path)
    for key, value in task.network.state_dict().items():
        torch.testing.assert_close(value, theirs[key].float(), rtol=0, atol=0)
    again = config_for(
        folder, "run", network={"name": "lightweight", "options": SMALL, "weights": str(path)},
        targets={"grid_offsets": [3.0, 0.5]},
    )  # fmt: skip
    assert PartAffinityTask(again, _one_process()).grids == task.grids


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"network": {"name": "body25"}},
            r"network\.name: expected 'lightweight', that of .*start\.safetensors, got 'body25'",
        ),
        (
            {"network": {"options": {"width": 16}}},
            r"network\.options\.width: expected 8, that of .*start\.safetensors, got 16",
        ),
        (
            {"network": {"options": {"stride": 4}}},
            r"network\.options\.stride: expected 8, that of .*start\.safetensors, got 4",
        ),
        (
            {"targets": {"grid_offsets": [3.5, 3.5]}},
            r"grid_offsets: expected \[3\.0, 0\.5\], those of .*start\.safetensors, got \[3\.5, 3",
        ),
        ({"network": {"trunk": "vgg19.pth"}}, "trunk: expected none beside weights"),
    ],
)
def test_what_contradicts_the_weights_is_refused(
    folder: Path, tables: dict[str, dict[str, Any]], message: str
) -> None:
    network = {"weights": str(start_file(folder)), **tables.get("network", {})}
    with pytest.raises(ValueError, match=message):
        PartAffinityTask(
            config_for(folder, "run", **{**tables, "network": network}), _one_process()
        )


def test_weights_that_are_not_there_or_several_networks(folder: Path) -> None:
    with pytest.raises(WeightsError, match="neither a file, nor a shipped model"):
        read_start(NetworkConfig(weights=str(folder / "none.safetensors")))
    with pytest.raises(ValueError, match="expected one network, got topdown-fast"):
        read_start(NetworkConfig(weights="topdown-fast"))


def test_a_published_network_learns_in_its_own_order_of_channels(folder: Path) -> None:
    """Of channels in CMU's order, in BGR: what is learned is what the model then gives."""
    options = {"n_stages": 1, "width": 8, "trunk_width": 4}
    path = start_file(folder, builder="cmu_coco", options=options, skeleton=Skeleton.COCO18,
                      channel_order="cmu_coco18", bgr=True)  # fmt: skip
    config = config_for(folder, "run", network={"weights": str(path)},
                        augment={"crop_px": 64, "person_px": [55, 55]})  # fmt: skip
    task = PartAffinityTask(config, _one_process())
    assert task.skeleton == Skeleton.COCO18
    batch = task.maker.batch(0)
    torch.testing.assert_close(task.inputs(batch), (batch.images.flip(1) - 100) / 50)
    order = task.channel_order
    assert order is not None

    class Right(nn.Module):
        """Gives the targets, in CMU's order."""

        def forward(self, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
            heatmaps, pafs = torch.full_like(batch.heatmaps, 9), torch.full_like(batch.pafs, 9)
            heatmaps[:, list(order.heatmaps)] = batch.heatmaps
            pafs[:, [channel for pair in order.pafs for channel in pair]] = batch.pafs
            return [(heatmaps, pafs)]

    task.network = Right()
    assert float(task.loss(batch, 0)[0]) == 0
    assert (task.spec({}).channel_order, task.spec({}).bgr) == ("cmu_coco18", True)


def other_labels(folder: Path, n_joints: int) -> None:
    """The same images with things of other joints, in a chain."""
    data = json.loads((folder / "people.json").read_text())
    for annotation in data["annotations"]:
        annotation["keypoints"] = annotation["keypoints"][: 3 * n_joints]
    chain = [[k, k + 1] for k in range(1, n_joints)]
    names = [f"joint {k}" for k in range(n_joints)]
    data["categories"] = [{"id": 1, "name": "thing", "keypoints": names, "skeleton": chain}]
    (folder / "people.json").write_text(json.dumps(data))


@pytest.mark.parametrize("n_joints", [5, 17])
def test_other_joints_take_the_layers_before_any_that_follow_from_them(
    folder: Path, n_joints: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of 17 other joints are new too, although they have the same shapes."""
    other_labels(folder, n_joints)
    path = start_file(folder)
    caplog.set_level("INFO")
    config = config_for(folder, "run", network={"weights": str(path)})
    task = PartAffinityTask(config, _one_process())
    task.load_start()
    new = ("initial_stage.heatmaps", "initial_stage.pafs", "refinement_stages")
    theirs = read_state(path)
    for key, value in task.network.state_dict().items():
        is_same = value.shape == theirs[key].shape and torch.equal(value, theirs[key].float())
        assert is_same != key.startswith(new), key
    assert "start.safetensors is a model of coco17: 35 layers start from it" in caplog.text
    assert "new for thing: 23, from initial_stage.heatmaps.hidden on" in caplog.text
    spec = task.spec({})
    assert (spec.mean, spec.scale, spec.licence) == (100.0, 50.0, "not for sale")
    assert (spec.heatmap_grid, spec.skeleton.n_joints) == (Grid(8), n_joints)
    assert PoseEstimator(train(config), size=32, engine="torch").skeleton.n_joints == n_joints


def test_a_model_with_a_neck_learns_from_labels_without(folder: Path) -> None:
    path = start_file(folder, skeleton=Skeleton.COCO18_REDUNDANT, result=Skeleton.COCO17)
    spec = PartAffinityTask(
        config_for(folder, "run", network={"weights": str(path)}), _one_process()
    ).spec({})
    assert (spec.skeleton, spec.result) == (Skeleton.COCO18_REDUNDANT, Skeleton.COCO17)


# --- from a classifier


def test_trunks_of_classifiers(folder: Path) -> None:
    """Of torchvision's VGG-19 the first layer is changed: it gives the same on our input."""
    vgg = {f"features.{i}.{kind}": torch.randn(shape) for i, n_in, n_out in
           [(0, 3, 4), (2, 4, 4), (5, 4, 8)] for kind, shape in
           (("weight", (n_out, n_in, 3, 3)), ("bias", (n_out,)))}  # fmt: skip
    torch.save(vgg, folder / "vgg.pth")
    config = config_for(folder, "run", network={**network_of("two branches"),
                                                "trunk": str(folder / "vgg.pth")})  # fmt: skip
    task = PartAffinityTask(config, _one_process())
    task.load_start()
    images = torch.rand(1, 3, 8, 8) * 255
    ours = task.network.conv1_1((images - 128) / 255)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    theirs = nn.functional.conv2d(
        (images / 255 - mean[:, None, None]) / std[:, None, None],
        vgg["features.0.weight"], vgg["features.0.bias"], padding=1,
    )  # fmt: skip
    torch.testing.assert_close(ours[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(task.network.conv2_1.weight, vgg["features.5.weight"])
    assert task.network.conv2_2.weight.abs().max() > 0
    torch.save({"fc.weight": torch.zeros(2)}, folder / "other.pth")
    other = config_for(folder, "run", network={"trunk": str(folder / "other.pth")})
    with pytest.raises(WeightsError, match=r"has no layer of the network; it has fc\.weight"):
        PartAffinityTask(other, _one_process()).load_start()


def test_the_trunk_of_imagenet(folder: Path, shared_dir: Path) -> None:
    file = shared_dir / "weights" / "imagenet" / "mobilenet_v2_1.0.npz"
    config = config_for(folder, "run", network={**network_of("mobilenet_v2"), "trunk": str(file)})
    task = PartAffinityTask(config, _one_process())
    task.load_start()
    kernel = read_state(file)["Conv_weights"].permute(3, 2, 0, 1).float()
    torch.testing.assert_close(task.network.trunk.stem.conv.weight, kernel)
