"""The weights of ``human-pose-estimation-0001`` of the Open Model Zoo in a network of ours.

That network (Apache-2.0, Intel) knows COCO18: 18 joints with a neck, and 19 limbs. Layers that do
not depend on the skeleton are taken as they are. Of the output layers the channels that both
skeletons have are taken, in our order; those of ours that are new start at zero, until
``new_limbs.py`` fits them by least squares.
"""

from __future__ import annotations

from pathlib import Path

import torch

from openpaf import Skeleton, weights
from openpaf.channels import CHANNEL_ORDERS
from openpaf.networks.lightweight import LightweightNetwork
from openpaf.networks.open_model_zoo import OpenModelZooNetwork

_SQUEEZE = "refinement_stages.0.body.0.squeeze.weight"  # reads the initial stage's fields
_N_HEATMAPS, _N_PAFS = 19, 38


def shared_channels(skeleton: Skeleton) -> dict[str, list[tuple[int, int, float]]]:
    """The channels that a skeleton shares with the Model Zoo's network.

    Returns:
        For ``"heatmaps"`` and ``"pafs"`` tuples of our channel, its channel (PAFs in the order of
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
            normalized as ``(x - 128) / 255``.
        path: The dequantized weights: keys ``<layer>.weight`` and ``<layer>.bias``.
        skeleton: The network's; with ``Skeleton.COCO18`` nothing is lost.

    Raises:
        WeightsError: If the file is missing, unreadable, or lacks a layer.
    """
    zoo = OpenModelZooNetwork(Skeleton.COCO18)
    weights.load(zoo, path)
    source, state = zoo.state_dict(), network.state_dict()
    outputs = tuple(name for name in source if name.split(".")[-2] == "out" and "stage" in name)
    state |= {k: v for k, v in source.items() if k not in outputs and k != _SQUEEZE}
    state["trunk.0.weight"] = state["trunk.0.weight"].flip(1)  # BGR to RGB
    order = [channel for pair in CHANNEL_ORDERS["cmu_coco18"].pafs for channel in pair]
    shared = shared_channels(skeleton)
    for name in outputs:
        field = name.split(".")[-3]
        theirs = source[name][order] if field == "pafs" else source[name]
        values = torch.zeros_like(state[name])
        for mine, other, sign in shared[field]:
            values[mine] = sign * theirs[other]
        state[name] = values
    # Theirs reads [pafs, heatmaps, features], ours [features, heatmaps, pafs].
    squeeze, weight = source[_SQUEEZE], torch.zeros_like(state[_SQUEEZE])
    pafs = squeeze[:, :_N_PAFS][:, order]
    width = weight.shape[1] - skeleton.n_joints - 1 - 2 * skeleton.n_limbs
    weight[:, :width] = squeeze[:, _N_PAFS + _N_HEATMAPS :]
    for mine, other, _ in shared["heatmaps"]:
        weight[:, width + mine] = squeeze[:, _N_PAFS + other]
    for mine, other, sign in shared["pafs"]:
        weight[:, width + skeleton.n_joints + 1 + mine] = sign * pafs[:, other]
    state[_SQUEEZE] = weight
    network.load_state_dict(state)
