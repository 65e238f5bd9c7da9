"""Exported models: files for other engines, which carry the description of their model.

Read with limits, as such files come from elsewhere: none may hold a loop or a branch, which could
run for ever, nor the name of another file.
"""

from __future__ import annotations

import itertools
import zipfile
import zlib
from pathlib import Path
from typing import Any

from openpaf.errors import WeightsError, printable
from openpaf.io.extras import import_extra, openvino_core
from openpaf.weights.coreml_files import read_program
from openpaf.weights.spec import ModelSpec
from openpaf.weights.tflite_files import count_graphs
from openpaf.weights.zip_files import open_zip, read_member

#: Suffix of the files of each engine that runs exported models.
EXPORT_SUFFIXES = {
    "onnx": ".onnx", "openvino": ".xml", "litert": ".tflite", "coreml": ".mlpackage",
}  # fmt: skip
NOTE = "openpaf"
#: The file with the description, in the archive after a LiteRT file.
LITERT_NOTE = "openpaf.json"
_MAX_NOTE_BYTES = 1 << 20
# Operators of OpenVINO that hold a graph of their own.
_NESTED = {"If", "Loop", "TensorIterator"}


def export_kind(model: str | Path | None) -> str | None:
    """The engine that runs an exported file, by its suffix; None for weights and names."""
    suffix = Path(model).suffix.lower() if model is not None else ""
    return next((kind for kind, own in EXPORT_SUFFIXES.items() if own == suffix), None)


def read_export_spec(path: Path, kind: str) -> ModelSpec:
    """How the model of an exported file is run.

    Raises:
        ValueError: If the extra of its engine is not installed.
        WeightsError: If the file is missing, damaged, not one of ours, or has a loop or a branch.
    """
    if not (path.is_dir() if kind == "coreml" else path.is_file()):
        raise WeightsError(f"{path}: no such file")
    if kind == "onnx":
        return read_onnx(path)[1]
    if kind == "litert":
        return read_litert(path)[1]
    if kind == "coreml":
        return read_coreml(path)
    return read_openvino_note(read_openvino(path), path)[0]


def read_onnx(path: Path) -> tuple[bytes, ModelSpec]:
    """An ONNX file of ours, and how the model in it is run.

    Raises:
        ValueError: If the extra ``onnx`` is not installed.
        WeightsError: If the file is damaged, not one of ours, or has a loop or a branch.
    """
    onnx = import_extra("onnx", "onnx")
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


def read_litert(path: Path) -> tuple[bytes, ModelSpec]:
    """A LiteRT file of ours, and how the model in it is run.

    Raises:
        WeightsError: If the file is damaged, not one of ours, or has a loop or a branch.
    """
    try:
        content = path.read_bytes()
        n_graphs = count_graphs(content)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as LiteRT ({printable(error)})") from error
    if n_graphs != 1:  # what is done in a loop or a branch is a graph of its own
        raise WeightsError(f"{path}: a model with loops or branches is not run")
    try:
        with open_zip(path) as archive:
            info = archive.getinfo(LITERT_NOTE)
            if info.file_size > _MAX_NOTE_BYTES:
                raise ValueError(f"a description of {info.file_size} bytes")
            note = bytes(read_member(archive, info, info.file_size)).decode("utf-8")
    except (WeightsError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise WeightsError(f"{path}: no description of an openpaf model in it") from error
    return content, ModelSpec.from_metadata({NOTE: note}, path)


def read_coreml(path: Path) -> ModelSpec:
    """How the model of a Core ML package of ours is run; read on any platform.

    Raises:
        WeightsError: If it is damaged, not one of ours, or has a loop or a branch.
    """
    try:
        note, nested = read_program(path, NOTE)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as Core ML ({printable(error)})") from error
    _refuse_nested(path, nested)
    return ModelSpec.from_metadata(None if note is None else {NOTE: note}, path)


def read_openvino(path: Path) -> Any:
    """An OpenVINO model from its file.

    Raises:
        ValueError: If the extra ``openvino`` is not installed.
        WeightsError: If the file is damaged, or has a loop or a branch.
    """
    core = openvino_core()
    try:
        model = core.read_model(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise WeightsError(f"{path}: cannot be read as OpenVINO ({reason})") from error
    _refuse_nested(path, {op.get_type_name() for op in model.get_ops()} & _NESTED)
    return model


def read_openvino_note(model: Any, path: Path) -> tuple[ModelSpec, str]:
    """How an OpenVINO model of ours is run, and its precision.

    Raises:
        WeightsError: If it is not one of ours.
    """
    try:
        notes = {NOTE: model.get_rt_info([NOTE, "weights"]).astype(str)}
        precision = model.get_rt_info([NOTE, "precision"]).astype(str)
    except RuntimeError as error:
        raise WeightsError(f"{path}: no description of an openpaf model in it") from error
    return ModelSpec.from_metadata(notes, path), precision


def _refuse_nested(path: Path, operators: set[str]) -> None:
    """Refuse operators that hold a graph of their own: no network here has them."""
    if operators:
        raise WeightsError(
            f"{path}: a model with {', '.join(sorted(operators))}, loops or branches, is not run"
        )
