"""Checkpoint files of the field, read as data: nothing in them is ever executed.

PyTorch's state dicts, safetensors, NumPy's ``.npz``, Caffe's ``.caffemodel`` and TensorFlow Lite's
``.tflite``; told by what is in a file, since its suffix may be anything. What a file declares is
compared with the limits of :mod:`openpaf.weights.limits`, and with the network, before any of its
numbers are read.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.errors import WeightsError, printable
from openpaf.weights.caffe import caffe_tensors
from openpaf.weights.npz_files import npz_tensors
from openpaf.weights.pickles import CodeError
from openpaf.weights.safetensors_files import open_safetensors, safetensors_tensors
from openpaf.weights.stored import State, StoredTensor, check_total, described, open_regular, some
from openpaf.weights.tflite_files import MAGIC, tflite_tensors
from openpaf.weights.torch_files import old_tensors, zipped_tensors
from openpaf.weights.zip_files import open_zip

if TYPE_CHECKING:
    from torch import Tensor, nn

# How a parallel training prefixes the keys of the network inside it.
_PARALLEL = "module."
# Names of layers that only a detector has.
_OF_DETECTORS = ("rpn.", "roi_heads.", "module.rpn.", "module.roi_heads.")


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint file, whatever its format.

    Args:
        path: A PyTorch checkpoint (``.pth``, ``.pt``, ``.pth.tar``), safetensors, ``.npz``,
            ``.caffemodel`` or ``.tflite``.

    Returns:
        Tensors by key, on the CPU, in the file's dtype. What lies beside the weights, such as the
        optimizer, is left out, and ``module.`` before every key is dropped.

    Raises:
        WeightsError: If the file is missing, is something else, is damaged or cut short, would run
            code, or holds more than :mod:`openpaf.weights.limits` allows.
    """
    with open_checkpoint(path) as state:
        check_total(state, path)
        return {key: stored.read() for key, stored in state.items()}


@contextmanager
def open_checkpoint(path: str | Path) -> Iterator[State]:
    """The tensors of a checkpoint file as it describes them, to be read one by one.

    Args:
        path: As :func:`read_state` takes it. Errors that come up while the file is open, of
            the code that reads tensors, count as errors of the file.

    Raises:
        WeightsError: As :func:`read_state` raises it.
    """
    path = Path(path)
    try:
        with ExitStack() as opened:
            yield _without_prefix(_describe(path, opened))
    except WeightsError:
        raise
    except CodeError as error:
        raise WeightsError(
            f"{path}: refused: to load it would run code ({error}), and a file from elsewhere "
            "may do anything then; only tensors are read"
        ) from error
    except OSError as error:
        reason = error.strerror or printable(error)
        raise WeightsError(f"{path}: cannot be read ({reason})") from error
    except MemoryError:
        raise
    except Exception as error:  # zipfile, zlib and damaged pickles give many kinds
        raise WeightsError(f"{path}: damaged or cut short ({_reason(error)})") from error


def _describe(path: Path, opened: ExitStack) -> State:
    """The tensors of a file, which stays open with ``opened``."""
    file = opened.enter_context(open_regular(path))
    kind = _kind(path, file.read(512))
    file.seek(0)
    if kind == "zip":
        archive = opened.enter_context(open_zip(path))
        return _of_zip(archive, path)
    if kind == "safetensors":
        return safetensors_tensors(opened.enter_context(open_safetensors(path)), path)
    if kind == "torch":
        return old_tensors(file, path)
    return (tflite_tensors if kind == "tflite" else caffe_tensors)(file, path)


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
        return "zip"
    # Before pickle's opcode: the length that the file starts with may have that byte too.
    if len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 27:
        return "safetensors"
    if start[0] == 0x80:  # the opcode that a pickle starts with
        return "torch"
    if start[4:8] == MAGIC:
        return "tflite"
    # The tags of a network's name and layers; a text of Caffe's starts with letters.
    if path.suffix == ".caffemodel" or start[:1] in (b"\x0a", b"\x12") or start[:2] == b"\xa2\x06":
        return "caffe"
    raise WeightsError(
        f"{expected} neither PyTorch's format, nor safetensors, npz, a Caffe or a TensorFlow Lite "
        f"model (it starts with {start[:8]!r})"
    )


