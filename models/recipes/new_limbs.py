"""Fit new output channels by least squares, before anything else of a network is trained.

The last layer of a head is linear, so the best channels for a frozen network have a closed form:
one pass over some crops, and one solve. It is the safe start for a skeleton that the initial
weights do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

from openpaf.networks.lightweight import Head, LightweightNetwork, RefinementBlock, Stage
from openpaf.skeleton import Skeleton
from openpaf.training.data.batches import Batch
from openpaf.training.open_model_zoo import shared_channels


class LeastSquares:
    """Weighted ridge regression from sums over batches, so that no cell is kept.

    Args:
        n_inputs: Length of an input row, the constant not counted.
        n_outputs: Length of an output row; even. Outputs come in pairs, the two axes of a limb,
            which share weights and so a matrix.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        self.gram = torch.zeros(n_outputs // 2, n_inputs + 1, n_inputs + 1, dtype=torch.float64)
        self.moment = torch.zeros(n_outputs, n_inputs + 1, dtype=torch.float64)

    def add(self, inputs: Tensor, outputs: Tensor, weights: Tensor) -> None:
        """Add fields (B, C, h, w), (B, D, h, w), and the weights (B, D, h, w) of the outputs."""
        rows = inputs.permute(0, 2, 3, 1).reshape(-1, inputs.shape[1])
        rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
        wanted = outputs.permute(1, 0, 2, 3).reshape(outputs.shape[1], -1)
        weight = weights.permute(1, 0, 2, 3).reshape(outputs.shape[1], -1)
        whole = rows.T @ rows
        for channel in range(len(wanted)):
            left_out = weight[channel] == 0  # the few cells left out are taken away again
            if channel % 2 == 0:
                gone = rows[left_out]
                self.gram[channel // 2] += (whole - gone.T @ gone).double()
            kept = torch.where(left_out, torch.zeros(()), wanted[channel])
            self.moment[channel] += (rows.T @ kept).double()

    def solve(self, ridge: float = 1e-4) -> tuple[Tensor, Tensor]:
        """Weights (D, C) and biases (D,); ``ridge`` is relative to the mean squared input."""
        solution = np.empty(self.moment.shape, np.float32)
        for pair, gram in enumerate(self.gram.numpy()):
            gram = gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
            moments = self.moment[2 * pair : 2 * pair + 2].numpy()
            solution[2 * pair : 2 * pair + 2] = scipy.linalg.solve(
                gram, moments.T, assume_a="pos"
            ).T
        return torch.from_numpy(solution[:, :-1]), torch.from_numpy(solution[:, -1])


def new_paf_channels(skeleton: Skeleton) -> list[int]:
    """PAF channels of a skeleton that the Open Model Zoo network does not have."""
    known = {row[0] for row in shared_channels(skeleton)["pafs"]}
    return [channel for channel in range(2 * skeleton.n_limbs) if channel not in known]


@torch.no_grad()
def fit_new_limbs(
    network: LightweightNetwork,
    teacher: LightweightNetwork,
    skeleton: Skeleton,
    batches: Callable[[], Iterable[Batch]],
) -> None:
    """Fit the limbs that are new, and what the refinement stage loses with those that go.

    Args:
        network: Filled by :func:`~openpaf.training.open_model_zoo.load_open_model_zoo` with one
            refinement stage; changed in place.
        teacher: The same weights as COCO18; its hidden features are what the channels are fitted
            to.
        skeleton: The network's.
        batches: Called once for each of two passes; the batches' labels are the targets.
    """
    new = new_paf_channels(skeleton)
    stages = (
        (network.initial_stage.pafs, teacher.initial_stage.pafs),
        (_refinement(network).pafs, _refinement(teacher).pafs),
    )
    fits = [LeastSquares(theirs.out.in_channels, len(new)) for _, theirs in stages]
    hidden = [_Recorder(theirs) for _, theirs in stages]
    for batch in batches():
        teacher((batch.images - 128) / 255)
        for fit, recorder in zip(fits, hidden, strict=True):
            fit.add(recorder.features(), batch.pafs[:, new], batch.paf_weights[:, new])
    for recorder in hidden:
        recorder.close()
    for fit, (ours, _) in zip(fits, stages, strict=True):
        weight, bias = fit.solve()
        ours.out.weight[new] = weight[:, :, None, None]
        assert ours.out.bias is not None  # every convolution of this network has one
        ours.out.bias[new] = bias
    _fold_dropped_channels(network, teacher, skeleton, batches)


def _fold_dropped_channels(
    network: LightweightNetwork,
    teacher: LightweightNetwork,
    skeleton: Skeleton,
    batches: Callable[[], Iterable[Batch]],
) -> None:
    """Give the refinement stage, from the channels it has, what it used to read of the neck."""
    shared = shared_channels(skeleton)
    kept_heatmaps = {row[1] for row in shared["heatmaps"]}
    kept_pafs = {row[1] for row in shared["pafs"]}
    gone_heatmaps = [k for k in range(Skeleton.COCO18.n_joints + 1) if k not in kept_heatmaps]
    gone_pafs = [k for k in range(2 * Skeleton.COCO18.n_limbs) if k not in kept_pafs]
    if not gone_heatmaps and not gone_pafs:
        return
    squeeze = _squeeze(network)
    theirs = _squeeze(teacher).weight[:, :, 0, 0]
    width = theirs.shape[1] - 19 - 38
    columns = [width + k for k in gone_heatmaps] + [width + 19 + k for k in gone_pafs]
    columns += columns[-1:] * (len(columns) % 2)  # pairs
    fit = LeastSquares(squeeze.in_channels, len(columns))
    for batch in batches():
        features = network.features((batch.images - 128) / 255)
        have = torch.cat([features, *network.initial_stage(features)], dim=1)
        dropped = torch.cat([features, *teacher.initial_stage(features)], dim=1)[:, columns]
        fit.add(have, dropped, torch.ones_like(dropped))
    weight, bias = fit.solve()
    n_dropped = len(gone_heatmaps) + len(gone_pafs)
    read = theirs[:, columns[:n_dropped]]
    squeeze.weight += (read @ weight[:n_dropped])[:, :, None, None]
    assert squeeze.bias is not None
    squeeze.bias += read @ bias[:n_dropped]


def _refinement(network: LightweightNetwork) -> Stage:
    return cast(Stage, network.refinement_stages[0])


def _squeeze(network: LightweightNetwork) -> nn.Conv2d:
    """The layer by which the refinement stage reads the initial stage's fields."""
    body = cast(nn.Sequential, _refinement(network).body)
    return cast(RefinementBlock, body[0]).squeeze


class _Recorder:
    """Keeps the hidden features of a head as they pass."""

    def __init__(self, head: Head) -> None:
        self._kept: Tensor | None = None
        self._handle = head.hidden.register_forward_hook(self._keep)

    def _keep(self, module: object, inputs: object, output: Tensor) -> None:
        self._kept = output.relu()

    def features(self) -> Tensor:
        assert self._kept is not None
        return self._kept

    def close(self) -> None:
        self._handle.remove()
