"""A network from outside of the package: a file and a row in a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from openpaf import PoseEstimator, Skeleton, networks
from openpaf.cli import main


class TinyNetwork(nn.Module):
    """Two stages at stride 4, of two layers each."""

    def __init__(self, skeleton: Skeleton, *, width: int = 8) -> None:
        super().__init__()
        n_heatmaps, self.n_pafs = skeleton.n_joints + 1, 2 * skeleton.n_limbs
        self.first = nn.Conv2d(3, width, 5, stride=4, padding=2)
        self.norm = nn.BatchNorm2d(width)
        self.stages = nn.ModuleList(
            nn.Conv2d(width, n_heatmaps + self.n_pafs, 3, padding=1) for _ in range(2)
        )

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        features = self.norm(self.first(image)).relu()
        fields = [stage(features) for stage in self.stages]
        return [(x[:, : -self.n_pafs], x[:, -self.n_pafs :]) for x in fields]


def test_a_network_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains for two steps, with targets at its own stride, and finds people."""
    monkeypatch.setitem(networks.BUILDERS, "tiny", (TinyNetwork, Skeleton.COCO17))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(tmp_path / "0.png")
    joints = np.column_stack([rng.uniform(5, 45, 17), rng.uniform(5, 35, 17), np.full(17, 2)])
    person = {"id": 1, "image_id": 0, "category_id": 1, "keypoints": joints.ravel().tolist()}
    labels = {"images": [{"id": 0, "file_name": "0.png"}], "annotations": [person]}
    (tmp_path / "people.json").write_text(json.dumps({**labels, "categories": [{"id": 1}]}))
    (tmp_path / "run.toml").write_text("""\
output = "run"
name = "mine"
[network]
name = "tiny"
options = {width = 4}
[[data.sets]]
annotations = "people.json"
images = "."
[optimizer]
steps = 2
batch_size = 2
[augment]
crop_px = 32
""")
    assert main(["train", str(tmp_path / "run.toml")]) == 0
    estimator = PoseEstimator(tmp_path / "run" / "mine.safetensors", size=40)
    fields = estimator.fields(np.zeros((40, 50, 3), np.uint8))
    assert (fields.heatmap_grid.stride, fields.heatmap_grid.offset) == (4, 1.5)
    assert fields.heatmaps.shape == (18, 10, 14)
