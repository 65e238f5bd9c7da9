"""A network from outside the package: a class and a row in a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import openpaf
from openpaf.networks import BUILDERS, build, describe
from openpaf.weights import ModelSpec, save


class OneConvolution(nn.Module):
    """Fields of stride 4 from a single convolution."""

    def __init__(self, skeleton: openpaf.Skeleton, *, size: int = 5) -> None:
        super().__init__()
        self.n_heatmaps = skeleton.n_joints + 1
        n_out = self.n_heatmaps + 2 * skeleton.n_limbs
        self.conv = nn.Conv2d(3, n_out, size, stride=4, padding=size // 2)

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        fields = self.conv(image)
        return [(fields[:, : self.n_heatmaps], fields[:, self.n_heatmaps :])]


def test_a_network_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is built, described, saved, and run by name, with its own options."""
    skeleton = openpaf.Skeleton.COCO17
    monkeypatch.setitem(BUILDERS, "one_convolution", (OneConvolution, skeleton))
    network = build("one_convolution", size=7)
    figures = describe(network)
    assert (figures.stride, figures.receptive_field_px) == (4, 7)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.arange(p.numel()).view_as(p) % 64 / 64 if p.ndim == 1 else 0 * p)
    spec = ModelSpec(
        name="own",
        builder="one_convolution",
        options={"size": 7},
        skeleton=skeleton,
        heatmap_grid=openpaf.Grid(4),
        paf_grid=openpaf.Grid(4),
        mean=128.0,
        scale=255.0,
        licence="Apache-2.0",
        metrics={},
    )
    save(network.state_dict(), tmp_path / "own.safetensors", spec)
    estimator = openpaf.PoseEstimator(tmp_path / "own.safetensors", size=64)
    fields = estimator.fields(np.zeros((64, 96, 3), np.uint8))
    assert fields.heatmaps.shape == (18, 16, 24)
    np.testing.assert_allclose(fields.heatmaps[:, 3, 5], np.arange(18) / 64)
    np.testing.assert_allclose(fields.pafs[:, :, 3, 5].ravel(), np.arange(18, 74) % 64 / 64)
