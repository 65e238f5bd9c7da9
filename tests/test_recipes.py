"""What made the shipped models: the scripts between their runs, and the runs' files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from openpaf import Grid, Skeleton, weights
from openpaf.channels import CHANNEL_ORDERS
from openpaf.errors import WeightsError
from openpaf.networks import LightweightNetwork, build
from openpaf.networks.open_model_zoo import LAYERS
from openpaf.training.config_files import read_config, read_config_as
from openpaf.training.data.batches import Batch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
import layer_fitting
import new_limbs
import pruning
import weight_averaging
from layer_fitting import fit_layers
from least_squares import LeastSquares, keep_inputs, record
from new_limbs import fit_new_limbs
from open_model_zoo import load_open_model_zoo, shared_channels
from pruning import prune
from recipe_task import RecipeConfig
from run_files import RunFile, run_script

RECIPES = Path(__file__).resolve().parents[1] / "models" / "recipes"
S = Skeleton.COCO17
WIDTHS = [8, 8, 12, 12, 16, 16, 24, 24, 24, 24, 24, 24]
SMALL = {"atrous": False, "ranks": [8, 8, 0], "hidden_width": 16}  # as a model that is pruned


def small_network(seed: int, skeleton: Skeleton = S, **options: Any) -> LightweightNetwork:
    torch.manual_seed(seed)
    network = LightweightNetwork(skeleton, **{"width": 16, "trunk_widths": WIDTHS, **options})
    for parameter in network.parameters():  # so that signals do not die in a random network
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
        else:
            nn.init.normal_(parameter, std=0.1)
    return network.eval()


def noise(n: int = 3, seed: int = 1) -> Tensor:
    """(n, 3, 64, 64) images of noise, normalized."""
    return torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def share_lost(trained: LightweightNetwork, other: LightweightNetwork) -> float:
    """The squared error of the last fields, as a share of their variance."""
    theirs, ours = (torch.cat(network(noise())[-1], 1) for network in (trained, other))
    return float((ours - theirs).square().sum() / (theirs - theirs.mean()).square().sum())


# --- least squares


def test_least_squares_is_numpys() -> None:
    rng = np.random.default_rng(0)
    inputs, outputs = rng.normal(size=(80, 5)), rng.normal(size=(80, 4))
    fit = LeastSquares()
    for part in (slice(0, 30), slice(30, 80)):
        fit.add(torch.from_numpy(inputs[part]), torch.from_numpy(outputs[part]))
    design = np.column_stack([inputs, np.ones(80)])
    solution = np.linalg.lstsq(design, outputs, rcond=None)[0]
    np.testing.assert_allclose(fit.solve(ridge=1e-12), solution, atol=1e-8)
    prior = torch.from_numpy(rng.normal(size=(6, 4)))
    np.testing.assert_allclose(fit.solve(prior, ridge=1e12), prior, atol=1e-8)


def test_nothing_to_fit_to_is_told() -> None:
    with pytest.raises(ValueError, match="expected inputs and outputs, got none"):
        LeastSquares().solve()


def test_a_channel_that_says_nothing_new_goes_first_and_the_rest_makes_up_for_it() -> None:
    x = torch.randn(500, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[:, 4] = 0.5 * x[:, 1]  # a copy
    matrix = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrix[2] = 0  # not read
    channels, fitted = keep_inputs(x.T @ x / 500, matrix, 4)
    assert 2 not in channels.tolist()
    assert len({1, 4} & set(channels.tolist())) == 1
    torch.testing.assert_close(x @ fitted, x @ matrix, atol=0.05, rtol=0)


# --- layers fitted to those of a trained network


def test_a_network_of_the_same_layers_is_the_same_network() -> None:
    trained, cheaper = small_network(0), small_network(1)
    fit_layers(trained, cheaper, noise())
    assert share_lost(trained, cheaper) == 0


def test_factors_of_full_rank_lose_nothing_and_those_of_lower_rank_more_and_more() -> None:
    trained = small_network(0)
    lost = []
    for rank in (48, 14, 6):
        cheaper = small_network(1, ranks=[rank] * 3)
        before = share_lost(trained, cheaper)
        fit_layers(trained, cheaper, noise())
        lost.append(share_lost(trained, cheaper))
        assert lost[-1] < 0.5 * before
    assert lost[0] < 1e-6
    assert lost[0] < lost[1] < lost[2]
    with pytest.raises(ValueError, match="rank: expected at most 48 for this layer, got 49"):
        fit_layers(trained, small_network(1, ranks=[49, 16, 16]), noise(1))


def test_layers_make_up_for_what_those_before_them_lost() -> None:
    trained = small_network(0)
    cheaper, blind = (small_network(1, ranks=[6, 24, 24]) for _ in range(2))
    unharmed = small_network(1, ranks=[48, 24, 24])
    for network in (cheaper, blind, unharmed):
        fit_layers(trained, network, noise(8))
    for name in ("initial_stage", "refinement_stages"):
        blind.get_submodule(name).load_state_dict(unharmed.get_submodule(name).state_dict())
    assert share_lost(trained, cheaper) < 0.9 * share_lost(trained, blind)


def test_a_fitted_pyramid_comes_nearer_than_any_coarse_features_alone() -> None:
    trained, cheaper = small_network(0), small_network(1, atrous=False)
    fit_layers(trained, cheaper, noise(8))
    with torch.no_grad():
        images = noise()
        theirs, ours = trained.features(images), cheaper.features(images)
        # The best that one value for four cells could do.
        blocks = nn.functional.avg_pool2d(theirs, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        fine, coarse = trained.trunk[:9](images), cheaper.trunk[:9](images)
    assert (ours - theirs).square().mean() < (blocks - theirs).square().mean()
    torch.testing.assert_close(fine[:, :, ::2, ::2], coarse, atol=1e-4, rtol=1e-4)


def test_a_pyramid_that_is_trained_stays() -> None:
    trained = small_network(0, atrous=False)
    cheaper = small_network(1, atrous=False, ranks=[8, 8, 8])
    fit_layers(trained, cheaper, noise())
    for name in ("align", "pyramid"):
        theirs, ours = (network.context.get_submodule(name) for network in (trained, cheaper))
        pairs = zip(theirs.parameters(), ours.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_heads_with_fewer_hidden_channels_come_near() -> None:
    trained, cheaper = small_network(0), small_network(1, hidden_width=40)
    fit_layers(trained, cheaper, noise())
    with torch.no_grad():
        theirs, ours = (torch.cat(network(noise())[0], 1) for network in (trained, cheaper))
    variance = (theirs - theirs.mean((0, 2, 3), keepdim=True)).square().mean()
    assert float((ours - theirs).square().mean() / variance) < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 20, "hidden_width": 64}, "expected 16 width, got 20"),
        ({"hidden_width": 80}, "expected at most 64 hidden channels, got 80"),
        ({"n_refinement_stages": 2}, "expected 1 refinement stages, got 2"),
        ({"n_refinement_blocks": 4}, r"expected \[5\] blocks of refinement stages, got \[4\]"),
        ({"atrous": False, "stride": 4}, "expected fields at the stride of the trained"),
        ({"trunk_widths": (8,) * 12}, r"trunk\.\d+\.\w+\.\w+ cannot be made"),
    ],
)
def test_a_network_that_cannot_be_made_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"cheaper: .*{message}"):
        fit_layers(small_network(0), small_network(0, **options), noise(1))


def test_factors_and_half_cells_are_no_start() -> None:
    factors = small_network(0, ranks=[8, 8, 8])
    with pytest.raises(ValueError, match="trained: expected whole convolutions, got factors"):
        fit_layers(factors, small_network(0), noise(1))
    with pytest.raises(ValueError, match="images: expected height and width of a multiple of 16"):
        fit_layers(small_network(0), factors, torch.zeros(1, 3, 64, 72))


# --- channels pruned


@torch.no_grad()
def silence(network: LightweightNetwork, narrower: LightweightNetwork) -> None:
    """Make as many channels as a narrower refinement lacks give nothing, drawn at random."""
    modules, narrow = dict(network.named_modules()), dict(narrower.named_modules())
    rng = torch.Generator().manual_seed(5)
    blocks = [f"refinement_stages.0.body.{k}" for k in range(5)]
    heads = [f"refinement_stages.0.{head}.hidden" for head in ("heatmaps", "pafs")]
    groups = [[f"{block}.conv"] for block in blocks] + [[head] for head in heads]
    groups += [[f"{block}.squeeze", f"{block}.dilated"] for block in blocks]
    for names in groups:
        n, n_left = (of[names[0]].out_channels for of in (modules, narrow))
        gone = torch.randperm(n, generator=rng)[: n - n_left]
        for name in names:
            modules[name].weight[gone] = 0
            modules[name].bias[gone] = 0


@pytest.mark.parametrize("options", [{"refinement_width": 11}, {"refinement_hidden_width": 10}])
def test_channels_that_give_nothing_go_and_nothing_is_lost(options: dict[str, int]) -> None:
    trained, narrower = small_network(0, **SMALL), small_network(1, **SMALL, **options)
    silence(trained, narrower)
    assert share_lost(trained, narrower) > 0.5
    prune(trained, narrower, noise())
    assert share_lost(trained, narrower) < 1e-6


def test_the_narrower_the_more_is_lost() -> None:
    trained = small_network(0, **SMALL)
    lost = []
    for width in (16, 15, 12):
        narrower = small_network(1, **SMALL, refinement_width=width)
        prune(trained, narrower, noise())
        lost.append(share_lost(trained, narrower))
    assert lost[0] == 0
    assert lost[0] < lost[1] < lost[2] < 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_refinement_stages": 0}, r"expected \[5\] blocks of refinement stages, got \[\]"),
        ({"refinement_width": 12, "ranks": [8, 8, 4]}, "narrower: expected a refinement of whole"),
        ({"n_refinement_blocks": 4}, r"expected \[5\] blocks of refinement stages, got \[4\]"),
        ({"refinement_width": 20}, "expected 16 channels of .*body.0.conv, got 20"),
        ({"trunk_widths": [*WIDTHS[:-1], 20]}, "trunk.12.pointwise.weight cannot be made of"),
        ({"refinement_width": 12, "ranks": [4, 8, 0]}, "context.out.0.weight cannot be made of"),
    ],
)
def test_what_cannot_be_made_of_the_trained_network_is_told(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        prune(small_network(0, **SMALL), small_network(1, **{**SMALL, **options}), noise(1))


# --- the Open Model Zoo's network, and limbs that it lacks


def test_shared_channels_point_along_the_same_limb() -> None:
    shared = shared_channels(S)
    theirs = Skeleton.COCO18
    assert len(shared["heatmaps"]) == 18  # 17 joints and background
    for mine, other, _ in shared["heatmaps"][:-1]:
        assert S.joints[mine] == theirs.joints[other]
    for mine, other, sign in shared["pafs"]:
        a, b = (S.joints[k] for k in S.limbs[mine // 2])
        c, d = (theirs.joints[k] for k in theirs.limbs[other // 2])
        assert (a, b) == ((c, d) if sign > 0 else (d, c))
        assert mine % 2 == other % 2


@pytest.fixture(scope="module")
def zoo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under the Model Zoo's names."""
    torch.manual_seed(0)
    network = build("open_model_zoo")
    path = tmp_path_factory.mktemp("zoo") / "zoo.npz"
    arrays = {}
    for name, tensor in network.state_dict().items():
        layer, part = name.rsplit(".", 1)
        arrays[f"{LAYERS[layer]}.{part}"] = tensor.numpy()
    np.savez(path, **arrays)
    return path


