"""Hints: a student's hidden features are drawn to its teacher's, not only its fields.

A network made of a larger one keeps the width of the features that its stages share, so that
they can be compared channel for channel. Every part then learns from a target of its own, which
takes far fewer steps than to learn from the fields alone.

Reference:
    Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from openpaf.networks.lightweight import LightweightNetwork
from openpaf.training.data.batches import Batch

_PYRAMID = 0.3  # weight of the features before the context block, where only features learn


@dataclass(frozen=True, kw_only=True)
class HintedBatch(Batch):
    """A batch with hidden features of a teacher.

    Args:
        features: (B, C, h, w).
    """

    features: Tensor

    @classmethod
    def of(cls, batch: Batch, features: Tensor) -> HintedBatch:
        """A batch with features."""
        return cls(**vars(batch), features=features)


class Hints:
    """Compares the hidden features of two networks.

    Args:
        student: The network in training.
        teacher: A network of the same width and number of stages.

    Raises:
        ValueError: If the widths or the stages differ.
    """

    def __init__(self, student: LightweightNetwork, teacher: LightweightNetwork) -> None:
        self.student, self.teacher = networks = student, teacher
        ours, theirs = (
            (network.context.reduce.out_channels, len(network.refinement_stages))
            for network in networks
        )
        if ours != theirs:
            raise ValueError(
                f"teacher: hints need {ours[0]} channels and {ours[1]} refinement stages as the "
                f"student has them, got {theirs[0]} and {theirs[1]}"
            )
        self._ours, self._theirs = (_record(_compared(network)) for network in networks)
        self._our_shared, self._their_shared = (
            _record([network.context, network.context.pyramid]) for network in networks
        )

    def attach(self, batch: Batch) -> HintedBatch:
        """The batch with the features that the teacher had in its last call."""
        return HintedBatch.of(batch, torch.cat(self._theirs, 1))

    def loss(self, batch: Batch) -> Tensor:
        """How far the student's features of its last call are from those of its batch."""
        return torch.stack(_errors(self._ours, batch)).mean()

    @torch.no_grad()
    def attach_shared(self, batch: Batch, images: Tensor) -> HintedBatch:
        """The batch with the teacher's features that the stages share, which it computes alone."""
        self.teacher.features(images)
        return HintedBatch.of(batch, torch.cat(self._their_shared, 1))

    def shared_loss(self, images: Tensor, batch: Batch) -> Tensor:
        """How far the student's are from them; those of the pyramid steady the others."""
        self.student.features(images)
        context, pyramid = _errors(self._our_shared, batch)
        return context + _PYRAMID * pyramid


def _compared(network: LightweightNetwork) -> list[nn.Module]:
    stages = [cast(nn.Sequential, stage.body) for stage in network.refinement_stages]
    blocks = [block for stage in stages for block in stage]
    return [network.context, network.initial_stage.body, *blocks]


def _record(modules: list[nn.Module]) -> list[Tensor]:
    """A list that holds the last outputs of modules."""
    outputs = [torch.empty(0)] * len(modules)
    for i, module in enumerate(modules):

        def keep(_module: Any, _inputs: Any, output: Tensor, i: int = i) -> None:
            outputs[i] = output

        module.register_forward_hook(keep)
    return outputs


def _errors(outputs: list[Tensor], batch: Batch) -> list[Tensor]:
    """Mean squared errors, over the variance of the teacher's features."""
    assert isinstance(batch, HintedBatch)  # a transform has attached them
    targets = batch.features.float().split([output.shape[1] for output in outputs], 1)
    return [
        (ours.float() - theirs).square().mean() / theirs.var().clamp(min=1e-12)
        for ours, theirs in zip(outputs, targets, strict=True)
    ]
