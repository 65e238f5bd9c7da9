"""TensorFlow Lite files, written by hand as far as weights go."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

_CODES = {"<f4": 0, "<i4": 2, "|u1": 3}


class _Writer:
    """Appends what others point to, and fills in the offsets afterwards: all of them go forward."""

    def __init__(self) -> None:
        self.content = bytearray(8)
        self.content[4:8] = b"TFL3"

    def pad(self, multiple: int = 8) -> int:
        self.content += bytes(-len(self.content) % multiple)
        return len(self.content)

    def point(self, place: int, target: int) -> None:
        struct.pack_into("<I", self.content, place, target - place)

    def table(self, fields: dict[int, bytes | None]) -> tuple[int, dict[int, int]]:
        """A table: numbers as bytes, None for an offset. Its place, and those of its fields."""
        n = max(fields, default=-1) + 1
        start = self.pad()
        place = start + 4 + 2 * n + (-(4 + 2 * n) % 8)
        body, places = bytearray(4), {}
        for index, value in sorted(fields.items()):
            body += bytes(-len(body) % 8)
            places[index] = len(body)
            body += bytes(4) if value is None else value
        offsets = [places.get(i, 0) for i in range(n)]
        self.content += struct.pack(f"<HH{n}H", 4 + 2 * n, len(body), *offsets)
        self.pad()
        struct.pack_into("<i", body, 0, place - start)
        self.content += body
        return place, {index: place + offset for index, offset in places.items()}

    def vector(self, array: Any) -> int:
        data = np.asarray(array)
        place = self.pad()
        self.content += bytes(4) + struct.pack("<I", data.size)  # so that numbers are aligned
        self.content += data.tobytes()
        return place + 4

    def tables(self, makers: Sequence[Any]) -> int:
        place = self.vector(np.zeros(len(makers), "<u4"))
        for i, make in enumerate(makers):
            self.point(place + 4 + 4 * i, make())
        return place


def tflite(tensors: dict[str, np.ndarray], depthwise: Sequence[str] = ()) -> bytes:
    """A file of uint8 weights, scale 1/64 and zero point 100, or of other numbers as they are.

    Args:
        tensors: By name, as they lie in the file.
        depthwise: Which are weights of depthwise convolutions.
    """
    writer, names = _Writer(), list(tensors)

    def tensor(i: int) -> int:
        array = tensors[names[i]]
        kind = struct.pack("<b", _CODES[array.dtype.str])
        number = struct.pack("<I", i + 1)
        place, fields = writer.table({0: None, 1: kind, 2: number, 3: None, 4: None})
        writer.point(fields[0], writer.vector(np.array(array.shape, "<i4")))
        writer.point(fields[3], writer.vector(np.frombuffer(names[i].encode(), np.uint8)))
        is_whole = array.dtype == np.uint8
        table, parts = writer.table({2: None, 3: None} if is_whole else {})
        writer.point(fields[4], table)
        if is_whole:
            writer.point(parts[2], writer.vector(np.array([1 / 64], "<f4")))
            writer.point(parts[3], writer.vector(np.array([100], "<i8")))
        return place

    def operator(name: str) -> int:
        place, fields = writer.table({0: struct.pack("<I", 0), 1: None})
        writer.point(fields[1], writer.vector(np.array([0, names.index(name), -1], "<i4")))
        return place

    def graph() -> int:
        place, fields = writer.table({0: None, 3: None})
        writer.point(fields[0], writer.tables([lambda i=i: tensor(i) for i in range(len(names))]))
        writer.point(fields[3], writer.tables([lambda n=n: operator(n) for n in depthwise]))
        return place

    def buffer(data: bytes) -> int:
        place, fields = writer.table({0: None})
        writer.point(fields[0], writer.vector(np.frombuffer(data, np.uint8)))
        return place

    model, fields = writer.table({1: None, 2: None, 4: None})
    writer.point(0, model)
    code = struct.pack("<b", 4)  # DEPTHWISE_CONV_2D
    writer.point(fields[1], writer.tables([lambda: writer.table({0: code})[0]]))
    writer.point(fields[2], writer.tables([graph]))
    data = [b"", *(tensors[name].tobytes() for name in names)]
    writer.point(fields[4], writer.tables([lambda d=d: buffer(d) for d in data]))
    return bytes(writer.content)