def is_web_page(start: bytes) -> bool:
    """Whether a file that starts so is HTML, as a server sends it where the file is gone."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--"))


def _of_zip(archive: zipfile.ZipFile, path: Path) -> State:
    names = archive.namelist()
    if any("/code/" in name for name in names):
        raise WeightsError(f"{path}: refused: a TorchScript program, which is code, not weights")
    if any(name.endswith("data.pkl") for name in names):
        return zipped_tensors(archive, path)
    if names and all(name.endswith(".npy") for name in names):
        return npz_tensors(archive, path)
    raise WeightsError(f"{path}: expected a checkpoint, found a zip archive of other files")


def _without_prefix(state: State) -> State:
    while state and all(key.startswith(_PARALLEL) for key in state):
        state = {key.removeprefix(_PARALLEL): value for key, value in state.items()}
    return state


def fill(network: nn.Module, state: Mapping[str, Tensor | StoredTensor], path: str | Path) -> None:
    """Fill a network key for key; other float dtypes become the network's.

    Args:
        network: Changed in place. It may have ``IGNORED``, patterns of published keys that it has
            no use for, and ``RENAMES``, pairs of a pattern in published keys and its replacement
            (``re.sub``), which together say how files of its family call its parameters.
        state: Tensors by key, as :func:`read_state` or :func:`open_checkpoint` give them.
        path: Of the file, for the message.

    Raises:
        WeightsError: If keys are missing, left over, of another shape or no floats, or numbers are
            NaN or infinite; the message lists them, and the network is as it was.
    """
    import torch

    expected = network.state_dict()
    values, broken = {}, []
    for key, stored in compare(network, state, path).items():
        values[key] = stored.read().to(expected[key].dtype)
        if not torch.isfinite(values[key]).all():
            broken.append(key)
    if broken:
        raise WeightsError(
            f"{path}: expected finite numbers, found NaN or infinity in: {some(sorted(broken))}"
        )
    network.load_state_dict(values)


def compare(
    network: nn.Module, state: Mapping[str, Tensor | StoredTensor], path: str | Path
) -> State:
    """See that tensors fit a network, before any of them is read.

    Args:
        network: It may be on the device "meta".
        state: As for :func:`fill`.
        path: As for :func:`fill`.

    Returns:
        The tensors by the network's keys.

    Raises:
        WeightsError: If they do not fit; see :func:`fill`.
    """
    stored = _renamed(network, state, path)
    expected = network.state_dict()
    missing, extra = sorted(set(expected) - set(stored)), sorted(set(stored) - set(expected))
    common = sorted(set(expected) & set(stored))
    misshapen = [
        _misshapen(key, stored[key].shape, tuple(expected[key].shape))
        for key in common
        if stored[key].shape != tuple(expected[key].shape)
    ]
    if missing or extra or misshapen:
        _refuse_other_kind(expected, state, path)
        n_common = len(expected) - len(missing)
        fits = "does not fit the network" if 2 * n_common >= len(expected) else "another network's"
        raise WeightsError(
            f"{path}: {fits}: expected {len(expected)} keys, found {n_common} of them and "
            f"{len(extra)} others; missing: {some(missing)}; left over: {some(extra)}; "
            f"of another shape: {some(misshapen, 4, 200)}"
        )
    # Integers of a network only count batches; integers for its floats are quantised ones, of
    # which the scale lies elsewhere.
    whole = [
        f"{key} ({stored[key].dtype})"
        for key in common
        if expected[key].is_floating_point() and "float" not in stored[key].dtype
    ]
    if whole:
        raise WeightsError(f"{path}: expected floating-point numbers, found others: {some(whole)}")
    return stored


def _refuse_other_kind(
    expected: Mapping[str, Tensor], state: Mapping[str, Tensor | StoredTensor], path: str | Path
) -> None:
    """Say so where a detector's weights are given to a pose network, or the other way round."""
    kinds = {True: "a detector (Mask R-CNN)", False: "a pose network without a detector"}
    ours, theirs = (
        any(key.startswith(_OF_DETECTORS) for key in keys) for keys in (expected, state)
    )
    if ours != theirs:
        raise WeightsError(
            f"{path}: expected weights of {kinds[ours]}, found those of {kinds[theirs]}"
        )


def _renamed(
    network: nn.Module, state: Mapping[str, Tensor | StoredTensor], path: str | Path
) -> State:
    ignored = [re.compile(pattern) for pattern in getattr(network, "IGNORED", ())]
    renames = [(re.compile(old), new) for old, new in getattr(network, "RENAMES", ())]
    renamed: State = {}
    for key, value in state.items():
        if any(pattern.match(key) for pattern in ignored):
            continue
        name = key
        for pattern, replacement in renames:
            name = pattern.sub(replacement, name)
        if name in renamed:
            raise WeightsError(
                f"{path}: two keys of the file are {printable(name)!r} of the network"
            )
        renamed[name] = value if isinstance(value, StoredTensor) else described(value)
    return renamed


def _misshapen(key: str, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    text = f"{key} {found} for {expected}"
    if found[1:] == expected[1:] and len(found) > 0:
        return f"{text}, {found[0]} channels where {expected[0]} are asked"
    return text


def _reason(error: BaseException) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0].rstrip("."), 120)
