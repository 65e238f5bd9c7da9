"""Files of weights that lie: refused in one line, before they take memory or time."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import caffe_bytes
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from openpaf import weights
from openpaf.cli import main
from openpaf.engines.load import load_engine
from openpaf.errors import WeightsError, printable
from openpaf.geometry import Grid
from openpaf.networks import LightweightNetwork
from openpaf.skeleton import Skeleton
from openpaf.weights.checkpoints import fill, read_state

INPUTS = Path(__file__).parent / "inputs" / "hostile"
OPTIONS = {"n_refinement_stages": 0, "width": 8}
ROW = weights.ModelSpec(
    name="tiny", builder="lightweight", options=OPTIONS, skeleton=Skeleton.COCO17,
    heatmap_grid=Grid(8), paf_grid=Grid(8, 0.0), mean=128.0, scale=255.0, licence="Apache-2.0",
    metrics={},
)  # fmt: skip


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return LightweightNetwork(Skeleton.COCO17, **OPTIONS).state_dict()


def refusal(path: Path, *, model: str | Path | None = None) -> str:
    """What loading a file says, which must be one short line that names it."""
    with pytest.raises(WeightsError) as caught:
        weights.load_model(model, path)
    text = str(caught.value)
    assert str(path) in text
    assert text.isprintable()
    assert len(text) < len(str(path)) + 2000
    return text


# --- What a header says of its model


def with_header(path: Path, state: dict[str, torch.Tensor], **changes: Any) -> Path:
    """A file of a tiny network whose header says something else."""
    values = {**json.loads(ROW.to_metadata()["openpaf"]), **changes}
    save_file(state, path, {"openpaf": json.dumps(values)})
    return path


HUGE = 10**400
SKELETON = Skeleton.COCO17.to_dict()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": {"width": 1_000}}, "another shape"),
        ({"options": {"width": 20_000}}, "at most 250000000 parameters"),
        ({"options": {"width": 100_000}}, "at most 250000000 parameters"),
        ({"options": {"width": HUGE}}, "width: expected a number from"),
        ({"options": {"width": 8.5}}, "makes no network"),
        ({"options": {"width": "8"}}, "makes no network"),
        ({"options": {"width": -1}}, "makes no network"),
        ({"options": {"n_refinement_stages": 10**30}}, "n_refinement_stages: expected a number"),
        ({"options": {"n_refinement_blocks": 33}}, "n_refinement_blocks: expected a number"),
        ({"options": {"trunk_widths": [8] * 100}}, "trunk_widths: expected a list of at most 64"),
        ({"options": {"nonsense": 1}}, "makes no network"),
        ({"options": [8]}, "options: expected a dictionary, got a list of 1"),
        ({"builder": "os.system"}, "network: expected one of"),
        ({"builder": ["lightweight"]}, "builder: expected text, got a list of 1"),
        ({"mean": HUGE}, "mean: expected a number from -100000 to 100000, got a number of 1329 b"),
        ({"mean": math.nan}, "mean: expected a number"),
        ({"scale": 0}, "scale: expected a number above 0"),
        ({"scale": math.inf}, "scale: expected a number"),
        ({"scale": True}, "scale: expected a number"),
        ({"bgr": "no"}, "bgr: expected true or false"),
        (
            {"heatmap_grid": [4, 1.5]},
            "heatmap_grid: expected the network's stride of 8 px, found 4",
        ),
        ({"paf_grid": [8, HUGE]}, "paf_grid: expected a number"),
        ({"paf_grid": 8}, "paf_grid: "),
        ({"skeleton": {**SKELETON, "joints": "abc"}}, "skeleton: joints: expected a list"),
        ({"skeleton": {**SKELETON, "limbs": [[0, HUGE]]}}, "skeleton: limbs: expected a whole"),
        ({"skeleton": {**SKELETON, "limbs": [[0, 0.5]]}}, "skeleton: limbs: expected a whole"),
        ({"skeleton": {**SKELETON, "oks_sigmas": [math.nan] * 17}}, "skeleton: oks_sigmas"),
        ({"result": 3}, "result: expected a dictionary, got 3"),
        ({"channel_order": "x" * 10**5}, "channel_order: expected one for 'coco17'"),
        ({"licence": None}, "licence: expected text"),
        ({"\x1b[2J" * 1000: 1}, "unknown keys"),
    ],
)
def test_a_header_that_lies(
    tmp_path: Path, state: dict[str, torch.Tensor], changes: dict[str, Any], said: str
) -> None:
    assert said in refusal(with_header(tmp_path / "a.safetensors", state, **changes))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rpn_pre_nms_top_n_test": 1.5}, "rpn_pre_nms_top_n_test: expected int, got 1.5"),
        ({"num_keypoints": "17"}, "num_keypoints: expected int, got '17'"),
        ({"box_nms_thresh": True}, "box_nms_thresh: expected float, got True"),
        ({"masks": 0}, "masks: expected bool, got 0"),
        ({"backbone": 3}, "backbone: expected str, got 3"),
        ({"mask_channels": [96.5]}, "mask_channels: expected whole numbers"),
        ({"anchor_sizes": 5}, "anchor_sizes: expected whole numbers"),
        ({"image_mean": [0.5, 0.5]}, "image_mean, image_std: expected three numbers each"),
        ({"image_std": [0.5, 0.5, 0]}, "image_mean, image_std: expected three numbers each"),
        ({"box_detections_per_img": 10**6}, "box_detections_per_img: expected a number from"),
    ],
)
def test_a_header_of_a_detector_that_lies(
    tmp_path: Path, state: dict[str, torch.Tensor], options: dict[str, Any], said: str
) -> None:
    changes = {"builder": "keypointrcnn_mobilenet_v2_fpn", "options": options}
    assert said in refusal(with_header(tmp_path / "a.safetensors", state, **changes))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[]", "expected a dictionary, found list"),
        ("{", "expected JSON"),
        ("9" * 5000, "expected JSON"),
        (" " * (1 << 21), "expected at most 1048576 characters"),
        ("{}", "missing keys ['builder', 'heatmap_grid', "),
    ],
)
def test_a_header_that_is_no_description(
    tmp_path: Path, state: dict[str, torch.Tensor], text: str, said: str
) -> None:
    save_file(state, tmp_path / "a.safetensors", {"openpaf": text})
    assert said in refusal(tmp_path / "a.safetensors")


def test_text_of_a_header_is_printable(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = with_header(tmp_path / "a.safetensors", state, licence="\x1b[31mred", name="a\nb")
    _, row = weights.load_model(path)
    assert (row.licence, row.name) == ("\\x1b[31mred", "a\\nb")


def test_a_long_header(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 100_000_000))
        file.truncate(200_000_000)
    assert "does not start with the length of a header" in refusal(path)


# --- Tensors that no network has


def as_safetensors(state: dict[str, torch.Tensor], path: Path) -> None:
    save_file(state, path, ROW.to_metadata())


def as_pth(state: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(state, path)


def as_old_pth(state: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


def as_npz(state: dict[str, torch.Tensor], path: Path) -> None:
    with path.open("wb") as file:  # NumPy would add a suffix
        np.savez(file, **{key: value.numpy() for key, value in state.items()})


FORMATS = [as_safetensors, as_pth, as_old_pth, as_npz]
Save = Callable[[dict[str, torch.Tensor], Path], None]


@pytest.fixture
def tiny(tmp_path: Path, state: dict[str, torch.Tensor]) -> Path:
    """A good file, which says how others are to be run."""
    weights.save(state, tmp_path / "tiny.safetensors", ROW)
    return tmp_path / "tiny.safetensors"


@pytest.mark.parametrize("save", FORMATS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.to(torch.complex64), "expected real numbers"),
        (lambda w: w.to(torch.int8), "trunk.0.weight (int8)"),
        (lambda w: w.to(torch.int64), "trunk.0.weight (int64)"),
        (lambda w: w.bool(), "trunk.0.weight (bool)"),
        (lambda w: w * math.nan, "expected finite numbers, found NaN or infinity in: trunk.0.w"),
        (lambda w: w - math.inf, "expected finite numbers"),
        (lambda w: w.double() + 1e300, "expected finite numbers"),
    ],
    ids=["complex", "int8", "int64", "bool", "nan", "inf", "beyond float32"],
)
def test_numbers_that_weights_are_not(
    tmp_path: Path, tiny: Path, state: dict[str, torch.Tensor], save: Save, change: Any, said: str
) -> None:
    path = tmp_path / "odd"
    save({**state, "trunk.0.weight": change(state["trunk.0.weight"])}, path)
    if save is as_npz:
        said = said.replace("expected real numbers", "expected numbers")
    assert said in refusal(path, model=tiny)


@pytest.mark.parametrize("save", FORMATS)
def test_good_numbers_of_every_format(
    tmp_path: Path, tiny: Path, state: dict[str, torch.Tensor], save: Save
) -> None:
    for dtype in (torch.float16, torch.float32, torch.float64):
        save({key: value.to(dtype) for key, value in state.items()}, tmp_path / "good")
        network, _ = weights.load_model(tiny, tmp_path / "good")
        for key, value in network.state_dict().items():
            assert torch.equal(value, state[key].to(dtype).float()), (dtype, key)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda w: w.to_sparse(), "of another kind (sparse tensor)"),
        (lambda w: w.to("meta"), "of another kind (meta tensor no storage)"),
        (lambda w: torch.zeros(1).expand(30_000, 30_000), "several of whose numbers are one"),
        (lambda w: w[:1].expand(w.shape), "several of whose numbers are one"),
        (lambda w: {"inner": w}, "no tensor in: trunk.0.weight"),
    ],
    ids=["sparse", "meta", "expanded to 3.6 GB", "expanded", "dictionary"],
)
@pytest.mark.parametrize("save", [as_pth, as_old_pth])
def test_tensors_of_other_kinds(
    tmp_path: Path, tiny: Path, state: dict[str, torch.Tensor], make: Any, said: str, save: Save
) -> None:
    save({**state, "trunk.0.weight": make(state["trunk.0.weight"])}, tmp_path / "odd.pth")
    assert said in refusal(tmp_path / "odd.pth", model=tiny)


@pytest.mark.filterwarnings("ignore")  # torch will drop the format
def test_quantised_tensors(tmp_path: Path, tiny: Path, state: dict[str, torch.Tensor]) -> None:
    quantised = torch.quantize_per_tensor(state["trunk.0.weight"], 0.1, 0, torch.qint8)
    torch.save({**state, "trunk.0.weight": quantised}, tmp_path / "odd.pth")
    assert "of another kind (qtensor)" in refusal(tmp_path / "odd.pth", model=tiny)


def test_views_and_shared_tensors_are_read_as_torch_does(tmp_path: Path) -> None:
    base = torch.arange(120.0).reshape(2, 3, 4, 5)
    tensors = {
        "transposed": base.transpose(1, 3),
        "channels last": base.to(memory_format=torch.channels_last),
        "slice": base[1, :, 1:3, ::2],
        "same": base,
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(base[0]),
        "bfloat16": base.bfloat16(),
    }
    for save in (as_pth, as_old_pth):
        save(tensors, tmp_path / "a.pth")
        read = read_state(tmp_path / "a.pth")
        assert read.keys() == tensors.keys()
        for key, value in tensors.items():
            assert read[key].dtype == value.dtype
            assert torch.equal(read[key], value), key


def test_arrays_of_other_orders(tmp_path: Path) -> None:
    array = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    np.savez(
        tmp_path / "a.npz", a=np.asfortranarray(array), b=array.astype(">f4"), c=array[0, 0, 0]
    )
    state = read_state(tmp_path / "a.npz")
    np.testing.assert_array_equal(state["a"].numpy(), array)
    np.testing.assert_array_equal(state["b"].numpy(), array)
    assert state["c"].shape == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_a_pipe_is_not_waited_for(tmp_path: Path, tiny: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    for model in (tiny, None):
        assert "found a pipe or device" in refusal(tmp_path / "a.safetensors", model=model)


# --- Names


@pytest.mark.parametrize("save", FORMATS)
@pytest.mark.parametrize("name", ["\x1b]0;owned\x07\n\r\x9b2J\u202e", "a" * 400])
def test_names_are_printable_and_short(
    tmp_path: Path, tiny: Path, state: dict[str, torch.Tensor], save: Save, name: str
) -> None:
    save({**state, name: torch.zeros(1)}, tmp_path / "odd")
    assert printable(name) in refusal(tmp_path / "odd", model=tiny)


@pytest.mark.parametrize("save", FORMATS)
def test_a_name_of_a_megabyte(tmp_path: Path, tiny: Path, save: Save) -> None:
    if save is as_npz:
        pytest.skip("a name in a zip archive has at most 65,535 characters")
    save({"a" * 10**6: torch.zeros(1)}, tmp_path / "odd")
    assert "names of at most 500 characters, found one of 1000000: aaa" in refusal(
        tmp_path / "odd", model=tiny
    )


def test_the_command_prints_no_control_characters(
    tmp_path: Path, tiny: Path, state: dict[str, torch.Tensor], capfd: Any
) -> None:
    path = tmp_path / "a\x1b[2J.npz"
    as_npz({"\x1b[31m": torch.zeros(1)}, path)
    assert main(["predict", str(tiny), "--weights", str(path), "--output", str(tmp_path)]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "\x1b" not in error


# --- Pickles


def test_a_state_dict_that_holds_itself(tmp_path: Path) -> None:
    state: dict[str, Any] = {"a": torch.zeros(1)}
    state["model"] = {"state_dict": state}
    for save in (as_pth, as_old_pth):
        save(state, tmp_path / "a.pth")
        with pytest.raises(WeightsError, match="a dictionary without an end"):
            read_state(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02(S'touch ran'\nios\nsystem\n.",  # INST
        b"\x80\x02(cos\nsystem\nS'touch ran'\no.",  # OBJ
        b"\x80\x02cos\nsystem\nS'touch ran'\n\x85R.",  # REDUCE
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.",  # STACK_GLOBAL
        b"\x80\x02c__builtin__\neval\nS'1'\n\x85R.",
        b"\x80\x02ctorch.serialization\nload\nS'x'\n\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2.x\n)R.",
        b"\x80\x02\x82\x01.",  # EXT1
    ],
)
def test_no_instruction_runs_code(tmp_path: Path, monkeypatch: Any, content: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"^evil\.pth: (refused|damaged)"):
        read_state("evil.pth")
    assert os.listdir() == ["evil.pth"]


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",  # tuples in tuples
        b"\x80\x02}(" + b"(" * 100_000 + b"t" * 100_000 + b"Ku.",  # as a key
        b"\x80\x02r\xff\xff\xff\xff.",  # a place in the memory that makes it huge
        b"\x80\x02Nr\xff\xff\xff\xff.",
        b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a text of 2**63 bytes
        b"\x80\x02\x8b\xff\xff\xff\x7f.",  # a number of 2**31 bytes
        b"\x80\x02" + b"]" * 2_000_000 + b".",
        b"\x80\x02I" + b"9" * 10_000 + b"\n.",
        b"\x80\x02.",
        b"\x80\x02K\x01R.",
    ],
)
def test_pickles_that_are_too_much(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.pth: (refused|damaged)"):
        read_state(tmp_path / "a.pth")


def test_a_shape_of_more_numbers_than_there_are(tmp_path: Path) -> None:
    as_old_pth({"a": torch.zeros(201)}, tmp_path / "a.pth")
    content = (tmp_path / "a.pth").read_bytes()
    place = content.rindex(b"K\xc9")  # its shape; before it comes the number of numbers
    (tmp_path / "a.pth").write_bytes(content[:place] + b"K\xff" + content[place + 2 :])
    with pytest.raises(WeightsError, match=r"a: the shape \(255,\), for which 201 numbers are too"):
        read_state(tmp_path / "a.pth")


def test_a_tar_archive_of_the_first_pytorch(tmp_path: Path) -> None:
    for name in ("sys_info", "pickle", "storages", "tensors"):
        (tmp_path / name).write_bytes(pickle.dumps({}))
    with tarfile.open(tmp_path / "a.pth", "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.add(tmp_path / name, name)
    with pytest.raises(WeightsError, match="neither PyTorch's format, nor"):
        read_state(tmp_path / "a.pth")


# --- Caffe


@pytest.mark.parametrize(
    "content",
    [
        caffe_bytes.varint(100 << 3 | 2) + caffe_bytes.varint(1 << 62) + b"abc",
        caffe_bytes.varint(100 << 3 | 2) + b"\xff" * 20,
        caffe_bytes.varint(100 << 3 | 2),
        caffe_bytes.field(100, caffe_bytes.field(7, caffe_bytes.varint(5 << 3 | 2) + b"\x7f")),
        caffe_bytes.layer("c", [caffe_bytes.field(7, caffe_bytes.field(1, b"\xff" * 9 + b"\x01"))]),
        caffe_bytes.layer("c", [caffe_bytes.field(7, caffe_bytes.field(1, b"\x02" * 1000))]),
        caffe_bytes.layer("\xff" * 3000, []),
        caffe_bytes.field(100, caffe_bytes.field(1, b"\xff\xfe")),
        b"\x0b",  # a group, which has no length
        b"\x00\x00",
        b"\x0a\x00" * 300_000,
    ],
)
def test_caffe_lengths_that_lie(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.caffemodel"
    path.write_bytes(caffe_bytes.field(1, "net") + content)
    with pytest.raises(WeightsError, match=r"a\.caffemodel"):
        read_state(path)


# --- A detector for a pose network, and the other way round


def test_a_detector_is_named(tmp_path: Path, tiny: Path) -> None:
    detector = weights.find("mask-rcnn-mobilenet")
    said = "expected weights of a pose network without a detector, found those of a detector"
    assert said in refusal(detector, model=tiny)
    assert said in refusal(detector, model="cmu-coco")
    said = "expected weights of a detector (Mask R-CNN), found those of a pose network"
    assert said in refusal(tiny, model=detector)
    assert said in refusal(tiny, model="keypointrcnn-coco17")
    with pytest.raises(WeightsError, match="top-down network, which has no heatmaps"):
        load_engine(detector, "torch")


# --- Shipped files


def test_a_changed_byte_of_a_shipped_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    shipped = weights.find("fast")
    copies = [tmp_path / shipped.name, tmp_path / f"{shipped.stem}.md"]
    for copy in copies:
        shutil.copy(shipped.with_name(copy.name), copy)
    monkeypatch.setattr("openpaf.weights.catalog._shipped", lambda: [copies[0]])
    digest = weights.table()[0]["sha256"]
    assert "fast-coco17: good (sha256" in _verified(capsys, 0)
    weights.load_model("fast")

    content = copies[0].read_bytes()
    copies[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "is not that of its card; install openpaf again" in _verified(capsys, 1)
    with pytest.raises(WeightsError, match="is not that of its card"):
        weights.load_model("fast")

    copies[0].write_bytes(content)
    card = copies[1].read_text(encoding="utf-8")
    copies[1].write_text(card.replace(digest, digest[:-1] + "x"), encoding="utf-8")
    assert "is not that of its card" in _verified(capsys, 1)
    # The hash of another file is not enough.
    copies[1].write_text(card.replace(copies[0].name, "other.safetensors"), encoding="utf-8")
    assert "is not that of its card" in _verified(capsys, 1)
    copies[1].unlink()
    assert "fast-coco17.md: cannot be read" in _verified(capsys, 1)


def _verified(capsys: Any, status: int) -> str:
    assert main(["weights", "verify", "fast-coco17"]) == status
    said = capsys.readouterr()
    return said.out + said.err


# --- The command line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weights", str(INPUTS / "deep_metadata.safetensors")], "nested too deeply"),
        (["--weights", str(INPUTS / "self_referring.pth")], "needs its name"),
        (
            ["--model", "cmu-coco", "--weights", str(INPUTS / "self_referring.pth")],
            "a dictionary without an end",
        ),
    ],
)
def test_one_line_and_status_2(
    tmp_path: Path, repo_root: Path, capfd: Any, options: list[str], said: str
) -> None:
    photo = repo_root / "data" / "photos" / "astronaut.jpg"
    assert main(["predict", str(photo), "--output", str(tmp_path), "--quiet", *options]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert said in error


# --- Memory and time, in a process of its own

_LIMITED = """
import resource, sys
import torch
from openpaf import weights
from openpaf.errors import WeightsError
from openpaf.networks import build

