"""CenterNet's hourglass and PoseNet: keys, shapes and numbers of the published networks."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest
import tflite_bytes
import torch
from torch import nn
from waves import waves

import openpaf
from openpaf import Grid, weights
from openpaf.errors import WeightsError
from openpaf.networks import build
from openpaf.weights.checkpoints import fill, read_state
from openpaf.weights.published import PUBLISHED

# --- CenterNet

#: Of the publishers' network: some of its keys with their shapes.
SHAPES = {
    "pre.0.conv.weight": (128, 3, 7, 7),
    "pre.1.skip.0.weight": (256, 128, 1, 1),
    "kps.0.up1.1.conv2.weight": (256, 256, 3, 3),
    "kps.1.low2.low2.low2.low2.low2.3.bn1.running_var": (512,),
    "kps.1.low2.low1.0.skip.1.bias": (384,),
    "kps.0.low2.low2.low2.low2.low3.1.conv1.weight": (384, 512, 3, 3),
    "cnvs.1.bn.num_batches_tracked": (),
    "inters.0.conv1.weight": (256, 256, 3, 3),
    "inters_.0.1.weight": (256,),
    "cnvs_.0.0.weight": (256, 256, 1, 1),
    "hm.0.0.conv.bias": (256,),
    "hps.1.1.weight": (34, 256, 1, 1),
    "hm_hp.1.1.bias": (17,),
}
WIDTHS = [8, 8, 12, 12, 12, 16]
#: Of both hourglasses: five numbers each, of the arrays before any sigmoid.
NUMBERS = [
    {
        "hm": [2.33287, -34.688141, -130.391663, -29.586849, 5.734385],
        "reg": [1.198953, -155.410889, -1.150299, 129.819778, -10.872754],
        "hps": [18.317274, 69.261971, -37.016544, 79.096031, -34.456589],
    },
    {
        "wh": [767.491577, 877.784058, -721.957947, -1437.00415, 47.480347],
        "hm_hp": [959.856079, 9150.354492, 3415.324463, 1658.989258, 1250.199707],
        "hp_offset": [-7306.11084, -2599.399414, -3558.984131, 2253.641846, 3407.9375],
    },
]


@pytest.fixture(scope="module")
def hourglass() -> nn.Module:
    network = build("hourglass_center_net", widths=WIDTHS).eval()
    network.load_state_dict(waves(network.state_dict()))
    return network


def test_keys_of_the_hourglass_are_those_of_the_published_network() -> None:
    with torch.device("meta"):
        network = build("hourglass_center_net")
    state = network.state_dict()
    assert len(state) == 1008
    assert sum(parameter.numel() for parameter in network.parameters()) == 194_811_124
    assert {key: tuple(state[key].shape) for key in SHAPES} == SHAPES


def test_numbers_of_the_hourglass_are_those_of_the_published_network(
    hourglass: nn.Module,
) -> None:
    """Printed by the publishers' own code, of fewer channels, with the same numbers as weights."""
    image = torch.sin(0.01 * torch.arange(3 * 128 * 128, dtype=torch.float64)).float() * 0.5 + 0.5
    image = image.reshape(1, 3, 128, 128)
    with torch.inference_mode():
        stages = hourglass.stages(image)  # type: ignore[operator]
        probabilities = hourglass(image)
    names = ("hm", "wh", "reg", "hps", "hm_hp", "hp_offset")
    for stage, expected in zip(stages, NUMBERS, strict=True):
        for name, numbers in expected.items():
            array = stage[names.index(name)]
            places = torch.linspace(0, array.numel() - 1, 5).long()
            np.testing.assert_allclose(array.flatten()[places], numbers, rtol=1e-3, atol=0.05)
    for stage, result in zip(stages, probabilities, strict=True):
        torch.testing.assert_close(result[4], torch.sigmoid(stage[4]))
        torch.testing.assert_close(result[3], stage[3])


