"""What holds for any people and any image: symmetries, bounds, and round trips."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from openpaf import (
    Grid,
    Letterbox,
    Poses,
    Skeleton,
    decode,
    draw_poses,
    encode_fields,
    read_image,
    read_poses,
    write_poses,
)
from openpaf.fields import Fields
from openpaf.geometry import crop_affine, flip_x, transform_points

SKELETONS = st.sampled_from([Skeleton.COCO17, Skeleton.COCO18, Skeleton.BODY25, Skeleton.MPI15])
SIDES = st.integers(1, 4000)
COORDINATES = st.floats(-500, 5000, width=32)
# A lone Gaussian is fitted exactly; what is left is the rounding of float32.
TOLERANCE_PX = 0.05

# A person facing us, in hundredths of the height; COCO's joints.
# fmt: off
STANDING = np.array([
    (50, 8), (52, 6), (48, 6), (55, 8), (45, 8), (60, 20), (40, 20), (66, 36), (34, 36), (68, 50),
    (32, 50), (56, 52), (44, 52), (57, 74), (43, 74), (58, 96), (42, 96),
], float) / 100
# fmt: on


@st.composite
def any_poses(
    draw: st.DrawFn,
    skeleton: Skeleton | None = None,
    max_people: int = 4,
    low: float = -100,
    high: float = 300,
) -> Poses:
    """Any people: joints anywhere, some missing."""
    skeleton = skeleton or draw(SKELETONS)
    n, k = draw(st.integers(0, max_people)), skeleton.n_joints
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    xy = rng.uniform(low, high, (n, k, 2)).astype(np.float32)
    scores = rng.random((n, k)) * (rng.random((n, k)) < draw(st.sampled_from([0.2, 0.7, 1.0])))
    xy[scores == 0] = np.nan
    return Poses(xy=xy, scores=scores, person_scores=rng.random(n), skeleton=skeleton)


@st.composite
def standing_people(draw: st.DrawFn) -> tuple[Poses, tuple[int, int]]:
    """One to four whole people side by side, none in front of another, and the image's size."""
    n = draw(st.integers(1, 4))
    left, rows = 10.0, []
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(n):
        height = rng.uniform(170, 330)
        width = 0.5 * height
        points = (STANDING - (0.25, 0)) * height + (left, rng.uniform(8, 30))
        rows.append(np.column_stack([points + rng.uniform(-2, 2, points.shape), np.ones(17)]))
        left += width + 25
    size_hw = (380, int(left) + 10)
    return Poses.from_keypoints(np.array(rows), Skeleton.COCO17), size_hw


# --- geometry -----------------------------------------------------------------------------------


@given(SIDES, SIDES, st.integers(32, 800), arrays(np.float32, (5, 2), elements=COORDINATES))
def test_a_letterbox_undoes_itself(
    height: int, width: int, short_side: int, xy: np.ndarray
) -> None:
    box = Letterbox.fit((height, width), short_side)
    back = box.points_to_image(box.points_to_network(xy))
    np.testing.assert_allclose(back, xy, rtol=1e-5, atol=2e-3 / min(1, *box.scale_xy))


@given(SIDES, SIDES, st.integers(32, 800), st.sampled_from([8, 16, 32]))
def test_a_letterbox_fits(height: int, width: int, short_side: int, multiple: int) -> None:
    box = Letterbox.fit((height, width), short_side, multiple=multiple)
    assert all(side % multiple == 0 for side in box.size_hw)
    assert all(0 <= p - r < multiple for p, r in zip(box.size_hw, box.resized_hw, strict=True))
    assert max(box.resized_hw) <= 8 * short_side
    if max(height, width) <= 8 * min(height, width):
        assert min(box.resized_hw) == short_side


@given(st.integers(1, 64), st.floats(-64, 64), COORDINATES)
def test_a_grid_undoes_itself(stride: int, offset: float, x: float) -> None:
    grid = Grid(stride, offset)
    assert grid.to_cells(grid.to_px(x)) == pytest.approx(x, abs=1e-6)
    assert grid.to_px(grid.to_cells(x)) == pytest.approx(x, abs=1e-6)


@given(SIDES, st.floats(-100, 5000))
def test_two_mirrors_are_none(width: int, x: float) -> None:
    assert flip_x(flip_x(x, width), width) == pytest.approx(x, abs=1e-9)


