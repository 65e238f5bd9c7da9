"""Targets of a network that is shown smaller crops than its teacher."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from openpaf import Grid, Poses, Skeleton, encode_fields
from openpaf.training.data.batches import Batch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
from target_resampling import resample_targets

_GRIDS = (Grid(8), Grid(8, 0.0))


def _people(n: int, size: float, side: int) -> Poses:
    rng = np.random.default_rng(5)
    middles = rng.uniform(0.25 * side, 0.75 * side, (n, 1, 2))
    xy = (middles + rng.uniform(-size / 2, size / 2, (n, 17, 2))).astype(np.float32)
    keypoints = np.concatenate([xy, np.ones((n, 17, 1), np.float32)], 2)
    return Poses.from_keypoints(keypoints, Skeleton.COCO17)


def _batch(poses: Poses, side: int) -> Batch:
    fields = encode_fields(poses, (side, side), heatmap_grid=_GRIDS[0], paf_grid=_GRIDS[1])
    heatmaps = torch.from_numpy(fields.heatmaps)[None]
    pafs = torch.from_numpy(fields.pafs.reshape(-1, *fields.size_cells))[None]
    return Batch(
        images=torch.rand(1, 3, side, side),
        heatmaps=heatmaps,
        pafs=pafs,
        heatmap_weights=torch.ones_like(heatmaps),
        paf_weights=torch.ones_like(pafs),
        fully_annotated=torch.tensor([True]),
    )


@pytest.mark.parametrize("scale", [0.8, 0.65, 0.5])
@pytest.mark.parametrize("n_people", [1, 3])
def test_targets_are_those_of_the_smaller_image(scale: float, n_people: int) -> None:
    side = 320
    poses = _people(n_people, 120, side)
    coarse = resample_targets(_batch(poses, side), scale, _GRIDS)
    size = round(side * scale)
    assert coarse.images.shape == (1, 3, size, size)
    ratio = size / side
    smaller = poses.replace(xy=((poses.xy + 0.5) * ratio - 0.5).astype(np.float32))
    wanted = encode_fields(smaller, (size, size), heatmap_grid=_GRIDS[0], paf_grid=_GRIDS[1])
    heatmaps, pafs = coarse.heatmaps[0].numpy(), coarse.pafs[0].numpy()
    assert heatmaps.shape == wanted.heatmaps.shape
    # A Gaussian at its cut-off, and peaks that lie between cells, are a little off.
    assert np.abs(heatmaps - wanted.heatmaps)[:-1].max() < 0.13
    assert np.abs(heatmaps - wanted.heatmaps)[:-1].mean() < 0.004
    theirs = wanted.pafs.reshape(pafs.shape)
    assert np.corrcoef(pafs.ravel(), theirs.ravel())[0, 1] > 0.9
    assert 0.85 < np.abs(pafs).sum() / np.abs(theirs).sum() < 1.15


def test_what_does_not_count_stays_so() -> None:
    batch = _batch(_people(1, 100, 240), 240)
    batch.heatmap_weights[:, 2, :15] = 0
    coarse = resample_targets(batch, 2 / 3, _GRIDS)
    assert coarse.heatmap_weights[0, 2, :10].max() == 0
    assert coarse.heatmap_weights[0, 2, 10:].min() == 1
    assert coarse.heatmap_weights[0, 1].min() == 1
    assert coarse.paf_weights.shape == coarse.pafs.shape


def test_scales_that_cannot_be() -> None:
    batch = _batch(_people(1, 100, 240), 240)
    for scale in (0.0, 1.5):
        with pytest.raises(ValueError, match="scale: expected above 0 and at most 1"):
            resample_targets(batch, scale, _GRIDS)
