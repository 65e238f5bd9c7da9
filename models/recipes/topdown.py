"""The networks of the top-down models, from the files that PaddleDetection and MMDetection give.

    python models/recipes/topdown.py FOLDER [--output models]

reads ``tinypose_256_192.xml``, ``tinypose_128_96.xml``, ``picodet_v2_s_320_pedestrian.xml``,
``picodet_v2_s_192_pedestrian.xml`` (OpenVINO, each with its ``.bin``) and ``rtmdet-nano.onnx``, and
writes each as safetensors in float16, with its card. Nothing is trained. A file is a graph whose
layers have no names of ours: its convolutions, in the order of the network that it was exported
from, are those of our network in the order in which it defines them, shape by shape.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openpaf import Skeleton, weights
from openpaf.geometry import Grid
from openpaf.networks import build
from openpaf.weights.hashing import sha256_of

#: Weight and bias of a convolution.
Conv = tuple[NDArray[np.float32], NDArray[np.float32]]

_PADDLE = "PaddleDetection (Copyright PaddlePaddle Authors, Apache-2.0)"
_MM = "MMDetection (Copyright OpenMMLab, Apache-2.0)"
_CROP = "a crop of one person, RGB of 0 to 1, normalized by the network as ImageNet's photos are"
_STRETCHED = "the image stretched to {size}, RGB of 0 to 1, normalized by the network as ImageNet's"
_HEATMAPS = "17 heatmaps, a cell every 4 px of the crop, cell 0 at {offset:g} px"
_BOXES = "boxes of people and their scores, {n} for each cell of a level, before any suppression"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a file becomes a model.

    Args:
        file: Its name.
        builder: Our network.
        read: From the file's path to its convolutions in our order.
        size_hw: Height and width of the input in px; None for any.
        title: What the network is.
        papers: Of it.
        origin: Whose it is.
        takes: Its input, in words.
        gives: Its output, in words.
        scale: As in :class:`openpaf.weights.ModelSpec`.
        bgr: As there.
    """

    file: str
    builder: str
    read: Callable[[Path], list[Conv]]
    size_hw: tuple[int, int] | None
    title: str
    papers: str
    origin: str
    takes: str
    gives: str
    scale: float = 255.0
    bgr: bool = False


def read_openvino(path: Path) -> list[tuple[str, str, Conv]]:
    """The convolutions of an OpenVINO file: name, name of the addition after it, numbers."""
    import openvino

    def constant(output: Any) -> NDArray[np.float32]:
        node = output.get_node()
        while node.get_type_name() == "Convert":
            node = node.input_value(0).get_node()
        return np.asarray(node.get_data(), np.float32)

    convs = []
    for node in openvino.Core().read_model(str(path)).get_ordered_ops():
        if node.get_type_name() not in ("Convolution", "GroupConvolution"):
            continue
        weight = constant(node.input_value(1))
        if weight.ndim == 5:  # groups, outputs of a group, inputs of a group, height, width
            weight = weight.reshape(-1, *weight.shape[2:])
        (target,) = node.output(0).get_target_inputs()
        add = target.get_node()
        bias = constant(add.input_value(1)).ravel()
        convs.append((node.get_friendly_name(), add.get_friendly_name(), (weight, bias)))
    return convs


def read_tinypose(path: Path) -> list[Conv]:
    """PP-TinyPose: its batch norms are numbered as the network defines them, the head is last."""

    def number(conv: tuple[str, str, Conv]) -> float:
        match = re.match(r"batch_norm2d_(\d+)", conv[1])
        return float(match.group(1)) if match else np.inf

    return [numbers for _, _, numbers in sorted(read_openvino(path), key=number)]


def read_picodet(path: Path) -> list[Conv]:
    """PicoDet: convolutions without a batch norm have their place as number, the others fill up."""
    convs = read_openvino(path)
    placed = {int(name.split("_")[1]): c for name, _, c in convs if name.startswith("Conv_")}
    rest = sorted(
        (int(add.split("_")[1]), i) for i, (name, add, _) in enumerate(convs)
        if not name.startswith("Conv_")
    )  # fmt: skip
    normalized = iter(convs[i][2] for _, i in rest)
    return [placed[i] if i in placed else next(normalized) for i in range(len(convs))]


def read_rtmdet(path: Path) -> list[Conv]:
    """RTMDet: nodes of an ONNX file are in the order in which they run."""
    import onnx

    graph = onnx.load(path).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convs = [node.input for node in graph.node if node.op_type == "Conv"]
    return [(arrays[weight], arrays[bias]) for _, weight, bias in convs]