@torch.no_grad()
def test_the_open_model_zoos_network_in_ours(zoo_file: Path) -> None:
    zoo, coco18 = build("open_model_zoo").eval(), LightweightNetwork(Skeleton.COCO18).eval()
    weights.load(zoo, zoo_file)
    load_open_model_zoo(coco18, zoo_file, Skeleton.COCO18)
    more = LightweightNetwork(Skeleton.COCO18_REDUNDANT).eval()
    load_open_model_zoo(more, zoo_file, Skeleton.COCO18_REDUNDANT)
    images = noise(1)
    theirs = [part.numpy()[0] for part in zoo(images.flip(1))[-1]]
    heatmaps, pafs = CHANNEL_ORDERS["cmu_coco18"].apply(*theirs)
    ours = [part.numpy()[0] for part in coco18(images)[-1]]
    np.testing.assert_allclose(ours[0], heatmaps, atol=1e-5)
    np.testing.assert_allclose(ours[1], pafs.reshape(ours[1].shape), atol=1e-5)
    for kind, fields in zip(("heatmaps", "pafs"), more(images)[-1], strict=True):
        channels = shared_channels(Skeleton.COCO18_REDUNDANT)[kind]
        assert len(channels) == (19 if kind == "heatmaps" else 38)
        for mine, other, sign in channels:
            expected = sign * ours[kind == "pafs"][other]
            np.testing.assert_allclose(fields[0, mine], expected, atol=1e-5)


