"""Engines that run a network: batches of pictures in, arrays of fields out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from openpaf.channels import CHANNEL_ORDERS
from openpaf.errors import WeightsError
from openpaf.published import PUBLISHED
from openpaf.weights import Weights, load_model

if TYPE_CHECKING:
    from torch import nn

#: (B, 3, h, w) float32 RGB 0..255 -> heatmaps (B, K+1, h/8, w/8), pafs (B, 2L, h/8, w/8), float32
Engine = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]

RUNTIMES = ("auto", "torch", "openvino")


def load_engine(
    model: str | Path | None = None,
    runtime: str = "auto",
    device: str | None = None,
    *,
    weights: str | Path | None = None,
) -> tuple[Engine, Weights]:
    """Load a model into an engine.

    Args:
        model: A name of :func:`openpaf.weights.table`, or path of a safetensors file of ours; the
            default model if None.
        runtime: ``"torch"``; ``"openvino"`` (the extra of that name; CPU only); or ``"auto"``,
            which is torch.
        device: A torch device such as ``"cpu"`` or ``"cuda:0"``; the first GPU if there is one,
            else the CPU, if None.
        weights: A checkpoint file to take in place of the model's own.

    Returns:
        A function from a batch of pictures to heatmaps and PAFs, in the order of the skeleton,
        and the model's description.

    Raises:
        ValueError: If the runtime or the device is unknown, or cannot be had here.
        WeightsError: If the model is missing, damaged, or top-down.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime: expected one of {', '.join(RUNTIMES)}, got {runtime!r}")
    published = PUBLISHED.get(str(model))
    if published is not None and published.top_down:
        raise WeightsError(f"{model}: a top-down network, which has no heatmaps and no PAFs")
    if runtime == "openvino":
        return _openvino_engine(model, device, weights)
    return _torch_engine(model, device, weights)


def _torch_engine(
    model: str | Path | None, device: str | None, weights: str | Path | None
) -> tuple[Engine, Weights]:
    import torch

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: {device!r} cannot be used here ({reason})") from error
    network, row = load_model(model, weights)
    module = _with_ends(network, row)
    # Channels last is a fifth faster on CPUs and what tensor cores want.
    module.to(place).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        batch = torch.from_numpy(images).to(place, memory_format=torch.channels_last)
        heatmaps, pafs = module(batch)
        return (
            np.ascontiguousarray(heatmaps.float().cpu().numpy()),
            np.ascontiguousarray(pafs.float().cpu().numpy()),
        )

    return run, row


def _openvino_engine(
    model: str | Path | None, device: str | None, weights: str | Path | None
) -> tuple[Engine, Weights]:
    try:
        import openvino
    except ImportError as error:
        raise ValueError(
            "runtime: 'openvino' is not installed; pip install 'openpaf[openvino]'"
        ) from error
    import torch

    if device not in (None, "cpu"):
        raise ValueError(f"device: runtime 'openvino' runs on 'cpu' only, got {device!r}")
    network, row = load_model(model, weights)
    with warnings.catch_warnings():
        # OpenVINO reads torch modules by torch.jit.trace, which torch calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        converted = openvino.convert_model(
            _with_ends(network, row), example_input=torch.zeros(1, 3, 64, 64)
        )
    compiled = openvino.Core().compile_model(
        converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    )

    def run(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        result = compiled(images)
        return np.array(result[0]), np.array(result[1])

    return run, row


def _with_ends(network: nn.Module, row: Weights) -> nn.Module:
    """The network between what its checkpoint asks for and the conventions of this library.

    Before it RGB becomes BGR if need be, and is normalised; after it comes only the last stage,
    its channels in the order of the skeleton.
    """
    import torch
    from torch import Tensor, nn

    order = CHANNEL_ORDERS[row.channel_order] if row.channel_order else None

    class WithEnds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            if order is not None:
                pafs = [channel for pair in order.pafs for channel in pair]
                self.register_buffer("heatmap_order", torch.tensor(order.heatmaps))
                self.register_buffer("paf_order", torch.tensor(pafs))

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            if row.bgr:
                images = images.flip(1)
            heatmaps, pafs = self.network((images - row.mean) / row.scale)[-1]
            if order is not None:
                heatmaps = heatmaps.index_select(1, self.heatmap_order)
                pafs = pafs.index_select(1, self.paf_order)
            return heatmaps, pafs

    return WithEnds().eval()
