"""Fields of labeled people: known answers, and a plain NumPy twin of the compiled loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from openpaf import Fields, Grid, Poses, Skeleton, encode_fields, encode_mask
from openpaf.fields import PAF_HALF_WIDTH_PX, SIGMA_PX

# Two joints and one limb are enough for most questions.
STICK = Skeleton(name="stick", joints=("a", "b"), limbs=((0, 1),), oks_sigmas=(0.1, 0.1))


def sticks(*people: tuple[tuple[float, float] | None, tuple[float, float] | None]) -> Poses:
    """People of two joints; None is a missing joint."""
    rows = [[(*joint, 1) if joint else (0, 0, 0) for joint in person] for person in people]
    return Poses.from_keypoints(np.array(rows, float).reshape(-1, 2, 3), STICK)


def twin(
    poses: Poses,
    size_hw: tuple[int, int],
    heatmap_grid: Grid,
    paf_grid: Grid,
    sigma: float = SIGMA_PX,
    half_width: float = PAF_HALF_WIDTH_PX,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """``encode_fields`` in px and whole arrays, as the paper's equations read."""
    h, w = heatmap_grid.size_cells(size_hw)
    skeleton = poses.skeleton

    def cells(grid: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
        return np.meshgrid(grid.to_px(np.arange(float(w))), grid.to_px(np.arange(float(h))))

    x, y = cells(heatmap_grid)
    heatmaps = np.zeros((skeleton.n_joints + 1, h, w))
    for person in range(len(poses)):
        for k in range(skeleton.n_joints):
            if poses.scores[person, k] > 0:
                jx, jy = poses.xy[person, k].astype(float)
                value = np.exp(-((x - jx) ** 2 + (y - jy) ** 2) / (2 * sigma**2))
                heatmaps[k] = np.maximum(heatmaps[k], np.where(value >= 0.01, value, 0))
    heatmaps[-1] = 1 - heatmaps[:-1].max(axis=0)

    x, y = cells(paf_grid)
    pafs = np.zeros((skeleton.n_limbs, 2, h, w))
    for limb, (a, b) in enumerate(skeleton.limbs):
        count = np.zeros((h, w))
        for person in range(len(poses)):
            if poses.scores[person, a] > 0 and poses.scores[person, b] > 0:
                start, end = poses.xy[person, a].astype(float), poses.xy[person, b].astype(float)
                length = math.hypot(*(end - start))
                if length > 0:
                    u = (end - start) / length
                    along = u[0] * (x - start[0]) + u[1] * (y - start[1])
                    across = np.abs(u[0] * (y - start[1]) - u[1] * (x - start[0]))
                    on = (across <= half_width) & (along >= -half_width)
                    on &= along <= length + half_width
                    pafs[limb] += np.where(on, u[:, None, None], 0)
                    count += on
        pafs[limb] /= np.maximum(count, 1)
    return heatmaps, pafs


# --- the twin -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("heatmap_grid", "paf_grid"),
    [(Grid(8), Grid(8)), (Grid(8, 0), Grid(8, 4.25)), (Grid(4), Grid(4, -1))],
)
def test_the_twin_agrees(seed: int, heatmap_grid: Grid, paf_grid: Grid) -> None:
    rng = np.random.default_rng(seed)
    n, skeleton = int(rng.integers(1, 7)), [Skeleton.COCO17, Skeleton.BODY25][seed % 2]
    keypoints = rng.uniform(-60, 260, (n, skeleton.n_joints, 3))
    keypoints[..., 2] = rng.random((n, skeleton.n_joints)) < 0.8
    poses = Poses.from_keypoints(keypoints, skeleton)
    fields = encode_fields(poses, (150, 203), heatmap_grid=heatmap_grid, paf_grid=paf_grid)
    heatmaps, pafs = twin(poses, (150, 203), heatmap_grid, paf_grid)
    np.testing.assert_allclose(fields.heatmaps, heatmaps, atol=2e-5)
    # A cell exactly on the edge of a strip may fall on either side of it by rounding.
    wrong = np.abs(fields.pafs - pafs).max(axis=1) > 1e-4
    assert wrong.sum() <= 1
    assert fields.heatmap_grid == heatmap_grid
    assert fields.paf_grid == paf_grid


