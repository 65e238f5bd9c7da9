"""A teacher that an engine runs, e.g. OpenVINO in bfloat16 on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openpaf.engines.base import Engine
from openpaf.engines.load import load_engine
from openpaf.training.distillation import Teacher


def run_by_engine(teacher: Teacher, path: str, engine: str, device: torch.device) -> None:
    """Let an engine run a teacher from now on.

    Args:
        teacher: Of the network in training.
        path: The file of its weights.
        engine: As for :func:`openpaf.engines.load.load_engine`.
        device: Where it computes.

    Raises:
        ValueError: If the engine is not installed, or cannot run on the device.
    """
    loaded, _ = load_engine(path, engine, str(device))
    teacher.network = EngineNetwork(loaded)
    teacher.mean, teacher.scale = 0.0, 1.0  # it normalizes by itself


class EngineNetwork(nn.Module):
    """A network of one stage, run by an engine."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """One stage, as a network gives it."""
        fields = self.engine(images.contiguous().numpy())
        return [(torch.from_numpy(fields["heatmaps"]), torch.from_numpy(fields["pafs"]))]
