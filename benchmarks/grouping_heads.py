"""Heads of one grouping on features of a frozen trunk, and their training, which can be resumed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from grouping_features import PlannedCrops
from grouping_methods import GRID, SKELETON, Arrays, Compared, make_grouping
from numpy.typing import NDArray
from torch import Tensor, nn

from openpaf.networks.fresh import HEAD_STD, fresh_weights
from openpaf.networks.lightweight import Head, conv3x3
from openpaf.networks.lightweight_groupings import PRIOR_LOGIT
from openpaf.training.config import OptimizerConfig
from openpaf.training.optimizer import learning_rate, make_optimizer

_WIDTH = 128  # channels of the features
_SAVE_EVERY = 50  # steps


class Heads(nn.Module):
    """A body as of the lightweight network's initial stage, and a head for each array.

    Arrays of finer cells than the features' come from the last layer, which then gives all cells
    within one (Shi et al., CVPR 2016, section 2.2).

    Args:
        compared: The grouping.
        rank: Of the body's 3x3 convolutions, which are factorized; None for whole ones.
        hidden: Hidden channels of all heads together, so that every grouping has as many.
    """

    def __init__(self, compared: Compared, *, rank: int | None, hidden: int) -> None:
        super().__init__()
        body: list[nn.Module] = []
        for _ in range(3):
            body += [conv3x3(_WIDTH, _WIDTH, rank), nn.ReLU()]
        self.body = nn.Sequential(*body)
        channels = compared.grouping.channels(SKELETON)
        self.finer = GRID.stride // compared.grid.stride
        self.heads = nn.ModuleList(
            Head(_WIDTH, hidden // len(channels), n * self.finer**2) for n in channels
        )
        self.names = compared.outputs
        self.is_logit = [compared.is_logit(name) for name in self.names]

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        shared = self.body(features)
        return tuple(
            nn.functional.pixel_shuffle(head(shared), self.finer) + PRIOR_LOGIT * is_logit
            for head, is_logit in zip(self.heads, self.is_logit, strict=True)
        )

    @torch.inference_mode()
    def arrays(self, features: NDArray[np.float16]) -> Arrays:
        """What :attr:`Compared.people` takes, of the features (128, h, w) of one image."""
        given = self(torch.from_numpy(features.astype(np.float32))[None])
        parts = zip(self.names, given, self.is_logit, strict=True)
        return {n: (torch.sigmoid(a) if logit else a)[0].numpy() for n, a, logit in parts}

    def start(self, features: Tensor) -> None:
        """Draw the first weights, by the features of some crops."""
        fresh_weights(self, features, ())
        for head in self.heads:
            assert isinstance(head, Head)
            nn.init.normal_(head.out.weight, std=HEAD_STD)
            nn.init.zeros_(head.out.bias)


class Learned(NamedTuple):
    """What is learned from: crops, and their features in the same order."""

    crops: PlannedCrops
    features: Sequence[NDArray[np.float16]]

    def batch(self, chosen: Sequence[int]) -> Tensor:
        """Features of some crops."""
        return torch.from_numpy(np.stack([self.features[i] for i in chosen]).astype(np.float32))


class Run(NamedTuple):
    """One training."""

    compared: Compared
    seed: int
    optimizer: OptimizerConfig
    rank: int | None
    hidden: int
    file: Path  # of its state
    factors: tuple[tuple[str, float], ...] = ()  # on parts of the loss, by name


def train(run: Run, learned: Learned, deadline: float) -> Heads | None:
    """Trained heads; None if the deadline came first, after which another call goes on."""
    torch.manual_seed(run.seed)
    heads = Heads(run.compared, rank=run.rank, hidden=run.hidden)
    heads.start(learned.batch(range(min(8, len(learned.features)))))
    grouping = make_grouping(run.compared, learned.crops.sets)
    optimizer = make_optimizer(heads, None, run.optimizer)
    first = 0
    if run.file.exists():
        state = torch.load(run.file, weights_only=True)
        heads.load_state_dict(state["heads"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    parts: dict[str, float] = {}
    for step in range(first, run.optimizer.steps):
        chosen = _draw(run, step, len(learned.features))
        targets = [grouping.targets(learned.crops.plan(i)) for i in chosen]
        stacked = {n: torch.from_numpy(np.stack([t[n] for t in targets])) for n in targets[0]}
        stacked = {n: a.float() if a.dtype == torch.bool else a for n, a in stacked.items()}
        losses = grouping.loss([heads(learned.batch(chosen))], stacked)
        for name, factor in run.factors:
            losses[name] = factor * losses[name]
        _step(heads, optimizer, run.optimizer, step, losses)
        for name, value in losses.items():
            parts[name] = 0.9 * parts.get(name, value.item()) + 0.1 * value.item()
        is_late = time.monotonic() > deadline
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == run.optimizer.steps or is_late:
            _save(run.file, heads, optimizer, step + 1)
            told = ", ".join(f"{name} {value:.4f}" for name, value in parts.items())
            print(f"{run.file.stem}, step {step + 1}: {told}", flush=True)
        if is_late and step + 1 < run.optimizer.steps:
            return None
    return heads.eval()


def _draw(run: Run, step: int, n_crops: int) -> list[int]:
    """The crops of a step: all are seen once before one is seen again."""
    size = run.optimizer.batch_size
    places = range(step * size, (step + 1) * size)
    orders = {
        epoch: np.random.default_rng((run.seed, epoch)).permutation(n_crops)
        for epoch in {place // n_crops for place in places}
    }
    return [int(orders[place // n_crops][place % n_crops]) for place in places]


def _step(
    heads: Heads,
    optimizer: torch.optim.Optimizer,
    config: OptimizerConfig,
    step: int,
    losses: dict[str, Tensor],
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, step)
    optimizer.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()
    nn.utils.clip_grad_norm_(heads.parameters(), config.clip)
    optimizer.step()


def _save(file: Path, heads: Heads, optimizer: torch.optim.Optimizer, step: int) -> None:
    partial = file.with_suffix(".partial")
    state = {"step": step, "heads": heads.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, partial)
    partial.replace(file)
