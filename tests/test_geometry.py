"""Points move exactly as pixels do: shown on images of a blob whose center is known."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from openpaf import Grid, Letterbox, Poses, Skeleton
from openpaf.geometry import crop_affine, flip_x, transform_points


def blob(height: int, width: int, x: float, y: float, sigma: float) -> NDArray[np.uint8]:
    """A Gaussian spot on black, RGB."""
    rows, columns = np.mgrid[:height, :width]
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.repeat(np.rint(255 * spot).astype(np.uint8)[..., None], 3, axis=2)


def center(image: NDArray[np.generic]) -> tuple[float, float]:
    """Centre of mass (x, y) of one channel."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = image.astype(np.float64)
    total = weight.sum()
    return float((columns * weight).sum() / total), float((rows * weight).sum() / total)


# --- Grid ---------------------------------------------------------------------------------------


def test_a_cell_lies_in_the_middle_of_its_pixels() -> None:
    grid = Grid(8)
    assert grid.offset == 3.5
    assert grid.to_px(0) == np.mean(range(8))
    assert grid.to_px(2.5) == 23.5
    np.testing.assert_array_equal(grid.to_px(np.arange(3)), [3.5, 11.5, 19.5])
    assert Grid(1).to_px(7) == 7


def test_an_offset_of_choice() -> None:
    grid = Grid(8, 0)
    assert (grid.to_px(3), grid.to_cells(20)) == (24, 2.5)
    assert Grid(8, -1.5).offset_px == -1.5


@pytest.mark.parametrize(
    ("size_hw", "cells"), [((8, 16), (1, 2)), ((9, 17), (2, 3)), ((1, 1), (1, 1)), ((7, 8), (1, 1))]
)
def test_cells_cover_the_image(size_hw: tuple[int, int], cells: tuple[int, int]) -> None:
    assert Grid(8).size_cells(size_hw) == cells


@pytest.mark.parametrize("stride", [0, -8, 2.5])
def test_wrong_strides(stride: float) -> None:
    with pytest.raises(ValueError, match=f"stride: expected .* from 1 to 1,000,000, got {stride}"):
        Grid(stride)  # type: ignore[arg-type]


@pytest.mark.parametrize("offset", [float("nan"), float("inf")])
def test_wrong_offsets(offset: float) -> None:
    with pytest.raises(ValueError, match="offset: expected a finite number of px"):
        Grid(8, offset)


def test_grids_are_values() -> None:
    assert Grid(8) == Grid(8, 3.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Grid(8).stride = 4  # type: ignore[misc]


# --- Letterbox ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image_hw", "short_side", "resized_hw", "size_hw"),
    [
        ((480, 640), 368, (368, 491), (368, 496)),
        ((640, 480), 368, (491, 368), (496, 368)),
        ((368, 368), 368, (368, 368), (368, 368)),
        ((100, 200), 256, (256, 512), (256, 512)),
        ((1, 1), 368, (368, 368), (368, 368)),
        ((1, 5000), 368, (1, 2944), (8, 2944)),  # no longer than 8 short sides
        ((5000, 1), 368, (2944, 1), (2944, 8)),
        ((400, 20_000), 368, (59, 2944), (64, 2944)),
    ],
)
def test_fit(
    image_hw: tuple[int, int],
    short_side: int,
    resized_hw: tuple[int, int],
    size_hw: tuple[int, int],
) -> None:
    box = Letterbox.fit(image_hw, short_side)
    assert box.image_hw == image_hw
    assert box.resized_hw == resized_hw
    assert box.size_hw == size_hw
    out = box.apply(np.zeros((*image_hw, 3), np.uint8))
    assert out.shape == (3, *size_hw)
    assert out.dtype == np.float32
    assert out.flags.c_contiguous


def test_the_padding_is_gray_on_the_right_and_the_bottom() -> None:
    box = Letterbox(image_hw=(10, 20), resized_hw=(10, 20), size_hw=(16, 24))
    image = np.random.default_rng(0).integers(0, 256, (10, 20, 3), np.uint8)
    out = box.apply(image)
    np.testing.assert_array_equal(out[:, :10, :20], image.transpose(2, 0, 1))
    assert (out[:, 10:] == 128).all()
    assert (out[:, :, 20:] == 128).all()