@given(
    st.tuples(st.floats(0, 1000), st.floats(0, 1000)),
    st.floats(0.05, 20),
    st.floats(-360, 360),
    st.booleans(),
    st.tuples(st.integers(8, 800), st.integers(8, 800)),
)
def test_a_crop_is_a_similarity(
    center: tuple[float, float],
    scale: float,
    rotation: float,
    flip: bool,
    size_hw: tuple[int, int],
) -> None:
    affine = crop_affine(center, scale, rotation, flip, size_hw)
    assert np.linalg.det(affine[:, :2]) == pytest.approx((-1 if flip else 1) * scale**2)
    np.testing.assert_allclose(affine[:, :2] @ affine[:, :2].T, scale**2 * np.eye(2), atol=1e-6)
    middle = transform_points(np.array(center), affine)
    np.testing.assert_allclose(middle, [(size_hw[1] - 1) / 2, (size_hw[0] - 1) / 2], atol=1e-2)


# --- poses --------------------------------------------------------------------------------------


@given(any_poses())
def test_people_taken_apart_and_put_together(poses: Poses) -> None:
    assert poses[np.arange(len(poses))] == poses
    assert poses[::-1][::-1] == poses
    assert poses.to(poses.skeleton) == poses
    assert sum(len(person) for person in poses) == len(poses)


@given(any_poses(Skeleton.COCO17), st.sampled_from([Skeleton.COCO18, Skeleton.BODY25]))
def test_a_larger_skeleton_loses_nothing(poses: Poses, larger: Skeleton) -> None:
    assert poses.to(larger).to(Skeleton.COCO17) == poses


@given(any_poses())
def test_boxes_hold_the_joints(poses: Poses) -> None:
    boxes = poses.boxes()
    for person in range(len(poses)):
        seen = poses.xy[person][poses.scores[person] > 0]
        if len(seen):
            assert (seen >= boxes[person, :2]).all()
            assert (seen <= boxes[person, 2:]).all()
        else:
            assert np.isnan(boxes[person]).all()


