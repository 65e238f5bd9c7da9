"""What a network takes over from one of other joints, or from a classifier of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.errors import WeightsError
from openpaf.weights.checkpoints import compare, open_checkpoint, read_state
from openpaf.weights.outline import outline
from openpaf.weights.spec import ModelSpec
from openpaf.weights.stored import some

if TYPE_CHECKING:
    from torch import Tensor, nn

# The convolutions of torchvision's VGG-19 by their names in CMU's networks, and what torchvision
# normalizes RGB of 0 to 1 with; CMU's names are also those of VGG's own Caffe file.
_VGG = {
    "features.0": "conv1_1", "features.2": "conv1_2", "features.5": "conv2_1",
    "features.7": "conv2_2", "features.10": "conv3_1", "features.12": "conv3_2",
    "features.14": "conv3_3", "features.16": "conv3_4", "features.19": "conv4_1",
    "features.21": "conv4_2",
}  # fmt: skip
_MANY_CLASSES = 12_345  # as no detector has
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def layers_of_skeleton(spec: ModelSpec, path: Path) -> set[str]:
    """Names of the layers of a network whose shapes follow from its joints and limbs."""
    ours = spec.skeleton
    larger = replace(
        ours,
        joints=(*ours.joints, "one more joint"),
        limbs=(*ours.limbs, (0, ours.n_joints)),
        oks_sigmas=(*ours.oks_sigmas, 1.0),
    )
    more = replace(spec, skeleton=larger, channel_order=None)
    shapes = [outline(one, path).state_dict() for one in (spec, more)]
    differ = (key for key, value in shapes[0].items() if value.shape != shapes[1][key].shape)
    return {key.rpartition(".")[0] for key in differ}


def load_shared(network: nn.Module, spec: ModelSpec, path: Path) -> tuple[list[str], list[str]]:
    """Fill the layers of a network that are of use for any joints from a model of others.

    These are the ones that run before its first joints or limbs are given. The last of them is
    left out too: what it gives is nothing where none of the model's joints are, so that little
    would be learned through it. Later layers would be given other numbers than those that they
    have learned from.

    Args:
        network: As the model's, but for its joints and limbs; changed in place. Its layers are
            registered in the order in which they run.
        spec: Of the model.
        path: Of its weights.

    Returns:
        Names of the layers that were filled, and of those that are left as they were.

    Raises:
        WeightsError: If the file cannot be read, or does not fit its own description.
    """
    of_joints = layers_of_skeleton(spec, path)
    layers = list(dict.fromkeys(key.rpartition(".")[0] for key in network.state_dict()))
    first = min(layers.index(name) for name in of_joints)
    taken = set(layers[: first - 1])
    with open_checkpoint(path) as state:
        stored = compare(outline(spec, path), state, path)
        values = {k: one.read() for k, one in stored.items() if k.rpartition(".")[0] in taken}
    return _fill(network, values, path), [name for name in layers if name not in taken]


def load_detector(network: nn.Module, spec: ModelSpec, path: Path) -> list[str]:
    """Fill the layers of a detector that are of use for any classes from one of others.

    These are all but those whose shapes follow from the number of classes.

    Args:
        network: As the model's, but for its number of classes; changed in place.
        spec: Of the model.
        path: Of its weights.

    Returns:
        Names of the layers that are left as they were.

    Raises:
        WeightsError: If the file cannot be read, or does not fit its own description.
    """
    more = replace(spec, options={**spec.options, "num_classes": _MANY_CLASSES})
    ours, theirs = (outline(one, path).state_dict() for one in (spec, more))
    shared = {key for key, value in ours.items() if value.shape == theirs[key].shape}
    with open_checkpoint(path) as state:
        stored = compare(outline(spec, path), state, path)
        values = {key: one.read() for key, one in stored.items() if key in shared}
    taken = _fill(network, values, path)
    layers = dict.fromkeys(key.rpartition(".")[0] for key in network.state_dict())
    return [name for name in layers if name not in taken]


def load_trunk(network: nn.Module, path: str | Path) -> list[str]:
    """Fill the trunk of a network from a classifier of ImageNet.

    Args:
        network: Changed in place. Its trunk is MobileNetV2, filled from ``mobilenet_v2_1.0.npz``;
            or VGG, from torchvision's ``vgg19`` or the Caffe file of its authors; or its layers
            have the names of the classifier's, as ``lightweight_coco`` those of MobileNet.
        path: The file.

    Returns:
        Names of the layers that were filled.

    Raises:
        WeightsError: If the file cannot be read, or has none of the network's layers.
    """
    from openpaf.networks.rcnn.mobilenet import MobileNetV2
    from openpaf.weights.imagenet import load_imagenet

    for name, trunk in network.named_modules():
        if isinstance(trunk, MobileNetV2):
            load_imagenet(trunk, path)
            return [f"{name}.{key.rpartition('.')[0]}" for key in trunk.state_dict()]
    state = read_state(path)
    if {"features.0.weight", "features.0.bias"} <= set(state):
        state = _of_torchvision(state)
    return _fill(network, state, Path(path))


def _of_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Its layers by our names, the first for inputs that are (x - 128) / 255."""
    import torch

    ours = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        ours[f"{_VGG.get(layer, layer)}.{kind}"] = value
    mean, std = torch.tensor(_MEAN), torch.tensor(_STD)
    weight = ours["conv1_1.weight"] / std[:, None, None]
    shift = (weight * (128 / 255 - mean)[:, None, None]).sum(dim=(1, 2, 3))
    return {**ours, "conv1_1.weight": weight, "conv1_1.bias": ours["conv1_1.bias"] + shift}


def _fill(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> list[str]:
    """Fill the layers of a network that a file has in the same shapes."""
    import torch

    ours = network.state_dict()
    values = {k: v.to(ours[k].dtype) for k, v in state.items()
              if k in ours and v.shape == ours[k].shape}  # fmt: skip
    if not values:
        raise WeightsError(f"{path}: has no layer of the network; it has {some(sorted(state))}")
    broken = sorted(key for key, value in values.items() if not torch.isfinite(value).all())
    if broken:
        raise WeightsError(
            f"{path}: expected finite numbers, found NaN or infinity in: {some(broken)}"
        )
    network.load_state_dict(values, strict=False)
    return sorted({key.rpartition(".")[0] for key in values})
