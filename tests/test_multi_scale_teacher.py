"""A multi-scale teacher: what its fields are the mean of, and where their cells lie."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from openpaf import Fields, Grid, Letterbox, Poses, Skeleton, decode
from openpaf.estimator.multiscale import average_fields, cubic_weights, mirror_fields
from openpaf.fields import encode_fields
from openpaf.geometry import flip_x, resize_px
from openpaf.networks import LightweightNetwork

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
from multi_scale_teacher import MultiScaleNetwork

S = Skeleton.COCO18_REDUNDANT
SIDE, LARGE = 96, 256
GRIDS = Grid(8, 3.5), Grid(8, 0.0)


def network() -> LightweightNetwork:
    torch.manual_seed(0)
    return LightweightNetwork(S, n_refinement_stages=0).eval()


def waves() -> Tensor:
    rows = torch.linspace(0, 3, SIDE)
    return torch.stack([torch.sin(rows[:, None] * k + rows.cos()) for k in (1, 2, 3)])[None]


def as_fields(stages: list[tuple[Tensor, Tensor]], grids: tuple[Grid, Grid] = GRIDS) -> Fields:
    heatmaps, pafs = (part[0].numpy() for part in stages[-1])
    return Fields(
        heatmaps=heatmaps, pafs=pafs.reshape(S.n_limbs, 2, *pafs.shape[1:]),
        heatmap_grid=grids[0], paf_grid=grids[1], skeleton=S,
    )  # fmt: skip


def same(ours: Fields, wanted: Fields) -> None:
    np.testing.assert_allclose(ours.heatmaps, wanted.heatmaps, atol=2e-5)
    np.testing.assert_allclose(ours.pafs, wanted.pafs, atol=2e-5)


@torch.no_grad()
def test_one_view_is_the_network_and_a_mirrored_one_is_brought_back() -> None:
    net, image = network(), waves()
    alone = as_fields(net(image))
    same(as_fields(MultiScaleNetwork(net, S, GRIDS, [1.0])(image)), alone)
    mirrored = mirror_fields(as_fields(net(image.flip(3))), SIDE)
    same(as_fields(MultiScaleNetwork(net, S, GRIDS, [], [1.0])(image)), mirrored)
    both = MultiScaleNetwork(net, S, GRIDS, [1.0], [1.0])(image)
    same(as_fields(both), average_fields([alone, mirrored]))


@torch.no_grad()
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_a_view_of_another_size_is_resampled_as_the_estimator_does(scale: float) -> None:
    grids = Grid(8, 3.5), Grid(8, 3.5)
    net, image = network(), waves()
    seen = nn.functional.interpolate(
        image, size=2 * (round(SIDE * scale),), mode="bilinear", antialias=scale < 1
    )
    boxes = [Letterbox.fit((SIDE, SIDE), round(SIDE * s)) for s in (scale, 1)]
    wanted = resample_fields(as_fields(net(seen), grids), *boxes, grids[0])
    same(as_fields(MultiScaleNetwork(net, S, grids, [scale])(image), grids), wanted)


def resample_fields(fields: Fields, source: Letterbox, target: Letterbox, grid: Grid) -> Fields:
    """Fields of one size of an image at the cells that another size has."""
    rows, columns = grid.size_cells(target.size_hw)

    def cells(own: Grid, n: int, axis: int) -> np.ndarray:
        points = np.zeros((n, 2))
        points[:, axis] = grid.to_px(np.arange(n))
        there = source.points_to_network(target.points_to_image(points))[:, axis]
        return own.to_cells(there.astype(np.float64))

    def resampled(field: np.ndarray, own: Grid) -> np.ndarray:
        height, width = field.shape[-2:]
        y = cubic_weights(cells(own, rows, axis=1), height)
        x = cubic_weights(cells(own, columns, axis=0), width)
        return np.asarray(y @ field @ x.T)

    return Fields(
        heatmaps=resampled(fields.heatmaps, fields.heatmap_grid),
        pafs=resampled(fields.pafs, fields.paf_grid),
        heatmap_grid=grid, paf_grid=grid, skeleton=fields.skeleton,
    )  # fmt: skip


class Knowing(nn.Module):
    """A network that knows where people are in a crop of any size, mirrored if the left is dark."""

    def __init__(self, poses: Poses) -> None:
        super().__init__()
        self.poses = poses

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        side = images.shape[2]
        xy, scores = resize_px(self.poses.xy, side / LARGE), self.poses.scores
        if images[0, 0, 0, 0] < images[0, 0, 0, -1]:
            swap = list(S.flip_permutation)
            xy, scores = xy[:, swap].copy(), scores[:, swap]
            xy[..., 0] = flip_x(xy[..., 0], side)
        fields = encode_fields(
            self.poses.replace(xy=xy, scores=scores), (side, side),
            heatmap_grid=GRIDS[0], paf_grid=GRIDS[1],
        )  # fmt: skip
        pafs = fields.pafs.reshape(1, -1, *fields.size_cells)
        return [(torch.from_numpy(fields.heatmaps)[None], torch.from_numpy(pafs))]


@pytest.mark.parametrize(
    ("scales", "mirrored"),
    [([1.0], []), ([], [1.0]), ([0.75], [0.75]), ([1.0, 0.75], [0.75, 1.5, 2.0])],
)
def test_every_view_puts_a_known_person_in_the_same_place(
    scales: list[float], mirrored: list[float]
) -> None:
    keypoints = np.ones((1, 17, 3))
    keypoints[..., :2] = np.random.default_rng(3).uniform(24, LARGE - 24, (1, 17, 2))
    poses = Poses.from_keypoints(keypoints, Skeleton.COCO17).to(S)
    image = torch.linspace(1, -1, LARGE).expand(1, 3, LARGE, LARGE)
    views = MultiScaleNetwork(Knowing(poses), S, GRIDS, scales, mirrored)
    found = decode(as_fields(views(image)))
    assert len(found) == 1
    there = found.scores[0] > 0
    assert there.sum() >= 16
    assert np.abs(found.xy[0] - poses.xy[0])[there].max() < 1.5


@pytest.mark.parametrize(("scales", "mirrored"), [([], []), ([0.0], []), ([1.0], [-1.0])])
def test_views_that_cannot_be(scales: list[float], mirrored: list[float]) -> None:
    with pytest.raises(ValueError, match="scales: expected positive numbers"):
        MultiScaleNetwork(network(), S, GRIDS, scales, mirrored)