build("lightweight", n_refinement_stages=0, width=8)
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
limit = size + (150 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    torch.empty(190 << 20, dtype=torch.uint8)
    print("no limit")
except RuntimeError:
    pass
for path in sys.argv[2:]:
    try:
        weights.load_model(None if path.endswith("lies.safetensors") else sys.argv[1], path)
        print("loaded", path)
    except WeightsError as error:
        words = ("of another shape: trunk.0.weight", "250000000 parameters", "at most 1024 MiB")
        print("refused" if any(word in str(error) for word in words) else error, path)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_bombs_take_no_memory(tmp_path: Path, tiny: Path, state: dict[str, torch.Tensor]) -> None:
    zeros = torch.zeros(50_000_000)  # 200 MB, which pack to 200 kB
    files = []
    np.savez_compressed(tmp_path / "bomb.npz", **{"trunk.0.weight": zeros.numpy()})
    files.append(tmp_path / "bomb.npz")
    torch.save({**state, "trunk.0.weight": zeros}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(
            tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED, compresslevel=1
        ) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    (tmp_path / "plain.pth").unlink()
    files.append(tmp_path / "bomb.pth")
    files.append(with_header(tmp_path / "lies.safetensors", state, options={"width": 20_000}))
    # Bytes that are only said to be there: a long file of nothing, which takes no room on the disk.
    with (tmp_path / "sparse.caffemodel").open("wb") as file:
        size = 4 << 30
        shape = caffe_bytes.field(7, caffe_bytes.field(1, caffe_bytes.varint(size // 4)))
        data = caffe_bytes.varint(5 << 3 | 2) + caffe_bytes.varint(size)
        name = caffe_bytes.field(1, "trunk.0")
        blob = caffe_bytes.varint(7 << 3 | 2) + caffe_bytes.varint(len(shape + data) + size)
        layer = caffe_bytes.varint(len(name + blob + shape + data) + size)
        file.write(caffe_bytes.varint(100 << 3 | 2) + layer + name + blob + shape + data)
        file.truncate(file.tell() + size)
    files.append(tmp_path / "sparse.caffemodel")
    result = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tiny), *map(str, files)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.stdout.splitlines() == [f"refused {path}" for path in files], result.stderr


def test_what_lies_beside_the_weights_is_not_read(
    tmp_path: Path, tiny: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    from openpaf.weights import torch_files, zip_files

    sizes = []

    def spy(archive: Any, info: Any, n_bytes: int) -> bytearray:
        sizes.append(n_bytes)
        return zip_files.read_member(archive, info, n_bytes)

    monkeypatch.setattr(torch_files, "read_member", spy)
    moments = {i: {"exp_avg": torch.zeros(100_000)} for i in range(3)}
    torch.save({"state_dict": state, "optimizer": {"state": moments}}, tmp_path / "a.pth")
    weights.load_model(tiny, tmp_path / "a.pth")
    assert len(sizes) >= len(state)
    assert 400_000 not in sizes


# --- Mutations with a fixed seed: what loads is right to the bit

_SMALL = {
    "conv1.weight": torch.arange(108.0).reshape(4, 3, 3, 3) / 7,
    "conv1.bias": torch.tensor([1.0, -2.0, 3.5, 1e-7]),
    "prelu2.weight": torch.tensor([0.25, 0.5, 0.75, 0.125, 2.0]),
}


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3)
        self.prelu2 = torch.nn.PReLU(5)


def as_caffe(state: dict[str, torch.Tensor], path: Path) -> None:
    path.write_bytes(caffe_bytes.caffemodel({key: value.numpy() for key, value in state.items()}))


def mutated(content: bytes, places: list[int], rng: np.random.Generator) -> bytes:
    """Some bytes changed, or a part cut out, doubled, or put elsewhere."""
    kind = rng.integers(6)
    if kind < 3:
        changed = bytearray(content)
        for place in rng.choice(places, rng.integers(1, 4)):
            changed[place] = rng.choice([0, 1, 127, 128, 255, *rng.integers(0, 256, 5)])
        return bytes(changed)
    start, end = sorted(int(place) for place in rng.choice(places, 2))
    if kind == 3:
        return content[:start] + content[end:]
    if kind == 4:
        return content[:end] + content[start:end][:5000] + content[end:]
    return content[:start]


@pytest.mark.parametrize("save", [*FORMATS, as_caffe])
def test_mutations_load_exactly_or_are_refused(tmp_path: Path, save: Save) -> None:
    path = tmp_path / "a"
    save(_SMALL, path)
    content = path.read_bytes()
    # Numbers have no checksum outside of a zip archive: there, all but them is changed.
    numbers: set[int] = set()
    if save not in (as_pth, as_npz):
        for value in _SMALL.values():
            start = content.index(value.numpy().tobytes())
            numbers |= set(range(start, start + 4 * value.numel()))
    places = [place for place in range(len(content)) if place not in numbers]
    rng = np.random.default_rng(1)
    said: list[str] = []
    for i in range(400):
        path.write_bytes(mutated(content, places, rng))
        network = Small()
        try:
            fill(network, read_state(path), path)
        except WeightsError as error:
            said.append(str(error))
            continue
        for key, value in network.state_dict().items():
            assert torch.equal(value, _SMALL[key]), (i, key)
    assert all(text.isprintable() for text in said)
    assert len(said) > 150
