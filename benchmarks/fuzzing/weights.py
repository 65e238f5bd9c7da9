"""Checkpoints: valid, damaged, lying, bombs, and those whose reading would run code.

The oracle is what was written: a network that is filled from a file has these numbers, or the file
is refused.
"""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from fuzzing.bombs import zeros_file
from fuzzing.case import Case
from fuzzing.mutate import changed, damaged, hostile
from openpaf import weights
from openpaf.geometry import Grid
from openpaf.skeleton import Skeleton

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
import caffe_bytes

FORMATS = ("safetensors", "pth", "npz", "caffemodel")
_DESCRIPTION = weights.ModelSpec(
    name="tiny", builder="lightweight", options={"n_refinement_stages": 0, "width": 8},
    skeleton=Skeleton.COCO17, heatmap_grid=Grid(8), paf_grid=Grid(8, 0.0), mean=128.0, scale=255.0,
    licence="Apache-2.0", metrics={"AP": 0.1},
)  # fmt: skip


class Small(nn.Module):
    """A network of two layers, which any file can be made for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)


def make(rng: np.random.Generator, folder: Path) -> Case:
    choice = int(rng.integers(1000))
    if choice < 6:
        return _bomb(rng, folder)
    kinds = (_valid, _damaged, _damaged, _header, _described, _strange_torch, _strange_torch,
             _strange_npz, _strange_caffe, _foreign)  # fmt: skip
    return kinds[choice % len(kinds)](rng, folder)


def small_state(rng: np.random.Generator) -> dict[str, Tensor]:
    return {
        key: torch.from_numpy(rng.normal(size=value.shape).astype(np.float32))
        for key, value in Small().state_dict().items()
    }


def written(state: dict[str, Tensor], form: str, metadata: dict[str, str] | None = None) -> bytes:
    """A state dict as the bytes of a file."""
    out = io.BytesIO()
    if form == "safetensors":
        return bytes(to_safetensors(state, metadata))
    if form == "npz":
        np.savez_compressed(out, **{key: value.numpy() for key, value in state.items()})
    elif form == "caffemodel":
        return caffe_bytes.caffemodel({key: value.numpy() for key, value in state.items()})
    else:
        torch.save(state, out)
    return out.getvalue()


def filled(path: Path, state: dict[str, Tensor] | None) -> str | None:
    """What is wrong with a network that is filled from a file; whatever numbers, if None."""
    network = Small()
    weights.load(network, path)
    for key, value in network.state_dict().items():
        if state is not None and not torch.equal(value, state[key].to(value.dtype)):
            return f"{key} is not what was written"
    return None


def _file(folder: Path, kind: str, form: str, raw: bytes, state: Any = None, **more: Any) -> Case:
    path = folder / f"model.{form}"
    path.write_bytes(raw)
    return Case(kind, lambda: filled(path, state), name=path.name, **more)


def _form(rng: np.random.Generator) -> str:
    return FORMATS[int(rng.integers(len(FORMATS)))]


def _valid(rng: np.random.Generator, folder: Path) -> Case:
    state, form = small_state(rng), _form(rng)
    if form == "pth" and rng.random() < 0.5:
        raw = io.BytesIO()
        wrapped = {f"module.{key}": value for key, value in state.items()}
        torch.save({"state_dict": wrapped, "epoch": 3, "optimizer": {"lr": [0.1]}}, raw)
        return _file(folder, "valid training checkpoint", form, raw.getvalue(), state, is_good=True)
    return _file(folder, f"valid {form}", form, written(state, form), state, is_good=True)


def _damaged(rng: np.random.Generator, folder: Path) -> Case:
    """Flipped bits of numbers cannot be told where a format has no sums of its own."""
    form = _form(rng)
    how, raw = damaged(rng, written(small_state(rng), form))
    suffix = form if rng.random() < 0.8 else _form(rng)
    return _file(folder, f"{how}: {form}", suffix, raw)


def _header(rng: np.random.Generator, folder: Path) -> Case:
    """A safetensors header that lies about types, sizes and places."""
    raw = written(small_state(rng), "safetensors", {"a": "b"})
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    what, header = changed(rng, header)
    text = json.dumps(header).encode()
    if rng.random() < 0.2:
        key = str(rng.choice(["first.weight", "\x1b[31m\n", "x" * 5000]))
        text = text.replace(b"first.weight", json.dumps(key)[1:-1].encode(), 1)
    length = len(text) if rng.random() < 0.9 else int(rng.choice([0, 1, 2**26, 2**40, 2**62]))
    raw = struct.pack("<Q", length) + text + raw[8 + size :]
    return _file(folder, f"header with another {what.split('.')[-1]}", "safetensors", raw)


def _described(rng: np.random.Generator, folder: Path) -> Case:
    """A description of a model that builds another network than the file has the weights of."""
    described: Any = json.loads(_DESCRIPTION.to_metadata()["openpaf"])
    choice = int(rng.integers(6))
    what = "description"
    if choice == 0:
        option = str(rng.choice(["n_refinement_stages", "width", "rank", "trunk_widths"]))
        value = [10**30, 20_000, 10**6, -1, 2.5, None, "8", [20_000] * 12, 2**31][
            int(rng.integers(9))
        ]
        described["options"] = {"n_refinement_stages": 0, "width": 8, option: value}
        what = f"option {option}"
    elif choice == 1:
        described["builder"] = str(
            rng.choice(["body25", "cmu_coco", "cmu_mpi", "open_model_zoo", "lightweight_coco",
                        "keypointrcnn_resnet50_fpn", "nothing", "os.system"])
        )  # fmt: skip
        what = f"builder {described['builder']}"
    elif choice == 2:
        n = int(rng.choice([1, 90, 3000]))
        described["skeleton"] |= {
            "joints": [f"j{k}" for k in range(n)],
            "limbs": [[k, k + 1] for k in range(n - 1)],
            "flip_pairs": [],
            "oks_sigmas": [0.05] * n,
        }
        what = f"skeleton of {n} joints"
    else:
        what, described = changed(rng, described)
    text = json.dumps(described)
    if rng.random() < 0.1:
        what, text = "deep nesting", "[" * int(10 ** rng.uniform(2, 5))
    elif rng.random() < 0.1:
        what, text = "a long number", text.replace("8", "8" * int(10 ** rng.uniform(2, 4)), 1)
    path = folder / "model.safetensors"
    path.write_bytes(written(small_state(rng), "safetensors", {"openpaf": text}))

    def check() -> None:
        weights.load_model(path)

    return Case(f"{what} of another network", check, name=path.name, must_refuse=True)


class _Code:
    """A pickle of it runs a program."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("true",)