def test_a_file_of_other_layers_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name in ("missing", "other"):
        with pytest.raises(WeightsError, match=rf"{name}\.npz"):
            load_open_model_zoo(LightweightNetwork(S), tmp_path / f"{name}.npz", S)


@torch.no_grad()
def test_new_limbs_are_what_the_features_tell_of_them() -> None:
    """Where labels are a linear layer of the features, so are the fields."""
    network, source = small_network(0), small_network(1, Skeleton.COCO18)
    limb = new_limbs.new_limbs(S)[-1]
    names = ["initial_stage.pafs.hidden", "refinement_stages.0.pafs.hidden"]
    before = network.initial_stage.pafs.out.weight.clone()
    for name in names:
        torch.manual_seed(2)
        truth = nn.Conv2d(64 if "initial" in name else 16, 2, 1)
        batches = []
        for seed in range(8):
            images = noise(2, seed) * 255 + 128
            features = record(source, [name], "output", [(images - 128) / 255])[name][0]
            pafs = torch.zeros(2, 2 * S.n_limbs, 8, 8)
            pafs[:, 2 * limb : 2 * limb + 2] = truth(features.relu())
            pafs[1] = 0  # its people have no labels
            batches.append(
                Batch(
                    images=images,
                    heatmaps=torch.zeros(2, S.n_joints + 1, 8, 8),
                    pafs=pafs,
                    heatmap_weights=torch.ones(2, S.n_joints + 1, 8, 8),
                    paf_weights=torch.ones_like(pafs),
                    fully_annotated=torch.tensor([True, False]),
                )
            )
        fit_new_limbs(network, source, S, batches)
        out = network.get_submodule(name.replace("hidden", "out"))
        fitted = out(features.relu())[:1, 2 * limb : 2 * limb + 2]
        torch.testing.assert_close(fitted, truth(features.relu())[:1], atol=0.05, rtol=0)
        assert truth(features.relu()).std() > 0.15
    known = [channel for channel, _, _ in shared_channels(S)["pafs"]]
    assert torch.equal(network.initial_stage.pafs.out.weight[known], before[known])


