"""Optimizer, schedule, and the precision that is fastest here."""

from __future__ import annotations

import math
import time

import torch
from torch import nn

from openpaf.training.config import OptimizerConfig
from openpaf.training.muon import Muon

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def learning_rate(config: OptimizerConfig, step: int) -> float:
    """The rate at a step: a linear rise, then half a cosine down to a twentieth."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)


def make_optimizer(
    network: nn.Module,
    trunk: nn.Module | None,
    config: OptimizerConfig,
    precision: torch.dtype = torch.float32,
) -> torch.optim.Optimizer:
    """AdamW, SGD or Muon, with a rate of its own for the trunk; what does not learn is frozen.

    Args:
        network: What learns.
        trunk: A part of it, if it has one that is told from the rest.
        config: Rates, and what is frozen.
        precision: That of the run.

    Raises:
        ValueError: If the trunk is to learn differently and there is none, or it has fewer layers.
    """
    if trunk is None and (key := config.changed("trunk_rate", "frozen_layers")):
        raise ValueError(f"optimizer.{key[0]}: expected the default, as the network has no trunk")
    trunk = trunk or nn.Sequential()
    layers = list(trunk.children())
    if config.frozen_layers > len(layers):
        raise ValueError(
            f"optimizer.frozen_layers: expected 0 to {len(layers)}, got {config.frozen_layers}"
        )
    for layer in layers if config.trunk_rate == 0 else layers[: config.frozen_layers]:
        layer.requires_grad_(False)
    of_trunk = list(trunk.parameters())
    in_trunk = set(map(id, of_trunk))
    rest = [p for p in network.parameters() if id(p) not in in_trunk]
    groups = [{"params": rest, "factor": 1.0}]
    if of_trunk and config.trunk_rate > 0:
        groups.append({"params": of_trunk, "factor": config.trunk_rate})
    rate, decay = config.learning_rate, config.weight_decay
    if config.name == "sgd":
        return torch.optim.SGD(
            groups,
            lr=rate,
            momentum=config.momentum,
            weight_decay=decay,
            nesterov=config.momentum > 0,
        )
    if config.name == "muon":
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
        network: Gives fields, on the device of the run.
        crop_px: Side of a crop.
    """
    if name != "auto":
        return PRECISIONS[name]
    device = next(network.parameters()).device
    images = torch.zeros(2, 3, crop_px, crop_px, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    seconds = {}
    network.eval()  # which leaves a batch norm's figures as they are
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
    network.train().zero_grad(set_to_none=True)
    faster = seconds[torch.bfloat16] < 0.9 * seconds[torch.float32]
    return torch.bfloat16 if faster else torch.float32