@pytest.mark.parametrize(("sigma", "half_width"), [(3, 4), (15, 20), (1, 0.5)])
def test_the_twin_agrees_on_other_widths(sigma: float, half_width: float) -> None:
    poses = sticks(((21.7, 33.1), (90.2, 55.9)), ((50.3, 10.1), (44.4, 61.3)))
    fields = encode_fields(poses, (80, 120), sigma_px=sigma, paf_half_width_px=half_width)
    heatmaps, pafs = twin(poses, (80, 120), Grid(8), Grid(8), sigma, half_width)
    np.testing.assert_allclose(fields.heatmaps, heatmaps, atol=2e-5)
    np.testing.assert_allclose(fields.pafs, pafs, atol=2e-5)


# --- heatmaps -----------------------------------------------------------------------------------


def test_a_joint_on_a_cell_peaks_there_with_1() -> None:
    fields = encode_fields(sticks(((8 * 4 + 3.5, 8 * 2 + 3.5), None)), (64, 80))
    assert fields.heatmaps.shape == (3, 8, 10)
    assert fields.heatmaps[0, 2, 4] == 1
    assert fields.heatmaps[0].argmax() == 2 * 10 + 4
    one_cell_off = math.exp(-(8**2) / (2 * 7**2))
    for row, column in [(1, 4), (3, 4), (2, 3), (2, 5)]:
        assert fields.heatmaps[0, row, column] == pytest.approx(one_cell_off, abs=1e-6)
    assert (fields.heatmaps[1] == 0).all()


def test_overlapping_people_take_the_maximum() -> None:
    one, other = (((20, 20), None), ((31, 22), None))
    both = encode_fields(sticks(one, other), (48, 64)).heatmaps[0]
    parts = [encode_fields(sticks(person), (48, 64)).heatmaps[0] for person in (one, other)]
    np.testing.assert_array_equal(both, np.maximum(*parts))


def test_background_is_what_is_left() -> None:
    fields = encode_fields(sticks(((20, 20), (44, 31))), (48, 64))
    np.testing.assert_allclose(fields.heatmaps[-1], 1 - fields.heatmaps[:-1].max(axis=0))


def test_nobody_is_background_everywhere() -> None:
    fields = encode_fields(Poses.empty(Skeleton.COCO17), (40, 50))
    assert fields.heatmaps.shape == (18, 5, 7)
    assert (fields.heatmaps[:-1] == 0).all()
    assert (fields.heatmaps[-1] == 1).all()
    assert (fields.pafs == 0).all()


def test_nothing_below_a_hundredth() -> None:
    heatmap = encode_fields(sticks(((100, 100), None)), (200, 200), stride=1).heatmaps[0]
    assert heatmap[heatmap > 0].min() >= 0.01
    assert (heatmap > 0).sum() == pytest.approx(math.pi * 2 * 49 * math.log(100), rel=0.02)


def test_an_image_of_one_pixel() -> None:
    fields = encode_fields(sticks(((0, 0), (0, 0))), (1, 1))
    assert fields.heatmaps.shape == (3, 1, 1)


# --- part affinity fields -----------------------------------------------------------------------


def test_a_limb_is_a_unit_vector_along_it() -> None:
    fields = encode_fields(sticks(((19.5, 19.5), (59.5, 49.5))), (80, 96))
    x, y = fields.pafs[0]
    on = np.hypot(x, y) > 0
    np.testing.assert_allclose(x[on], 0.8, atol=1e-6)
    np.testing.assert_allclose(y[on], 0.6, atol=1e-6)
    assert on[2, 2]
    assert on[4, 5]
    assert not on[0, 9]


def test_the_other_way_round_is_the_opposite() -> None:
    there = encode_fields(sticks(((20, 20), (60, 45))), (80, 96)).pafs
    back = encode_fields(sticks(((60, 45), (20, 20))), (80, 96)).pafs
    np.testing.assert_allclose(there, -back, atol=1e-6)


def test_a_limb_reaches_its_half_width_aside_and_beyond_its_ends() -> None:
    paf = encode_fields(sticks(((40, 50), (80, 50))), (100, 120), stride=1).pafs[0, 0]
    rows, columns = np.nonzero(paf)
    assert (rows.min(), rows.max()) == (42, 58)
    assert (columns.min(), columns.max()) == (32, 88)
    assert len(rows) == 17 * 57


def test_overlapping_limbs_are_averaged() -> None:
    right, down = ((20, 44), (68, 44)), ((44, 20), (44, 68))
    pafs = encode_fields(sticks(right, down), (88, 88), stride=1).pafs[0]
    np.testing.assert_allclose(pafs[:, 44, 44], [0.5, 0.5])
    np.testing.assert_allclose(pafs[:, 44, 25], [1, 0])
    np.testing.assert_allclose(pafs[:, 25, 44], [0, 1])


