"""Tensors of a file: described first, and read only once their shapes are known to fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from openpaf.errors import WeightsError, printable
from openpaf.weights.limits import (
    MAX_DIMENSIONS,
    MAX_KEY_CHARS,
    MAX_STATE_BYTES,
    MAX_TENSORS,
)

if TYPE_CHECKING:
    from torch import Tensor

#: Types of numbers that weights are read in, by the name of torch's, and their size in bytes.
#: Complex and quantised numbers are not among them: a network has no use for them.
SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that lies in a file.

    Args:
        shape: Its shape.
        dtype: Name of its type of numbers, one of :data:`SIZES`.
        read: Reads it, on the CPU. It raises ``WeightsError``, ``OSError``, or what the readers of
            its format raise for damaged files.

    Raises:
        ValueError: If there is no such type of numbers, a size is negative, or there are too many
            dimensions or numbers.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Tensor]

    def __post_init__(self) -> None:
        if self.dtype not in SIZES:
            raise ValueError(
                f"expected real numbers of a type that weights have ({', '.join(SIZES)}), "
                f"found {printable(self.dtype)}"
            )
        sizes_fit = all(type(n) is int and 0 <= n <= MAX_STATE_BYTES for n in self.shape)
        if len(self.shape) > MAX_DIMENSIONS or not sizes_fit or self.n_bytes > MAX_STATE_BYTES:
            raise ValueError(
                f"expected a tensor of at most {MAX_STATE_BYTES >> 20} MiB, found the shape "
                f"{printable(self.shape)}"
            )

    @property
    def n_bytes(self) -> int:
        """Its size in memory."""
        return math.prod(self.shape) * SIZES[self.dtype]


#: The tensors of a file by name.
State = dict[str, StoredTensor]


def described(tensor: Tensor) -> StoredTensor:
    """A tensor that is in memory already, as one of a file."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return StoredTensor(tuple(tensor.shape), dtype, lambda: tensor)


def open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading; a pipe, at which one would wait for ever, is refused.

    Raises:
        OSError: If it cannot be read.
        WeightsError: If it is no ordinary file.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise WeightsError(f"{path}: expected a file, found a pipe or device")
    return path.open("rb")


def some(names: list[str], limit: int = 8, chars: int = 80) -> str:
    """The first few of a list of names, fit for a message, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(printable(name, chars) for name in names[:limit]) or "none") + more


def check_names(names: Any, where: object) -> None:
    """Refuse names of tensors that are too many or too long.

    Raises:
        WeightsError: If they are.
    """
    if len(names) > MAX_TENSORS:
        raise WeightsError(f"{where}: expected at most {MAX_TENSORS} tensors, found {len(names)}")
    for name in names:
        if len(name) > MAX_KEY_CHARS:
            raise WeightsError(
                f"{where}: expected names of at most {MAX_KEY_CHARS} characters, found one of "
                f"{len(name)}: {printable(name)}"
            )


def check_total(state: Mapping[str, StoredTensor], where: object) -> None:
    """Refuse tensors that are too much together.

    Raises:
        WeightsError: If they are.
    """
    total = sum(stored.n_bytes for stored in state.values())
    if total > MAX_STATE_BYTES:
        raise WeightsError(
            f"{where}: expected at most {MAX_STATE_BYTES >> 20} MiB of weights, found "
            f"{total / (1 << 20):.0f} MiB"
        )


def read_exactly(file: IO[bytes], n_bytes: int) -> bytearray:
    """The next bytes of a file.

    Raises:
        ValueError: If it has fewer.
    """
    content = bytearray(n_bytes)
    view, done = memoryview(content), 0
    while done < n_bytes:
        # In pieces: a zip archive would unpack all that is asked for at once, into memory.
        piece = file.read(min(n_bytes - done, 1 << 20))
        if not piece:
            raise ValueError(f"expected {n_bytes} bytes, found {done}")
        view[done : done + len(piece)] = piece
        done += len(piece)
    return content


def to_tensor(content: bytearray, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor over bytes in the order of this machine's numbers."""
    import torch

    kind: torch.dtype = getattr(torch, dtype)
    if not content:
        return torch.zeros(shape, dtype=kind)
    return torch.frombuffer(content, dtype=kind).reshape(shape)
