"""Engines say the same as each other, and refuse what they cannot do in one sentence."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from openpaf.runtime import load_engine


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (2, 3, 8, 12)).astype(np.float32)
    return coarse.repeat(16, axis=2).repeat(16, axis=3)  # (2, 3, 128, 192)


def test_shapes_and_a_batch_is_its_pictures(pictures: np.ndarray) -> None:
    run, row = load_engine()
    heatmaps, pafs = run(pictures)
    assert heatmaps.shape == (2, row.skeleton.n_joints + 1, 16, 24)
    assert pafs.shape == (2, 2 * row.skeleton.n_limbs, 16, 24)
    assert heatmaps.dtype == pafs.dtype == np.float32
    for i in range(2):
        one_heatmaps, one_pafs = run(pictures[i : i + 1])
        np.testing.assert_allclose(one_heatmaps[0], heatmaps[i], atol=1e-4)
        np.testing.assert_allclose(one_pafs[0], pafs[i], atol=1e-4)


def test_openvino_says_what_torch_says(pictures: np.ndarray) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    torch_fields = load_engine(runtime="torch")[0](pictures)
    openvino_fields = load_engine(runtime="openvino")[0](pictures)
    for ours, theirs in zip(torch_fields, openvino_fields, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_unknown_runtime_and_device() -> None:
    with pytest.raises(ValueError, match=r"runtime: expected one of .*openvino.*, got 'tpu'"):
        load_engine(runtime="tpu")
    with pytest.raises(ValueError, match=r"device: 'nonsense'"):
        load_engine(device="nonsense")


def test_a_missing_openvino_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ValueError, match=r"openpaf\[openvino\]"):
        load_engine(runtime="openvino")
