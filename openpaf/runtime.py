"""Engines that run a network: batches of pictures in, arrays of fields out."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from openpaf.weights import Weights, load_model

#: (B, 3, h, w) float32 RGB 0..255 -> heatmaps (B, K+1, h/8, w/8), pafs (B, 2L, h/8, w/8), float32
Engine = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]

RUNTIMES = ("auto", "torch", "openvino")


def load_engine(
    model: str | None = None, runtime: str = "auto", device: str | None = None
) -> tuple[Engine, Weights]:
    """Load a model into an engine.

    Args:
        model: Name of a shipped model, or path of a safetensors file; the default model if None.
        runtime: ``"torch"``; ``"openvino"`` (the extra of that name; CPU only); or ``"auto"``,
            which is torch.
        device: A torch device such as ``"cpu"`` or ``"cuda:0"``; the first GPU if there is one,
            else the CPU, if None.

    Returns:
        A function from a batch of pictures to heatmaps and PAFs, and the model's description.

    Raises:
        ValueError: If the runtime or the device is unknown, or cannot be had here.
        WeightsError: If the model is missing or damaged.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime: expected one of {', '.join(RUNTIMES)}, got {runtime!r}")
    if runtime == "openvino":
        return _openvino_engine(model, device)
    return _torch_engine(model, device)


def _torch_engine(model: str | None, device: str | None) -> tuple[Engine, Weights]:
    import torch

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: {device!r} cannot be used here ({reason})") from error
    network, weights = load_model(model)
    # Channels last is a fifth faster on CPUs and what tensor cores want.
    network.to(place).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        batch = torch.from_numpy(images).to(place, memory_format=torch.channels_last)
        heatmaps, pafs = network((batch - weights.mean) / weights.scale)[-1]
        return (
            np.ascontiguousarray(heatmaps.float().cpu().numpy()),
            np.ascontiguousarray(pafs.float().cpu().numpy()),
        )

    return run, weights


def _openvino_engine(model: str | None, device: str | None) -> tuple[Engine, Weights]:
    try:
        import openvino
    except ImportError as error:
        raise ValueError(
            "runtime: 'openvino' is not installed; pip install 'openpaf[openvino]'"
        ) from error
    import torch

    if device not in (None, "cpu"):
        raise ValueError(f"device: runtime 'openvino' runs on 'cpu' only, got {device!r}")
    network, weights = load_model(model)
    with warnings.catch_warnings():
        # OpenVINO reads torch modules by torch.jit.trace, which torch calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        converted = openvino.convert_model(
            _LastStage(network, weights), example_input=torch.zeros(1, 3, 64, 64)
        )
    compiled = openvino.Core().compile_model(
        converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    )

    def run(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        result = compiled(images)
        return np.array(result[0]), np.array(result[1])

    return run, weights


def _LastStage(network, weights):  # type: ignore[no-untyped-def]
    """The network with its normalisation before it and only its last stage after it."""
    from torch import nn

    class LastStage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images):  # type: ignore[no-untyped-def]
            return self.network((images - weights.mean) / weights.scale)[-1]

    return LastStage().eval()
