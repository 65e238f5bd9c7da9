"""OpenVINO, of the extra ``openvino``: on the CPU, in float32, bfloat16 or 8-bit integers."""

from __future__ import annotations

import logging
import struct
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.base import (
    Arrays,
    Run,
    check_cpu,
    check_size,
    conversion_name,
    last_line,
    quiet,
)
from openpaf.engines.eight_bits import NEVER_IN_8_BITS, patterns_in_float
from openpaf.engines.wrapper import wrap_network
from openpaf.errors import WeightsError
from openpaf.io.cache import kept
from openpaf.io.extras import import_without_telemetry, installed, openvino_core
from openpaf.weights.catalog import check_card
from openpaf.weights.exported import NOTE, read_openvino, read_openvino_note
from openpaf.weights.hashing import sha256_of
from openpaf.weights.model_files import load_network
from openpaf.weights.spec import ModelSource

#: Layers that are kept compiled for a size of image; OpenVINO would keep 5000. A size has about a
#: hundred, so a folder of photos of a few shapes compiles each once.
MAX_COMPILED_LAYERS = 1024
# Images of one run where height and width are fixed, the largest first: for a number of images that
# it has not seen OpenVINO compiles anew, and each change of the number costs as much as a crop.
_FIXED_BATCHES = (4, 1)
# Sizes of images that a model is kept compiled for where each takes a compiled model of its own.
_MAX_COMPILED_SIZES = 16
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
_EXAMPLE_HW = (128, 192)


def available(source: ModelSource, precision: str) -> bool:
    """Whether OpenVINO is installed, and can run this model in this precision here.

    Without torch, which reads the weights, that is only a model whose 8-bit form lies beside it.
    """
    if not installed("openvino"):
        return False
    if precision == "int8" and source.eight_bit_file is not None:
        return True
    if not installed("torch"):
        return False
    if precision == "int8":
        return source.spec.method in NEVER_IN_8_BITS
    if precision == "bfloat16":
        return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return True


def load(source: ModelSource, device: str | None, *, threads: int | None, precision: str) -> Run:
    """A model, ready to run; see :class:`openpaf.engines.table.EngineModule`."""
    check_cpu("openvino", device)
    import_without_telemetry("openvino", "openvino")
    outputs = source.spec.outputs
    if source.kind == "openvino":
        model = read_openvino(source.file)
        precision = read_openvino_note(model, source.file)[1]
        return run_openvino(model, precision, outputs, str(source.file), threads=threads)
    if precision == "int8" and source.spec.method not in NEVER_IN_8_BITS:
        return run_openvino(read_eight_bit(source), "int8", outputs, threads=threads)
    model = kept(
        conversion_name(source, ".openvino", "torch", "openvino"),
        lambda: convert(source),
        to_bytes=openvino_bytes,
        from_bytes=openvino_from_bytes,
    )
    return run_openvino(model, precision, outputs, source.spec.name, threads=threads)


def export(
    source: ModelSource,
    path: Path,
    *,
    precision: str,
    size_hw: tuple[int, int] | None,
    calibration: Sequence[NDArray[np.float32]],
) -> None:
    """Write a model as OpenVINO's files; see :class:`openpaf.engines.table.ExportModule`."""
    model = convert(source, size_hw=size_hw)
    if precision == "int8" and source.spec.method not in NEVER_IN_8_BITS:
        model = quantize(model, calibration, source.spec.method)
    model.set_rt_info(precision, [NOTE, "precision"])
    model.set_rt_info(sha256_of(source.file), [NOTE, "source"])
    write_openvino(model, path)


def read_eight_bit(source: ModelSource) -> Any:
    """The 8-bit form of a model, as OpenVINO holds it.

    Raises:
        ValueError: If there is none, or the extra ``openvino`` is not installed.
        WeightsError: If it is damaged, or was made from other weights.
    """
    if source.replaced:
        raise ValueError("weights: engine 'openvino-int8' has its own, expected none")
    path = source.eight_bit_file
    if path is None:
        name = source.file.stem + "-int8.xml"
        raise ValueError(
            f"engine: 'openvino-int8' needs {name} and .bin beside {source.file}, found none; "
            "`openpaf export --to openvino --precision int8` makes them"
        )
    for file in (path, path.with_suffix(".bin")):
        check_card(file)
    model = read_openvino(path)
    if _made_from(model) != sha256_of(source.file):
        raise WeightsError(f"{path}: made from other weights than {source.file}; export it again")
    return model