def test_the_hourglass_takes_any_size(hourglass: nn.Module) -> None:
    with torch.inference_mode():
        arrays = hourglass(torch.zeros(1, 3, 72, 200))[-1]
    assert [tuple(array.shape[1:]) for array in arrays] == [
        (n, 18, 50) for n in (1, 2, 2, 34, 17, 2)
    ]
    with pytest.raises(ValueError, match=r"widths: expected two or more numbers >= 2, got \[8\]"):
        build("hourglass_center_net", widths=[8])
    with pytest.raises(ValueError, match="n_stacks: expected a whole number from 1 to 8, got 0"):
        build("hourglass_center_net", n_stacks=0)


def test_a_checkpoint_of_the_hourglass_runs(hourglass: nn.Module, tmp_path: Path) -> None:
    """As its trainer saves it: in a dictionary, from one or several GPUs."""
    state = {"module." + key: value for key, value in hourglass.state_dict().items()}
    torch.save({"epoch": 150, "state_dict": state}, tmp_path / "multi_pose_hg_3x.pth")
    network = build("hourglass_center_net", widths=WIDTHS)
    fill(network, read_state(tmp_path / "multi_pose_hg_3x.pth"), "multi_pose_hg_3x.pth")
    row = PUBLISHED["centernet-hourglass"]
    assert row.licence.startswith("MIT")
    spec = weights.ModelSpec(
        name="small", builder=row.builder, options={"widths": WIDTHS},
        skeleton=openpaf.Skeleton.COCO17, heatmap_grid=Grid(4, 0.0), paf_grid=Grid(4, 0.0),
        mean=0.0, scale=255.0, bgr=row.bgr, licence=row.licence, metrics={},
    )  # fmt: skip
    weights.save(network.state_dict(), tmp_path / "small.safetensors", spec)
    estimator = openpaf.PoseEstimator(tmp_path / "small.safetensors", size=64, engine="torch")
    assert estimator.spec.method == "center_net"
    stored, _ = weights.load_model(tmp_path / "small.safetensors")
    np.testing.assert_allclose(
        stored.state_dict()["hps.1.1.weight"], network.state_dict()["hps.1.1.weight"], atol=1e-3
    )
    image = np.full((64, 96, 3), (200, 100, 50), np.uint8)
    arrays = estimator.infer(image).arrays
    bgr = torch.tensor([50, 100, 200]).view(1, 3, 1, 1).expand(1, 3, 64, 96) / 255
    with torch.inference_mode():
        expected = stored(bgr)[-1]
    np.testing.assert_allclose(arrays["centers"], expected[0][0], atol=0.01)
    np.testing.assert_allclose(arrays["joints"], expected[3][0], rtol=1e-3, atol=0.5)
    assert len(estimator(image)) <= 100


# --- PoseNet


def posenet_tensors(network: nn.Module) -> dict[str, np.ndarray]:
    """Seeded numbers for a network, by the names and in the layout of the published file."""
    rng = np.random.default_rng(0)
    tensors = {}
    for key, value in network.state_dict().items():
        name = re.sub(r"^(heatmap|offset|displacement_\w+)\.", r"\1_2/", key)
        name = re.sub(r"^trunk\.0\.", "Conv2d_0/", name)
        name = re.sub(r"^trunk\.(\d+)\.(\w+)\.", r"Conv2d_\1_\2/", name)
        name = name.replace("weight", "weights_quant/FakeQuantWithMinMaxVars")
        name = "tower_0/MobilenetV1/" + name.replace("bias", "Conv2D_Fold_bias")
        shape = tuple(value.shape)
        if len(shape) == 1:
            tensors[name] = rng.normal(0, 0.1, shape).astype("<f4")
        elif "depthwise" in name:
            tensors[name] = rng.integers(60, 141, (1, 3, 3, shape[0])).astype(np.uint8)
        else:
            tensors[name] = rng.integers(98, 103, (shape[0], *shape[2:], shape[1])).astype(np.uint8)
    return tensors


