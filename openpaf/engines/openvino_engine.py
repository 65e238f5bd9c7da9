"""A model as an ONNX or OpenVINO file, which say themselves how they are to be run."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import logging
import struct
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.wrapper import with_ends
from openpaf.errors import WeightsError
from openpaf.weights.catalog import find, load_model
from openpaf.weights.spec import ModelSpec

FORMATS = {"onnx": ".onnx", "openvino": ".xml"}
PRECISIONS = ("float32", "bfloat16", "int8")
_NOTE = "openpaf"
_EXAMPLE_HW = (128, 192)
# Operators of OpenVINO that hold a graph of their own.
_NESTED = {"If", "Loop", "TensorIterator"}
# Names of layers that stay in floating point, see quantize().
_FIRST = r".*trunk\.[01][/.].*"
_HEADS, _LAST_HEADS = r".*(heatmaps|pafs).*", r".*refinement.*(heatmaps|pafs)\.out.*"


def write_onnx(
    model: str | Path | None,
    path: Path,
    *,
    size_hw: tuple[int, int] | None = None,
    weights: str | Path | None = None,
) -> None:
    """Write a model as ONNX to a file; see :func:`onnx_bytes`."""
    path.write_bytes(onnx_bytes(model, size_hw=size_hw, weights=weights))


def onnx_bytes(
    model: str | Path | None,
    *,
    size_hw: tuple[int, int] | None = None,
    weights: str | Path | None = None,
) -> bytes:
    """A model as an ONNX file, with its normalisation, one input and two outputs.

    Args:
        model: A name of :func:`openpaf.weights.table`, or path of a safetensors file of ours.
        size_hw: A fixed height and width of the input in px; any size if None.
        weights: A checkpoint file to take in place of the model's own.

    Raises:
        ValueError: If the extra ``onnx`` is not installed.
        WeightsError: If the model is missing or damaged.
    """
    import torch

    onnx = needed("onnx", "onnx")
    needed("onnxscript", "onnx")
    network, row = load_model(model, weights)
    example = torch.zeros(2 if size_hw is None else 1, 3, *(size_hw or _EXAMPLE_HW))
    shapes = None
    if size_hw is None:
        # Sizes are multiples of 8, which the exporter wants to hear.
        rows, columns = (8 * torch.export.Dim(f"{side}_cells", min=2) for side in ("h", "w"))
        shapes = ({0: torch.export.Dim("batch"), 2: rows, 3: columns},)
    with _quiet():
        program = torch.onnx.export(
            with_ends(network, row),
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=["heatmaps", "pafs"],
            dynamic_shapes=shapes,
            external_data=False,
            optimize=True,
            verbose=False,
        )
    proto = program.model_proto  # type: ignore[union-attr]
    entry = proto.metadata_props.add()
    entry.key, entry.value = _NOTE, converted_row(row).to_metadata()["openpaf"]
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def openvino_model(
    model: str | Path | None,
    *,
    size_hw: tuple[int, int] | None = None,
    weights: str | Path | None = None,
) -> Any:
    """A model in OpenVINO's form, float32; see :func:`onnx_bytes`.

    Raises:
        ValueError: If the extra ``openvino`` is not installed.
        WeightsError: If the model is missing or damaged.
    """
    import torch

    openvino = needed("openvino", "openvino")
    network, row = load_model(model, weights)
    with warnings.catch_warnings():
        # OpenVINO reads torch modules by torch.jit.trace, which torch calls deprecated.
        warnings.simplefilter("ignore")
        converted = openvino.convert_model(
            with_ends(network, row), example_input=torch.zeros(1, 3, *_EXAMPLE_HW)
        )
    height, width = size_hw or (-1, -1)
    converted.reshape([-1 if size_hw is None else 1, 3, height, width])
    converted.set_rt_info(converted_row(row).to_metadata()["openpaf"], [_NOTE, "weights"])
    set_precision(converted, "float32")
    return converted


def set_precision(model: Any, precision: str) -> None:
    """Note in an OpenVINO model the precision in which it is to run."""
    model.set_rt_info(precision, [_NOTE, "precision"])


def set_source(model: Any, sha256: str) -> None:
    """Note in an OpenVINO model the weights that it is made from."""
    model.set_rt_info(sha256, [_NOTE, "source"])


def read_source(model: Any) -> str | None:
    """SHA-256 of the weights that an OpenVINO model is made from; None if it does not say."""
    try:
        return str(model.get_rt_info([_NOTE, "source"]).astype(str))
    except RuntimeError:
        return None


def quantize(model: Any, inputs: Sequence[NDArray[np.float32]]) -> Any:
    """An OpenVINO model with 8-bit integers, whose ranges are those seen in the inputs.

    The first layers, which see the pixels, and those that give the fields stay in floating point;
    of networks with refinement stages only those of these stages.

    Args:
        model: As :func:`openvino_model` gives it.
        inputs: (1, 3, h, w) float32 each, of typical photos; dozens of them.

    Raises:
        ValueError: If nncf, of the extra ``export``, is not installed.
    """
    with _quiet():
        nncf = needed("nncf", "export")
        nncf.set_log_level(logging.ERROR)
        refined = any("refinement" in layer.get_friendly_name() for layer in model.get_ops())
        in_float = [_FIRST, _LAST_HEADS if refined else _HEADS]
        result = nncf.quantize(
            model,
            nncf.Dataset(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(patterns=in_float, validate=False),
        )
    result.set_rt_info(model.get_rt_info([_NOTE, "weights"]).astype(str), [_NOTE, "weights"])
    set_precision(result, "int8")
    return result


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
    return openvino.Core().read_model(data[8 : 8 + n], openvino.Tensor(numbers))


def read_openvino(path: Path) -> Any:
    """An OpenVINO model from its file.

    Raises:
        ValueError: If the extra ``openvino`` is not installed.
        WeightsError: If the file is damaged, or has a loop or a branch.
    """
    openvino = needed("openvino", "openvino")
    try:
        model = openvino.Core().read_model(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise WeightsError(f"{path}: cannot be read as OpenVINO ({reason})") from error
    _refuse_nested(path, {op.get_type_name() for op in model.get_ops()} & _NESTED)
    return model


def read_onnx(path: Path) -> tuple[bytes, ModelSpec]:
    """An ONNX file of ours, and how the model in it is to be run.

    Raises:
        ValueError: If the extra ``onnx`` is not installed.
        WeightsError: If the file is damaged, not one of ours, or has a loop or a branch.
    """
    onnx = needed("onnx", "onnx")
    try:
        data = path.read_bytes()
        proto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf has errors of its own
        raise WeightsError(f"{path}: cannot be read as ONNX ({error})") from error
    nodes = itertools.chain(proto.graph.node, *(function.node for function in proto.functions))
    nested = (
        node.op_type for node in nodes if any(a.HasField("g") or a.graphs for a in node.attribute)
    )
    _refuse_nested(path, set(nested))
    if any(tensor.external_data for tensor in proto.graph.initializer):
        raise WeightsError(f"{path}: expected its numbers inside of it, found the name of a file")
    notes = {entry.key: entry.value for entry in proto.metadata_props}
    return data, ModelSpec.from_metadata(notes, path)


def _refuse_nested(path: Path, operators: set[str]) -> None:
    """Refuse operators that hold a graph of their own: no network here has them.

    A loop may never end, and what is inside of one cannot be stopped.
    """
    if operators:
        raise WeightsError(
            f"{path}: a model with {', '.join(sorted(operators))}, loops or branches, is not run"
        )


def read_openvino_note(model: Any, path: Path) -> tuple[ModelSpec, str]:
    """How an OpenVINO model of ours is to be run, and its precision.

    Raises:
        WeightsError: If it is not one of ours.
    """
    try:
        notes = {"openpaf": model.get_rt_info([_NOTE, "weights"]).astype(str)}
        precision = model.get_rt_info([_NOTE, "precision"]).astype(str)
    except RuntimeError as error:
        raise WeightsError(f"{path}: no description of an openpaf model in it") from error
    return ModelSpec.from_metadata(notes, path), precision


def needed(module: str, extra: str) -> Any:
    """A module of an extra.

    Raises:
        ValueError: If it is not installed; the message names the extra.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"runtime: {module!r} is not installed; pip install 'openpaf[{extra}]'"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' progress on the output stream, and their warnings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def converted_row(row: ModelSpec) -> ModelSpec:
    """How a converted model is run: what its checkpoint asked for stands inside of it."""
    return dataclasses.replace(row, mean=0.0, scale=1.0, bgr=False, channel_order=None)


def is_export(model: str | Path | None) -> bool:
    """Whether a model is an ONNX or OpenVINO file rather than weights."""
    return model is not None and Path(model).suffix.lower() in FORMATS.values()


def source_of(model: str | Path | None) -> Path:
    """The file of a model, an export or weights.

    Raises:
        WeightsError: If there is none.
    """
    if is_export(model):
        path = Path(str(model))
        if not path.is_file():
            raise WeightsError(f"{path}: no such file")
        return path
    return find(model)
