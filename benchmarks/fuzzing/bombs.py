"""Small files of very many zeros."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib

import numpy as np
import torch


@functools.cache
def zeros_file(form: str, megabytes: int) -> bytes:
    """A file whose one large tensor is nothing but zeros."""
    n = megabytes << 18  # floats
    if form == "npz":
        head = io.BytesIO()
        about = {"descr": "<f4", "fortran_order": False, "shape": (n,)}
        np.lib.format.write_array_header_1_0(head, about)
        return _zip({"first.weight.npy": (head.getvalue(), megabytes)})
    return _zip(
        {
            "m/data.pkl": (pickle_of_floats(n), 0),
            "m/version": (b"3\n", 0),
            "m/byteorder": (b"little", 0),
            "m/data/0": (b"", megabytes),
        }
    )


def _zip(entries: dict[str, tuple[bytes, int]]) -> bytes:
    """A zip of files that end with megabytes of zeros: deflated once, and repeated."""
    pack = zlib.compressobj(9, wbits=-15)
    zeros = bytes(1 << 20)
    block = pack.compress(zeros) + pack.flush(zlib.Z_FULL_FLUSH)
    local, central = b"", b""
    for name, (start, megabytes) in entries.items():
        pack = zlib.compressobj(9, wbits=-15)
        body = pack.compress(start) + pack.flush(zlib.Z_FULL_FLUSH) + block * megabytes
        body += zlib.compressobj(9, wbits=-15).flush()
        crc = zlib.crc32(start)
        for _ in range(megabytes):
            crc = zlib.crc32(zeros, crc)
        about = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(body),
                            len(start) + (megabytes << 20), len(name), 0)  # fmt: skip
        central += b"PK\1\2" + struct.pack("<H", 20) + about
        central += struct.pack("<HHHII", 0, 0, 0, 0, len(local)) + name.encode()
        local += b"PK\3\4" + about + name.encode() + body
    n = len(entries)
    return local + central + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, n, n, len(central),
                                         len(local), 0)  # fmt: skip


def pickle_of_floats(n: int) -> bytes:
    """What torch writes of a state dict with one tensor of n floats, without having them."""
    small = io.BytesIO()
    torch.save({"first.weight": torch.zeros(259)}, small)
    with zipfile.ZipFile(small) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith("data.pkl"))
        raw = archive.read(name)
    return raw.replace(b"M" + struct.pack("<H", 259), b"J" + struct.pack("<i", n))
