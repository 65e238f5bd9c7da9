"""ONNX Runtime, of the extra ``onnx``: on the CPU, or by an execution provider that it has."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.base import Arrays, Run, check_size, conversion_name, quiet
from openpaf.engines.onnx_int8 import quantize_onnx
from openpaf.engines.wrapper import wrap_network
from openpaf.errors import WeightsError
from openpaf.io.cache import kept
from openpaf.io.extras import import_extra, installed, need_extra
from openpaf.weights.exported import NOTE, read_onnx
from openpaf.weights.model_files import load_network
from openpaf.weights.spec import PARTS, ModelSource, ModelSpec

if TYPE_CHECKING:
    from torch import nn

#: The execution provider of each device; a number after a colon chooses one of several.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
_EXAMPLE_HW = (128, 192)
# Methods whose networks have many small layers, see :func:`_trace`.
_TRACED = {*PARTS, "associative_embedding"}
_OPSET = 17


def available(source: ModelSource, precision: str) -> bool:
    """Whether ONNX Runtime and what writes its files are installed."""
    return installed("onnx", "onnxruntime", "onnxscript", "torch")


def load(source: ModelSource, device: str | None, *, threads: int | None, precision: str) -> Run:
    """A model, ready to run; see :class:`openpaf.engines.table.EngineModule`."""
    import_extra("onnxruntime", "onnx")
    providers = choose_providers(device)
    if source.kind == "onnx":
        data, name = read_onnx(source.file)[0], str(source.file)
    else:
        need_extra("onnx", "engine")  # now rather than when the network is read
        data = kept(
            conversion_name(source, ".onnx", "torch", "onnxscript"),
            lambda: onnx_bytes(source),
            to_bytes=lambda data: data,
            from_bytes=lambda data: data,
        )
        name = source.spec.name
    return run_onnx(data, name, source.spec.outputs, providers, threads=threads)


def export(
    source: ModelSource,
    path: Path,
    *,
    precision: str,
    size_hw: tuple[int, int] | None,
    calibration: Sequence[NDArray[np.float32]],
) -> None:
    """Write a model as an ONNX file; see :class:`openpaf.engines.table.ExportModule`."""
    data = onnx_bytes(source, size_hw=size_hw)
    if precision == "int8":
        data = quantize_onnx(data, calibration, source.spec.method)
    path.write_bytes(data)


def choose_providers(device: str | None) -> list[Any]:
    """The execution providers for a device, the CPU's last, as sessions take them.

    Args:
        device: ``"cpu"``, which None means too, or another of :data:`PROVIDERS`, with the number of
            the GPU after a colon, as ``"cuda:1"``.

    Raises:
        ValueError: If the device is unknown, or this ONNX Runtime has no provider for it.
    """
    onnxruntime = import_extra("onnxruntime", "onnx")
    kind, _, number = (device or "cpu").partition(":")
    has = onnxruntime.get_available_providers()
    usable = [name for name, provider in PROVIDERS.items() if provider in has]
    if kind not in usable or (number and not number.isdecimal()):
        raise ValueError(
            f"device: ONNX Runtime runs on {', '.join(map(repr, usable))} here, got {device!r}"
        )
    if kind == "cpu":
        return [PROVIDERS["cpu"]]
    options = {"device_id": int(number)} if number else {}
    return [(PROVIDERS[kind], options), PROVIDERS["cpu"]]


def run_onnx(
    data: bytes,
    name: str,
    outputs: Sequence[str],
    providers: Sequence[Any],
    *,
    threads: int | None = None,
) -> Run:
    """A model in ONNX's form, ready to run; any number of threads may call it at once.

    Args:
        data: The file.
        name: What errors call it.
        outputs: Names of its arrays.
        providers: As :func:`choose_providers` gives them.
        threads: Threads of one call, ONNX Runtime's own number if None.

    Raises:
        WeightsError: If the file cannot be run.
    """
    onnxruntime = import_extra("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # it keeps a plan for each size of image, for ever
    # Sums of 8-bit products that x86 processors without VNNI would cut off.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(data, options, providers=list(providers))
    except Exception as error:  # its errors have no common class
        raise WeightsError(f"{name}: cannot be run by ONNX Runtime ({error})") from error
    if len(session.get_inputs()) != 1:
        raise WeightsError(f"{name}: expected one input, found {len(session.get_inputs())}")
    (inputs,) = session.get_inputs()

    def run(images: NDArray[np.float32]) -> Arrays:
        check_size(images, inputs.shape)
        try:
            arrays = session.run(list(outputs), {inputs.name: images})
        except Exception as error:
            raise WeightsError(f"{name}: ONNX Runtime fails ({error})") from error
        return dict(zip(outputs, arrays, strict=True))

    return run


def onnx_bytes(source: ModelSource, *, size_hw: tuple[int, int] | None = None) -> bytes:
    """A model as an ONNX file: with its normalization, one input, and its arrays by name.

    Args:
        source: Its weights.
        size_hw: A fixed height and width of the input in px; any size if None.

    Raises:
        ValueError: If the extra ``onnx`` is not installed.
        WeightsError: If the model is damaged.
    """
    onnx = import_extra("onnx", "onnx")
    import_extra("onnxscript", "onnx")
    with quiet():
        write = _trace if source.spec.method in _TRACED else _export
        proto = write(wrap_network(load_network(source), source.spec), source.spec, size_hw)
    entry = proto.metadata_props.add()
    entry.key, entry.value = NOTE, source.spec.converted().to_metadata()[NOTE]
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def _export(module: nn.Module, spec: ModelSpec, size_hw: tuple[int, int] | None) -> Any:
    import torch

    example = torch.zeros(2 if size_hw is None else 1, 3, *(size_hw or _EXAMPLE_HW))
    dims: dict[int, Any] = {}
    if size_hw is None:
        # Sizes are multiples of 8, which the exporter needs to know.
        rows, columns = (8 * torch.export.Dim(f"{side}_cells", min=2) for side in ("h", "w"))
        dims = {0: torch.export.Dim("batch"), 2: rows, 3: columns}
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        input_names=["images"],
        output_names=list(spec.outputs),
        dynamic_shapes=(dims,) if dims else None,
        external_data=False,
        optimize=True,
        verbose=False,
    )
    return program.model_proto  # type: ignore[union-attr]


def _trace(module: nn.Module, spec: ModelSpec, size_hw: tuple[int, int] | None) -> Any:
    """As :func:`_export`, by torch's older exporter.

    Of networks of many small layers, as the parts of top-down pairs, it takes seconds where
    the newer one takes a minute: that one goes through each layer three times, with symbols for
    sizes, and then looks for patterns in them.
    """
    import onnx
    import torch

    example_hw = size_hw or spec.size_hw or _EXAMPLE_HW
    dims: dict[int, str] = {}
    if size_hw is None:
        is_crop = spec.method == "single_person"
        dims = {0: "batch"} if is_crop else {0: "batch", 2: "height", 3: "width"}
    file = io.BytesIO()
    torch.onnx.export(
        module,
        (torch.zeros(1, 3, *example_hw),),
        file,  # type: ignore[arg-type]
        dynamo=False,
        input_names=["images"],
        output_names=list(spec.outputs),
        dynamic_axes={"images": dims, **{name: dims and {0: "batch"} for name in spec.outputs}},
        opset_version=_OPSET,
    )
    return onnx.load_model_from_string(file.getvalue())
