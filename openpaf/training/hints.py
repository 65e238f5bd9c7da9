"""Hints: a student's hidden features are drawn to its teacher's, not only its fields.

A network made of a larger one keeps the width of the features that its stages share, so that
they can be compared channel for channel. Every part then learns from a target of its own, which
takes far fewer steps than to learn from the fields alone.

Reference:
    Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from openpaf.networks.lightweight import LightweightNetwork, Stage


class Hints:
    """Compares the shared features of two networks.

    Args:
        student: The network in training.
        teacher: A network of the same width and number of stages.

    Raises:
        ValueError: If the widths or the stages differ.
    """

    def __init__(self, student: LightweightNetwork, teacher: LightweightNetwork) -> None:
        self._student, self._teacher = _Recorder(student), _Recorder(teacher)
        widths = [_widths(network) for network in (student, teacher)]
        if widths[0] != widths[1]:
            raise ValueError(
                f"teacher: hints need features of the widths {widths[0]}, got {widths[1]}"
            )

    def loss(self) -> Tensor:
        """Mean squared error of the features of the last calls of both, over their variance."""
        pairs = zip(self._student.kept, self._teacher.kept, strict=True)
        return torch.stack([hint(ours, theirs) for ours, theirs in pairs]).mean()


def hint(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean squared error of features, over the variance of the teacher's."""
    wanted = theirs.detach().float()
    return (ours.float() - wanted).square().mean() / wanted.var().clamp(min=1e-12)


def _parts(network: LightweightNetwork) -> list[nn.Module]:
    """The modules whose outputs the stages share."""
    parts: list[nn.Module] = [network.pyramid, network.initial_stage.body]
    for stage in network.refinement_stages:
        parts += list(cast(nn.Sequential, cast(Stage, stage).body).children())
    return parts


def _widths(network: LightweightNetwork) -> list[int]:
    """Channels of the shared features, and how many parts there are."""
    return [network.context.out.out_channels, len(_parts(network))]


class _Recorder:
    """Keeps the outputs of a network's parts as they pass."""

    def __init__(self, network: LightweightNetwork) -> None:
        parts = _parts(network)
        self.kept: list[Tensor] = [torch.empty(0)] * len(parts)
        for i, module in enumerate(parts):
            module.register_forward_hook(self._keeper(i))

    def _keeper(self, i: int):  # type: ignore[no-untyped-def]
        def keep(module: object, inputs: object, output: Tensor) -> None:
            self.kept[i] = output

        return keep
