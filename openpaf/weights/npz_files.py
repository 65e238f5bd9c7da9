"""NumPy's ``.npz``: arrays in a zip archive, read as numbers and nothing else."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.errors import WeightsError, printable
from openpaf.weights.stored import State, StoredTensor, check_names, read_exactly
from openpaf.weights.zip_files import open_member, read_member

if TYPE_CHECKING:
    from torch import Tensor

# The header of an array as NumPy writes it. It is a Python expression, and is not evaluated.
_HEADER = re.compile(
    r"\{'descr': (?P<descr>'[^']{1,20}'|\[.*\]), 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>[\d, ]*)\), ?\}\s*",
    re.DOTALL,
)
_MAX_HEADER_BYTES = 10_000
# NumPy's letters and sizes of numbers, without their byte order.
_DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32",
    "i2": "int16", "i1": "int8", "u1": "uint8", "b1": "bool",
}  # fmt: skip


def npz_tensors(archive: zipfile.ZipFile, path: Path) -> State:
    """The arrays of an archive.

    Args:
        archive: It must stay open for as long as arrays are read.
        path: Of it, for messages.

    Raises:
        WeightsError: If an array holds something else than numbers.
        ValueError: If one is damaged; and what zipfile and zlib raise.
    """
    infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    check_names(infos, path)
    return {name: _describe(archive, info, path, name) for name, info in infos.items()}


def _describe(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, name: str
) -> StoredTensor:
    with open_member(archive, info) as file:
        magic = bytes(read_exactly(file, 8))
        if magic[:6] != b"\x93NUMPY" or magic[6] not in (1, 2, 3):
            raise ValueError(f"{printable(name)}: no array of NumPy's")
        length = 2 if magic[6] == 1 else 4
        n_header = int.from_bytes(read_exactly(file, length), "little")
        if n_header > _MAX_HEADER_BYTES:
            raise ValueError(f"{printable(name)}: a header of {n_header} bytes")
        header = bytes(read_exactly(file, n_header)).decode("latin-1")
    found = _HEADER.fullmatch(header)
    if found is None:
        raise ValueError(f"{printable(name)}: a header that NumPy does not write")
    descr, shape = found["descr"].strip("'"), _shape(found["shape"])
    if "O" in descr:
        raise WeightsError(
            f"{path}: refused: it holds Python objects, and to load them would run code"
        )
    dtype = _DTYPES.get(descr.lstrip("<>|="))
    if dtype is None:
        raise WeightsError(
            f"{path}: expected numbers, found none in: {printable(name)} (its type is "
            f"{printable(descr)})"
        )
    start, order = 8 + length + n_header, "F" if found["fortran"] == "True" else "C"
    stored = StoredTensor(shape, dtype, lambda: _read(archive, info, start, descr, stored, order))
    if info.file_size != start + stored.n_bytes:
        raise ValueError(
            f"{printable(name)}: expected {stored.n_bytes} bytes for the shape {shape}, found "
            f"{info.file_size - start}"
        )
    return stored


def _shape(text: str) -> tuple[int, ...]:
    sizes = [size.strip() for size in text.split(",")]
    # Longer numbers are none of a size, and Python refuses some of them.
    return tuple(int(size) if len(size) < 20 else -1 for size in sizes if size)


def _read(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    start: int,
    descr: str,
    stored: StoredTensor,
    order: str,
) -> Tensor:
    import numpy as np
    import torch

    content = read_member(archive, info, start + stored.n_bytes)
    values = np.frombuffer(content, descr, offset=start).reshape(stored.shape, order=order)  # type: ignore[call-overload]
    return torch.from_numpy(values.astype(values.dtype.newbyteorder("="), order="C"))