def run_openvino(
    model: Any,
    precision: str,
    outputs: Sequence[str],
    name: str = "model",
    *,
    threads: int | None = None,
) -> Run:
    """A model in OpenVINO's form, ready to run; any number of threads may call it.

    Calls wait for each other: a call of OpenVINO uses all the cores that it may, and what it
    calculates in belongs to the one call.

    Args:
        model: As OpenVINO holds it.
        precision: ``"float32"``, ``"bfloat16"`` or ``"int8"``.
        outputs: Names of its arrays, in their order.
        name: What errors call it.
        threads: Threads of a call, OpenVINO's own number if None.

    Raises:
        WeightsError: If the model cannot be run.
    """
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_RUNTIME_CACHE_CAPACITY": MAX_COMPILED_LAYERS,
    }
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        if len(model.outputs) != len(outputs):
            raise RuntimeError(f"expected {len(outputs)} outputs, found {len(model.outputs)}")
        shape = [
            side.get_length() if side.is_static else None for side in model.input().partial_shape
        ]
        has_fixed_size = shape[0] is None and None not in shape[1:]
        by_shape = has_fixed_size or (None in shape and precision == "int8" and _has_amx())
        requests = _Requests(model, options, by_shape)
        example = (_FIXED_BATCHES[-1], 3, *_EXAMPLE_HW)
        requests.of(tuple(side or other for side, other in zip(shape, example, strict=False)))
    except RuntimeError as error:
        raise WeightsError(f"{name}: cannot be run by OpenVINO ({last_line(error)})") from error
    lock = threading.Lock()

    def run(images: NDArray[np.float32]) -> Arrays:
        check_size(images, shape)
        with lock:
            try:
                parts = requests.infer(images)
            except RuntimeError as error:
                raise WeightsError(f"{name}: OpenVINO fails ({last_line(error)})") from error
        # Copies already, not the requests' own memory.
        arrays = [[part[i] for part in parts] for i in range(len(outputs))]
        return {
            output: of_parts[0] if len(of_parts) == 1 else np.concatenate(of_parts)
            for output, of_parts in zip(outputs, arrays, strict=True)
        }

    return run


class _Requests:
    """A model compiled for images of any shape, or for each shape by itself.

    Args:
        model: As OpenVINO holds it.
        options: Of the compiler.
        by_shape: Which of both.
    """

    def __init__(self, model: Any, options: dict[str, Any], by_shape: bool) -> None:
        self._model, self._options, self._by_shape = model, options, by_shape
        self._requests: OrderedDict[tuple[int, ...] | None, Any] = OrderedDict()

    def of(self, shape: tuple[int, ...]) -> Any:
        """What runs images of a shape."""
        key = shape if self._by_shape else None
        if key not in self._requests:
            model = self._model if key is None else _with_shape(self._model, key)
            compiled = openvino_core().compile_model(model, "CPU", self._options)
            self._requests[key] = compiled.create_infer_request()
            if len(self._requests) > len(_FIXED_BATCHES) * _MAX_COMPILED_SIZES:
                self._requests.popitem(last=False)
        self._requests.move_to_end(key)
        return self._requests[key]

    def infer(self, images: NDArray[np.float32]) -> list[Any]:
        """The outputs of images, which may be run in several parts."""
        parts, start = [], 0
        for n in _batches(len(images)) if self._by_shape else [len(images)]:
            parts.append(self.of((n, *images.shape[1:])).infer([images[start : start + n]]))
            start += n
        return parts


def _with_shape(model: Any, shape: tuple[int, ...]) -> Any:
    """A copy of a model that takes images of one shape."""
    copy = model.clone()
    copy.reshape(list(shape))
    return copy


