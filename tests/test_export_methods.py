"""Models of other methods than part affinity fields are exported, and run from their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from openpaf import Grid, PoseEstimator, Skeleton, weights
from openpaf.cli import main
from openpaf.networks import build

OPTIONS: dict[str, Any] = {
    "width": 16, "hidden_width": 16, "stride": 8,
    "trunk_widths": [8, 8, 8, 8, 8, 8, 16, 16, 16, 16, 16, 16],
}  # fmt: skip


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (72, 104, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), cv2.GaussianBlur(pixels, None, 3))
    return tmp_path / "photo.png"


@pytest.mark.parametrize(
    ("builder", "to"),
    [
        ("lightweight_tags", "openvino"),
        ("lightweight_center_net", "openvino"),
        ("lightweight_center_net", "onnx"),
        ("lightweight_person_lab", "openvino"),
    ],
)
def test_an_exported_model_gives_what_torch_gives(
    photo: Path, tmp_path: Path, builder: str, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(to, to))
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    network = build(builder, **OPTIONS)
    spec = weights.ModelSpec(
        name="tiny", builder=builder, options=OPTIONS, skeleton=Skeleton.COCO17,
        heatmap_grid=Grid(8), paf_grid=Grid(8), mean=128.0, scale=256.0,
        licence="Apache-2.0", metrics={},
    )  # fmt: skip
    model = tmp_path / "tiny.safetensors"
    weights.save(network.state_dict(), model, spec)
    file = tmp_path / ("tiny" + {"onnx": ".onnx", "openvino": ".xml"}[to])
    command = ["export", str(model), "--to", to, "--photos", str(photo), "--size", "72"]
    assert main([*command, "--output", str(file)]) == 0
    assert "its arrays differ from torch's by" in capsys.readouterr().out
    torchs, exported = PoseEstimator(model, engine="torch", size=72), PoseEstimator(file, size=72)
    assert exported.engine == to
    assert exported.spec.method == torchs.spec.method
    ours, theirs = torchs.infer(str(photo)).arrays, exported.infer(str(photo)).arrays
    assert list(theirs) == list(torchs.spec.outputs)
    for name, array in ours.items():
        np.testing.assert_allclose(theirs[name], array, atol=1e-4 * np.abs(array).max())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("mask-rcnn-mobilenet", "its network gives no arrays of the whole image"),
        ("tinypose-128x96", "a network of one person, no model alone"),
        ("picodet-s-192", "a detector of people, no model alone"),
    ],
)
def test_what_is_not_exported_alone(
    photo: Path, tmp_path: Path, model: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.onnx"
    command = ["export", model, "--to", "onnx", "--photos", str(photo), "--output", str(file)]
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert not file.exists()
