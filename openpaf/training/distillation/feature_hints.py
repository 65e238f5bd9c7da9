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

from openpaf.networks.lightweight import LightweightNetwork

_ALIGNED = 0.3  # weight of the features before their view is widened, where only features learn


class Hints:
    """Compares the shared features of two networks.

    Args:
        student: The network in training.
        teacher: A network of the same width and number of stages.

    Raises:
        ValueError: If the widths or the stages differ.
    """

    def __init__(self, student: LightweightNetwork, teacher: LightweightNetwork) -> None:
        ours, theirs = (
            (_width(network), len(network.refinement_stages)) for network in (student, teacher)
        )
        if ours != theirs:
            raise ValueError(
                f"teacher: hints need {ours[0]} channels and {ours[1]} refinement stages as the "
                f"student has them, got {theirs[0]} and {theirs[1]}"
            )
        pairs = [
            (student.context, teacher.context),
            (student.initial_stage.body, teacher.initial_stage.body),
        ]
        for our_stage, their_stage in zip(
            student.refinement_stages, teacher.refinement_stages, strict=True
        ):
            bodies = (cast(nn.Sequential, stage.body) for stage in (our_stage, their_stage))
            pairs += zip(*bodies, strict=True)
        self._student, self._teacher = (_Recorder([pair[k] for pair in pairs]) for k in range(2))
        self._student_aligned = _Recorder([student.context.pyramid])
        self._teacher_aligned = _Recorder([teacher.context.pyramid])

    def of_features(self) -> Tensor:
        """The same of the features that the stages share alone; linear ones steady the others."""
        aligned = hint(self._student_aligned.kept[0], self._teacher_aligned.kept[0])
        return hint(self._student.kept[0], self._teacher.kept[0]) + _ALIGNED * aligned

    def teachers_features(self) -> Tensor:
        """Those of the teacher's last call that the stages share."""
        return self._teacher.kept[0]

    def of_kept(self, features: Tensor) -> Tensor:
        """As :meth:`loss`, of the shared features alone, to a teacher's that were kept."""
        return hint(self._student.kept[0], features)

    def loss(self) -> Tensor:
        """Mean squared error of the features of the last calls of both, over their variance."""
        pairs = zip(self._student.kept, self._teacher.kept, strict=True)
        return torch.stack([hint(ours, theirs) for ours, theirs in pairs]).mean()


def hint(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean squared error of features, over the variance of the teacher's."""
    wanted = theirs.detach().float()
    return (ours.float() - wanted).square().mean() / wanted.var().clamp(min=1e-12)


def _width(network: LightweightNetwork) -> int:
    """Channels of the features that the stages share."""
    return network.context.reduce.out_channels


class _Recorder:
    """Keeps the outputs of modules as they pass."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self.kept: list[Tensor] = [torch.empty(0)] * len(modules)
        for i, module in enumerate(modules):
            module.register_forward_hook(self._keeper(i))

    def _keeper(self, i: int):  # type: ignore[no-untyped-def]
        def keep(module: object, inputs: object, output: Tensor) -> None:
            self.kept[i] = output

        return keep
