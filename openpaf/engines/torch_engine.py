"""PyTorch: on a GPU or on the CPU."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.base import Arrays, Run
from openpaf.engines.wrapper import wrap_network
from openpaf.io.extras import installed
from openpaf.weights.model_files import load_network
from openpaf.weights.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn


def available(source: ModelSource, precision: str) -> bool:
    """Whether torch is installed."""
    return installed("torch")


def load(source: ModelSource, device: str | None, *, threads: int | None, precision: str) -> Run:
    """A model, ready to run; see :class:`openpaf.engines.table.EngineModule`."""
    import_torch()
    place = choose_device(device)
    network = load_network(source)
    overwrite_inputs(network)
    return run_network(network, source.spec, place, threads=threads)


def import_torch() -> None:
    """Import torch, which an installation may have left out.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ValueError("engine: torch is not installed; pip install torch") from error


def run_network(
    network: nn.Module, spec: ModelSpec, device: torch.device, *, threads: int | None = None
) -> Run:
    """A network in memory, ready to run.

    Args:
        network: In evaluation mode; it is moved to the device.
        spec: How it is run.
        device: Where.
        threads: Threads of the CPU, as many as torch uses by itself if None.
    """
    import torch

    module = wrap_network(network, spec)
    # Channels last is a fifth faster on CPUs and what tensor cores want.
    module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run(images: NDArray[np.float32]) -> Arrays:
        batch = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
        with torch_threads(threads):
            arrays = module(batch)
        return {
            name: np.ascontiguousarray(array.float().cpu().numpy())
            for name, array in zip(spec.outputs, arrays, strict=True)
        }

    return run


def choose_device(name: str | None) -> torch.device:
    """A device by name; a GPU if there is one, if None.

    Raises:
        ValueError: If it cannot be used here.
    """
    import torch

    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(name)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: {name!r} cannot be used here ({reason})") from error
    return place


_loaded_in = os.getpid()


@contextlib.contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """So many threads of torch for a while; its own number if None.

    In a process that was forked from one that has loaded this module there is only one: OpenMP's
    threads do not survive a fork, and to wait for them would take for ever.
    """
    import torch

    if os.getpid() != _loaded_in:
        number = 1
    before = torch.get_num_threads()
    if number is None or number == before:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        if os.getpid() == _loaded_in:
            torch.set_num_threads(before)


def overwrite_inputs(network: nn.Module) -> None:
    """Let activations overwrite what the convolution before them gave, which nothing else reads.

    On a processor that takes about a tenth off the time of our networks: new memory is slow.
    """
    from torch import nn

    from openpaf.networks.lightweight import SeparableConv

    for module in network.modules():
        if isinstance(module, SeparableConv):
            assert isinstance(module.activation, nn.ReLU | nn.ELU)
            module.activation.inplace = True
        elif isinstance(module, nn.Sequential):
            for before, layer in itertools.pairwise(module):
                if isinstance(before, nn.Conv2d | nn.BatchNorm2d) and isinstance(layer, nn.ReLU):
                    layer.inplace = True
