"""PyTorch's checkpoints, of ``torch.save`` in either of its formats, read as data.

Reference:
    The formats are those of ``torch/serialization.py``: a zip archive with one pickle and a file of
    each storage, or (before 2020) a row of pickles with the storages behind them.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from openpaf.errors import WeightsError, printable
from openpaf.weights.limits import MAX_DIMENSIONS, MAX_PICKLE_BYTES, MAX_STATE_BYTES
from openpaf.weights.pickles import Call, Name, read_pickle
from openpaf.weights.stored import (
    SIZES,
    State,
    StoredTensor,
    check_names,
    read_exactly,
    some,
    to_tensor,
)
from openpaf.weights.zip_files import read_member

if TYPE_CHECKING:
    from torch import Tensor

# What the format of before 2020 starts with: a number, and a version.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
# What training scripts call the state dict beside the optimizer's, and how deep it may lie.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")
_MAX_DEPTH = 8


@dataclass(frozen=True, eq=False)
class _Storage:
    """A row of numbers that tensors are cut from."""

    kind: str  # name of its class in torch, e.g. "FloatStorage"
    key: str
    n: int

    @property
    def dtype(self) -> str:
        """Name of its type of numbers.

        Raises:
            ValueError: If weights have no such type.
        """
        if self.kind not in _DTYPES:
            raise ValueError(f"expected real numbers, found a {printable(self.kind)}")
        return _DTYPES[self.kind]

    @property
    def n_bytes(self) -> int:
        return self.n * SIZES[self.dtype]


_Read = Callable[[_Storage], bytearray]


def zipped_tensors(archive: zipfile.ZipFile, path: Path) -> State:
    """The tensors in a file of PyTorch 1.6 and later.

    Args:
        archive: It must stay open for as long as tensors are read.
        path: Of it, for messages.

    Raises:
        WeightsError: If it would run code, or holds no tensors by name.
        ValueError: If it is damaged; and what zipfile and zlib raise.
    """
    names = [n for n in archive.namelist() if n.rpartition("/")[2] == "data.pkl"]
    if len(names) != 1:
        raise ValueError(f"expected one data.pkl, found {len(names)}")
    folder, info = names[0].removesuffix("data.pkl"), archive.getinfo(names[0])
    if info.file_size > MAX_PICKLE_BYTES:
        raise ValueError(f"expected a data.pkl of at most {MAX_PICKLE_BYTES} bytes")
    if f"{folder}byteorder" in archive.namelist():
        order = read_member(archive, archive.getinfo(f"{folder}byteorder"), len(sys.byteorder))
        if order.decode("latin-1") != sys.byteorder:
            raise ValueError("its numbers are in the byte order of another kind of machine")

    def read(storage: _Storage) -> bytearray:
        member = archive.getinfo(f"{folder}data/{storage.key}")
        return read_member(archive, member, storage.n_bytes)

    pickle = io.BytesIO(read_member(archive, info, info.file_size))
    return _tensors(read_pickle(pickle, _as_storage), path, read)


def old_tensors(file: IO[bytes], path: Path) -> State:
    """The tensors in a file of PyTorch before 1.6.

    Args:
        file: Opened for reading; it must stay open for as long as tensors are read.
        path: Of it, for messages.

    Raises:
        WeightsError: If it would run code, or holds no tensors by name.
        ValueError: If it is damaged, or not one of these.
    """
    storages: dict[str, _Storage] = {}

    def register(identity: Any) -> _Storage:
        storage = _as_storage(identity)
        if vars(storages.setdefault(storage.key, storage)) != vars(storage):
            raise ValueError("two descriptions of the same numbers")
        return storage

    def none(identity: Any) -> None:
        raise ValueError("numbers of a tensor where none are expected")

    if read_pickle(file, none) != _MAGIC or read_pickle(file, none) != _VERSION:
        raise ValueError("not written by torch.save")
    machine = read_pickle(file, none)
    if not isinstance(machine, dict) or machine.get("little_endian") != (sys.byteorder == "little"):
        raise ValueError("its numbers are in the byte order of another kind of machine")
    content = read_pickle(file, register)
    keys = read_pickle(file, none)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise ValueError("a list of other numbers than those it uses")
    starts: dict[str, int] = {}
    for key in keys:
        if int.from_bytes(read_exactly(file, 8), "little") != storages[key].n:
            raise ValueError("fewer or more numbers than it says")
        starts[key] = file.tell()
        file.seek(storages[key].n_bytes, io.SEEK_CUR)
    end = file.tell()
    if file.seek(0, io.SEEK_END) < end:
        raise ValueError(f"expected {end} bytes, found {file.tell()}")

    def read(storage: _Storage) -> bytearray:
        file.seek(starts[storage.key])
        return read_exactly(file, storage.n_bytes)

    return _tensors(content, path, read)


def _as_storage(identity: Any) -> _Storage:
    """A storage from its "persistent id": ``("storage", class, key, device, n)``.

    Raises:
        ValueError: If it is none, or part of another one.
    """
    if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6 or any(identity[5:]):
        raise ValueError("numbers of a tensor that are described in an unknown way")
    tag, kind, key, _, n = identity[:5]
    if tag != "storage" or not isinstance(kind, Name) or type(key) is not str:
        raise ValueError("numbers of a tensor that are described in an unknown way")
    if type(n) is not int or not 0 <= n <= MAX_STATE_BYTES:
        raise ValueError(f"a tensor of {printable(n)} numbers")
    return _Storage(kind.text.rpartition(".")[2], key, n)


def _tensors(content: Any, path: Path, read: _Read) -> State:
    """The state dict in what a pickle holds."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(content, dict):
            break
        inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)]
        if not inner:
            break
        content = inner[0]
    else:
        raise WeightsError(f"{path}: expected tensors by name, found a dictionary without an end")
    if not isinstance(content, dict):
        found = content.name.rpartition(".")[2] if isinstance(content, Call) else type(content)
        raise WeightsError(f"{path}: expected tensors by name, found {_kind(found)}")
    check_names([str(key) for key in content], path)
    others = [key for key, value in content.items() if _rebuilt(value) is None]
    if others or not content:
        listed = some([str(key) for key in others])
        raise WeightsError(f"{path}: expected tensors by name, found no tensor in: {listed}")
    shared = _shared(read)
    state: State = {}
    for key, value in content.items():
        call = _rebuilt(value)
        assert call is not None  # looked for above
        try:
            state[str(key)] = _describe(call, shared)
        except ValueError as error:
            raise WeightsError(f"{path}: {printable(key)}: {error}") from error
    return state