def _self_referring() -> Any:
    inner: dict[str, Any] = {}
    inner["state_dict"] = inner
    return inner


def _laughs() -> Any:
    """Lists of lists: little in the file, and endless to print."""
    value: Any = ["ha"] * 9
    for _ in range(30):
        value = [value] * 9
    return {"state_dict": value}


def _nested(depth: int) -> Any:
    value: Any = {"a": 1}
    for _ in range(depth):
        value = {"model": value}
    return value


def _with_first(value: Any) -> Callable[[dict[str, Tensor]], Any]:
    return lambda state: {**state, "first.weight": value}


def _strange_torch(rng: np.random.Generator, folder: Path) -> Case:
    """What torch can save, beyond plain tensors by name."""
    names = list(_torch_contents())
    name = names[int(rng.integers(len(names)))]
    raw = io.BytesIO()
    state = small_state(rng)
    content = _torch_contents()[name](state)
    old = {"_use_new_zipfile_serialization": False} if rng.random() < 0.3 else {}
    try:
        torch.save(content, raw, **old)
    except Exception:  # it cannot save all of them in its old format
        raw = io.BytesIO()
        torch.save(content, raw)
    return _file(folder, f"pth with {name}", "pth", raw.getvalue(), state, must_refuse=True)


@functools.cache
def _torch_contents() -> dict[str, Callable[[dict[str, Tensor]], Any]]:
    shape = (4, 3, 3, 3)
    return {
        "code": lambda state: {**state, "x": _Code()},
        "a dictionary in itself": lambda state: _self_referring(),
        "endless lists": lambda state: _laughs(),
        "deep nesting": lambda state: _nested(400),
        "a list": lambda state: list(state.values()),
        "a tensor alone": lambda state: state["first.weight"],
        "nothing": lambda state: {},
        "text for a tensor": _with_first("text"),
        "a long number for a tensor": _with_first(10**400),
        "numbers for keys": lambda state: dict(enumerate(state.values())),
        "control characters in a key": lambda state: {**state, "\x1b[31mred\nline": torch.ones(1)},
        "a key of 100,000 characters": lambda state: {**state, "k" * 100_000: torch.ones(1)},
        "complex numbers": _with_first(torch.ones(shape, dtype=torch.complex64)),
        "sparse numbers": _with_first(torch.ones(shape).to_sparse()),
        "quantised numbers": _with_first(
            torch.quantize_per_tensor(torch.ones(shape), 0.1, 0, torch.quint8)
        ),
        "no numbers (meta)": _with_first(torch.ones(shape, device="meta")),
        "one number repeated a billion times": _with_first(torch.ones(1).expand(2**30)),
        "another shape": _with_first(torch.ones(4, 3, 3)),
        "too few dimensions": _with_first(torch.ones(())),
        "10,000 keys": lambda state: {f"key {i}": torch.ones(1) for i in range(10_000)},
    }


