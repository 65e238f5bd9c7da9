"""Published networks: their keys and shapes, and what they compute, from tables written here.

Each network is filled with seeded values under the published keys, and compared with a plain
computation that knows nothing of modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from openpaf import weights
from openpaf.io.extras import openvino_core
from openpaf.networks import build, describe
from openpaf.skeleton import Skeleton

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]
Stages = list[tuple[Tensor, Tensor]]

VGG = """
conv1_1 3 64, conv1_2 64 64, conv2_1 64 128, conv2_2 128 128, conv3_1 128 256, conv3_2 256 256,
conv3_3 256 256, conv3_4 256 256, conv4_1 256 512, conv4_2 512 512, conv4_3_CPM 512 256,
conv4_4_CPM 256 128
"""


def conv(name: str, n_in: int, n_out: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (n_out, n_in, kernel, kernel), f"{name}.bias": (n_out,)}


def vgg_shapes() -> Shapes:
    shapes: Shapes = {}
    for row in VGG.split(","):
        name, n_in, n_out = row.split()
        shapes |= conv(name, int(n_in), int(n_out), 3)
    return shapes


def cmu_shapes(n_pafs: int, n_heatmaps: int) -> Shapes:
    shapes = vgg_shapes()
    for branch, n_out in (("L1", n_pafs), ("L2", n_heatmaps)):
        for i, (n, kernel) in enumerate([(128, 3), (128, 3), (128, 3), (512, 1), (n_out, 1)]):
            n_in = 512 if i == 4 else 128
            shapes |= conv(f"conv5_{i + 1}_CPM_{branch}", n_in, n, kernel)
        for stage in range(2, 7):
            for i in range(1, 8):
                n_in = n_pafs + n_heatmaps + 128 if i == 1 else 128
                n = n_out if i == 7 else 128
                shapes |= conv(f"Mconv{i}_stage{stage}_{branch}", n_in, n, 7 if i < 6 else 1)
    return shapes


def body25_shapes() -> Shapes:
    shapes = vgg_shapes()
    shapes |= {"prelu4_2.weight": (512,), "prelu4_3_CPM.weight": (256,)}
    shapes |= {"prelu4_4_CPM.weight": (128,)}
    inputs = {"stage0_L2": 128, "stage1_L2": 180, "stage2_L2": 180, "stage3_L2": 180}
    inputs |= {"stage0_L1": 180, "stage1_L1": 206}
    for stage, n_in in inputs.items():
        width, hidden = (96, 256) if "stage0" in stage else (128, 512)
        for i in range(1, 6):
            for part in range(3):
                n = width if part else (3 * width if i > 1 else n_in)
                shapes |= conv(f"Mconv{i}_{stage}_{part}", n, width, 3)
                shapes[f"Mprelu{i}_{stage}_{part}.weight"] = (width,)
        shapes |= conv(f"Mconv6_{stage}", 3 * width, hidden, 1)
        shapes[f"Mprelu6_{stage}.weight"] = (hidden,)
        shapes |= conv(f"Mconv7_{stage}", hidden, 52 if stage.endswith("L2") else 26, 1)
    return shapes


# Channels out, stride, dilation of blocks 1 to 11.
BLOCKS = (
    "64 1 1, 128 2 1, 128 1 1, 256 2 1, 256 1 1, 512 1 1, 512 1 2, 512 1 1, 512 1 1, 512 1 1, "
    "512 1 1"
)


def norm(name: str, n: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (n,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def lightweight_shapes(n_refinement_stages: int) -> Shapes:
    shapes: Shapes = {"model.0.0.weight": (32, 3, 3, 3)} | norm("model.0.1", 32)
    n_in = 32
    for i, row in enumerate(BLOCKS.split(","), 1):
        n = int(row.split()[0])
        shapes |= {f"model.{i}.0.weight": (n_in, 1, 3, 3)} | norm(f"model.{i}.1", n_in)
        shapes |= {f"model.{i}.3.weight": (n, n_in, 1, 1)} | norm(f"model.{i}.4", n)
        n_in = n
    shapes |= conv("cpm.align.0", 512, 128, 1) | conv("cpm.conv.0", 128, 128, 3)
    for i in range(3):
        shapes[f"cpm.trunk.{i}.0.weight"] = (128, 1, 3, 3)
        shapes[f"cpm.trunk.{i}.2.weight"] = (128, 128, 1, 1)
        shapes |= conv(f"initial_stage.trunk.{i}.0", 128, 128, 3)
    stages = {"initial_stage": 512}
    for stage in range(n_refinement_stages):
        stages[f"refinement_stages.{stage}"] = 128
        for i in range(5):
            name = f"refinement_stages.{stage}.trunk.{i}"
            shapes |= conv(f"{name}.initial.0", 128 if i else 185, 128, 1)
            for j in range(2):
                shapes |= conv(f"{name}.trunk.{j}.0", 128, 128, 3)
                shapes |= norm(f"{name}.trunk.{j}.1", 128)
    for stage_name, hidden in stages.items():
        for field, n_out in (("heatmaps", 19), ("pafs", 38)):
            shapes |= conv(f"{stage_name}.{field}.0.0", 128, hidden, 1)
            shapes |= conv(f"{stage_name}.{field}.1.0", hidden, n_out, 1)
    return shapes


def seeded(shapes: Shapes, seed: int = 0) -> State:
    """Values that keep activations near 1 through many layers."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        elif "relu" in name:  # slopes of PReLU
            state[name] = 0.1 + 0.3 * torch.rand(shape, generator=generator)
        elif len(shape) == 4:
            fan_in = shape[1] * shape[2] * shape[3]
            state[name] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        else:
            state[name] = 0.1 * torch.randn(shape, generator=generator)
            is_scale = name.endswith(".weight")  # of a batch norm
            state[name] += float(is_scale)
    return state