def _kind(found: Any) -> str:
    if isinstance(found, type):
        return found.__name__
    return "Tensor" if found.startswith("_rebuild_") else printable(found)


def _rebuilt(value: Any) -> Call | None:
    """The call that makes a tensor; None if it is no tensor."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(value, Call) or "._rebuild_" not in value.name:
            return None
        if not value.name.startswith("torch._utils._rebuild_parameter"):
            return value
        value = value.args[0] if isinstance(value.args, tuple) and value.args else None
    return None


def _shared(read: _Read) -> Callable[[_Storage], Tensor]:
    """Reads a storage once, however many tensors are cut from it."""
    done: dict[str, Tensor] = {}

    def once(storage: _Storage) -> Tensor:
        if storage.key not in done:
            done[storage.key] = to_tensor(read(storage), storage.dtype, (storage.n,))
        return done[storage.key]

    return once


def _describe(call: Call, read: Callable[[_Storage], Tensor]) -> StoredTensor:
    """A tensor from the call that makes it: of a storage, an offset, a shape and strides."""
    function = call.name.rpartition(".")[2]
    if function not in ("_rebuild_tensor_v2", "_rebuild_tensor"):
        kind = function.removeprefix("_rebuild_").replace("_", " ")
        raise ValueError(
            f"expected an ordinary tensor, found one of another kind ({printable(kind)})"
        )
    if not isinstance(call.args, tuple) or len(call.args) < 4:
        raise ValueError("a tensor that is described in an unknown way")
    storage, offset = call.args[:2]
    size, stride = (_sizes(value) for value in call.args[2:4])
    if not isinstance(storage, _Storage) or type(offset) is not int or len(size) != len(stride):
        raise ValueError("a tensor that is described in an unknown way")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if offset < 0 or (min(size, default=1) > 0 and last >= storage.n):
        raise ValueError(f"the shape {size}, for which {storage.n} numbers are too few")
    if _overlaps(size, stride):
        raise ValueError(f"the shape {size}, several of whose numbers are one of the file's")
    return StoredTensor(size, storage.dtype, lambda: read(storage).as_strided(size, stride, offset))


def _overlaps(size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether numbers of a tensor share a place, as no parameters do: a few could fill a memory."""
    reach = 1  # numbers from the first to the last of those that were looked at
    for step, n in sorted((step, n) for step, n in zip(stride, size, strict=True) if n > 1):
        if step < reach:
            return True
        reach += step * (n - 1)
    return False


def _sizes(value: Any) -> tuple[int, ...]:
    if isinstance(value, Call) and value.name == "torch.Size" and len(value.args) == 1:
        value = value.args[0]
    if not isinstance(value, (tuple, list)) or len(value) > MAX_DIMENSIONS:
        raise ValueError("a tensor that is described in an unknown way")
    if not all(type(n) is int and 0 <= n <= MAX_STATE_BYTES for n in value):
        raise ValueError("a tensor with a size that is none")
    return tuple(value)
