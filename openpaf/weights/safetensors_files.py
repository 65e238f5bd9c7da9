"""Safetensors files: their header, and the tensors behind it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.errors import WeightsError, printable
from openpaf.weights.limits import MAX_HEADER_BYTES
from openpaf.weights.stored import State, StoredTensor, check_names, open_regular

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def open_safetensors(
    path: Path, framework: str = "pt", hint: str = ""
) -> AbstractContextManager[Any]:
    """Open a file of which the header is whole and fits what follows it.

    Args:
        path: The file.
        framework: ``"pt"``; or ``"numpy"``, for the header alone, which loads no torch.
        hint: What is added to the message where it is no such file.

    Raises:
        OSError: If it cannot be read.
        WeightsError: If it is none.
    """
    from safetensors import SafetensorError, safe_open

    with open_regular(path) as file:
        n_bytes = int.from_bytes(file.read(8), "little")
    try:
        if n_bytes > MAX_HEADER_BYTES:
            raise SafetensorError("it does not start with the length of a header")
        return safe_open(path, framework=framework)
    except SafetensorError as error:
        reason = printable(error, 200)
        raise WeightsError(f"{path}: cannot be read as safetensors ({reason}){hint}") from error


def safetensors_tensors(file: Any, path: Path) -> State:
    """The tensors of a file that :func:`open_safetensors` opened.

    Raises:
        WeightsError: If there is none, or one has numbers that weights have not.
    """
    names = list(file.keys())
    if not names:
        raise WeightsError(f"{path}: expected tensors by name, found none")
    check_names(names, path)
    state: State = {}
    for name in names:
        entry = file.get_slice(name)
        dtype = _DTYPES.get(entry.get_dtype(), entry.get_dtype())
        try:
            state[name] = StoredTensor(tuple(entry.get_shape()), dtype, _reader(file, name))
        except ValueError as error:
            raise WeightsError(f"{path}: {printable(name)}: {error}") from error
    return state


def _reader(file: Any, name: str) -> Callable[[], Tensor]:
    return lambda: file.get_tensor(name)
