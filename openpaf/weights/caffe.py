"""Caffe's ``.caffemodel``: a protocol buffer, read as data and without Caffe.

Of the message ``NetParameter`` only the layers with their names, types and blobs are looked at; all
else in a file is skipped. Numbers are read only when they are asked for.

Reference:
    Jia et al., Caffe: Convolutional Architecture for Fast Feature Embedding, 2014; the message's
    field numbers are those of Caffe's ``caffe.proto``, and the format is that of
    protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import WeightsError, printable
from openpaf.weights.limits import MAX_DIMENSIONS, MAX_TENSORS
from openpaf.weights.protobuf_files import BYTES, EIGHT, FOUR, VARINT, Field, Message
from openpaf.weights.stored import State, StoredTensor, check_names, check_total, read_exactly

if TYPE_CHECKING:
    from torch import Tensor

# Numbers of the fields. ``layers`` is how files from before 2014 hold their layers.
_LAYERS, _LAYER = 2, 100
_OLD_NAME, _OLD_BLOBS = 4, 6
_NAME, _TYPE, _BLOBS = 1, 2, 7
_OLD_SIZES, _DATA, _SHAPE, _DOUBLES = (1, 2, 3, 4), 5, 7, 8
_DIM = 1


@dataclass
class _Blob:
    """An array: its sizes, and the places of its bytes, which may come in pieces."""

    old_sizes: dict[int, int] = field(default_factory=dict)
    shape: list[int] | None = None
    singles: list[tuple[int, int]] = field(default_factory=list)
    doubles: list[tuple[int, int]] = field(default_factory=list)

    def sizes(self) -> tuple[int, ...]:
        if self.shape is not None:
            return tuple(self.shape)
        return tuple(self.old_sizes.get(number, 0) for number in _OLD_SIZES)


def caffe_tensors(file: IO[bytes], path: Path) -> State:
    """The weights of a ``.caffemodel``.

    Args:
        file: Opened for reading; it must stay open for as long as tensors are read.
        path: Of it, for messages.

    Returns:
        Tensors by ``LAYER.weight`` (of a PReLU its slopes), ``LAYER.bias``, and ``LAYER.2`` and so
        on where a layer has more; float32, or float64 where the file says so. Biases and slopes
        are flat.

    Raises:
        WeightsError: If it is damaged, or has no weights in it.
    """
    state: State = {}
    message = Message(file)
    end = file.seek(0, os.SEEK_END)
    try:
        for entry in message.fields(0, end):
            if entry.number in (_LAYERS, _LAYER) and entry.kind == BYTES:
                _add_layer(message, entry, state, path)
    except ValueError as error:  # UnicodeDecodeError is one
        raise WeightsError(
            f"{path}: expected a Caffe model, found a message that is damaged or cut short "
            f"({printable(error)})"
        ) from error
    if not state:
        raise WeightsError(f"{path}: expected a Caffe model, found no layer with weights")
    check_names(state, path)
    return state


def read_caffemodel(path: str | Path) -> dict[str, NDArray[np.floating[Any]]]:
    """The weights of a ``.caffemodel``, by the names of :func:`caffe_tensors`.

    Raises:
        OSError: If the file cannot be read.
        WeightsError: If it is damaged, has no weights in it, or too many.
    """
    with Path(path).open("rb") as file:
        state = caffe_tensors(file, Path(path))
        check_total(state, path)
        return {key: stored.read().numpy() for key, stored in state.items()}


def _add_layer(message: Message, layer: Field, state: State, path: Path) -> None:
    old = layer.number == _LAYERS
    name, kind, blobs = "", "", []
    for entry in message.fields(layer.start, layer.end):
        if entry.number == (_OLD_NAME if old else _NAME):
            name = message.text(entry)
        elif entry.number == _TYPE and not old:
            kind = message.text(entry)
        elif entry.number == (_OLD_BLOBS if old else _BLOBS) and entry.kind == BYTES:
            blobs.append(_blob(message, entry))
    for i, blob in enumerate(blobs):
        key = f"{name}.{('weight', 'bias')[i] if i < 2 else i}"
        if key in state or len(state) > MAX_TENSORS:
            raise WeightsError(f"{path}: two layers are called {printable(name)!r}")
        state[key] = _stored(message.file, blob, f"{path}: {printable(key)}")
        if kind == "PReLU" or i == 1:
            state[key] = _flat(state[key])


def _blob(message: Message, place: Field) -> _Blob:
    blob = _Blob()
    for entry in message.fields(place.start, place.end):
        if entry.number in _OLD_SIZES and entry.kind == VARINT:
            blob.old_sizes[entry.number] = entry.value
        elif entry.number == _SHAPE and entry.kind == BYTES:
            blob.shape = blob.shape or []
            for dim in message.fields(entry.start, entry.end):
                if dim.number == _DIM:
                    blob.shape += message.varints(dim, MAX_DIMENSIONS)
        elif entry.number == _DATA and entry.kind in (BYTES, FOUR):
            blob.singles.append((entry.start, entry.end))
        elif entry.number == _DOUBLES and entry.kind in (BYTES, EIGHT):
            blob.doubles.append((entry.start, entry.end))
    return blob


def _stored(file: IO[bytes], blob: _Blob, where: str) -> StoredTensor:
    kind, pieces = ("float64", blob.doubles) if blob.doubles else ("float32", blob.singles)
    shape, found = blob.sizes(), sum(end - start for start, end in pieces)
    n_bytes = (8 if blob.doubles else 4) * math.prod(shape[:MAX_DIMENSIONS])
    if len(shape) > MAX_DIMENSIONS or found != n_bytes:
        expected = printable(n_bytes, 40)
        raise WeightsError(
            f"{where}: expected {expected} bytes for the shape {printable(shape)}, found {found}"
        )

    def read() -> Tensor:
        import torch

        content = bytearray()
        for start, end in pieces:
            file.seek(start)
            content += read_exactly(file, end - start)
        dtype = np.dtype(kind)
        values = np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype)
        return torch.from_numpy(values.reshape(shape))

    try:
        return StoredTensor(shape, kind, read)
    except ValueError as error:
        raise WeightsError(f"{where}: {error}") from error


def _flat(stored: StoredTensor) -> StoredTensor:
    return StoredTensor((math.prod(stored.shape),), stored.dtype, lambda: stored.read().reshape(-1))
