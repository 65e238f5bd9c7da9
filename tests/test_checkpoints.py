"""Checkpoint files of every format are read as data; anything else is refused in one line."""

from __future__ import annotations

import collections
import io
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import caffe_bytes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from openpaf.errors import WeightsError
from openpaf.weights.caffe import read_caffemodel
from openpaf.weights.checkpoints import fill, read_state

STATE = {
    "conv1_1.weight": torch.arange(108.0).reshape(4, 3, 3, 3) / 7,
    "conv1_1.bias": torch.tensor([1.0, -2.0, 3.5, 1e-7]),
    "prelu4_2.weight": torch.tensor([0.25, 0.5, 0.75, 0.0]),
}
ARRAYS = {key: value.numpy() for key, value in STATE.items()}


def same(state: dict[str, torch.Tensor]) -> bool:
    return set(state) == set(STATE) and all(torch.equal(state[key], STATE[key]) for key in STATE)


def refusal(path: Path) -> str:
    """What reading says, which must be one line that names the file."""
    with pytest.raises(WeightsError) as caught:
        read_state(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text


# --- PyTorch


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 2020"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
@pytest.mark.parametrize("wrapper", ["", "state_dict", "model"])
def test_state_dicts(tmp_path: Path, zipped: bool, prefix: str, wrapper: str) -> None:
    state: Any = collections.OrderedDict((prefix + key, value) for key, value in STATE.items())
    if wrapper:
        counted = collections.Counter({100: 1})
        state = {wrapper: state, "optimizer": {"lr": 0.1}, "scheduler": counted, "iter": 370000}
    torch.save(state, tmp_path / "a.pth.tar", _use_new_zipfile_serialization=zipped)
    assert same(read_state(tmp_path / "a.pth.tar"))


def test_tensors_of_a_gpu_come_to_the_cpu(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    torch.save(STATE, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert b"cuda:0" in (tmp_path / "a.pth").read_bytes()
    assert same(read_state(tmp_path / "a.pth"))


def test_a_prefix_stays_where_not_every_key_has_it(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "a.pt")
    assert set(read_state(tmp_path / "a.pt")) == {"module.a", "b"}


class Code:
    """An object whose unpickling makes a folder."""

    made = "never-made"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (self.made,)


@pytest.mark.parametrize("writer", ["zip", "before 2020", "pickle"])
def test_code_is_not_run(tmp_path: Path, monkeypatch: Any, writer: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    content = {"state_dict": STATE, "x": Code()}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "zip")
    text = refusal(path)
    assert "refused" in text
    assert "would run code" in text
    if writer != "pickle":  # whose first global is a tensor's own
        assert "mkdir" in text
    assert [p.name for p in tmp_path.iterdir()] == ["evil.pth"]


def test_a_whole_module_is_code(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    assert "torch.nn.modules.linear.Linear" in refusal(tmp_path / "module.pth")


def test_torchscript_is_code(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        scripted = torch.jit.script(torch.nn.Linear(2, 2))
    scripted.save(tmp_path / "script.pt")
    assert "refused: a TorchScript program" in refusal(tmp_path / "script.pt")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"epoch": 3, "a": torch.ones(1)}, "no tensor in: epoch"),
        ({}, "no tensor"),
        ([torch.ones(1)], "found list"),
        (torch.ones(1), "found Tensor"),
        ({"state_dict": {"model": {"lr": 0.1}}}, "no tensor in: lr"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, content: Any, found: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    assert found in refusal(tmp_path / "a.pth")


# --- Other formats


def test_safetensors_and_npz(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    np.savez(tmp_path / "b.npz", **ARRAYS)
    np.savez_compressed(tmp_path / "c.npz", **ARRAYS)
    for name in ("a.safetensors", "b.npz", "c.npz"):
        assert same(read_state(tmp_path / name)), name


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.pth")
    (tmp_path / "b.bin").write_bytes(caffe_bytes.caffemodel(ARRAYS))
    torch.save(STATE, tmp_path / "c.safetensors")
    for name in ("a.pth", "b.bin", "c.safetensors"):
        assert same(read_state(tmp_path / name)), name


def test_npz_of_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([Code()], dtype=object))
    assert "would run code" in refusal(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", a=np.array(["text"]))
    assert "expected numbers" in refusal(tmp_path / "b.npz")


def test_caffe_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.caffemodel"
    path.write_bytes(caffe_bytes.caffemodel(ARRAYS))
    assert same(read_state(path))


def test_caffe_of_before_2014(tmp_path: Path) -> None:
    path = tmp_path / "a.caffemodel"
    blobs = [caffe_bytes.blob(ARRAYS[f"conv1_1.{name}"], old=True) for name in ("weight", "bias")]
    slopes = caffe_bytes.blob(ARRAYS["prelu4_2.weight"], old=True)
    path.write_bytes(
        caffe_bytes.network(
            [
                caffe_bytes.old_layer("conv1_1", blobs),
                caffe_bytes.layer("prelu4_2", [slopes], "PReLU"),
                caffe_bytes.layer("relu", [], "ReLU"),
            ]
        )
    )
    assert same(read_state(path))  # biases of shape (1, 1, 1, N) are flat


def test_caffe_in_double_precision(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3))
    content = caffe_bytes.layer("fc", [caffe_bytes.blob(values, double=True)])
    (tmp_path / "a.caffemodel").write_bytes(content)
    state = read_caffemodel(tmp_path / "a.caffemodel")
    assert state["fc.weight"].dtype == np.float64
    np.testing.assert_array_equal(state["fc.weight"], values)


# Of each message of Caffe's, its fields: name, number, type, and whether it repeats.
MESSAGES: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "BlobShape": (("dim", 1, "int64", True),),
    "BlobProto": (("data", 5, "float", True), ("shape", 7, "BlobShape", False)),
    "LayerParameter": (
        ("name", 1, "string", False),
        ("type", 2, "string", False),
        ("blobs", 7, "BlobProto", True),
        ("phase", 10, "int32", False),
    ),
    "NetParameter": (("name", 1, "string", False), ("layer", 100, "LayerParameter", True)),
}


def net_parameter(packed: bool) -> Any:
    """An empty message as Google's own code writes it."""
    pytest.importorskip("google.protobuf", reason="protobuf is not installed")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="c.proto", package="c", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            row = message.field.add(name=field, number=number)
            row.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            if kind in MESSAGES:
                row.type, row.type_name = field_type.TYPE_MESSAGE, f".c.{kind}"
            else:
                row.type = getattr(field_type, f"TYPE_{kind.upper()}")
                row.options.packed = packed and repeated
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("c.NetParameter"))()


@pytest.mark.parametrize("packed", [True, False])
def test_caffe_as_protobuf_writes_it(tmp_path: Path, packed: bool) -> None:
    net = net_parameter(packed)
    net.name = "a network"
    for key, value in ARRAYS.items():
        name, _, kind = key.rpartition(".")
        if kind == "weight":
            net.layer.add(name=name, type="PReLU" if "prelu" in name else "Convolution", phase=1)
        blob = net.layer[-1].blobs.add()
        blob.shape.dim.extend(value.shape)
        blob.data.extend(value.ravel().tolist())
    (tmp_path / "a.caffemodel").write_bytes(net.SerializeToString())
    assert same(read_state(tmp_path / "a.caffemodel"))


def test_caffe_numbers_in_pieces(tmp_path: Path) -> None:
    values = np.arange(5, dtype=np.float32)
    blob = caffe_bytes.field(7, caffe_bytes.field(1, b"\x05"))
    blob += caffe_bytes.field(5, values.tobytes()[:8]) + caffe_bytes.field(5, values.tobytes()[8:])
    (tmp_path / "a.caffemodel").write_bytes(caffe_bytes.layer("c", [blob]))
    np.testing.assert_array_equal(read_caffemodel(tmp_path / "a.caffemodel")["c.weight"], values)


def test_caffe_with_a_shape_that_does_not_fit(tmp_path: Path) -> None:
    short = caffe_bytes.field(7, caffe_bytes.field(1, b"\x05")) + caffe_bytes.field(5, bytes(16))
    (tmp_path / "a.caffemodel").write_bytes(caffe_bytes.layer("c", [short]))
    assert "c.weight: expected 20 bytes for the shape (5,), found 16" in refusal(
        tmp_path / "a.caffemodel"
    )


@pytest.mark.parametrize("low", [0x80, 0x00, 0x38])
def test_safetensors_of_any_length_of_header(tmp_path: Path, low: int) -> None:
    """The file starts with that length, whose first byte is that of a pickle for one in 32."""
    path = tmp_path / "a.safetensors"
    for padding in range(0, 2048, 8):
        save_file(STATE, path, {"note": "x" * padding})
        if path.read_bytes()[0] == low:
            break
    assert path.read_bytes()[0] == low
    assert same(read_state(path))


# --- Files that are something else, or not whole


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"\n\n  <HTML>\n<head>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"%PDF-1.4 and so on", "neither PyTorch's format, nor"),
        (b"\x80\x02}", "damaged or cut short"),
        (b"PK\x03\x04 half an archive", "cut short"),
        (b"\x0a\x05abcde", "no layer with weights"),
        (b"\x0a\xff\xff\xff\x7f", "damaged or cut short"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".caffemodel"])
def test_no_checkpoints(tmp_path: Path, content: bytes, found: str, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    text = refusal(tmp_path / f"a{suffix}")
    if suffix == ".pth" or not content.startswith(b"%PDF"):
        assert found in text


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.pth")
    assert "directory" in refusal(tmp_path)


def written(kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "caffemodel":
        return caffe_bytes.caffemodel(ARRAYS)
    if kind == "npz":
        np.savez(out, **ARRAYS)
    elif kind == "safetensors":
        from safetensors.torch import save

        return save(STATE)
    else:
        torch.save(STATE, out, _use_new_zipfile_serialization=kind == "pth")
    return out.getvalue()


@pytest.mark.parametrize("kind", ["pth", "legacy.pth", "npz", "safetensors", "caffemodel"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_half_a_download(tmp_path: Path, kind: str, share: float) -> None:
    whole = written(kind)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(whole[: int(len(whole) * share)])
    refusal(path)


@given(st.sampled_from(["pth", "legacy.pth", "npz", "safetensors", "caffemodel"]), st.data())
def test_damaged_bytes_give_an_error_or_tensors(kind: str, data: st.DataObject) -> None:
    content = bytearray(written(kind))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"damaged.{kind}"
        path.write_bytes(content)
        try:
            state = read_state(path)
        except WeightsError:
            return
    assert all(isinstance(value, torch.Tensor) for value in state.values())


@pytest.mark.parametrize("kind", ["pth", "npz"])
def test_an_archive_whose_names_are_no_text(kind: str, tmp_path: Path) -> None:
    content = bytearray(written(kind))
    entry = content.index(b"PK\x01\x02")  # the first of the archive's directory
    content[entry + 9] |= 0x08  # its name is said to be UTF-8,
    content[entry + 46] = 0x80  # and is not
    path = tmp_path / f"damaged.{kind}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"damaged\.{kind}: damaged"):
        read_state(path)


# --- Filling a network


class Published(torch.nn.Module):
    """A stand-in for a network whose published files call its layers otherwise."""

    RENAMES = ((r"^features\.(\d+)\.", r"trunk.\1."), (r"gamma$", "weight"))
    IGNORED = (r"refinement_stages\.[12]\.", r".*num_batches_tracked")

    def __init__(self, n_heatmaps: int = 19) -> None:
        super().__init__()
        self.trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3))
        self.heatmaps = torch.nn.Conv2d(8, n_heatmaps, 1)


def published(n_heatmaps: int = 19) -> dict[str, torch.Tensor]:
    state = Published(n_heatmaps).state_dict()
    return {
        "features.0.gamma": state["trunk.0.weight"],
        "features.0.bias": state["trunk.0.bias"],
        "heatmaps.gamma": state["heatmaps.weight"].double(),
        "heatmaps.bias": state["heatmaps.bias"],
        "refinement_stages.1.trunk.weight": torch.ones(1),
        "features.0.num_batches_tracked": torch.tensor(5),
    }


def test_renames_and_ignored_keys() -> None:
    network, state = Published(), published()
    fill(network, state, "a.pth")
    assert torch.equal(network.trunk[0].weight, state["features.0.gamma"])
    assert torch.equal(network.heatmaps.weight, state["heatmaps.gamma"].float())
    assert network.heatmaps.weight.dtype == torch.float32


def test_eighteen_channels_where_nineteen_are_asked() -> None:
    network = Published()
    before = network.heatmaps.weight.clone()
    with pytest.raises(WeightsError) as caught:
        fill(network, published(n_heatmaps=18), "a.pth")
    text = "heatmaps.weight (18, 8, 1, 1) for (19, 8, 1, 1), 18 channels where 19 are asked"
    assert text in str(caught.value)
    assert str(caught.value).startswith("a.pth: does not fit the network: expected 4 keys, found 4")
    assert torch.equal(network.heatmaps.weight, before)


def test_missing_and_extra_keys_are_listed() -> None:
    state = published()
    del state["heatmaps.bias"]
    state["refinement_stages.0.trunk.weight"] = torch.ones(1)
    with pytest.raises(WeightsError) as caught:
        fill(Published(), state, "a.pth")
    assert "missing: heatmaps.bias; left over: refinement_stages.0.trunk.weight" in str(
        caught.value
    )


def test_weights_of_another_network() -> None:
    with pytest.raises(
        WeightsError, match=r"another network's: expected 4 keys, found 0 of them and 3"
    ):
        fill(Published(), STATE, "a.caffemodel")


def test_two_keys_of_one_parameter() -> None:
    state = published()
    state["heatmaps.weight"] = state["heatmaps.gamma"]
    with pytest.raises(WeightsError, match=r"two keys .* 'heatmaps.weight'"):
        fill(Published(), state, "a.pth")
