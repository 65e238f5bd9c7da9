"""Muon: momentum whose singular values are made equal, for the matrices of a network.

A step then moves every direction of a matrix alike, also those that the gradient seldom points to,
and far fewer steps are needed than with AdamW where the factors of a layer learn.

Reference:
    Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024 (the iteration and
    its coefficients); Liu et al., Muon is Scalable for LLM Training, 2025, section 2.2 (a step of
    the size of AdamW's, so that both may share a rate).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95
_STEP = 0.2  # root mean square of a step of rate 1, about that of AdamW


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether a parameter is a convolution that mixes channels, no bias and no depthwise one."""
    return parameter.ndim == 4 and parameter.shape[1] > 1


def orthogonalized(matrices: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """Matrices (n, rows, columns) with singular values of about 1, by Newton-Schulz iteration.

    Args:
        matrices: float32.
        precision: Of the iteration, which bears bfloat16 (Jordan et al.).
    """
    matrices = matrices.to(precision)
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.transpose(1, 2)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-30)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.transpose(1, 2)).float()


class Muon(torch.optim.AdamW):
    """Muon where :func:`is_matrix` says so, AdamW for the rest, at one rate.

    Args:
        groups: As of AdamW.
        precision: Of :func:`orthogonalized`.
        **adamw: The other arguments of AdamW.
    """

    def __init__(
        self, groups: Iterable[Any], *, precision: torch.dtype = torch.float32, **adamw: Any
    ) -> None:
        super().__init__(groups, **adamw)
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; gradients of matrices are gone after it."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None and is_matrix(parameter):
                    direction = self._direction(parameter).flatten(1)
                    by_shape[direction.shape[0], direction.shape[1]].append((parameter, direction))
                    parameter.grad = None  # so that AdamW passes it by
            for shape, rows in by_shape.items():  # at once, as one product of many small matrices
                directions = torch.stack([direction for _, direction in rows])
                steps = orthogonalized(directions, self.precision)
                size = _STEP * max(shape) ** 0.5
                for (parameter, _), step in zip(rows, steps, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(step.view(parameter.shape), alpha=group["lr"] * size)
        return super().step(closure)

    def _direction(self, parameter: nn.Parameter) -> Tensor:
        """The gradient and its running mean, as Nesterov mixes them."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if not state:
            # AdamW looks for a step in every state that it loads.
            state["step"], state["momentum"] = torch.zeros(()), torch.zeros_like(gradient)
        state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        return gradient.lerp(state["momentum"], _MOMENTUM)