@given(any_poses(), st.sampled_from(["coco", "openpose"]))
@settings(max_examples=40)
def test_files_keep_people(poses: Poses, format: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.json"
        write_poses(poses, path, format=format, skeleton=poses.skeleton)
        back = read_poses(path, skeleton=poses.skeleton)
    np.testing.assert_array_equal(back.scores > 0, poses.scores > 0)
    np.testing.assert_allclose(back.xy, poses.xy, atol=6e-4)
    np.testing.assert_allclose(back.scores, poses.scores, rtol=1e-5)
    np.testing.assert_allclose(back.person_scores, poses.person_scores, rtol=1e-5)


@st.composite
def any_skeleton(draw: st.DrawFn) -> Skeleton:
    """Joints of any names and number, as many as a built-in skeleton has among them."""
    n_joints = draw(st.sampled_from([1, 2, 15, 17, 18, 25, 30]))
    names = st.lists(st.text(max_size=3), min_size=n_joints, max_size=n_joints, unique=True)
    joints = draw(names)
    limbs = [(0, n_joints - 1)] if n_joints > 1 else []
    name = draw(st.sampled_from(["coco17", "body25", "animal", ""]))
    return Skeleton(name=name, joints=joints, limbs=limbs, oks_sigmas=[0.1] * n_joints)


@given(any_skeleton().flatmap(any_poses), st.sampled_from(["coco", "openpose"]))
@settings(max_examples=40)
def test_files_keep_the_names_of_joints(poses: Poses, format: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.json"
        write_poses(poses, path, format=format, skeleton=poses.skeleton)
        back = read_poses(path)
    assert len(back) == len(poses)
    if len(poses):  # COCO's list of nobody has no joints either
        assert back.skeleton == poses.skeleton
        np.testing.assert_array_equal(back.scores > 0, poses.scores > 0)
        np.testing.assert_allclose(back.xy, poses.xy, atol=6e-4)


# --- fields -------------------------------------------------------------------------------------


@given(any_poses(), st.integers(1, 200), st.integers(1, 200), st.sampled_from([1, 4, 8]))
@settings(max_examples=50)
def test_fields_stay_in_bounds(poses: Poses, height: int, width: int, stride: int) -> None:
    fields = encode_fields(poses, (height, width), stride)
    assert fields.size_cells == Grid(stride).size_cells((height, width))
    assert fields.heatmaps.min() >= 0
    assert fields.heatmaps.max() <= 1
    assert np.hypot(fields.pafs[:, 0], fields.pafs[:, 1]).max() <= 1 + 1e-5


def assert_close(a: Fields, b: Fields) -> None:
    np.testing.assert_allclose(a.heatmaps, b.heatmaps, atol=1e-4)
    # Rounding may move a cell that lies exactly on the edge of a limb to its other side.
    assert (np.abs(a.pafs - b.pafs).max(axis=1) > 1e-3).sum() <= 2


@given(any_poses())
@settings(max_examples=50)
def test_the_order_of_people_does_not_matter(poses: Poses) -> None:
    assert_close(encode_fields(poses, (120, 160)), encode_fields(poses[::-1], (120, 160)))


@given(any_poses())
@settings(max_examples=50)
def test_a_mirrored_image_has_mirrored_fields(poses: Poses) -> None:
    skeleton, (height, width) = poses.skeleton, (120, 160)
    swap = list(skeleton.flip_permutation)
    xy = poses.xy.copy()
    xy[..., 0] = flip_x(xy[..., 0], width)
    mirrored = encode_fields(
        poses.replace(xy=xy[:, swap], scores=poses.scores[:, swap]), (height, width)
    )
    plain = encode_fields(poses, (height, width))
    limbs = [image for image, _ in skeleton.flip_limbs]
    signs = np.array([-1 if backwards else 1 for _, backwards in skeleton.flip_limbs])
    pafs = plain.pafs[limbs] * signs[:, None, None, None] * np.array([-1, 1])[:, None, None]
    expected = Fields(
        heatmaps=plain.heatmaps[[*swap, -1]][..., ::-1],
        pafs=pafs[..., ::-1],
        heatmap_grid=plain.heatmap_grid,
        paf_grid=plain.paf_grid,
        skeleton=skeleton,
    )
    assert_close(mirrored, expected)


@given(any_poses(), st.integers(-3, 3), st.integers(-3, 3))
@settings(max_examples=50)
def test_people_moved_by_whole_cells_move_their_fields(poses: Poses, dx: int, dy: int) -> None:
    pad, size_hw = 3, (120, 160)
    there = encode_fields(poses.replace(xy=poses.xy + np.float32([8 * dx, 8 * dy])), size_hw)
    here = encode_fields(poses, size_hw)
    inner = np.s_[..., pad:-pad, pad:-pad]
    back = (-dy, -dx)
    heatmaps = np.roll(there.heatmaps, back, axis=(-2, -1))[inner]
    pafs = np.roll(there.pafs, back, axis=(-2, -1))[inner]
    np.testing.assert_allclose(heatmaps, here.heatmaps[inner], atol=1e-3)
    assert (np.abs(pafs - here.pafs[inner]).max(axis=1) > 1e-2).sum() <= 2


@given(any_poses(max_people=3), any_poses(max_people=3))
@settings(max_examples=50)
def test_more_people_never_lower_a_heatmap(some: Poses, more: Poses) -> None:
    more = more.to(some.skeleton)
    both = Poses(
        xy=np.concatenate([some.xy, more.xy]),
        scores=np.concatenate([some.scores, more.scores]),
        person_scores=np.concatenate([some.person_scores, more.person_scores]),
        skeleton=some.skeleton,
    )
    before, after = (encode_fields(p, (120, 160)).heatmaps for p in (some, both))
    assert (after[:-1] >= before[:-1]).all()
    assert (after[-1] <= before[-1]).all()


@given(standing_people(), st.sampled_from([0.0, 3.5, 4.2]))
@settings(max_examples=40)
def test_people_side_by_side_come_back(
    people: tuple[Poses, tuple[int, int]], paf_offset: float
) -> None:
    poses, size_hw = people
    fields = encode_fields(poses, size_hw, paf_grid=Grid(8, paf_offset))
    found = decode(fields)
    assert len(found) == len(poses)
    found = found[np.argsort(np.nanmin(found.xy[..., 0], axis=1))]
    assert (found.scores > 0).all()
    assert np.abs(found.xy - poses.xy).max() < TOLERANCE_PX


# --- images -----------------------------------------------------------------------------------


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_gray_images_are_read_as_they_are(gray: np.ndarray) -> None:
    image = read_image(gray)
    assert image.shape == (*gray.shape, 3)
    assert (image == gray[..., None]).all()


@given(any_poses(max_people=2), st.integers(1, 120), st.integers(1, 120))
@settings(max_examples=40)
def test_anything_can_be_drawn(poses: Poses, height: int, width: int) -> None:
    image = np.full((height, width, 3), 90, np.uint8)
    out = draw_poses(image, poses, boxes=True, scores=True)
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    assert (image == 90).all()
