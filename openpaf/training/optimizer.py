"""Optimizer, schedule, and the precision that is fastest here."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from openpaf.training.config import OptimizerConfig

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_MOMENTUM = 0.9


def learning_rate(config: OptimizerConfig, step: int) -> float:
    """The rate at a step: a linear rise, then half a cosine down to a twentieth."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)


def make_optimizer(
    network: nn.Module, trunk: nn.Module | None, config: OptimizerConfig
) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov's momentum, for the groups of :func:`parameter_groups`."""
    groups = parameter_groups(network, trunk, config.trunk_rate)
    rate, decay = config.learning_rate, config.weight_decay
    if config.name == "sgd":
        return torch.optim.SGD(
            groups, lr=rate, momentum=_MOMENTUM, weight_decay=decay, nesterov=True
        )
    return torch.optim.AdamW(groups, lr=rate, weight_decay=decay)


def parameter_groups(
    network: nn.Module, trunk: nn.Module | None, trunk_rate: float
) -> list[dict[str, Any]]:
    """What learns, each group with the ``factor`` of its rate; a trunk of rate 0 is frozen.

    Args:
        network: What learns.
        trunk: A part of it, if it has one that is told from the rest.
        trunk_rate: The trunk's factor.

    Raises:
        ValueError: If the trunk is to learn differently and there is none.
    """
    if trunk is None:
        if trunk_rate != 1:
            raise ValueError("optimizer.trunk_rate: expected 1, as the network has no trunk")
        trunk = nn.Sequential()
    if trunk_rate == 0:
        trunk.requires_grad_(False)
    of_trunk = list(trunk.parameters())
    in_trunk = set(map(id, of_trunk))
    rest = [p for p in network.parameters() if id(p) not in in_trunk]
    groups: list[dict[str, Any]] = [{"params": rest, "factor": 1.0}]
    if of_trunk and trunk_rate > 0:
        groups.append({"params": of_trunk, "factor": trunk_rate})
    return groups


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """What the networks of a run compute in."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def keep_gradients_exact(network: nn.Module) -> None:
    """Have dilated depthwise convolutions on a CPU computed in float32, whatever the precision.

    Of images in the order of channels_last, oneDNN of torch 2.13 gives their weights a gradient in
    bfloat16 that is none: other numbers each time, infinity among them.

    Args:
        network: On the device of the run; changed in place.
    """
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d) or layer.weight.device.type != "cpu":
            continue
        if layer.groups > 1 and max(layer.dilation) > 1:
            layer.forward = partial(_in_float32, layer)  # type: ignore[method-assign]


def _in_float32(layer: nn.Conv2d, images: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return nn.Conv2d.forward(layer, images.float())


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
