"""Published checkpoints: what the table says, and that a file runs by its name as it says."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import caffe_bytes
import numpy as np
import pytest
import torch

import openpaf
from openpaf import weights
from openpaf.channels import CHANNEL_ORDERS
from openpaf.cli import main
from openpaf.engines.load import load_engine
from openpaf.errors import WeightsError
from openpaf.geometry import Grid
from openpaf.networks import LightweightNetwork, build
from openpaf.skeleton import Skeleton
from openpaf.weights import published
from openpaf.weights.published import PUBLISHED, Published
from openpaf.weights.spec import method_of

ROWS = [pytest.param(row, id=row.name) for row in PUBLISHED.values()]
BOTTOM_UP = [pytest.param(row, id=row.name) for row in PUBLISHED.values() if not row.top_down]


# --- The table


#: Of others' tables, beside those that the project was given.
_FOUND = {"higher-hrnet-w32", "centernet-hourglass", "posenet-mobilenet-075"}


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_in_themselves_consistent(row: Published) -> None:
    assert all(re.match(r"https?://[\w./%-]+$", url) for url in row.urls)
    assert len(set(row.urls)) == len(row.urls)
    assert row.sha256 is None or re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", row.sha256)
    assert row.md5 is None or re.fullmatch(r"[0-9a-f]{32}", row.md5)
    assert row.licence
    assert row.restricted == ("non-commercial" in row.licence)
    assert {"AP", "protocol"} <= set(row.metrics)
    if row.sha256 and len(row.sha256) == 8:
        assert row.sha256 in row.urls[0]  # as torch.hub names its files
    if not row.top_down:
        assert row.skeleton is not None
        if method_of(row.builder, row.options) != "part_affinity":
            assert row.channel_order is None  # their channels are in the order of the skeleton
            return
        assert row.channel_order is not None
        assert CHANNEL_ORDERS[row.channel_order].skeleton == row.skeleton


@pytest.mark.parametrize("row", ROWS)
def test_a_published_hash_is_in_the_reference(row: Published, shared_dir: Path) -> None:
    """The hashes and links that the project was given, whichever it found besides."""
    text = (shared_dir / "reference" / "checkpoints.md").read_text(encoding="utf-8")
    if not row.urls or row.name in _FOUND:
        return
    line = next(line for line in text.splitlines() if row.urls[0] in line)
    if row.md5:
        assert row.md5 in line.lower()
    assert row.restricted == ("non-commercial" in line)


def test_the_public_table() -> None:
    rows = {row["name"]: row for row in weights.table()}
    shipped = [name for name, row in rows.items() if row["shipped"]]
    assert shipped[0] == next(iter(rows))  # the shipped ones come first
    assert set(rows) == set(shipped) | set(PUBLISHED)
    keys = {frozenset(row) for row in rows.values()}
    assert len(keys) == 1
    assert next(iter(keys)) >= {"name", "licence", "sha256", "size", "skeleton", "AP", "source"}
    body25 = rows["cmu-body25"]
    assert body25["skeleton"] == "body25"
    assert body25["paf_grid"] == Grid(8, 0.0)
    assert body25["heatmap_grid"] == Grid(8, 3.5)
    assert (body25["bgr"], body25["mean"], body25["scale"]) == (True, 128.0, 256.0)


# --- A file by the name of its row


STAND_IN = Published(
    name="stand-in",
    suffix=".pth",
    urls=(),
    licence="theirs: non-commercial research only",
    restricted=True,
    builder="lightweight",
    options={"n_refinement_stages": 0, "width": 8},
    skeleton=Skeleton.COCO18,
    channel_order="cmu_coco18",
    heatmap_grid=Grid(8),
    paf_grid=Grid(8, 0.0),
    bgr=True,
    mean=100.0,
    scale=50.0,
    metrics={"AP": 0.5, "protocol": "none"},
)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> LightweightNetwork:
    """A small network with seeded weights, which the table knows as ``stand-in``."""
    monkeypatch.setitem(PUBLISHED, "stand-in", STAND_IN)
    torch.manual_seed(3)
    return LightweightNetwork(Skeleton.COCO18, **STAND_IN.options).eval()


def save_pth(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 1}, path)
    return path


def save_npz(state: dict[str, torch.Tensor], path: Path) -> Path:
    np.savez(path, **{key: value.numpy() for key, value in state.items()})
    return path


def save_caffe(state: dict[str, torch.Tensor], path: Path) -> Path:
    path.write_bytes(caffe_bytes.caffemodel({key: value.numpy() for key, value in state.items()}))
    return path


Save = Callable[[dict[str, torch.Tensor], Path], Path]
SAVERS = pytest.mark.parametrize(
    ("save", "file"),
    [(save_pth, "a.pth"), (save_npz, "a.npz"), (save_caffe, "a.caffemodel")],
    ids=["pth", "npz", "caffemodel"],
)


@SAVERS
def test_every_format_fills_the_network(
    network: LightweightNetwork, tmp_path: Path, save: Save, file: str
) -> None:
    path = save(network.state_dict(), tmp_path / file)
    loaded, row = weights.load_model("stand-in", path)
    assert not loaded.training
    assert (row.name, row.bgr, row.channel_order) == ("stand-in", True, "cmu_coco18")
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_the_engine_takes_rgb_and_gives_the_order_of_the_skeleton(
    network: LightweightNetwork, tmp_path: Path, runtime: str
) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    path = save_pth(network.state_dict(), tmp_path / "a.pth")
    run, row = load_engine("stand-in", runtime, weights=path)
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 96)).astype(np.float32)
    heatmaps, pafs = run(images).values()
    bgr = torch.from_numpy((images[:, ::-1] - 100) / 50)
    with torch.inference_mode():
        raw_heatmaps, raw_pafs = (t.numpy() for t in network(bgr)[-1])
    np.testing.assert_allclose(heatmaps, raw_heatmaps, atol=1e-3)
    # The first limb, neck to right shoulder, is in channels 12 and 13 of CMU's order.
    np.testing.assert_allclose(pafs[:, 0:2], raw_pafs[:, 12:14], atol=1e-3)
    fields = openpaf.Fields.from_batch(
        raw_heatmaps, raw_pafs, heatmap_grid=Grid(8), paf_grid=Grid(8, 0.0), channels="cmu_coco18"
    )
    np.testing.assert_allclose(pafs[1].reshape(19, 2, 8, 12), fields[1].pafs, atol=1e-3)
    assert row.skeleton == fields[0].skeleton


def test_predict_with_a_file(
    network: LightweightNetwork, tmp_path: Path, repo_root: Path, capsys: Any
) -> None:
    path = save_caffe(network.state_dict(), tmp_path / "a.caffemodel")
    photo = repo_root / "data" / "photos" / "astronaut.jpg"
    arguments = ["predict", photo, "--output", tmp_path, "--model", "stand-in", "--size", "64"]
    status = main([*map(str, arguments), "--weights", str(path), "--format", "coco,openpose"])
    said = capsys.readouterr()
    assert status == 0
    assert "stand-in: licence: theirs: non-commercial research only" in said.err
    assert isinstance(json.loads((tmp_path / "astronaut.json").read_text()), list)


def test_the_estimator_by_name(network: LightweightNetwork, tmp_path: Path) -> None:
    path = save_pth(network.state_dict(), tmp_path / "a.pth")
    estimator = openpaf.PoseEstimator("stand-in", weights=path, size=64)
    assert estimator.skeleton == Skeleton.COCO18
    fields = estimator.fields(np.zeros((64, 64, 3), np.uint8))
    assert fields.paf_grid == Grid(8, 0.0)


def test_from_the_cache_or_told_how_to_fetch(
    network: LightweightNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"not fetched yet; openpaf weights fetch stand-in"):
        load_engine("stand-in")
    path = save_pth(network.state_dict(), tmp_path / "stand-in.pth")
    load_engine("stand-in")
    assert weights.resolve("stand-in").file == path
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    row = dataclasses.replace(STAND_IN, sha256="0" * 64)
    monkeypatch.setitem(PUBLISHED, "stand-in", row)
    with pytest.raises(WeightsError, match=f"expected sha256 {'0' * 64}, found {digest}"):
        load_engine("stand-in")  # never with another hash


def test_a_shipped_model_with_weights_of_ones_own(tmp_path: Path) -> None:
    state, _ = weights.load_model()
    path = save_npz(state.state_dict(), tmp_path / "mine.npz")
    loaded, row = weights.load_model(weights.DEFAULT_MODEL, path)
    assert row.name == weights.DEFAULT_MODEL
    for key, value in state.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_a_file_without_a_name(network: LightweightNetwork, tmp_path: Path) -> None:
    path = save_pth(network.state_dict(), tmp_path / "a.pth")
    for arguments in ((None, path), (path, None)):
        with pytest.raises(WeightsError, match="needs its name: --model NAME --weights PATH"):
            weights.load_model(*arguments)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>gone</html>", "a web page"),
        (b"PK\x03\x04 the first bytes", "cut short"),
        (b"", "an empty file"),
        (None, "No such file"),
    ],
)
def test_bad_files_are_one_line(
    network: LightweightNetwork, tmp_path: Path, capsys: Any, content: bytes | None, said: str
) -> None:
    path = tmp_path / "bad.pth"
    if content is not None:
        path.write_bytes(content)
    (tmp_path / "photo.png").write_bytes(b"")
    arguments = ["predict", tmp_path / "photo.png", "--output", tmp_path / "out"]
    options = ["--model", "stand-in", "--weights", path, "--quiet"]
    assert main([str(a) for a in (*arguments, *options)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert "bad.pth" in error


def test_a_caffe_file_of_another_network(network: LightweightNetwork, tmp_path: Path) -> None:
    state = {"conv1_1.weight": torch.ones(4, 3, 3, 3), "conv1_1.bias": torch.ones(4)}
    path = save_caffe(state, tmp_path / "vgg.caffemodel")
    with pytest.raises(WeightsError, match=r"vgg\.caffemodel: another network's: expected"):
        weights.load_model("stand-in", path)


def test_a_layout_for_another_skeleton(network: LightweightNetwork, tmp_path: Path) -> None:
    other = LightweightNetwork(Skeleton.COCO17, **STAND_IN.options)
    path = save_pth(other.state_dict(), tmp_path / "coco17.pth")
    with pytest.raises(WeightsError, match="18 channels where 19 are asked"):
        weights.load_model("stand-in", path)


def test_top_down_models_have_no_fields() -> None:
    with pytest.raises(WeightsError, match="top-down network, which has no heatmaps"):
        load_engine("keypointrcnn-coco17", weights="any.pth")
    with pytest.raises(WeightsError, match=r"objects and no joints; use openpaf\.ObjectDetector"):
        openpaf.PoseEstimator("maskrcnn-coco", weights="any.pth")


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(WeightsError, match=r"'cmu'.*cmu-body25"):
        published.find_published("cmu")
    with pytest.raises(WeightsError, match=r"neither a file.*lightweight-coco17.*cmu-body25"):
        weights.load_model("no-such-model")


def test_how_it_is_run_survives_a_safetensors_file(tmp_path: Path) -> None:
    row = weights.ModelSpec(
        name="mine", builder="lightweight", options=STAND_IN.options, skeleton=Skeleton.COCO18,
        heatmap_grid=Grid(8), paf_grid=Grid(8, 0.0), mean=100.0, scale=50.0, licence="CC0",
        metrics={}, bgr=True, channel_order="cmu_coco18",
    )  # fmt: skip
    network = LightweightNetwork(Skeleton.COCO18, **STAND_IN.options)
    weights.save(network.state_dict(), tmp_path / "mine.safetensors", row)
    assert weights.read_header(tmp_path / "mine.safetensors") == row
    with pytest.raises(ValueError, match="channel_order: expected one for 'coco17'"):
        dataclasses.replace(row, skeleton=Skeleton.COCO17)


@pytest.mark.parametrize("row", BOTTOM_UP)
def test_the_network_of_each_row_is_filled_key_for_key(row: Published, tmp_path: Path) -> None:
    """With seeded values under the keys of the published file."""
    try:
        network = build(row.builder, row.skeleton, **row.options)
    except ValueError as error:
        pytest.skip(f"no such network yet: {error}")
    keys = {key: key for key in network.state_dict()}
    if row.builder == "open_model_zoo":  # the only one whose keys are not its file's
        from openpaf.networks.open_model_zoo import LAYERS

        keys = {f"{LAYERS[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": k for k in keys}
    generator = torch.Generator().manual_seed(0)
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    state = {theirs: torch.rand(shapes[ours], generator=generator) for theirs, ours in keys.items()}
    # One Caffe file is enough, since to write 200 MB of them takes its time.
    save = save_caffe if row.name == "cmu-body25" else save_pth
    loaded, _ = weights.load_model(row.name, save(state, tmp_path / row.file))
    values = loaded.state_dict()
    for theirs, ours in keys.items():
        value = values[ours]
        assert torch.equal(value, state[theirs].to(value.dtype)), ours