def test_opposite_limbs_cancel() -> None:
    pafs = encode_fields(sticks(((20, 40), (60, 40)), ((60, 40), (20, 40))), (80, 80)).pafs
    np.testing.assert_allclose(pafs, 0, atol=1e-7)


def test_limbs_of_different_kinds_do_not_mix() -> None:
    chain = Skeleton(
        name="chain", joints=("a", "b", "c"), limbs=((0, 1), (2, 1)), oks_sigmas=(0.1,) * 3
    )
    rows = np.array([[[20, 40, 1], [60, 40, 1], [20, 40, 1]]])
    pafs = encode_fields(Poses.from_keypoints(rows, chain), (80, 80)).pafs
    np.testing.assert_array_equal(pafs[0], pafs[1])
    assert pafs[0, 0].max() == 1


def test_a_limb_without_length_has_no_direction() -> None:
    fields = encode_fields(sticks(((30, 30), (30, 30))), (64, 64))
    assert (fields.pafs == 0).all()
    assert fields.heatmaps[0].max() > 0.5


def test_a_missing_end_leaves_no_limb() -> None:
    for person in (((30, 30), None), (None, (30, 30)), (None, None)):
        fields = encode_fields(sticks(person), (64, 64))
        assert (fields.pafs == 0).all()
        assert [h.max() > 0 for h in fields.heatmaps[:2]] == [p is not None for p in person]


def test_the_paf_grid_moves_the_limbs_alone() -> None:
    poses = sticks(((43.5, 27.5), (43.5, 27.5 + 24)))
    plain = encode_fields(poses, (80, 96))
    shifted = encode_fields(poses, (80, 96), paf_grid=Grid(8, 3.5 - 8))
    np.testing.assert_array_equal(shifted.heatmaps, plain.heatmaps)
    np.testing.assert_array_equal(shifted.pafs[..., 1:, 1:], plain.pafs[..., :-1, :-1])
    assert shifted.paf_grid.offset == -4.5


# --- people outside -----------------------------------------------------------------------------


@pytest.mark.parametrize("far", [1e3, -1e3, 1e9, -1e9, 1e30, -1e30])
def test_people_outside_leave_nothing(far: float) -> None:
    fields = encode_fields(sticks(((far, 20), (far * 1.01, 40)), ((20, far), (40, far))), (64, 64))
    assert (fields.heatmaps[:2] == 0).all()
    assert (fields.pafs == 0).all()


def test_a_limb_that_crosses_the_image_is_seen() -> None:
    fields = encode_fields(sticks(((-500, 35.5), (500, 35.5))), (64, 64))
    np.testing.assert_allclose(fields.pafs[0, 0, 4], 1)
    assert (fields.heatmaps[:2] == 0).all()


def test_a_joint_just_outside_is_felt_inside() -> None:
    heatmap = encode_fields(sticks(((-4.5, 27.5), None)), (64, 64)).heatmaps[0]
    assert heatmap[3, 0] == pytest.approx(math.exp(-(8**2) / 98), abs=1e-6)


