"""Bytes of a ``.caffemodel``, put together by hand: no code in common with what reads them."""

from __future__ import annotations

import numpy as np


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes | int | str) -> bytes:
    """A field of a message: a number is a varint, all else has its length before it."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    raw = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def blob(array: np.ndarray, *, old: bool = False, double: bool = False) -> bytes:
    """A blob with its shape, or with four sizes as files had them before 2014."""
    if old:
        sizes = (1,) * (4 - array.ndim) + array.shape
        head = b"".join(field(i + 1, size) for i, size in enumerate(sizes))
    else:
        head = field(7, field(1, b"".join(varint(size) for size in array.shape)))
    if double:
        return head + field(8, array.astype("<f8").tobytes())
    return head + field(5, array.astype("<f4").tobytes())


def layer(name: str, blobs: list[bytes], kind: str = "Convolution") -> bytes:
    """A layer with an input, an output and settings, which are not read."""
    content = field(1, name) + field(2, kind) + field(3, "in") + field(4, name)
    content += b"".join(field(7, b) for b in blobs) + field(10, 1)
    return field(100, content)


def old_layer(name: str, blobs: list[bytes]) -> bytes:
    content = field(2, "in") + field(3, name) + field(4, name) + field(5, 4)
    return field(2, content + b"".join(field(6, b) for b in blobs))


def network(layers: list[bytes]) -> bytes:
    return field(1, "a network") + field(3, "image") + b"".join(layers)


def caffemodel(state: dict[str, np.ndarray]) -> bytes:
    """A file with these weights, keyed ``LAYER.weight`` and ``LAYER.bias``."""
    layers: dict[str, list[bytes]] = {}
    for key in sorted(state, key=lambda key: (key.rpartition(".")[0], key.endswith(".bias"))):
        layers.setdefault(key.rpartition(".")[0], []).append(blob(state[key]))
    return network(
        [
            layer(name, blobs, "PReLU" if "prelu" in name else "Convolution")
            for name, blobs in layers.items()
        ]
    )