def _has_amx() -> bool:
    """Whether the processor may have AMX, whose kernels need fixed shapes in 8-bit integers.

    OpenVINO 2026.4 and before kill the process at some sizes of image (openvino#37577), such as
    rtmdet-nano at 608 x 416 px, if the model was compiled for images of any size. It does not tell
    AMX, but processors with it calculate in float16, which it does tell.
    """
    return "FP16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _batches(n: int) -> list[int]:
    """A number of images as a sum of those that are compiled for."""
    batches = []
    for size in _FIXED_BATCHES:
        batches += [size] * (n // size)
        n %= size
    return batches


def convert(source: ModelSource, *, size_hw: tuple[int, int] | None = None) -> Any:
    """A model in OpenVINO's form, float32, with its normalization and its description.

    Args:
        source: Its weights.
        size_hw: A fixed height and width of the input in px; any size if None.

    Raises:
        ValueError: If the extra ``openvino`` is not installed.
        WeightsError: If the model is damaged.
    """
    import torch

    openvino = import_without_telemetry("openvino", "openvino")
    with warnings.catch_warnings():
        # OpenVINO reads torch modules by torch.jit.trace, which torch calls deprecated.
        warnings.simplefilter("ignore")
        converted = openvino.convert_model(
            wrap_network(load_network(source), source.spec),
            example_input=torch.zeros(1, 3, *_EXAMPLE_HW),
        )
    crops = source.spec.size_hw if source.spec.method == "single_person" else None
    height, width = size_hw or crops or (-1, -1)
    converted.reshape([-1 if size_hw is None else 1, 3, height, width])
    note = source.spec.converted().to_metadata()[NOTE]
    converted.set_rt_info(note, [NOTE, "weights"])
    converted.set_rt_info("float32", [NOTE, "precision"])
    return converted


def quantize(
    model: Any, inputs: Sequence[NDArray[np.float32]], method: str = "part_affinity"
) -> Any:
    """An OpenVINO model with 8-bit integers, whose ranges are those seen in the inputs.

    Layers that stay in floating point are those of :mod:`openpaf.engines.eight_bits`.

    Args:
        model: As :func:`convert` gives it.
        inputs: (1, 3, h, w) float32 each, of typical photos; dozens of them.
        method: Of the model's spec.

    Raises:
        ValueError: If nncf, of the extra ``export``, is not installed.
    """
    with quiet():
        nncf = import_without_telemetry("nncf", "export")
        nncf.set_log_level(logging.ERROR)
        names = [layer.get_friendly_name() for layer in model.get_ops()]
        in_float = patterns_in_float(method, names)
        result = nncf.quantize(
            model,
            nncf.Dataset(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(patterns=in_float, validate=False),
        )
    result.set_rt_info(model.get_rt_info([NOTE, "weights"]).astype(str), [NOTE, "weights"])
    return result


def _made_from(model: Any) -> str | None:
    """SHA-256 of the weights that an OpenVINO model is made from; None if it does not say."""
    try:
        return str(model.get_rt_info([NOTE, "source"]).astype(str))
    except RuntimeError:
        return None


def write_openvino(model: Any, path: Path) -> None:
    """Write an OpenVINO model as two files: the path and, beside it, its ``.bin``."""
    import openvino

    openvino.save_model(model, str(path), compress_to_fp16=False)


def openvino_bytes(model: Any) -> bytes:
    """An OpenVINO model as one sequence of bytes.

    Raises:
        OSError: If there is no folder for temporary files, which OpenVINO writes to.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        write_openvino(model, path)
        layers = path.read_bytes()
        return struct.pack("<Q", len(layers)) + layers + path.with_suffix(".bin").read_bytes()


def openvino_from_bytes(data: bytes) -> Any:
    """The OpenVINO model that :func:`openvino_bytes` gave."""
    import openvino

    (n,) = struct.unpack_from("<Q", data)
    numbers = np.frombuffer(data, np.uint8, offset=8 + n)
    return openvino_core().read_model(data[8 : 8 + n], openvino.Tensor(numbers))
