"""Optimiser, schedule, and the precision that is fastest here."""

from __future__ import annotations

import math
import time
from typing import Protocol

import torch
from torch import nn

from openpaf.training.config import TrainConfig
from openpaf.training.muon import Muon

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Schedule(Protocol):
    """What a configuration says of its learning rate."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def warmup(self) -> int: ...
    @property
    def steps(self) -> int: ...


def learning_rate(config: Schedule, step: int) -> float:
    """The rate at a step: a linear rise, then half a cosine down to a twentieth."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)


def make_optimizer(
    network: nn.Module, config: TrainConfig, precision: torch.dtype = torch.float32
) -> torch.optim.Optimizer:
    """AdamW, SGD or Muon, with a rate of its own for the trunk; a trunk of rate 0 is frozen.

    Args:
        network: Its ``trunk`` is told from the rest, and frozen where the run says so.
        config: The run.
        precision: That of the run.
    """
    assert isinstance(network.trunk, nn.Module)  # every family names it so
    for layer in list(network.trunk.children())[: config.frozen_layers]:
        layer.requires_grad_(False)
    trunk = list(network.trunk.parameters())
    in_trunk = {id(parameter) for parameter in trunk}
    rest = [p for p in network.parameters() if id(p) not in in_trunk]
    if config.trunk_rate == 0:
        network.trunk.requires_grad_(False)
    groups = [{"params": rest, "factor": 1.0}]
    if config.trunk_rate > 0:
        groups.append({"params": trunk, "factor": config.trunk_rate})
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=rate, momentum=config.momentum, weight_decay=decay, nesterov=True
        )
    if config.optimizer == "muon":
        # float16 has not the range for it.
        chosen = torch.bfloat16 if precision == torch.bfloat16 else torch.float32
        return Muon(groups, lr=rate, weight_decay=decay, precision=chosen)
    return torch.optim.AdamW(groups, lr=rate, weight_decay=decay)


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """What the networks of a run compute in."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def choose_precision(name: str, network: nn.Module, crop_px: int) -> torch.dtype:
    """The precision of a run.

    Args:
        name: One of :data:`PRECISIONS`, or ``"auto"``: bfloat16 where it beats float32 on this
            very device. On many CPUs it is tens of times slower.
        network: On the device of the run.
        crop_px: Side of a crop.
    """
    if name != "auto":
        return PRECISIONS[name]
    device = next(network.parameters()).device
    images = torch.zeros(2, 3, crop_px, crop_px, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        for attempt in range(2):  # the first warms up
            start = time.monotonic()
            with autocast(device, dtype):
                stages = network(images)
            sum(h.float().mean() + p.float().mean() for h, p in stages).backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[dtype] = time.monotonic() - start
            if attempt == 0 and seconds[dtype] > 4 * seconds.get(torch.float32, math.inf):
                break  # so slow that there is no need to measure again
    network.zero_grad(set_to_none=True)
    faster = seconds[torch.bfloat16] < 0.9 * seconds[torch.float32]
    return torch.bfloat16 if faster else torch.float32
