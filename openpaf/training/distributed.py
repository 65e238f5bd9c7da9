"""One run on several processes, as ``torchrun`` starts them.

Each process takes its slice of the same batch, so the crops of a step depend neither on the number
of processes nor on who they are, and a run may go on with another number of them.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, nn

# The others wait while the first one fits a start or validates.
_TIMEOUT = timedelta(hours=3)


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
            raise ValueError(
                f"batch_size: expected at least one crop for each of {self.n} processes, "
                f"got {batch_size}"
            )
        return range(self.rank * batch_size // self.n, (self.rank + 1) * batch_size // self.n)

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with its gradients averaged over the processes, and process 0's weights."""
        if self.n == 1:
            return network
        from torch.nn.parallel import DistributedDataParallel

        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)

    def average_gradients(self, network: nn.Module) -> None:
        """Average the gradients of a network that was not called by what :meth:`wrap` gave."""
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        if self.n == 1 or not gradients:
            return
        mean = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, mean.split(sizes), strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, values: Tensor) -> Tensor:
        """The mean of each value over the processes."""
        if self.n > 1:
            values = values.clone()
            torch.distributed.all_reduce(values)
            values /= self.n
        return values

    def any(self, value: bool) -> bool:
        """Whether it is so in any process."""
        return bool(self.mean(torch.tensor(float(value), device=self.device)) > 0) or value

    def agree(self, value: float) -> float:
        """Process 0's value, in every process."""
        if self.n == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(shared, 0)
        return float(shared)


@contextmanager
def join() -> Generator[Processes]:
    """The processes that ``torchrun`` started, or this one alone.

    Uses the GPU of this process's number where there are GPUs (NCCL), the processor where there
    are none (Gloo).

    Raises:
        ValueError: If there are GPUs, but fewer than processes.
    """
    n = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise ValueError(
                f"--nproc-per-node: expected at most {torch.cuda.device_count()}, one a GPU"
            )
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