# --- the commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's file, and four images of noise with a person each."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for i in range(4):
        pixels = rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 120, "height": 90})
        joints = np.column_stack([rng.uniform(20, 80, (17, 2)), np.full(17, 2)])
        annotations.append(
            {"id": i, "image_id": i, "category_id": 1, "bbox": [20, 20, 60, 60],
             "keypoints": joints.ravel().tolist()}
        )  # fmt: skip
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    (tmp_path / "people.json").write_text(json.dumps(data))
    return tmp_path


def write_run(folder: Path, options: dict[str, Any], skeleton: str = "coco17") -> Path:
    lines = "\n".join(f"{k} = {json.dumps(v)}" for k, v in options.items())
    path = folder / "run.toml"
    path.write_text(f"""\
name = "tiny"
[network]
weights = "made/start.safetensors"
[network.options]
{lines}
[distillation]
teacher = "made/teacher.safetensors"
[targets]
grid_offsets = [3.5, 0.0]
[optimizer]
batch_size = 2
[augment]
crop_px = 64
[data]
skeleton = "{skeleton}"
[[data.sets]]
annotations = "people.json"
images = "images"
""")
    return path


def save_network(network: LightweightNetwork, path: Path, options: dict[str, Any]) -> None:
    spec = weights.ModelSpec(
        name="trained", builder="lightweight", options=options, skeleton=S, heatmap_grid=Grid(8),
        paf_grid=Grid(8, 0.0), mean=128.0, scale=255.0, licence="none", metrics={"AP": 1.0},
    )  # fmt: skip
    weights.save(network.state_dict(), path, spec)


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (layer_fitting.main, {**SMALL, "ranks": [8, 4, 0], "hidden_width": 12}),
        (pruning.main, {**SMALL, "refinement_hidden_width": 12}),
    ],
)
def test_a_script_makes_what_a_run_starts_from(folder: Path, script: Any, options: Any) -> None:
    size = {"width": 16, "trunk_widths": WIDTHS}
    big = SMALL if script is pruning.main else {"atrous": False}
    trained = small_network(0, **big)
    save_network(trained, folder / "trained.safetensors", {**size, **big})
    run = write_run(folder, {**size, **options})
    more = [] if script is pruning.main else ["--target", str(folder / "trained.safetensors")]
    script([str(run), "--from", str(folder / "trained.safetensors"), *more])
    made, spec = weights.load_model(folder / "made" / "start.safetensors")
    assert spec.name == "start"
    assert spec.options == {**size, **options}
    assert spec.metrics == {}
    fresh = RunFile.read(run).network()
    assert share_lost(trained, made) < 0.7 * share_lost(trained, fresh)
    other = write_run(folder, {**size, **options}, "coco18_redundant")
    with pytest.raises(WeightsError, match="expected a lightweight network of 'coco18_redundant'"):
        script([str(other), "--from", str(folder / "trained.safetensors")])


