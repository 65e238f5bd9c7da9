"""Engines that run a network: batches of pictures in, arrays of fields out."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.eight_bit import read_eight_bit
from openpaf.engines.openvino_engine import (
    is_export,
    needed,
    onnx_bytes,
    openvino_bytes,
    openvino_from_bytes,
    openvino_model,
    read_onnx,
    read_openvino,
    read_openvino_note,
    source_of,
)
from openpaf.engines.wrapper import with_ends
from openpaf.errors import WeightsError
from openpaf.io.cache import file_key, kept
from openpaf.weights.catalog import load_model, locate
from openpaf.weights.published import PUBLISHED
from openpaf.weights.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

#: (B, 3, h, w) float32 RGB 0..255 -> heatmaps (B, K+1, h/8, w/8), pafs (B, 2L, h/8, w/8), float32
Engine = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]

RUNTIMES = ("auto", "torch", "onnx", "openvino", "openvino-bf16", "openvino-int8")
#: Layers of OpenVINO that are kept compiled for a size of picture; it would keep 5000. A size has
#: about a hundred, so a folder of photos of a few shapes compiles each once.
KEPT_LAYERS = 1024
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


def load_engine(
    model: str | Path | None = None,
    runtime: str = "auto",
    device: str | None = None,
    *,
    weights: str | Path | None = None,
) -> tuple[Engine, ModelSpec]:
    """Load a model into an engine.

    Args:
        model: A name of :func:`openpaf.weights.table`, path of a safetensors file of ours, or of an
            ONNX or OpenVINO file that ``openpaf export`` wrote; the default model if None.
        runtime: ``"torch"``; ``"onnx"``, ONNX Runtime, and ``"openvino"``, each of the extra of
            that name, on the CPU; ``"openvino-bf16"``, which calculates in bfloat16;
            ``"openvino-int8"``, in 8-bit integers, for models that have a file for it (see
            :mod:`openpaf.engines.eight_bit`); or ``"auto"``: a GPU with torch if there is one, else
            what is fastest here, by a measurement of about a second that is kept (see
            :mod:`openpaf.engines.auto`).
        device: A torch device such as ``"cpu"`` or ``"cuda:0"``; the first GPU if there is one,
            else the CPU, if None.
        weights: A checkpoint file to take in place of the model's own.

    Returns:
        A function from a batch of pictures to heatmaps and PAFs, in the order of the skeleton,
        and the model's description.

    Raises:
        ValueError: If the runtime or the device is unknown, or cannot be had here.
        WeightsError: If the model is missing or damaged.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime: expected one of {', '.join(RUNTIMES)}, got {runtime!r}")
    published = PUBLISHED.get(str(model))
    if published is not None and published.top_down:
        raise WeightsError(f"{model}: a top-down network, which has no heatmaps and no PAFs")
    if is_export(model):
        if weights is not None:
            raise ValueError(f"weights: {model} has its own, expected none")
        return _exported_engine(source_of(model), runtime, device)
    if runtime == "auto":
        from openpaf.engines.auto import fastest_runtime

        runtime = fastest_runtime(model, device, weights=weights)
    if runtime == "torch":
        return _torch_engine(model, device, weights)
    if device not in (None, "cpu"):
        raise ValueError(f"device: runtime {runtime!r} runs on 'cpu' only, got {device!r}")
    if runtime == "onnx":
        return _onnx_engine(model, weights)
    if runtime == "openvino-int8":
        if weights is not None:
            raise ValueError(f"weights: runtime {runtime!r} has its own, expected none")
        return openvino_engine(read_eight_bit(model), "int8"), locate(model)[0]
    return _openvino_engine(model, weights, "bfloat16" if runtime == "openvino-bf16" else "float32")


def _torch_engine(
    model: str | Path | None, device: str | None, weights: str | Path | None
) -> tuple[Engine, ModelSpec]:
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
    module = with_ends(network, row)
    _overwrite(module)
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