def fill(network: nn.Module, convs: list[Conv]) -> dict[str, Tensor]:
    """Fill a network with convolutions in the order of its definition; gives its state.

    Raises:
        ValueError: If their number or a shape differs.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for layer, (weight, bias) in zip(layers, convs, strict=True):
        assert layer.bias is not None
        if layer.weight.shape != weight.shape or layer.bias.shape != bias.shape:
            raise ValueError(f"expected {tuple(layer.weight.shape)}, found {weight.shape}")
        layer.weight.data = torch.from_numpy(np.array(weight, np.float32))
        layer.bias.data = torch.from_numpy(np.array(bias, np.float32))
    return network.state_dict()


# Where the joints of COCO train2017 lie beside the cells: the grid of DARK, cell i at 4 i px. (That
# of UDP would have cells (n - 1) / (n / 4 - 1) px apart; fitted: 3.98 to 4.03 px.)
_OFFSET_PX = 0.0


def _tinypose(size_hw: tuple[int, int]) -> Recipe:
    height, width = size_hw
    return Recipe(
        file=f"tinypose_{height}_{width}.xml",
        builder="lite_hrnet",
        read=read_tinypose,
        size_hw=size_hw,
        title="PP-TinyPose: the joints of the one person in a crop",
        papers="Lite-HRNet (Yu et al., CVPR 2021) with an iterative head; "
        "trained for DARK (Zhang et al., CVPR 2020)",
        origin=_PADDLE,
        takes=_CROP,
        gives=_HEATMAPS.format(offset=_OFFSET_PX),
    )


def _picodet(side: int) -> Recipe:
    return Recipe(
        file=f"picodet_v2_s_{side}_pedestrian.xml",
        builder="picodet",
        read=read_picodet,
        size_hw=(side, side),
        title="PicoDet-S, second version, for people: boxes of people",
        papers="PP-PicoDet (Yu et al., 2021), with an LCNet trunk",
        origin=_PADDLE,
        takes=_STRETCHED.format(size=f"{side} x {side} px"),
        gives=_BOXES.format(n="one"),
    )


RECIPES = {
    "tinypose-256x192": _tinypose((256, 192)),
    "tinypose-128x96": _tinypose((128, 96)),
    "picodet-s-320": _picodet(320),
    "picodet-s-192": _picodet(192),
    "rtmdet-nano": Recipe(
        file="rtmdet-nano.onnx",
        builder="rtmdet",
        read=read_rtmdet,
        size_hw=None,
        title="RTMDet-nano for people: boxes of people",
        papers="RTMDet (Lyu et al., 2022)",
        origin=_MM,
        takes="the image in its own aspect, padded with 114 to a multiple of 32 px, BGR of 0 to "
        "255, normalized by the network",
        gives=_BOXES.format(n="one"),
        scale=1.0,
        bgr=True,
    ),
}

_CARD = """\
# {name}

{title}. A part of top-down models, such as [topdown](topdown.md), and no model
alone; a pair of your own may name it, too (`openpaf.weights.pairs`).

| | |
|---|---|
| file | `{name}.safetensors`, float16, sha256 `{sha256}` |
| network | `openpaf.networks.{network}`, {parameters:,} parameters, batch norms folded in |
| paper | {papers} |
| input | {takes} |
| output | {gives} |
| licence | Apache-2.0 |

## Origin

`{numbers}` of {origin},
sha256 `{source_sha256}`.
Nothing was trained here: `models/recipes/topdown.py` takes the numbers of its convolutions. In
float32 the network gives what that file gives in OpenVINO, within 1e-4;
`tests/test_topdown_pair.py` compares them.
"""


def make(name: str, recipe: Recipe, folder: Path, output: Path) -> None:
    """Write a model and its card."""
    source = folder / recipe.file
    skeleton = Skeleton.COCO17
    network = build(recipe.builder, skeleton)
    state = fill(network, recipe.read(source))
    joints = recipe.builder == "lite_hrnet"
    spec = weights.ModelSpec(
        name=name,
        builder=recipe.builder,
        options={},
        skeleton=skeleton,
        heatmap_grid=Grid(4, _OFFSET_PX) if joints else Grid(1, 0.0),
        paf_grid=Grid(1, 0.0),
        mean=0.0,
        scale=recipe.scale,
        bgr=recipe.bgr,
        licence="Apache-2.0",
        metrics={},
        size_hw=recipe.size_hw,
    )
    path = output / f"{name}.safetensors"
    weights.save(state, path, spec)
    numbers = source.with_suffix(".bin") if source.suffix == ".xml" else source
    card = _CARD.format(
        name=name,
        title=recipe.title,
        sha256=sha256_of(path),
        network=type(network).__name__,
        parameters=sum(value.numel() for value in state.values()),
        papers=recipe.papers,
        takes=recipe.takes,
        gives=recipe.gives,
        numbers=numbers.name,
        origin=recipe.origin,
        source_sha256=sha256_of(numbers),
    )
    path.with_suffix(".md").write_text(card, encoding="utf-8")


def main() -> None:
    """Write all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("models"))
    arguments = parser.parse_args()
    for name, recipe in RECIPES.items():
        make(name, recipe, arguments.folder, arguments.output)


if __name__ == "__main__":
    main()