def test_posenet_runs_from_a_file_of_tensorflow_lite(tmp_path: Path) -> None:
    network = build("posenet_mobilenet").eval()
    assert len(network.state_dict()) == 62
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_258_195
    tensors = posenet_tensors(network)
    depthwise = [name for name in tensors if "depthwise/weights" in name]
    file = tmp_path / "posenet.tflite"
    file.write_bytes(tflite_bytes.tflite(tensors, depthwise))
    fill(network, read_state(file), file)
    weight = tensors["tower_0/MobilenetV1/Conv2d_2_depthwise/weights_quant/FakeQuantWithMinMaxVars"]
    np.testing.assert_array_equal(
        network.get_parameter("trunk.2.depthwise.weight").detach().numpy()[:, 0],
        (weight[0].astype(np.float32).transpose(2, 0, 1) - 100) / 64,
    )
    weight = tensors["tower_0/MobilenetV1/offset_2/weights_quant/FakeQuantWithMinMaxVars"]
    np.testing.assert_array_equal(
        network.get_parameter("offset.weight").detach().numpy()[..., 0, 0],
        (weight[:, 0, 0].astype(np.float32) - 100) / 64,
    )
    estimator = openpaf.PoseEstimator(
        "posenet-mobilenet-075", weights=file, size=64, engine="torch"
    )
    assert (estimator.spec.method, estimator.spec.sigma_px) == ("person_lab", 16)
    image = np.random.default_rng(1).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    arrays = estimator.infer(image).arrays
    inputs = (torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32)) - 128) / 128
    x = network.trunk[0](inputs).clamp(0, 6)  # type: ignore[index, operator]
    for block in network.trunk[1:]:  # type: ignore[index, union-attr]
        x = block(x)
    with torch.no_grad():
        offsets = network.offset(x)[0].numpy()  # type: ignore[operator]
        heatmaps = torch.sigmoid(network.heatmap(x))[0].numpy()  # type: ignore[operator]
    assert arrays["heatmaps"].shape == (17, 4, 6)
    np.testing.assert_allclose(arrays["heatmaps"], heatmaps, atol=1e-4)
    # The file has all y before all x, in px.
    np.testing.assert_allclose(arrays["offsets"][0::2], offsets[17:] / 16, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(arrays["offsets"][1::2], offsets[:17] / 16, rtol=1e-3, atol=1e-3)
    estimator(image)


def test_floats_of_tensorflow_lite(tmp_path: Path) -> None:
    conv = np.arange(24, dtype="<f4").reshape(2, 2, 3, 2)
    (tmp_path / "a.tflite").write_bytes(tflite_bytes.tflite({"conv": conv}))
    (tensor,) = read_state(tmp_path / "a.tflite").values()
    np.testing.assert_array_equal(tensor, conv.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_of_tensorflow_lite_gets_one_error(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tensors = {"a": np.ones((4, 3, 3, 2), np.uint8), "b": np.ones(4, "<f4")}
    good = tflite_bytes.tflite(tensors, ["a"])
    path = tmp_path / "a.tflite"
    for _ in range(60):
        content = bytearray(good)
        place = int(rng.integers(8, len(content)))
        if rng.random() < 0.3:
            content = content[:place]
        else:
            content[place : place + 4] = rng.integers(0, 256, 4, dtype=np.uint8).tobytes()
        path.write_bytes(content)
        with contextlib.suppress(WeightsError):  # and nothing else
            state = read_state(path)
            assert sum(tensor.numel() for tensor in state.values()) <= 200
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(
        WeightsError, match=r"a\.tflite: expected a TensorFlow Lite model, found one"
    ):
        read_state(path)


@pytest.mark.parametrize("name", ["centernet-hourglass", "posenet-mobilenet-075"])
def test_their_rows(name: str) -> None:
    row = PUBLISHED[name]
    assert not row.restricted
    assert not row.top_down
    listed = {one["name"]: one for one in weights.table()}[name]
    method, known = {
        "centernet-hourglass": ("center_net", "none"),
        "posenet-mobilenet-075": ("person_lab", "sha256"),
    }[name]
    assert (listed["method"], listed["hash"]) == (method, known)
