"""Caffe's ``.caffemodel``: a protocol buffer, read as data and without Caffe.

Of the message ``NetParameter`` only the layers with their names, types and blobs are described
here; all else in a file is skipped.

Reference:
    Jia et al., Caffe: Convolutional Architecture for Fast Feature Embedding, 2014; the message's
    field numbers are those of Caffe's ``caffe.proto``.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import WeightsError

#: Of each message, its fields: name, number, type, and whether it comes any number of times.
#: ``layers`` is how files from before 2014 hold their layers. The numbers of a blob are packed
#: floats, which on the wire are bytes: read so, 50 million of them need no loop in Python.
_MESSAGES: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "BlobShape": (("dim", 1, "int64", True),),
    "BlobProto": (
        ("num", 1, "int32", False),
        ("channels", 2, "int32", False),
        ("height", 3, "int32", False),
        ("width", 4, "int32", False),
        ("data", 5, "bytes", True),
        ("shape", 7, "BlobShape", False),
        ("double_data", 8, "bytes", True),
    ),
    "LayerParameter": (
        ("name", 1, "string", False),
        ("type", 2, "string", False),
        ("blobs", 7, "BlobProto", True),
    ),
    "V1LayerParameter": (("name", 4, "string", False), ("blobs", 6, "BlobProto", True)),
    "NetParameter": (
        ("name", 1, "string", False),
        ("layers", 2, "V1LayerParameter", True),
        ("layer", 100, "LayerParameter", True),
    ),
}
_OLD_SIZES = ("num", "channels", "height", "width")


@functools.cache
def _net_parameter() -> Any:
    """The class of the message, made at run time from the table above.

    Raises:
        WeightsError: If protobuf is not installed.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise WeightsError(
            "Caffe files need the package protobuf; pip install 'openpaf[caffe]'"
        ) from error
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="openpaf_caffe.proto", package="openpaf.caffe", syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            row = message.field.add(name=field, number=number)
            row.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            if kind in _MESSAGES:
                row.type, row.type_name = field_type.TYPE_MESSAGE, f".openpaf.caffe.{kind}"
            else:
                row.type = getattr(field_type, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("openpaf.caffe.NetParameter"))


def read_caffemodel(path: str | Path) -> dict[str, NDArray[np.floating[Any]]]:
    """The weights of a ``.caffemodel``.

    Args:
        path: The file.

    Returns:
        Arrays by ``LAYER.weight`` (of a PReLU its slopes), ``LAYER.bias``, and ``LAYER.2`` and so
        on where a layer has more; float32, or float64 where the file says so. Biases and slopes
        are flat.

    Raises:
        OSError: If the file cannot be read.
        WeightsError: If it is damaged, has no weights in it, or protobuf is not installed.
    """
    net = _net_parameter()()
    content = Path(path).read_bytes()
    try:
        net.ParseFromString(content)
    except Exception as error:  # protobuf's DecodeError, whose module varies with its version
        raise WeightsError(
            f"{path}: expected a Caffe model, found a message that is damaged or cut short"
        ) from error
    state: dict[str, NDArray[np.floating[Any]]] = {}
    for layer in (*net.layers, *net.layer):
        slopes = getattr(layer, "type", "") == "PReLU"
        for i, blob in enumerate(layer.blobs):
            key = f"{layer.name}.{('weight', 'bias')[i] if i < 2 else i}"
            if key in state:
                raise WeightsError(f"{path}: two layers are called {layer.name!r}")
            values = _array(blob, f"{path}: {key}")
            state[key] = values.reshape(-1) if slopes or i == 1 else values
    if not state:
        raise WeightsError(f"{path}: expected a Caffe model, found no layer with weights")
    return state


def _array(blob: Any, where: str) -> NDArray[np.floating[Any]]:
    kind, chunks = ("<f8", blob.double_data) if blob.double_data else ("<f4", blob.data)
    content = b"".join(chunks)
    if blob.HasField("shape"):
        shape = tuple(blob.shape.dim)
    else:
        shape = tuple(getattr(blob, size) for size in _OLD_SIZES)
    n_bytes = np.dtype(kind).itemsize * math.prod(shape)
    if min(shape, default=1) < 0 or len(content) != n_bytes:
        raise WeightsError(
            f"{where}: expected {n_bytes} bytes for the shape {shape}, found {len(content)}"
        )
    return np.frombuffer(content, kind).astype(kind[1:]).reshape(shape)