def _npz(arrays: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in arrays.items():
            archive.writestr(name, raw)
    return out.getvalue()


def _strange_npz(rng: np.random.Generator, folder: Path) -> Case:
    state = small_state(rng)
    arrays: dict[str, Any] = {key: value.numpy() for key, value in state.items()}
    kinds = ("c16", "O", "U3", "M8[s]", "V4", "S3")
    choice = int(rng.integers(len(kinds) + 3))
    if choice < len(kinds):
        arrays["first.weight"] = np.zeros((4, 3, 3, 3), kinds[choice])
        out = io.BytesIO()
        np.savez(out, **arrays)
        kind = f"npz with type {kinds[choice]}"
        return _file(folder, kind, "npz", out.getvalue(), must_refuse=True)
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }"
    n = [str(2**34), str(2**62), "-1", "9" * 4000, "3,) * 10**9 + (1"][int(rng.integers(5))]
    header = (head % n).ljust(117).encode() + b"\n"
    raw = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(64)
    files = {f"{key}.npy": raw for key in arrays}
    if choice == len(kinds):
        files["../../secret.npy"] = raw
    return _file(folder, "npz whose sizes lie", "npz", _npz(files), must_refuse=True)


def _strange_caffe(rng: np.random.Generator, folder: Path) -> Case:
    field, varint, blob = caffe_bytes.field, caffe_bytes.varint, caffe_bytes.blob
    good = blob(np.ones((4, 3, 3, 3), np.float32))
    sizes = [2**63 - 1, 2**62, 2**32, 0, 2**64 - 1, 10**9][int(rng.integers(6))]
    shape = field(7, field(1, b"".join(varint(n) for n in (sizes, sizes, 4))))
    choices: dict[str, bytes] = {
        "sizes that lie": caffe_bytes.layer("first", [shape + field(5, bytes(64))]),
        "no numbers": caffe_bytes.layer("first", [shape]),
        "no blobs": caffe_bytes.layer("first", []),
        "two layers of one name": caffe_bytes.layer("first", [good]) * 2,
        "control characters": caffe_bytes.layer("\x1b[31mfirst\n", [good]),
        "100 dimensions": caffe_bytes.layer(
            "first", [field(7, field(1, varint(1) * 100)) + field(5, bytes(4))]
        ),
        "groups nested deeply": field(100, b"\x0b" * 5000),
        "messages nested deeply": functools.reduce(lambda m, _: field(100, m), range(300), b""),
        "a name that is no UTF-8": field(100, field(1, b"\xff\xfe") + field(7, good)),
    }
    name = list(choices)[int(rng.integers(len(choices)))]
    raw = caffe_bytes.network([choices[name]])
    return _file(folder, f"Caffe: {name}", "caffemodel", raw, must_refuse=True)


def _foreign(rng: np.random.Generator, folder: Path) -> Case:
    files: dict[str, bytes] = {
        "empty": b"",
        "HTML": b"<!doctype html><html>404</html>",
        "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "zip of text": _npz({"a.txt": b"a"}),
        "zip of nothing": _npz({}),
        "a pickle": pickle.dumps({"first.weight": hostile(rng)}),
        "a pickle of code": pickle.dumps(_Code()),
        "a pickle's start": b"\x80\x02" + rng.bytes(200),
        "text": b"import os; os.system('true')\n",
        "random": rng.bytes(500),
        "safetensors of nothing": struct.pack("<Q", 2) + b"{}",
        "TorchScript": _npz({"m/code/a.py": b"", "m/data.pkl": b"\x80\x02}."}),
    }
    name = list(files)[int(rng.integers(len(files)))]
    suffix = str(rng.choice(["pth", "safetensors", "npz", "caffemodel", "pt", "bin"]))
    return _file(folder, f"no checkpoint: {name}", suffix, files[name], must_refuse=True)


def _bomb(rng: np.random.Generator, folder: Path) -> Case:
    form = str(rng.choice(["npz", "pth"]))
    raw = zeros_file(form, 1900)
    return _file(folder, f"{form} bomb of {len(raw) >> 20} MB", form, raw, must_refuse=True)
