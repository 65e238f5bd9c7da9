"""HigherHRNet: keys, shapes and numbers of the published network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from waves import waves

import openpaf
from openpaf import Grid, weights
from openpaf.networks import build
from openpaf.weights.published import PUBLISHED

#: Of the file of the publishers: some of its keys with their shapes.
SHAPES = {
    "conv1.weight": (64, 3, 3, 3),
    "bn2.running_var": (64,),
    "layer1.0.downsample.0.weight": (256, 64, 1, 1),
    "layer1.3.bn3.num_batches_tracked": (),
    "transition1.0.0.weight": (32, 256, 3, 3),
    "transition1.1.0.0.weight": (64, 256, 3, 3),
    "transition3.3.0.1.bias": (256,),
    "stage2.0.branches.1.3.conv2.weight": (64, 64, 3, 3),
    "stage3.3.fuse_layers.2.0.0.0.weight": (32, 32, 3, 3),
    "stage3.3.fuse_layers.2.0.1.0.weight": (128, 32, 3, 3),
    "stage4.2.fuse_layers.0.3.0.weight": (32, 256, 1, 1),
    "final_layers.0.weight": (34, 32, 1, 1),
    "final_layers.1.bias": (17,),
    "deconv_layers.0.0.0.weight": (66, 32, 4, 4),
    "deconv_layers.0.0.1.weight": (32,),
    "deconv_layers.0.4.0.bn2.bias": (32,),
}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    network = build("higher_hrnet").eval()
    network.load_state_dict(waves(network.state_dict()))
    return network


def test_keys_are_those_of_the_published_file(network: nn.Module) -> None:
    state = network.state_dict()
    assert len(state) == 1810
    assert sum(parameter.numel() for parameter in network.parameters()) == 28_645_331
    assert {key: tuple(state[key].shape) for key in SHAPES} == SHAPES
    # The last module of all gives its finest branch alone.
    assert not any(key.startswith("stage4.2.fuse_layers.1") for key in state)


def test_numbers_are_those_of_the_published_network(network: nn.Module) -> None:
    """Printed by the publishers' own code, with the same numbers as weights."""
    image = torch.sin(0.01 * torch.arange(3 * 64 * 96, dtype=torch.float64)).float() * 0.5 + 0.5
    image = image.reshape(1, 3, 64, 96)
    with torch.inference_mode():
        (coarse, tags), (fine, _) = network.stages(image)  # type: ignore[operator]
        mean, same_tags = network(image)[-1]
    expected = {
        "coarse": [-202.25680542, 325.91375732, -210.92951965, 178.37594604, -137.70355225],
        "tags": [-215.14445496, 317.11422729, -172.36674500, 138.59317017, -77.10295868],
        "fine": [124.87651825, 2.38438296, -46.15090179, -23.04238129, -196.86265564],
    }
    for name, array in {"coarse": coarse, "tags": tags, "fine": fine}.items():
        places = torch.linspace(0, array.numel() - 1, 5).long()
        np.testing.assert_allclose(array.flatten()[places], expected[name], rtol=1e-3, atol=0.05)
    np.testing.assert_array_equal(same_tags, tags)
    # A cell at half the size lies a quarter of a coarse cell beside the nearest one.
    quarters = 0.75 * coarse[..., 1:-1] + 0.25 * coarse[..., :-2]
    columns = 0.75 * quarters[..., 1:-1, :] + 0.25 * quarters[..., :-2, :]
    np.testing.assert_allclose(
        mean[:, :, 2:-2:2, 2:-2:2], (fine[:, :, 2:-2:2, 2:-2:2] + columns) / 2, atol=0.01
    )


def test_any_size_of_image(network: nn.Module) -> None:
    """Images are padded to multiples of 8, branches have 1/32 of their size."""
    with torch.inference_mode():
        heatmaps, tags = network(torch.zeros(1, 3, 72, 104))[-1]
    assert heatmaps.shape == (1, 17, 36, 52)
    assert tags.shape == (1, 17, 18, 26)


@pytest.mark.parametrize("prefix", ["", "1."])
def test_a_checkpoint_runs_by_name(network: nn.Module, tmp_path: Path, prefix: str) -> None:
    """Also one of training in half precision, whose keys have a prefix."""
    file = tmp_path / "pose_higher_hrnet_w32_512.pth"
    torch.save({prefix + key: value for key, value in network.state_dict().items()}, file)
    estimator = openpaf.PoseEstimator("higher-hrnet-w32", weights=file, size=64, engine="torch")
    assert estimator.spec.method == "associative_embedding"
    assert (estimator.spec.heatmap_grid, estimator.spec.paf_grid) == (Grid(2, 1.0), Grid(4, 2.0))
    image = np.full((64, 96, 3), 100, np.uint8)
    arrays = estimator.infer(image).arrays
    with torch.inference_mode():
        expected, tags = network(torch.full((1, 3, 64, 96), 100 / 255))[-1]
    np.testing.assert_allclose(arrays["heatmaps"], expected[0], rtol=1e-3, atol=0.05)
    np.testing.assert_allclose(arrays["tags"], tags[0], rtol=1e-3, atol=0.05)


def test_its_row() -> None:
    row = PUBLISHED["higher-hrnet-w32"]
    assert row.licence.startswith("MIT")
    assert not row.restricted
    assert not row.top_down
    listed = {one["name"]: one for one in weights.table()}["higher-hrnet-w32"]
    assert (listed["method"], listed["hash"]) == ("associative_embedding", "none")


def test_it_exports_for_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime gives what torch does, also where branches are cut to the size of others."""
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path))
    network = build("higher_hrnet", width=1).eval()
    network.load_state_dict(waves(network.state_dict()))
    spec = weights.ModelSpec(
        name="small", builder="higher_hrnet", options={"width": 1},
        skeleton=openpaf.Skeleton.COCO17, heatmap_grid=Grid(2, 1.0), paf_grid=Grid(4, 2.0),
        mean=0.0, scale=255.0, licence="MIT", metrics={},
    )  # fmt: skip
    weights.save(network.state_dict(), tmp_path / "small.safetensors", spec)
    image = np.random.default_rng(0).integers(0, 255, (72, 104, 3), dtype=np.uint8)
    torchs, onnxs = (
        openpaf.PoseEstimator(tmp_path / "small.safetensors", engine=engine, size=72).infer(image)
        for engine in ("torch", "onnx")
    )
    for name in ("heatmaps", "tags"):
        scale = np.abs(torchs.arrays[name]).max()
        np.testing.assert_allclose(onnxs.arrays[name], torchs.arrays[name], atol=1e-4 * scale)
