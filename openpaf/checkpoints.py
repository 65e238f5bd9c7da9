"""Checkpoint files of the field, read as data: nothing in them is ever executed.

PyTorch's state dicts, safetensors, NumPy's ``.npz`` and Caffe's ``.caffemodel``; told by what is in
a file, since its suffix may be anything.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

# What training scripts call the state dict beside the optimizer's.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")
# How a parallel training prefixes the keys of the network inside it.
_PARALLEL = "module."


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint file, whatever its format.

    Args:
        path: A PyTorch checkpoint (``.pth``, ``.pt``, ``.pth.tar``), safetensors, ``.npz`` or
            ``.caffemodel``.

    Returns:
        Tensors by key, on the CPU, in the file's dtype. What lies beside the weights, such as the
        optimizer, is left out, and ``module.`` before every key is dropped.

    Raises:
        WeightsError: If the file is missing, is something else, is damaged or cut short, or would
            run code.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(512)
        return _READERS[_kind(path, start)](path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise WeightsError(f"{path}: cannot be read ({reason})") from error


def _kind(path: Path, start: bytes) -> str:
    """What a file is by its first bytes.

    Raises:
        WeightsError: If it is nothing that has weights in it.
    """
    expected = f"{path}: expected a checkpoint, found"
    if not start:
        raise WeightsError(f"{expected} an empty file")
    if is_web_page(start):
        raise WeightsError(f"{expected} a web page (HTML); the link led to no file")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{expected} a Git LFS pointer; the file itself must be fetched")
    if start.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    # Before pickle's opcode: the length that the file starts with may have that byte too.
    if len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 27:
        return "safetensors"
    if start[0] == 0x80:  # the opcode that a pickle starts with
        return "torch"
    # The tags of a network's name and layers; a text of Caffe's starts with letters.
    if path.suffix == ".caffemodel" or start[:1] in (b"\x0a", b"\x12") or start[:2] == b"\xa2\x06":
        return "caffe"
    raise WeightsError(
        f"{expected} neither PyTorch's format, nor safetensors, npz, or a Caffe model "
        f"(it starts with {start[:8]!r})"
    )


def is_web_page(start: bytes) -> bool:
    """Whether a file that starts so is HTML, as a server sends it where the file is gone."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--"))


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise WeightsError(
            f"{path}: expected a checkpoint, found the beginning of one; it is cut short"
        ) from error
    except Exception as error:  # a damaged directory of files gives many kinds
        raise WeightsError(f"{path}: damaged ({_first_line(error)})") from error
    if any("/code/" in name for name in names):
        raise WeightsError(f"{path}: refused: a TorchScript program, which is code, not weights")
    if any(name.endswith("data.pkl") for name in names):
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    raise WeightsError(f"{path}: expected a checkpoint, found a zip archive of other files")


def _read_torch(path: Path) -> dict[str, Tensor]:
    import pickle

    import torch

    try:
        with path.open("rb") as file:  # of a path, torch would believe the suffix
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code is None:
            raise WeightsError(f"{path}: damaged or cut short ({_first_line(error)})") from error
        raise WeightsError(
            f"{path}: refused: to load it would run code ({code[1]}), and a file from elsewhere "
            "may do anything then; only tensors are read"
        ) from error
    except Exception as error:  # torch raises many kinds for a damaged file
        if isinstance(error, OSError) and error.errno:
            raise
        raise WeightsError(f"{path}: damaged or cut short ({_first_line(error)})") from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what ``torch.load`` gave."""
    from torch import Tensor

    while isinstance(content, Mapping):
        inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: expected tensors by name, found {type(content).__name__}")
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if others or not content:
        raise WeightsError(f"{path}: expected tensors by name, found no tensor in: {some(others)}")
    return _without_prefix({str(key): value for key, value in content.items()})


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    while all(key.startswith(_PARALLEL) for key in state):
        state = {key.removeprefix(_PARALLEL): value for key, value in state.items()}
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error})") from error
    if not state:
        raise WeightsError(f"{path}: expected tensors by name, found none")
    return _without_prefix(state)


def _read_npz(path: Path) -> dict[str, Tensor]:
    import numpy as np
    import torch

    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds for a damaged file
        reason = _first_line(error)
        if "pickle" in reason:
            raise WeightsError(
                f"{path}: refused: it holds Python objects, and to load them would run code"
            ) from error
        raise WeightsError(f"{path}: damaged or cut short ({reason})") from error
    wrong = [key for key, value in arrays.items() if value.dtype.kind not in "fiub"]
    if wrong:
        raise WeightsError(f"{path}: expected numbers, found none in: {some(wrong)}")
    return _without_prefix({key: torch.from_numpy(value) for key, value in arrays.items()})


def _read_caffe(path: Path) -> dict[str, Tensor]:
    import torch

    from openpaf.caffe import read_caffemodel

    return {key: torch.from_numpy(value) for key, value in read_caffemodel(path).items()}


_READERS = {
    "torch": _read_torch,
    "safetensors": _read_safetensors,
    "npz": _read_npz,
    "caffe": _read_caffe,
}


def fill(network: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Fill a network key for key; other float dtypes become the network's.

    Args:
        network: Changed in place. It may have ``IGNORED``, patterns of published keys that it has
            no use for, and ``RENAMES``, pairs of a pattern in published keys and its replacement
            (``re.sub``), which together say how files of its family call its parameters.
        state: Tensors by key, as :func:`read_state` gives them.
        path: Of the file, for the message.

    Raises:
        WeightsError: If keys are missing, left over, or of another shape; the message lists them,
            and the network is as it was.
    """
    state = _renamed(network, state, path)
    wanted = network.state_dict()
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    misshapen = [
        _misshapen(key, tuple(state[key].shape), tuple(wanted[key].shape))
        for key in sorted(set(wanted) & set(state))
        if state[key].shape != wanted[key].shape
    ]
    if missing or extra or misshapen:
        n_common = len(wanted) - len(missing)
        fits = "does not fit the network" if 2 * n_common >= len(wanted) else "another network's"
        raise WeightsError(
            f"{path}: {fits}: expected {len(wanted)} keys, found {n_common} of them and "
            f"{len(extra)} others; missing: {some(missing)}; left over: {some(extra)}; "
            f"of another shape: {some(misshapen, 4)}"
        )
    network.load_state_dict(dict(state))


def _renamed(
    network: nn.Module, state: Mapping[str, Tensor], path: str | Path
) -> dict[str, Tensor]:
    ignored = [re.compile(pattern) for pattern in getattr(network, "IGNORED", ())]
    renames = [(re.compile(old), new) for old, new in getattr(network, "RENAMES", ())]
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if any(pattern.match(key) for pattern in ignored):
            continue
        name = key
        for pattern, replacement in renames:
            name = pattern.sub(replacement, name)
        if name in renamed:
            raise WeightsError(f"{path}: two keys of the file are {name!r} of the network")
        renamed[name] = value
    return renamed


def _misshapen(key: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    text = f"{key} {found} for {wanted}"
    if found[1:] == wanted[1:] and len(found) > 0:
        return f"{text}, {found[0]} channels where {wanted[0]} are asked"
    return text


def some(keys: list[str], limit: int = 8) -> str:
    """The first few of a list, and how many more there are."""
    more = f" and {len(keys) - limit} more" if len(keys) > limit else ""
    return (", ".join(keys[:limit]) or "none") + more


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