@pytest.mark.parametrize(
    ("image_hw", "resized_hw"),
    [
        ((144, 192), (64, 85)),
        ((92, 122), (46, 61)),
        ((100, 101), (20, 100)),
        ((97, 61), (96, 7)),
        ((401, 5), (1, 1)),
        ((1, 300), (1, 299)),
    ],
)
def test_a_smaller_image_is_the_mean_of_the_areas(
    image_hw: tuple[int, int], resized_hw: tuple[int, int]
) -> None:
    """Against the same in matrices, and against OpenCV's ``INTER_AREA``."""
    image = np.random.default_rng(0).integers(0, 256, (*image_hw, 3), np.uint8)
    box = Letterbox(image_hw=image_hw, resized_hw=resized_hw, size_hw=(104, 304))
    out = box.apply(image)
    height, width = resized_hw
    assert (out[:, height:] == 128).all()
    assert (out[:, :, width:] == 128).all()
    found = out[:, :height, :width].transpose(1, 2, 0)
    rows, columns = _covered(image_hw[0], height), _covered(image_hw[1], width)
    means = np.einsum("yi,ijc,xj->yxc", rows, image.astype(np.float64), columns, optimize=True)
    np.testing.assert_array_equal(found, np.rint(found))
    assert np.abs(found - means).max() < 0.5001
    theirs = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(found - theirs).max() <= 1
    assert (found != theirs).mean() < 0.01  # halves, which OpenCV rounds to even numbers


def _covered(n_pixels: int, n_new: int) -> NDArray[np.float64]:
    """(new, old) share of each old pixel in each new one, by fine sampling of the lengths."""
    fine = np.eye(n_pixels).repeat(n_new, axis=1)  # each pixel as long as there are new ones
    return fine.reshape(n_pixels, n_new, n_pixels).mean(axis=2).T


def test_any_layout_in_memory_is_made_smaller_alike() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    box = Letterbox.fit((60, 80), 32)
    expected = box.apply(image)
    read_only = image.copy()
    read_only.flags.writeable = False
    for same in (read_only, np.asfortranarray(image), image[:, ::-1].copy()[:, ::-1]):
        np.testing.assert_array_equal(box.apply(same), expected)
    assert image.flags.writeable
    mirrored = box.apply(image[:, ::-1])
    assert np.abs(mirrored[..., :43][..., ::-1] - expected[..., :43]).max() <= 1


@pytest.mark.parametrize(
    ("image_hw", "short_side"),
    [
        ((480, 640), 368),
        ((333, 517), 368),
        ((1080, 1920), 256),
        ((2160, 3840), 368),
        ((97, 61), 368),
        ((200, 300), 200),
    ],
)
@pytest.mark.parametrize("place", [(0.3, 0.6), (0.71, 0.37)])
def test_a_blob_goes_where_its_point_goes(
    image_hw: tuple[int, int], short_side: int, place: tuple[float, float]
) -> None:
    box = Letterbox.fit(image_hw, short_side)
    x, y = place[0] * image_hw[1], place[1] * image_hw[0]
    sigma = max(2.0, 3.0 / min(box.scale_xy))
    out = box.apply(blob(*image_hw, x, y, sigma))
    inside = out[0, : box.resized_hw[0], : box.resized_hw[1]]
    expected = box.points_to_network(np.array([x, y]))
    assert center(inside) == pytest.approx(tuple(expected), abs=0.1)


def test_the_corners_of_the_image_stay_its_corners() -> None:
    box = Letterbox.fit((480, 640), 368)
    corners = np.array([[-0.5, -0.5], [639.5, 479.5]])
    moved = box.points_to_network(corners)
    np.testing.assert_allclose(moved, [[-0.5, -0.5], [490.5, 367.5]], atol=1e-4)