def test_new_limbs_makes_what_a_run_starts_from(folder: Path, zoo_file: Path) -> None:
    run = write_run(folder, {"n_refinement_stages": 1}, "coco18_redundant")
    new_limbs.main([str(run), "--from", str(zoo_file), "--batches", "1"])
    made, spec = weights.load_model(folder / "made" / "start.safetensors")
    assert (spec.skeleton, spec.result) == (Skeleton.COCO18_REDUNDANT, S)
    assert (spec.heatmap_grid, spec.paf_grid) == (Grid(8), Grid(8, 0.0))
    weight = made.initial_stage.pafs.out.weight.flatten(1)
    assert (weight.abs().amax(dim=1) > 0).all()
    teacher, spec = weights.load_model(folder / "made" / "teacher.safetensors")
    assert (spec.skeleton, spec.paf_grid) == (Skeleton.COCO18, Grid(8, 0.0))
    ours, theirs = (network(noise(1))[-1][0][:, 0] for network in (made, teacher))
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_averaged_weights_lie_between(folder: Path) -> None:
    size = {"width": 16, "trunk_widths": WIDTHS}
    paths = [folder / f"{name}.safetensors" for name in ("a", "b", "mixed")]
    for seed, path in enumerate(paths[:2]):
        save_network(small_network(seed), path, size)
    weight_averaging.main([*map(str, paths[:2]), "--share", "0.25", "--output", str(paths[2])])
    one, two, mixed = (weights.load_model(path)[0].state_dict() for path in paths)
    for key, tensor in mixed.items():
        torch.testing.assert_close(tensor, 0.75 * one[key] + 0.25 * two[key], atol=2e-3, rtol=2e-3)
    with pytest.raises(ValueError, match="share: expected 0 to 1, got 2"):
        weight_averaging.average(*paths[:2], 2, paths[2])
    save_network(small_network(0, **SMALL), paths[1], {**size, **SMALL})
    with pytest.raises(WeightsError, match="not weights of one network"):
        weight_averaging.average(*paths[:2], 0.5, paths[2])


def test_bad_input_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(folder, SMALL)
    for path, message in ((run, "none.safetensors"), (folder / "people.json", "people.json: not")):
        arguments = ["pruning.py", str(path), "--from", str(folder / "none.safetensors")]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit, match=rf"^pruning\.py: .*{message}"):
            run_script(pruning.main)


# --- the runs


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_runs_of_the_shipped_models_are_valid(path: Path) -> None:
    config = (
        read_config_as(RecipeConfig, path) if "[recipe]" in path.read_text() else read_config(path)
    )
    assert config.name == path.stem
    assert all("coco_val_dev" not in one.annotations for one in config.data.sets)
    shipped = RECIPES.parent / f"{path.stem}.safetensors"
    if shipped.exists() and "rcnn" not in (config.network.name or ""):
        theirs = weights.load_model(shipped)[0].state_dict()
        ours = RunFile.read(path).network().state_dict()
        assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
