"""Checkpoints: what is written is read back, and what does not fit is refused with its keys."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from openpaf import weights
from openpaf.errors import WeightsError
from openpaf.geometry import Grid
from openpaf.networks import LightweightNetwork, describe
from openpaf.skeleton import Skeleton

ROW = weights.ModelSpec(
    name="tiny",
    builder="lightweight",
    options={"n_refinement_stages": 0, "width": 8},
    skeleton=Skeleton.COCO17,
    heatmap_grid=Grid(8),
    paf_grid=Grid(8, 0.0),
    mean=128.0,
    scale=255.0,
    licence="Apache-2.0",
    metrics={"AP": 0.1},
)


def tiny() -> LightweightNetwork:
    return LightweightNetwork(Skeleton.COCO17, n_refinement_stages=0, width=8)


def test_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network, path = tiny(), tmp_path / "tiny.safetensors"
    weights.save(network.state_dict(), path, ROW)
    loaded, row = weights.load_model(path)
    assert row == ROW
    assert not loaded.training
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value.half().float()), key
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.safetensors"]  # no partial file stays


def test_keys_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    state = tiny().state_dict()
    state["left_over"] = torch.zeros(1)
    del state["trunk.0.bias"]
    state["trunk.0.weight"] = torch.zeros(32, 3, 5, 5)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError) as caught:
        weights.load(tiny(), tmp_path / "odd.safetensors")
    for word in ("odd.safetensors", "left_over", "trunk.0.bias", "(32, 3, 5, 5)"):
        assert word in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not tensors", b"\xff" * 64])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad\.safetensors"):
        weights.load_model(path)


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    weights.save(tiny().state_dict(), path, ROW)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"cut\.safetensors"):
        weights.load_model(path)


def test_a_file_that_does_not_say_how_to_run_it(tmp_path: Path) -> None:
    save_file(tiny().state_dict(), tmp_path / "plain.safetensors")
    with pytest.raises(WeightsError, match="no description"):
        weights.load_model(tmp_path / "plain.safetensors")


def test_unknown_models_name_the_known() -> None:
    with pytest.raises(WeightsError, match=weights.DEFAULT_MODEL):
        weights.resolve("no-such-model")


@pytest.mark.parametrize("short", ["default", "fast"])
def test_a_shipped_model_is_what_the_table_and_its_card_say(short: str) -> None:
    path = weights.resolve(short).file
    row = next(row for row in weights.table() if row["name"] == path.stem)
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert row["size"] == path.stat().st_size < 20_000_000
    assert row["skeleton"] == "coco17"
    assert row["licence"] == "Apache-2.0"
    assert all(tensor.dtype == torch.float16 for tensor in load_file(path).values())
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert row["sha256"] in card
    assert f"{row['AP']:.3f}" in card
    for part in (".xml", ".bin"):  # the same in 8 bits
        eight_bit = path.with_name(f"{path.stem}-int8{part}")
        assert hashlib.sha256(eight_bit.read_bytes()).hexdigest() in card


def test_the_fast_model_multiplies_less_than_half_as_much() -> None:
    gmacs = {}
    for short in ("default", "fast"):
        network, _ = weights.load_model(short)
        gmacs[short] = describe(network, (368, 656)).gmacs
    assert gmacs["fast"] < 0.45 * gmacs["default"]


def test_models_have_short_names() -> None:
    default = weights.resolve()
    assert weights.resolve("default") == weights.resolve(weights.DEFAULT_MODEL) == default
    assert weights.resolve("fast") == weights.resolve("fast-coco17") != default
