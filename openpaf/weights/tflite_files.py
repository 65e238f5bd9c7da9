"""TensorFlow Lite's ``.tflite``: a flat buffer, read as data and without TensorFlow.

Only the tensors with numbers of their own are looked at, and which operator takes them, since that
says how they lie. Integers come with a scale and a zero point, and become floats.

Reference:
    tensorflow/lite/schema/schema.fbs, for the numbers of the fields; flatbuffers.dev, for the
    format.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import WeightsError, printable
from openpaf.weights.limits import MAX_DIMENSIONS, MAX_KEY_CHARS, MAX_STATE_BYTES, MAX_TENSORS
from openpaf.weights.stored import State, StoredTensor, check_names, read_exactly

if TYPE_CHECKING:
    from torch import Tensor

#: At the fifth byte of every such file.
MAGIC = b"TFL3"
# Numbers of the fields of each table.
_MODEL_CODES, _MODEL_GRAPHS, _MODEL_BUFFERS = 1, 2, 4
_GRAPH_TENSORS, _GRAPH_OPERATORS = 0, 3
_SHAPE, _TYPE, _BUFFER, _NAME, _QUANTIZATION = range(5)
_SCALES, _ZERO_POINTS = 2, 3
_DEPTHWISE = 4  # code of the operator
_DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 7: "<i2", 9: "i1"}


class _FlatBuffer:
    """Tables and vectors of a buffer; a place outside of it raises a ``ValueError``."""

    def __init__(self, content: bytes | bytearray) -> None:
        self.content = content

    def number(self, kind: str, place: int) -> int:
        """The number of a kind of :mod:`struct` at a place."""
        if not 0 <= place <= len(self.content) - struct.calcsize(kind):
            raise ValueError("a place outside of the file")
        (value,) = struct.unpack_from("<" + kind, self.content, place)
        return int(value)

    def follow(self, place: int) -> int:
        """Where the offset at a place leads."""
        return place + self.number("I", place)

    def field(self, table: int, index: int) -> int | None:
        """The place of a field of a table; None if it has its default."""
        fields = table - self.number("i", table)
        if 4 + 2 * index >= self.number("H", fields):
            return None
        offset = self.number("H", fields + 4 + 2 * index)
        return table + offset if offset else None

    def vector(self, table: int, index: int) -> tuple[int, int]:
        """Where the entries of a vector are, and how many; none where it has its default."""
        place = self.field(table, index)
        if place is None:
            return 0, 0
        start = self.follow(place)
        return start + 4, self.number("I", start)

    def tables(self, table: int, index: int) -> list[int]:
        """The places of the tables of a vector."""
        start, n = self.vector(table, index)
        if n > MAX_TENSORS:
            raise ValueError(f"expected at most {MAX_TENSORS} entries, found {n}")
        return [self.follow(start + 4 * i) for i in range(n)]

    def array(self, table: int, index: int, dtype: str, limit: int) -> NDArray[np.generic]:
        """A vector of at most so many numbers."""
        start, n = self.vector(table, index)
        if n > limit or start + n * np.dtype(dtype).itemsize > len(self.content):
            raise ValueError("a vector that reaches beyond its end")
        return np.frombuffer(self.content, dtype, n, start)

    def scalar(self, table: int, index: int, kind: str) -> int:
        """A number of a table; 0 where it has its default."""
        place = self.field(table, index)
        return 0 if place is None else self.number(kind, place)


def count_graphs(content: bytes) -> int:
    """How many graphs a file has: one, and one for each loop, branch or function.

    Raises:
        ValueError: If it is no such file, or damaged.
    """
    if content[4:8] != MAGIC:
        raise ValueError("not a TensorFlow Lite model")
    buffer = _FlatBuffer(content)
    return len(buffer.tables(buffer.follow(0), _MODEL_GRAPHS))


def tflite_tensors(file: IO[bytes], path: Path) -> State:
    """The constants of the first graph of a file.

    Args:
        file: Opened for reading.
        path: Of it, for messages.

    Returns:
        Tensors by name, in the order of torch's: of convolutions (out, in, h, w), of depthwise ones
        (channels, 1, h, w). float32.

    Raises:
        WeightsError: If it is damaged, or has no weights in it.
    """
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    if n_bytes > MAX_STATE_BYTES:
        raise WeightsError(f"{path}: expected at most {MAX_STATE_BYTES >> 20} MiB")
    buffer = _FlatBuffer(read_exactly(file, n_bytes))
    state: State = {}
    try:
        model = buffer.follow(0)
        codes = [buffer.scalar(code, 0, "b") for code in buffer.tables(model, _MODEL_CODES)]
        buffers = buffer.tables(model, _MODEL_BUFFERS)
        graph = buffer.tables(model, _MODEL_GRAPHS)[0]
        depthwise = _weights_of_depthwise(buffer, graph, codes)
        for i, tensor in enumerate(buffer.tables(graph, _GRAPH_TENSORS)):
            data = buffers[buffer.scalar(tensor, _BUFFER, "I")]
            if buffer.vector(data, 0)[1]:
                name = bytes(buffer.array(tensor, _NAME, "u1", MAX_KEY_CHARS)).decode("utf-8")
                if name in state:
                    raise ValueError(f"two tensors are called {printable(name)!r}")
                state[name] = _stored(buffer, tensor, data, i in depthwise)
    except (IndexError, ValueError) as error:  # UnicodeDecodeError is one
        raise WeightsError(
            f"{path}: expected a TensorFlow Lite model, found one that is damaged or cut short "
            f"({printable(error)})"
        ) from error
    if not state:
        raise WeightsError(f"{path}: expected a TensorFlow Lite model, found none with weights")
    check_names(state, path)
    return state


def _weights_of_depthwise(buffer: _FlatBuffer, graph: int, codes: list[int]) -> set[int]:
    """The indices of the tensors that are weights of depthwise convolutions."""
    found = set()
    for operator in buffer.tables(graph, _GRAPH_OPERATORS):
        if codes[buffer.scalar(operator, 0, "I")] == _DEPTHWISE:
            inputs = buffer.array(operator, 1, "<i4", MAX_TENSORS)
            found.add(int(inputs[1]))
    return found


def _stored(buffer: _FlatBuffer, tensor: int, data: int, is_depthwise: bool) -> StoredTensor:
    shape = tuple(int(n) for n in buffer.array(tensor, _SHAPE, "<i4", MAX_DIMENSIONS).tolist())
    kind = buffer.scalar(tensor, _TYPE, "b")
    if kind not in _DTYPES or any(n < 0 for n in shape):
        raise ValueError("a tensor of another type of numbers")
    raw = buffer.array(data, 0, "u1", MAX_STATE_BYTES)
    if len(raw) != math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize:
        raise ValueError(f"{len(raw)} bytes for the shape {printable(shape)}")
    values = raw.view(_DTYPES[kind]).reshape(shape)
    order: tuple[int, ...] = tuple(range(len(shape)))
    if len(shape) == 4:
        order = (3, 0, 1, 2) if is_depthwise else (0, 3, 1, 2)
    scales, zeros = _quantization(buffer, tensor)

    def read() -> Tensor:
        import torch

        floats = values.astype(np.float64)
        if len(scales):
            # One for all, or one for each output channel, which lies first, or last if depthwise.
            side = (-1,) if is_depthwise else (-1,) + (1,) * (len(shape) - 1)
            floats = (floats - zeros.reshape(side)) * scales.reshape(side)
        return torch.from_numpy(floats.transpose(order).astype(np.float32, order="C"))

    return StoredTensor(tuple(shape[i] for i in order), "float32", read)


def _quantization(
    buffer: _FlatBuffer, tensor: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scales and zero points of a tensor; none where its numbers are floats."""
    place = buffer.field(tensor, _QUANTIZATION)
    if place is None:
        return np.empty(0), np.empty(0)
    table = buffer.follow(place)
    scales = buffer.array(table, _SCALES, "<f4", 1 << 20).astype(np.float64)
    zeros = buffer.array(table, _ZERO_POINTS, "<i8", 1 << 20).astype(np.float64)
    return scales, zeros if len(zeros) else np.zeros(len(scales))