def test_poses_come_back() -> None:
    box = Letterbox.fit((333, 517), 368)
    keypoints = np.random.default_rng(0).uniform(0, 300, (4, 17, 3))
    keypoints[0, :5] = 0
    poses = Poses.from_keypoints(keypoints, Skeleton.COCO17)
    inside = poses.replace(xy=box.points_to_network(poses.xy))
    np.testing.assert_allclose(box.undo(inside).xy, poses.xy, atol=1e-3)
    assert len(box.undo(Poses.empty(Skeleton.COCO17))) == 0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((10, 21, 3), np.uint8), r"expected uint8 \(10, 20, 3\), got uint8 \(10, 21, 3\)"),
        (np.zeros((10, 20, 3), np.float32), r"got float32 \(10, 20, 3\)"),
        (np.zeros((10, 20), np.uint8), r"got uint8 \(10, 20\)"),
    ],
)
def test_apply_takes_its_own_image_only(image: NDArray[np.uint8], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Letterbox.fit((10, 20), 32).apply(image)


def test_wrong_letterboxes() -> None:
    with pytest.raises(ValueError, match=r"image_hw: expected .* >= 1 px, got \(0, 5\)"):
        Letterbox(image_hw=(0, 5), resized_hw=(1, 1), size_hw=(8, 8))
    with pytest.raises(ValueError, match=r"resized_hw: expected at most size_hw \(8, 8\)"):
        Letterbox(image_hw=(5, 5), resized_hw=(9, 8), size_hw=(8, 8))
    with pytest.raises(ValueError, match=r"image_hw: expected .* got \(0, 100\)"):
        Letterbox.fit((0, 100))
    with pytest.raises(ValueError, match="short_side: expected a whole number of px >= 8, got 4"):
        Letterbox.fit((10, 10), 4)
    with pytest.raises(ValueError, match="short_side"):
        Letterbox.fit((10, 10), 100.5)  # type: ignore[arg-type]


# --- mirror and crop ----------------------------------------------------------------------------


def test_a_mirrored_blob() -> None:
    image = blob(40, 60, 17.25, 20, 2)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    assert center(mirrored[..., 0])[0] == pytest.approx(flip_x(17.25, 60), abs=0.02)
    assert flip_x(0, 60) == 59


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", [0, 30, -75, 180])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_a_crop_moves_blobs_as_it_moves_points(flip: bool, rotation: float, scale: float) -> None:
    size_hw = (160, 200)
    middle = (110.3, 95.6)
    affine = crop_affine(middle, scale, rotation, flip, size_hw)
    for x, y in [middle, (125, 90), (95.5, 112.25)]:
        image = blob(220, 260, x, y, 2.5 / min(scale, 1))
        out = cv2.warpAffine(image, affine, size_hw[::-1], flags=cv2.INTER_LINEAR)
        expected = transform_points(np.array([x, y]), affine)
        assert center(out[..., 0]) == pytest.approx(tuple(expected), abs=0.1)


def test_the_middle_of_a_crop() -> None:
    affine = crop_affine((50, 70), 1.3, 25, True, (101, 201))
    np.testing.assert_allclose(transform_points(np.array([50, 70]), affine), [100, 50], atol=1e-4)


def test_positive_angles_turn_counter_clockwise_on_the_screen() -> None:
    affine = crop_affine((0, 0), 1, 90, False, (1, 1))
    right = transform_points(np.array([1.0, 0.0]), affine)
    np.testing.assert_allclose(right, [0, -1], atol=1e-6)  # up


def test_a_plain_mirror_is_flip_x() -> None:
    affine = crop_affine(((60 - 1) / 2, (40 - 1) / 2), 1, 0, True, (40, 60))
    moved = transform_points(np.array([[0.0, 3.0], [17.25, 8.0]]), affine)
    np.testing.assert_allclose(moved, [[59, 3], [flip_x(17.25, 60), 8]], atol=1e-5)


def test_missing_points_stay_missing() -> None:
    affine = crop_affine((5, 5), 1, 10, False, (20, 20))
    assert np.isnan(transform_points(np.array([np.nan, np.nan]), affine)).all()


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_wrong_scales(scale: float) -> None:
    with pytest.raises(ValueError, match="scale: expected a number > 0, got"):
        crop_affine((0, 0), scale, 0, False, (10, 10))