def _overwrite(network: nn.Module) -> None:
    """Let activations overwrite what the convolution before them gave, which nobody else reads.

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


def _exported_engine(path: Path, runtime: str, device: str | None) -> tuple[Engine, ModelSpec]:
    own = "onnx" if path.suffix.lower() == ".onnx" else "openvino"
    if runtime not in ("auto", own):
        raise ValueError(f"runtime: {path} runs with {own!r}, got {runtime!r}")
    if device not in (None, "cpu"):
        raise ValueError(f"device: runtime {own!r} runs on 'cpu' only, got {device!r}")
    if own == "onnx":
        data, weights = read_onnx(path)
        return onnx_engine(data, str(path)), weights
    network = read_openvino(path)
    weights, precision = read_openvino_note(network, path)
    return openvino_engine(network, precision, str(path)), weights


def _onnx_engine(model: str | Path | None, weights: str | Path | None) -> tuple[Engine, ModelSpec]:
    needed("onnxruntime", "onnx")
    row, path = locate(model, weights)
    data = kept(
        f"{path.stem}-{conversion_key(row, path, 'torch', 'onnxscript')}.onnx",
        lambda: onnx_bytes(model, weights=weights),
        to_bytes=lambda data: data,
        from_bytes=lambda data: data,
    )
    return onnx_engine(data, row.name), row


def onnx_engine(data: bytes, name: str) -> Engine:
    """An engine of a model in ONNX's form; any number of threads may call it at once.

    Args:
        data: The file.
        name: What errors call it.

    Raises:
        ValueError: If the extra ``onnx`` is not installed.
        WeightsError: If the file cannot be run.
    """
    onnxruntime = needed("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # it keeps a plan for each size of picture, for ever
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        raise WeightsError(f"{name}: cannot be run by ONNX Runtime ({error})") from error
    if len(session.get_inputs()) != 1:
        raise WeightsError(f"{name}: expected one input, found {len(session.get_inputs())}")
    (wanted,) = session.get_inputs()

    def run(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        _check_size(images, wanted.shape)
        try:
            heatmaps, pafs = session.run(["heatmaps", "pafs"], {wanted.name: images})
        except Exception as error:
            raise WeightsError(f"{name}: ONNX Runtime fails ({error})") from error
        return heatmaps, pafs

    return run


def _openvino_engine(
    model: str | Path | None, weights: str | Path | None, precision: str
) -> tuple[Engine, ModelSpec]:
    needed("openvino", "openvino")
    row, path = locate(model, weights)
    converted = kept(
        f"{path.stem}-{conversion_key(row, path, 'torch', 'openvino')}.openvino",
        lambda: openvino_model(model, weights=weights),
        to_bytes=openvino_bytes,
        from_bytes=openvino_from_bytes,
    )
    return openvino_engine(converted, precision, row.name), row


def openvino_engine(model: Any, precision: str, name: str = "model") -> Engine:
    """An engine of a model in OpenVINO's form; any number of threads may call it.

    Calls wait for each other: a call of OpenVINO uses all the cores that it may, and what it
    calculates in belongs to the one call.

    Args:
        model: As OpenVINO holds it.
        precision: ``"float32"``, ``"bfloat16"`` or ``"int8"``.
        name: What errors call it.

    Raises:
        WeightsError: If the model cannot be run.
    """
    import openvino

    options = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_RUNTIME_CACHE_CAPACITY": KEPT_LAYERS,
    }
    try:
        compiled = openvino.Core().compile_model(model, "CPU", options)
        request = compiled.create_infer_request()
        shape = [
            side.get_length() if side.is_static else None for side in compiled.input().partial_shape
        ]
        if len(compiled.outputs) != 2:
            raise RuntimeError(f"expected two outputs, found {len(compiled.outputs)}")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise WeightsError(f"{name}: cannot be run by OpenVINO ({reason})") from error
    lock = threading.Lock()

    def run(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        _check_size(images, shape)
        with lock:
            try:
                result = request.infer([images])
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1]
                raise WeightsError(f"{name}: OpenVINO fails ({reason})") from error
            return result[0], result[1]  # copies already, not the request's own memory

    return run


def _check_size(images: NDArray[np.float32], wanted: list[Any]) -> None:
    """Refuse pictures of another size than a file was exported for."""
    fixed = [side if isinstance(side, int) else None for side in wanted]
    if any(w is not None and w != n for w, n in zip(fixed[2:], images.shape[2:], strict=True)):
        raise ValueError(
            f"image: this model was exported for {fixed[2]} x {fixed[3]} px, "
            f"got {images.shape[2]} x {images.shape[3]} after resizing; see size="
        )


def versions(*modules: str) -> list[str]:
    """The installed versions, as parts of a key of the cache."""
    return [f"{module} {metadata.version(module)}" for module in modules]


def conversion_key(row: ModelSpec, path: Path, *modules: str) -> str:
    """A key that changes with a model's file, how it is run, and the modules' versions."""
    return file_key(path, *row.to_metadata().values(), *versions(*modules))
