"""A network of stride 12: what it starts from, and what it learns from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from openpaf import Grid, Poses, Skeleton, encode_fields
from openpaf.networks import LightweightNetwork
from openpaf.training.batches import Batch
from openpaf.training.coarsening import coarsen
from openpaf.training.shrink import shrink

_WIDTHS = (8, 8, 12, 12, 16, 16, 24, 24, 24, 24, 24, 24)
_FINE = (Grid(8), Grid(8, 0.0))
_COARSE = (Grid(12), Grid(12, 0.25))


def _network(**options: object) -> LightweightNetwork:
    torch.manual_seed(0)
    return LightweightNetwork(Skeleton.COCO17, width=16, **{"trunk_widths": _WIDTHS, **options})


def _smooth_images(size: int) -> torch.Tensor:
    noise = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(noise, size=(size, size), mode="bicubic")


def test_its_fields_have_cells_of_12_px() -> None:
    network = _network(stride=12)
    assert network(torch.zeros(1, 3, 48, 61))[-1][0].shape[2:] == (4, 6)
    plain = {k: v.shape for k, v in _network().state_dict().items() if k != "trunk.0.weight"}
    assert {k: network.state_dict()[k].shape for k in plain} == plain


@pytest.mark.parametrize("more", [{}, {"trunk_widths": (11, *_WIDTHS[1:])}])
def test_it_starts_as_the_fine_network_on_a_smaller_picture(more: dict[str, object]) -> None:
    fine, coarse = _network(), _network(stride=12, **more)
    images = _smooth_images(288)
    shrink(fine, coarse, images)
    smaller = nn.functional.interpolate(images, size=(192, 192), mode="bicubic", antialias=True)
    with torch.no_grad():
        stems = coarse.trunk[0](images)[:, :8], fine.trunk[0](smaller)
        features = coarse.features(images), fine.features(smaller)
    for got, wanted in (stems, features):
        inside = slice(4, -4)
        error = (got - wanted)[:, :, inside, inside].square().mean()
        assert error < 2e-3 * wanted[:, :, inside, inside].var()
    with torch.no_grad():  # and sees a shifted picture one cell further
        shifted = coarse.features(images.roll(12, 3))
    torch.testing.assert_close(
        shifted[:, :, 8:-8, 9:-7], features[0][:, :, 8:-8, 8:-8], atol=1e-4, rtol=1e-4
    )


def test_cheaper_stages_of_it_are_fitted_too() -> None:
    fine, coarse = _network(), _network(stride=12, ranks=[0, 12, 0], hidden_width=40)
    assert isinstance(coarse.context.out, nn.Conv2d)
    assert isinstance(coarse.initial_stage.body[0], nn.Sequential)
    images = _smooth_images(320)
    smaller = nn.functional.interpolate(images, size=(213, 213), mode="bicubic", antialias=True)
    with torch.no_grad():
        wanted = torch.cat(fine(smaller)[-1], 1)
        shrink(fine, coarse, images)
        got = torch.cat(coarse(images)[-1], 1)
    inside = slice(4, -5)
    error = (got - wanted)[:, :, inside, inside].square().mean()
    assert error < 0.05 * wanted[:, :, inside, inside].var(correction=0)


def test_a_stem_of_fewer_channels_is_refused() -> None:
    slim = _network(stride=12, trunk_widths=(6, *_WIDTHS[1:]))
    with pytest.raises(ValueError, match=r"slim: trunk\.0\.weight cannot be made"):
        shrink(_network(), slim, _smooth_images(96))


def _people(n: int, size: float, side: int) -> Poses:
    rng = np.random.default_rng(5)
    middles = rng.uniform(0.25 * side, 0.75 * side, (n, 1, 2))
    xy = (middles + rng.uniform(-size / 2, size / 2, (n, 17, 2))).astype(np.float32)
    keypoints = np.concatenate([xy, np.ones((n, 17, 1), np.float32)], 2)
    return Poses.from_keypoints(keypoints, Skeleton.COCO17)


def _batch(poses: Poses, side: int) -> Batch:
    fields = encode_fields(poses, (side, side), heatmap_grid=_FINE[0], paf_grid=_FINE[1])
    heatmaps = torch.from_numpy(fields.heatmaps)[None]
    pafs = torch.from_numpy(fields.pafs.reshape(-1, *fields.size_cells))[None]
    return Batch(
        images=torch.rand(1, 3, side, side),
        heatmaps=heatmaps,
        pafs=pafs,
        heatmap_weights=torch.ones_like(heatmaps),
        paf_weights=torch.ones_like(pafs),
        trusted=torch.tensor([True]),
    )


@pytest.mark.parametrize("scale", [1.0, 0.8, 0.65])
@pytest.mark.parametrize("n_people", [1, 3])
def test_targets_are_those_of_the_smaller_picture(scale: float, n_people: int) -> None:
    side = 320
    poses = _people(n_people, 120, side)
    coarse = coarsen(_batch(poses, side), scale, _FINE, _COARSE)
    size = round(side * scale)
    assert coarse.images.shape == (1, 3, size, size)
    ratio = size / side
    smaller = poses.replace(xy=((poses.xy + 0.5) * ratio - 0.5).astype(np.float32))
    wanted = encode_fields(
        smaller, (size, size), heatmap_grid=_COARSE[0], paf_grid=_COARSE[1],
        sigma_px=10.5, paf_half_width_px=12.0,
    )  # fmt: skip
    heatmaps, pafs = coarse.heatmaps[0].numpy(), coarse.pafs[0].numpy()
    assert heatmaps.shape == wanted.heatmaps.shape
    # A Gaussian at its cut-off, and peaks that lie between cells, are a little off.
    assert np.abs(heatmaps - wanted.heatmaps)[:-1].max() < 0.13
    assert np.abs(heatmaps - wanted.heatmaps)[:-1].mean() < 0.004
    theirs = wanted.pafs.reshape(pafs.shape)
    assert np.corrcoef(pafs.ravel(), theirs.ravel())[0, 1] > 0.9
    assert 0.85 < np.abs(pafs).sum() / np.abs(theirs).sum() < 1.15


def test_what_the_loss_does_not_look_at_stays_so() -> None:
    batch = _batch(_people(1, 100, 240), 240)
    batch.heatmap_weights[:, 2, :15] = 0
    coarse = coarsen(batch, 1.0, _FINE, _COARSE)
    assert coarse.heatmap_weights[0, 2, :10].max() == 0
    assert coarse.heatmap_weights[0, 2, 10:].min() == 1
    assert coarse.heatmap_weights[0, 1].min() == 1
    assert coarse.paf_weights.shape == coarse.pafs.shape


def test_scales_and_grids_that_cannot_be() -> None:
    batch = _batch(_people(1, 100, 240), 240)
    for scale in (0.0, 1.5):
        with pytest.raises(ValueError, match="scale: expected above 0 and at most 1"):
            coarsen(batch, scale, _FINE, _COARSE)
    with pytest.raises(ValueError, match="coarse: expected wider cells"):
        coarsen(batch, 1.0, _COARSE, _FINE)
