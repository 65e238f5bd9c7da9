"""What a method of training hands to the loop."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from openpaf.skeleton import Skeleton
from openpaf.training.data.photos import PhotoReader
from openpaf.training.logging import Progress
from openpaf.weights import ModelSpec


class Task(Protocol):
    """What differs between networks that give fields and detectors."""

    network: nn.Module  # what learns, on the device of the process
    precision: torch.dtype  # what the loss is computed in
    images: PhotoReader  # reads the images of the batches
    labels: Skeleton  # the joints of the labels, and of the people of the model

    def load_start(self) -> None:
        """Fill the network with what the run starts from."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        """What makes the network learn; its groups have the ``factor`` of their rates."""

    def batches(self, start: int, stop: int, progress: Progress) -> Generator[Any]:
        """The batches of steps ``start`` to ``stop``, ready to learn from."""

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, whose gradients are averaged over the processes, and its parts by name."""

    def spec(self, metrics: dict[str, Any]) -> ModelSpec:
        """What the weights are described as, given figures of their card."""
