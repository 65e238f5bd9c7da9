"""One run on several processes, as ``torchrun`` starts them.

Each process takes its slice of the same batch, so the crops of a step do not depend on the number
of processes, and a run may resume with another number of them.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

# The others wait while the first one makes crops or validates.
_TIMEOUT = timedelta(hours=3)
_TORCHRUN = (("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))  # what it tells by the environment
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of a run, and which of them this is.

    Args:
        device: Where this process computes.
        rank: Number of this process, from 0; process 0 writes the files.
        n: How many there are.
    """

    device: torch.device
    rank: int = 0
    n: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes log, checkpoints and weights."""
        return self.rank == 0

    def rows(self, batch_size: int) -> range:
        """The crops of a batch that this process takes.

        Raises:
            ValueError: If there are fewer crops than processes.
        """
        if batch_size < self.n:
            expected = f"expected at least one crop for each of {self.n} processes"
            raise ValueError(f"optimizer.batch_size: {expected}, got {batch_size}")
        return range(self.rank * batch_size // self.n, (self.rank + 1) * batch_size // self.n)

    def share_weights(self, network: nn.Module) -> None:
        """Give every process the weights of process 0."""
        if self.n > 1:
            for value in network.state_dict().values():
                shared = value.contiguous()
                torch.distributed.broadcast(shared, 0)
                value.copy_(shared)

    def average_gradients(self, network: nn.Module) -> None:
        """Average the gradients over the processes, in one message.

        A parameter without a gradient in any process, e.g. of a head that a step does not use,
        stays without one; one that has a gradient somewhere counts as 0 elsewhere.
        """
        if self.n == 1:
            return
        parameters = [p for p in network.parameters() if p.requires_grad]
        has_gradient = torch.tensor([float(p.grad is not None) for p in parameters])
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = [has_gradient.to(self.device), *(gradient.flatten() for gradient in gradients)]
        used, *means = self.mean(torch.cat(flat)).split([len(part) for part in flat])
        used = used.cpu()
        for i, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            mean = gradient.copy_(means[i].view_as(gradient))
            parameter.grad = mean if used[i] > 0 else None

    def mean(self, values: Tensor) -> Tensor:
        """The mean of each value over the processes."""
        if self.n > 1:
            values = values.clone()
            torch.distributed.all_reduce(values)
            values /= self.n
        return values

    def any(self, value: bool) -> bool:
        """Whether it is so in any process."""
        return bool(self.mean(torch.tensor(float(value), device=self.device)) > 0)

    def agree(self, value: _T) -> _T:
        """Process 0's value, in every process."""
        values: list[Any] = [value]
        if self.n > 1:
            torch.distributed.broadcast_object_list(values, 0, device=self.device)
        agreed: _T = values[0]
        return agreed


@contextmanager
def join() -> Generator[Processes]:
    """The processes that ``torchrun`` started, or this one alone.

    Uses the GPU of this process's number where there are GPUs (NCCL), the CPU where there
    are none (Gloo).

    Raises:
        ValueError: If there are GPUs, but fewer than processes.
    """
    n, local = (int(os.environ.get(key, default)) for key, default in _TORCHRUN)
    device = torch.device("cpu")
    if n_gpus := torch.cuda.device_count():
        if local >= n_gpus:
            raise ValueError(f"--nproc-per-node: expected at most {n_gpus}, one a GPU")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if n == 1:
        yield Processes(device=device)
        return
    ours = not torch.distributed.is_initialized()  # a caller may have a group for several runs
    if ours:
        backend = "nccl" if device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, timeout=_TIMEOUT)
    try:
        yield Processes(rank=torch.distributed.get_rank(), n=n, device=device)
    finally:
        if ours:
            torch.distributed.destroy_process_group()
