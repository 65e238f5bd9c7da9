"""Averages over mirror images: identities, symmetry, and a real photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import openpaf
from openpaf import Fields, Grid, Poses, Skeleton
from openpaf.estimator.multiscale import average_fields, mirror_fields
from openpaf.geometry import flip_x

SKELETONS = [Skeleton.COCO17, Skeleton.COCO18, Skeleton.COCO18_REDUNDANT, Skeleton.BODY25]


def random_fields(skeleton: Skeleton, hw: tuple[int, int] = (6, 9), seed: int = 0) -> Fields:
    rng = np.random.default_rng(seed)
    return Fields(
        heatmaps=rng.random((skeleton.n_joints + 1, *hw)),
        pafs=rng.normal(0, 1, (skeleton.n_limbs, 2, *hw)),
        heatmap_grid=Grid(8),
        paf_grid=Grid(8),
        skeleton=skeleton,
    )


def same(one: Fields, other: Fields, tolerance: float = 0.0) -> None:
    np.testing.assert_allclose(one.heatmaps, other.heatmaps, rtol=0, atol=tolerance)
    np.testing.assert_allclose(one.pafs, other.pafs, rtol=0, atol=tolerance)


def random_people(rng: np.random.Generator, width: int, height: int, n: int = 2) -> Poses:
    keypoints = np.ones((n, 17, 3))
    keypoints[..., :2] = rng.uniform(20, (width - 20, height - 20), (n, 17, 2))
    return Poses.from_keypoints(keypoints, Skeleton.COCO17)


def mirrored_people(poses: Poses, width: int) -> Poses:
    swap = list(poses.skeleton.flip_permutation)
    xy = poses.xy[:, swap].copy()
    xy[..., 0] = flip_x(xy[..., 0], width)
    return poses.replace(xy=xy, scores=poses.scores[:, swap])


def test_the_mean_of_identical_fields_is_themselves() -> None:
    fields = random_fields(Skeleton.COCO17)
    same(average_fields([fields, fields, fields, fields]), fields)


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_mirroring_twice_changes_nothing(skeleton: Skeleton) -> None:
    fields = random_fields(skeleton)
    once = mirror_fields(fields, 72)
    assert not np.allclose(once.heatmaps, fields.heatmaps)
    same(mirror_fields(once, 72), fields)


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_mirrored_fields_are_the_fields_of_mirrored_people(skeleton: Skeleton) -> None:
    poses = random_people(np.random.default_rng(4), 160, 120)
    fields = openpaf.encode_fields(poses.to(skeleton), (120, 160))
    wanted = openpaf.encode_fields(mirrored_people(poses, 160).to(skeleton), (120, 160))
    same(mirror_fields(fields, 160), wanted, 1e-5)


def mirrored_grid(fields: Fields) -> Fields:
    """The same arrays of a mirrored scene, said to lie in the middle of their pixels."""
    mirrored = mirror_fields(fields, 160)
    return Fields(
        heatmaps=mirrored.heatmaps,
        pafs=mirrored.pafs,
        heatmap_grid=Grid(8),
        paf_grid=Grid(8),
        skeleton=fields.skeleton,
    )


def test_mirroring_a_grid_that_is_not_in_the_middle_of_its_pixels() -> None:
    poses = random_people(np.random.default_rng(5), 160, 120, n=1)
    sizes = {"size_hw": (120, 160), "heatmap_grid": Grid(8, 1.0), "paf_grid": Grid(8, 1.0)}
    fields = openpaf.encode_fields(poses, **sizes)
    back = mirror_fields(openpaf.encode_fields(mirrored_people(poses, 160), **sizes), 160)
    peak = fields.heatmaps[:-1, :, 2:-2] > 0.3  # cells at the border have no partner
    assert np.abs(back.heatmaps - fields.heatmaps)[:-1, :, 2:-2][peak].max() < 0.08
    reversed_cells = mirror_fields(mirrored_grid(back), 160)  # as if the grid were symmetric
    assert np.abs(reversed_cells.heatmaps - fields.heatmaps)[:-1, :, 2:-2][peak].max() > 0.2


def test_a_symmetric_scene_has_symmetric_fields() -> None:
    poses = random_people(np.random.default_rng(6), 160, 120, n=1)
    both = [poses, mirrored_people(poses, 160)]
    scene = poses.replace(
        xy=np.concatenate([p.xy for p in both]),
        scores=np.concatenate([p.scores for p in both]),
        person_scores=np.ones(2),
    )
    fields = openpaf.encode_fields(scene, (120, 160))
    same(mirror_fields(fields, 160), fields, 1e-5)
    same(average_fields([fields, mirror_fields(fields, 160)]), fields, 1e-5)


def test_fields_that_do_not_fit_are_not_averaged() -> None:
    with pytest.raises(ValueError, match="got none"):
        average_fields([])
    with pytest.raises(ValueError, match="same grids"):
        average_fields([random_fields(Skeleton.COCO17), random_fields(Skeleton.COCO17, hw=(6, 10))])


def test_with_flip_a_mirrored_photo_gives_the_mirrored_people(repo_root: Path) -> None:
    """What one network alone does not do: the average is symmetric by construction."""
    estimator = openpaf.PoseEstimator(size=184, flip=True)
    image = openpaf.read_image(repo_root / "data" / "photos" / "astronaut.jpg")
    assert image.shape[1] == image.shape[0]  # 184 px is then a multiple of 8: no padding
    here, there = estimator(image)[0], estimator(image[:, ::-1].copy())[0]
    back = mirrored_people(there, image.shape[1])
    both = (here.scores > 0.1) & (back.scores > 0.1)
    assert both.sum() >= 5
    assert np.abs(back.xy - here.xy)[both].max() < 0.5