# --- wrong arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size_hw": (0, 10)}, r"size_hw: expected height and width >= 1 px, got \(0, 10\)"),
        (
            {"size_hw": (2**50, 1)},
            r"size_hw: expected at most 250,000,000 px, got \(1125899906842624",
        ),
        ({"sigma_px": 0}, "sigma_px: expected a number of px > 0, got 0"),
        ({"sigma_px": math.inf}, "sigma_px: expected"),
        ({"paf_half_width_px": -1}, "paf_half_width_px: expected a number of px > 0, got -1"),
        ({"paf_half_width_px": math.nan}, "paf_half_width_px: expected"),
        ({"stride": 0}, "stride: expected"),
        ({"paf_grid": Grid(4)}, "paf_grid: expected stride 8 as heatmap_grid has, got 4"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_fields(**{"poses": sticks(), "size_hw": (64, 64), **options})


# --- Fields -------------------------------------------------------------------------------------


def stick_fields(**changes: Any) -> Fields:
    good = {
        "heatmaps": np.zeros((3, 4, 5), np.float32),
        "pafs": np.zeros((1, 2, 4, 5), np.float32),
        "heatmap_grid": Grid(8),
        "paf_grid": Grid(8),
        "skeleton": STICK,
    }
    return Fields(**{**good, **changes})


def test_fields_are_float32_and_contiguous() -> None:
    fields = stick_fields(
        heatmaps=np.arange(60, dtype=np.float64).reshape(5, 4, 3).transpose(2, 1, 0),
        pafs=np.ones((2, 4, 5), np.float16),  # as networks give them
    )
    assert fields.heatmaps.dtype == fields.pafs.dtype == np.float32
    assert fields.heatmaps.flags.c_contiguous
    assert fields.pafs.shape == (1, 2, 4, 5)
    assert fields.size_cells == (4, 5)
    assert fields.heatmaps[2, 3, 4] == 59


def test_torch_tensors_are_taken() -> None:
    torch = pytest.importorskip("torch")
    fields = stick_fields(
        heatmaps=torch.full((3, 4, 5), 0.5, dtype=torch.bfloat16, requires_grad=True),
        pafs=torch.ones((2, 5, 4)).transpose(1, 2),
    )
    assert (fields.heatmaps == 0.5).all()
    assert fields.pafs.shape == (1, 2, 4, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"heatmaps": np.zeros((2, 4, 5))},
            r"heatmaps: expected shape \(3, h, w\).*got \(2, 4, 5\)",
        ),
        ({"heatmaps": np.zeros((3, 4))}, r"heatmaps: .*got \(3, 4\)"),
        ({"heatmaps": np.zeros((3, 0, 5))}, r"heatmaps: .*got \(3, 0, 5\)"),
        ({"heatmaps": np.zeros((1, 3, 4, 5))}, "heatmaps: "),
        ({"pafs": np.zeros((2, 4, 6))}, r"pafs: expected shape \(1, 2, 4, 5\).*got \(1, 2, 4, 6\)"),
        ({"pafs": np.zeros((3, 4, 5))}, r"pafs: .*got \(3, 4, 5\)"),
        ({"pafs": np.zeros((2, 1, 4, 5))}, r"pafs: .*got \(2, 1, 4, 5\)"),
        ({"heatmaps": np.full((3, 4, 5), np.nan)}, "heatmaps: expected finite numbers, 60 of 60"),
        ({"pafs": np.full((2, 4, 5), np.inf)}, "pafs: expected finite numbers, 40 of 40 are not"),
        ({"pafs": np.full((2, 4, 5), 1e300)}, "pafs: expected finite numbers"),
        ({"heatmaps": np.zeros((3, 4, 5), complex)}, "heatmaps: expected an array of real numbers"),
        ({"heatmaps": np.full((3, 4, 5), "a")}, "heatmaps: expected an array of real numbers"),
    ],
)
def test_wrong_fields(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stick_fields(**changes)


def test_one_bad_value_is_found() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        heatmaps = np.zeros((3, 4, 5))
        heatmaps[1, 2, 3] = bad
        with pytest.raises(ValueError, match="heatmaps: expected finite numbers, 1 of 60 are not"):
            stick_fields(heatmaps=heatmaps)
    both = np.zeros((3, 4, 5))
    both[0, 0, :2] = np.inf, -np.inf
    with pytest.raises(ValueError, match="2 of 60"):
        stick_fields(heatmaps=both)


# --- masks --------------------------------------------------------------------------------------


def test_a_mask_of_nothing_counts_everywhere() -> None:
    mask = encode_mask((33, 41), Grid(8))
    assert mask.shape == (5, 6)
    assert mask.dtype == np.float32
    assert (mask == 1).all()


def test_boxes_are_left_out() -> None:
    mask = encode_mask((40, 48), Grid(8), boxes=[(4, 12, 20, 19.5), (100, 0, 200, 40)])
    inside = [
        (row, column)
        for row in range(5)
        for column in range(6)
        if 4 <= 8 * column + 3.5 <= 20 and 12 <= 8 * row + 3.5 <= 19.5
    ]
    assert inside == [(2, 1), (2, 2)]
    assert [tuple(cell) for cell in np.argwhere(mask == 0).tolist()] == inside


def test_a_box_around_everything() -> None:
    assert (encode_mask((40, 48), Grid(8), boxes=np.array([[-1e9, -1e9, 1e9, 1e9]])) == 0).all()


def test_a_region_is_left_out() -> None:
    region = np.zeros((40, 48), bool)
    region[:, 20:] = True
    mask = encode_mask((40, 48), Grid(8, 0), region=region)
    np.testing.assert_array_equal(mask, np.repeat([[1, 1, 1, 0, 0, 0]], 5, axis=0))


def test_a_region_and_cells_beyond_the_border() -> None:
    region = np.zeros((9, 9), bool)
    region[8, 8] = True
    mask = encode_mask((9, 9), Grid(8), region=region)
    np.testing.assert_array_equal(mask, [[1, 1], [1, 0]])


def test_a_region_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"region: expected shape \(40, 48\), got \(48, 40\)"):
        encode_mask((40, 48), Grid(8), region=np.zeros((48, 40), bool))