def layer(state: State, name: str, x: Tensor, dilation: int = 1, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    padding = dilation * (weight.shape[2] // 2)
    groups = x.shape[1] // weight.shape[1]
    bias = state.get(f"{name}.bias")
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


def normed(state: State, name: str, x: Tensor) -> Tensor:
    mean, variance, scale, shift = (
        state[f"{name}.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift


def vgg(state: State, x: Tensor, n_layers: int) -> Tensor:
    for row in VGG.split(",")[:n_layers]:
        name = row.split()[0]
        if name in ("conv2_1", "conv3_1", "conv4_1"):
            x = F.max_pool2d(x, 2, 2)
        x = layer(state, name, x)
        if name != "conv4_2" or n_layers > 10:
            x = F.relu(x)
    return x


def cmu(state: State, image: Tensor) -> Stages:
    features = vgg(state, image, 12)
    x, stages = features, []
    for stage in range(1, 7):
        outputs = []
        for branch in ("L1", "L2"):
            y = x
            if stage == 1:
                for i in range(1, 5):
                    y = F.relu(layer(state, f"conv5_{i}_CPM_{branch}", y))
                outputs.append(layer(state, f"conv5_5_CPM_{branch}", y))
            else:
                for i in range(1, 7):
                    y = F.relu(layer(state, f"Mconv{i}_stage{stage}_{branch}", y))
                outputs.append(layer(state, f"Mconv7_stage{stage}_{branch}", y))
        stages.append((outputs[1], outputs[0]))
        x = torch.cat([*outputs, features], 1)
    return stages


def body25(state: State, image: Tensor) -> Stages:
    def prelu(name: str, x: Tensor) -> Tensor:
        slope = state[f"{name}.weight"][:, None, None]
        return torch.where(x > 0, x, slope * x)

    def stage(name: str, *inputs: Tensor) -> Tensor:
        x = torch.cat(inputs, 1)
        for i in range(1, 6):
            a = prelu(f"Mprelu{i}_{name}_0", layer(state, f"Mconv{i}_{name}_0", x))
            b = prelu(f"Mprelu{i}_{name}_1", layer(state, f"Mconv{i}_{name}_1", a))
            c = prelu(f"Mprelu{i}_{name}_2", layer(state, f"Mconv{i}_{name}_2", b))
            x = torch.cat([a, b, c], 1)
        return layer(
            state, f"Mconv7_{name}", prelu(f"Mprelu6_{name}", layer(state, f"Mconv6_{name}", x))
        )

    x = prelu("prelu4_2", vgg(state, image, 10))
    x = prelu("prelu4_3_CPM", layer(state, "conv4_3_CPM", x))
    features = prelu("prelu4_4_CPM", layer(state, "conv4_4_CPM", x))
    pafs = [stage("stage0_L2", features)]
    for i in (1, 2, 3):
        pafs.append(stage(f"stage{i}_L2", features, pafs[-1]))
    first = stage("stage0_L1", features, pafs[3])
    last = stage("stage1_L1", features, first, pafs[3])
    return [(first, pafs[0]), (first, pafs[1]), (first, pafs[2]), (last, pafs[3])]


def lightweight(state: State, image: Tensor) -> Stages:
    x = F.relu(normed(state, "model.0.1", layer(state, "model.0.0", image, stride=2)))
    for i, row in enumerate(BLOCKS.split(","), 1):
        _, stride, dilation = map(int, row.split())
        x = layer(state, f"model.{i}.0", x, dilation, stride)
        x = F.relu(normed(state, f"model.{i}.1", x))
        x = F.relu(normed(state, f"model.{i}.4", layer(state, f"model.{i}.3", x)))
    x = aligned = F.relu(layer(state, "cpm.align.0", x))
    for i in range(3):
        x = F.elu(layer(state, f"cpm.trunk.{i}.0", x))
        x = F.elu(layer(state, f"cpm.trunk.{i}.2", x))
    x = features = F.relu(layer(state, "cpm.conv.0", aligned + x))
    for i in range(3):
        x = F.relu(layer(state, f"initial_stage.trunk.{i}.0", x))

    def heads(name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        heatmaps, pafs = (
            layer(state, f"{name}.{f}.1.0", F.relu(layer(state, f"{name}.{f}.0.0", x)))
            for f in ("heatmaps", "pafs")
        )
        return heatmaps, pafs

    stages = [heads("initial_stage", x)]
    for stage in range(3):
        name = f"refinement_stages.{stage}"
        if f"{name}.trunk.0.initial.0.weight" not in state:
            break
        x = torch.cat([features, *stages[-1]], 1)
        for i in range(5):
            block = f"{name}.trunk.{i}"
            squeezed = y = F.relu(layer(state, f"{block}.initial.0", x))
            for j in range(2):
                y = layer(state, f"{block}.trunk.{j}.0", y, dilation=1 + j)
                y = F.relu(normed(state, f"{block}.trunk.{j}.1", y))
            x = squeezed + y
        stages.append(heads(name, x))
    return stages


PUBLISHED: dict[str, tuple[str, dict[str, Any], Shapes, Callable[[State, Tensor], Stages]]] = {
    "cmu_coco": ("cmu_coco", {}, cmu_shapes(38, 19), cmu),
    "cmu_mpi": ("cmu_mpi", {}, cmu_shapes(28, 16), cmu),
    "body25": ("body25", {}, body25_shapes(), body25),
    "lightweight_coco": ("lightweight_coco", {}, lightweight_shapes(1), lightweight),
    "lightweight_coco_3": (
        "lightweight_coco", {"n_refinement_stages": 3}, lightweight_shapes(3), lightweight,
    ),
}  # fmt: skip


def images(height: int = 48, width: int = 64) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("case", PUBLISHED)
def test_forward_equals_a_plain_computation_from_the_layout(case: str, tmp_path: Path) -> None:
    name, options, shapes, compute = PUBLISHED[case]
    state = seeded(shapes)
    save_file(state, tmp_path / "published.safetensors")
    network = build(name, **options).eval()
    weights.load(network, tmp_path / "published.safetensors")  # key for key
    # In float64, where another order of the same sums makes no difference.
    state = {key: value.double() for key, value in state.items()}
    image = images().double()
    with torch.inference_mode():
        expected, found = compute(state, image), network.double()(image)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for field, other in zip(ours, theirs, strict=True):
            assert 0.01 < other.std() < 1000  # or else nothing would be compared
            torch.testing.assert_close(field, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("case", "n_tensors", "n_parameters"),
    [
        ("cmu_coco", 184, 52_311_446),
        ("body25", 228 + 99, 26_152_068 + 14_016),
        ("lightweight_coco", 250, 4_091_698),
        ("lightweight_coco_3", None, 7_308_964),
    ],
)
def test_tensors_and_parameters_are_as_many_as_published(
    case: str, n_tensors: int | None, n_parameters: int
) -> None:
    name, options, shapes, _ = PUBLISHED[case]
    with torch.device("meta"):
        network = build(name, **options)
    assert {key: tuple(t.shape) for key, t in network.state_dict().items()} == shapes
    assert n_tensors in (None, len(network.state_dict()))
    assert sum(p.numel() for p in network.parameters()) == n_parameters


@pytest.mark.parametrize(
    ("case", "fewer"),
    [
        ("cmu_coco", {"n_stages": 4}),
        ("body25", {"n_paf_stages": 2, "n_heatmap_stages": 1}),
        ("lightweight_coco_3", {"n_refinement_stages": 1}),
    ],
)
def test_fewer_stages_ignore_the_later_ones_of_a_file(case: str, fewer: dict[str, int]) -> None:
    name, options, shapes, _ = PUBLISHED[case]
    whole, part = build(name, **options).eval(), build(name, **fewer).eval()
    state = seeded(shapes)
    whole.load_state_dict(state)
    used = {k: v for k, v in state.items() if not any(re.search(p, k) for p in part.IGNORED)}
    part.load_state_dict(used)  # strict
    image = images(32, 32)
    with torch.inference_mode():
        expected, found = whole(image), part(image)
    if case == "body25":
        # Its heatmap stages read the last PAFs, so only the PAFs are the same.
        torch.testing.assert_close(found[-1][1], expected[1][1])
    else:
        torch.testing.assert_close(found, expected[: len(found)])
    assert not any(re.search(p, k) for p in whole.IGNORED for k in shapes)


def test_body25_gives_every_stage_once() -> None:
    network = build("body25", widths=(4, 5), hidden=(6, 7), n_features=8, trunk_width=2).eval()
    with torch.inference_mode():
        heatmaps, pafs = network.branches(images(32, 32))
        stages = network(images(32, 32))
    assert (len(heatmaps), len(pafs), len(stages)) == (2, 4, 4)
    assert [h.shape[1] for h in heatmaps] == [26] * 2
    assert [p.shape[1] for p in pafs] == [52] * 4
    for i, (h, p) in enumerate(stages):
        torch.testing.assert_close(h, heatmaps[max(0, i - 2)])
        torch.testing.assert_close(p, pafs[i])
    more = build("body25", n_paf_stages=1, n_heatmap_stages=3, widths=(4, 4), trunk_width=2)
    assert len(more(images(32, 32))) == 3


@pytest.mark.parametrize(
    ("name", "skeleton"),
    [
        ("cmu_coco", Skeleton.COCO18),
        ("cmu_mpi", Skeleton.MPI15),
        ("body25", Skeleton.BODY25),
        ("lightweight_coco", Skeleton.COCO18),
        ("open_model_zoo", Skeleton.COCO18),
        ("lightweight", Skeleton.COCO17),
    ],
)
def test_each_builder_knows_its_skeleton(name: str, skeleton: Skeleton) -> None:
    with torch.device("meta"):  # shapes without values
        heatmaps, pafs = build(name).eval()(torch.zeros(1, 3, 32, 32))[-1]
        other, _ = build(name, Skeleton.BODY25)(torch.zeros(2, 3, 32, 32))[-1]
    assert heatmaps.shape == (1, skeleton.n_joints + 1, 4, 4)
    assert pafs.shape == (1, 2 * skeleton.n_limbs, 4, 4)
    assert other.shape == (2, 26, 4, 4)


def test_sizes_that_are_no_multiple_of_the_stride_round_up() -> None:
    for name, options in SMALL.values():
        heatmaps, pafs = build(name, **options).eval()(torch.zeros(1, 3, 35, 41))[-1]
        stride = options.get("stride", 8)
        assert heatmaps.shape[2:] == pafs.shape[2:] == (-(-35 // stride), -(-41 // stride))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cmu_coco", {"n_stages": 0}, "n_stages.*got 0, 128 and 64"),
        ("cmu_coco", {"width": 0}, "width.*got 6, 0 and 64"),
        ("body25", {"n_paf_stages": 0}, "n_paf_stages.*got 0 and 2"),
        ("body25", {"widths": (96,)}, r"widths.*got \(96,\)"),
        ("lightweight_coco", {"n_refinement_stages": -1}, "n_refinement_stages.*got -1"),
        ("lightweight", {"stride": 16}, "stride: expected one of 4, 8 with atrous=True, got"),
        ("lightweight", {"stride": 2, "atrous": False}, "one of 4, 8, 16 with atrous=False"),
    ],
)
def test_bad_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **options)


# Thin members of each family: the same layers, fewer channels and stages.
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "two_branch": ("cmu_mpi", {"n_stages": 2, "width": 2, "trunk_width": 1}),
    "body25": (
        "body25",
        {"n_paf_stages": 1, "n_heatmap_stages": 1, "widths": (2, 2), "hidden": (2, 2),
         "n_features": 2, "trunk_width": 1},
    ),
    "lightweight_coco": ("lightweight_coco", {"n_refinement_stages": 0, "width": 4}),
    "lightweight": ("lightweight", {"n_refinement_stages": 0, "width": 4}),
    "lightweight_batch_norm": (
        "lightweight_batch_norm", {"n_refinement_stages": 1, "width": 4},
    ),
    "mobilenet_v2": ("mobilenet_v2", {"n_refinement_stages": 0, "width": 4}),
    "lightweight_stride4": ("lightweight", {"n_refinement_stages": 0, "width": 4, "stride": 4}),
    "lightweight_strided": (
        "lightweight", {"n_refinement_stages": 0, "width": 4, "atrous": False, "stride": 16},
    ),
    "lightweight_strided_stride4": (
        "lightweight", {"n_refinement_stages": 0, "width": 4, "atrous": False, "stride": 4},
    ),
    "lightweight_factors": (
        "lightweight", {"width": 4, "hidden_width": 4, "ranks": [2, 2, 2]},
    ),
}  # fmt: skip


def all_positive(network: nn.Module) -> nn.Module:
    """Each layer an average, so that nothing that a cell sees is cancelled."""
    network = network.double().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def answers_to_impulses(network: nn.Module, cells: list[int], length: int) -> Tensor:
    """How much each of some cells of a row answers to a white px at each place of the row."""
    answers = []
    for start in range(0, length, 64):
        image = torch.zeros(64, 3, 8, length, dtype=torch.float64)
        image[range(64), :, 4, range(start, start + 64)] = 1
        with torch.inference_mode():
            heatmaps = network(image)[-1][0]  # (64, K+1, h, w)
        answers.append(heatmaps[:, 0].sum(dim=1)[:, cells])
    return torch.cat(answers)  # (length, cells)


def gradients(network: nn.Module, cells: list[int], length: int) -> Tensor:
    """The same for a network without poolings, where an answer is proportional to the impulse."""
    # So dark that no ReLU6 is at its end.
    image = torch.full((1, 3, 16, length), 1e-3, dtype=torch.float64, requires_grad=True)
    heatmaps = network(image)[-1][0]  # (1, K+1, h, w)
    rows = [
        torch.autograd.grad(heatmaps[0, 0, :, cell].sum(), image, retain_graph=True)[0]
        for cell in cells
    ]
    return torch.stack([row[0].sum(dim=(0, 1)) for row in rows], dim=1)  # (length, cells)


@pytest.mark.parametrize("case", SMALL)
def test_an_impulse_shows_where_a_cell_lies(case: str) -> None:
    name, options = SMALL[case]
    network = all_positive(build(name, **options))
    described = describe(network)
    period = 16 // described.stride  # a pyramid repeats its cells, so that neighbors differ
    middle = -(-described.receptive_field_px // 32) * period + period
    cells = list(range(middle, middle + period))
    length = -(-16 * (2 * middle // period + 1) // 64) * 64
    probe = answers_to_impulses if name in ("cmu_mpi", "body25") else gradients
    answers = probe(network, cells, length).numpy()
    firsts, lasts = [], []
    for cell, answer in zip(cells, answers.T, strict=True):
        seen = np.flatnonzero(answer) - described.stride * cell
        firsts.append(seen[0])
        lasts.append(seen[-1])
        if not case.endswith("stride4"):  # no pyramid in between
            center = (answer * np.arange(length)).sum() / answer.sum()
            assert center == pytest.approx(described.stride * cell + described.offset_px)
            assert seen[0] + seen[-1] == 2 * described.offset_px
    assert max(lasts) - min(firsts) + 1 == described.receptive_field_px
    assert (max(lasts) + min(firsts)) / 2 == described.offset_px


def test_rows_and_columns_lie_alike() -> None:
    """The same along y: an image turned over its diagonal turns the fields."""
    for case in SMALL:
        name, options = SMALL[case]
        network = all_positive(build(name, **options))
        image = images(48, 64).double()
        with torch.inference_mode():
            turned = network(image.transpose(2, 3))[-1][0].transpose(2, 3)
            torch.testing.assert_close(turned, network(image)[-1][0])


@pytest.mark.parametrize(
    ("name", "offset_px", "receptive_field_px"),
    [
        ("cmu_coco", 3.5, 1364),
        ("body25", 3.5, 1556),
        ("lightweight_coco", 0.0, 507),
        ("lightweight", 0.0, 507),
    ],
)
def test_description_of_the_published_sizes(
    name: str, offset_px: float, receptive_field_px: int
) -> None:
    with torch.device("meta"):
        network = build(name)
    described = describe(network)
    assert described.parameters == sum(p.numel() for p in network.parameters())
    assert (described.stride, described.offset_px) == (8, offset_px)
    assert described.receptive_field_px == receptive_field_px


def test_multiplications_of_a_network_that_can_be_counted_by_hand() -> None:
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 1, groups=2)
    )

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, x: Tensor) -> Stages:
            x = self.layers(x)
            return [(x, x)]

    network = Pair()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    described = describe(network, (16, 20))
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)
    macs = 16 * 20 * 8 * 27 + 8 * 10 * 6 * 4
    assert described.gmacs == pytest.approx(macs / 1e9)
    assert (described.stride, described.receptive_field_px, described.offset_px) == (2, 4, 0.5)
    with pytest.raises(ValueError, match="size_hw"):
        describe(Pair(), (0, 20))


def test_a_layer_that_cannot_be_followed_is_named() -> None:
    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Stages:
            x = nn.functional.pixel_unshuffle(x, 2)
            return [(x, x)]

    with pytest.raises(ValueError, match="expected supported layers, got 'pixel_uns"):
        describe(Turned())


def small(case: str) -> nn.Module:
    torch.manual_seed(0)
    name, options = SMALL[case]
    return build(name, **options).eval()


# MobileNetV2 cannot: its layers are a detector's, whose parts may lack.
@pytest.mark.parametrize("case", [case for case in SMALL if case != "mobilenet_v2"])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_networks_can_be_scripted(case: str) -> None:
    network = small(case)
    scripted = torch.jit.script(network)
    with torch.no_grad():
        for size in ((32, 40), (48, 24)):
            torch.testing.assert_close(scripted(images(*size)), network(images(*size)))


@pytest.mark.parametrize("case", SMALL)
def test_networks_can_be_exported(case: str) -> None:
    network = small(case)
    with torch.no_grad():
        exported = torch.export.export(network, (images(32, 40),))
        torch.testing.assert_close(exported.module()(images(32, 40)), network(images(32, 40)))


class LastStage(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(x)[-1]


# Each kind of layer once: to compile takes seconds.
@pytest.mark.parametrize(
    "case", ["body25", "lightweight_coco", "lightweight_strided_stride4", "mobilenet_v2"]
)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_networks_run_in_openvino(case: str) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    network = LastStage(small(case)).eval()
    image = images(48, 64)
    with torch.no_grad():
        model = openvino.convert_model(network, example_input=images(64, 64))
        expected = network(image)
    compiled = openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(image.numpy())
    for i, field in enumerate(expected):
        np.testing.assert_allclose(found[i], field.numpy(), rtol=1e-3, atol=1e-4)
