"""Start the lightweight network from ``human-pose-estimation-0001`` of the Open Model Zoo.

That network (Apache-2.0, Intel) knows COCO18: 18 joints with a neck, and 19 limbs. Layers that do
not depend on the skeleton are taken as they are. Of the output layers the channels that both
skeletons have are taken, in our order; those of ours that are new start at zero, and what the
refinement stage read of those that we drop is forgotten, until :mod:`openpaf.training.heads`
fits both by least squares.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from openpaf.channels import CHANNEL_ORDERS
from openpaf.errors import WeightsError
from openpaf.networks.lightweight import LightweightNetwork
from openpaf.networks.open_model_zoo import LAYERS
from openpaf.skeleton import Skeleton
from openpaf.weights.checkpoints import read_state

_SQUEEZE = "refinement_stages.0.body.0.squeeze"
_OUTPUTS = {
    ("initial_stage", "heatmaps"): "conv5_5_CPM_L2",
    ("initial_stage", "pafs"): "conv5_5_CPM_L1",
    ("refinement_stages.0", "heatmaps"): "Mconv7_stage2_L2",
    ("refinement_stages.0", "pafs"): "Mconv7_stage2_L1",
}
# The layers that do not depend on the skeleton.
_LAYERS = {
    ours: theirs
    for ours, theirs in LAYERS.items()
    if ours != _SQUEEZE and theirs not in _OUTPUTS.values()
}


def shared_channels(skeleton: Skeleton) -> dict[str, list[tuple[int, int, float]]]:
    """The channels that a skeleton shares with the Model Zoo's network.

    Returns:
        For ``"heatmaps"`` and ``"pafs"`` rows of our channel, its channel (PAFs in the order of
        ``Skeleton.COCO18.limbs``), and the sign (-1 where a limb runs the other way).
    """
    theirs = Skeleton.COCO18
    heatmaps = [
        (k, theirs.index(name), 1.0)
        for k, name in enumerate(skeleton.joints)
        if name in theirs.joints
    ]
    heatmaps.append((skeleton.n_joints, theirs.n_joints, 1.0))  # background
    named = {
        (theirs.joints[a], theirs.joints[b]): (2 * i, 2 * i + 1)
        for i, (a, b) in enumerate(theirs.limbs)
    }
    pafs = []
    for i, (a, b) in enumerate(skeleton.limbs):
        limb = (skeleton.joints[a], skeleton.joints[b])
        for pair, sign in ((limb, 1.0), (limb[::-1], -1.0)):
            if pair in named:
                pafs += [(2 * i + axis, named[pair][axis], sign) for axis in (0, 1)]
    return {"heatmaps": heatmaps, "pafs": pafs}


def load_open_model_zoo(network: LightweightNetwork, path: str | Path, skeleton: Skeleton) -> None:
    """Fill a lightweight network with one refinement stage from ``hpe0001_fp16.npz``.

    Args:
        network: Changed in place. Its input becomes RGB, where the Model Zoo's is BGR; both are
            normalised as ``(x - 128) / 255``.
        path: The dequantised weights: keys ``<layer>.weight`` and ``<layer>.bias``.
        skeleton: The skeleton that the network was built with; with ``Skeleton.COCO18`` nothing
            is lost and the network is the Model Zoo's.

    Raises:
        WeightsError: If the file is missing, unreadable, or lacks a layer.
    """
    source = _in_limb_order(_read(path))
    state = network.state_dict()
    for ours, theirs in _LAYERS.items():
        _copy(state, ours, source, theirs)
    state["trunk.0.weight"] = state["trunk.0.weight"].flip(1)  # BGR to RGB
    shared = shared_channels(skeleton)
    for (stage, field), theirs in _OUTPUTS.items():
        for name in ("weight", "bias"):
            values = torch.zeros_like(state[f"{stage}.{field}.out.{name}"])
            for mine, other, sign in shared[field]:
                values[mine] = sign * torch.as_tensor(source[f"{theirs}.{name}"][other])
            state[f"{stage}.{field}.out.{name}"] = values
    # Theirs reads [pafs 38, heatmaps 19, features], ours [features, heatmaps, pafs].
    squeeze = torch.from_numpy(source["Mconv1_stage2_L1/sq.weight"])
    weight = torch.zeros_like(state[f"{_SQUEEZE}.weight"])
    width = weight.shape[1] - skeleton.n_joints - 1 - 2 * skeleton.n_limbs
    weight[:, :width] = squeeze[:, 57:]
    for mine, other, _ in shared["heatmaps"]:
        weight[:, width + mine] = squeeze[:, 38 + other]
    for mine, other, sign in shared["pafs"]:
        weight[:, width + skeleton.n_joints + 1 + mine] = sign * squeeze[:, other]
    state[f"{_SQUEEZE}.weight"] = weight
    state[f"{_SQUEEZE}.bias"] = torch.from_numpy(source["Mconv1_stage2_L1/sq.bias"])
    network.load_state_dict(state)


def _read(path: str | Path) -> dict[str, NDArray[np.float32]]:
    return {key: value.float().numpy() for key, value in read_state(path).items()}


def _in_limb_order(source: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The weights with PAF channels in the order of ``Skeleton.COCO18.limbs``."""
    order = [channel for pair in CHANNEL_ORDERS["cmu_coco18"].pafs for channel in pair]
    try:
        for theirs in ("conv5_5_CPM_L1", "Mconv7_stage2_L1"):
            for name in ("weight", "bias"):
                source[f"{theirs}.{name}"] = source[f"{theirs}.{name}"][order]
        squeeze = source["Mconv1_stage2_L1/sq.weight"].copy()
        squeeze[:, :38] = squeeze[:, order]
    except (KeyError, IndexError) as error:
        raise WeightsError(f"not the layers of human-pose-estimation-0001: {error}") from error
    source["Mconv1_stage2_L1/sq.weight"] = squeeze
    return source


def _copy(
    state: dict[str, torch.Tensor],
    ours: str,
    source: dict[str, NDArray[np.float32]],
    theirs: str,
) -> None:
    for name in ("weight", "bias"):
        key = f"{theirs}.{name}"
        if key not in source or source[key].shape != tuple(state[f"{ours}.{name}"].shape):
            found = source[key].shape if key in source else "nothing"
            raise WeightsError(
                f"{key}: expected {tuple(state[f'{ours}.{name}'].shape)}, found {found}"
            )
        state[f"{ours}.{name}"] = torch.from_numpy(source[key])
