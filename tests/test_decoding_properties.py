"""Whatever the fields hold, the parser gives valid people, soon, and the same ones again."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openpaf import DecodeConfig, Fields, Grid, Poses, Skeleton, decode, encode_fields
from openpaf.decoding import assemble_people, find_peaks, match_limbs, score_limbs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from scenes import _STANDING, random_people
from strange import KINDS, PAIR, fault_of, strange_fields


@given(
    st.sampled_from(KINDS),
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.4]),
)
@settings(max_examples=400)
def test_any_field_gives_valid_people_and_the_same_again(kind, seed, h, w, support):
    fields = strange_fields(kind, seed, h, w)
    config = DecodeConfig(peak_support=support, single_threshold=0)
    poses = decode(fields, config)
    assert fault_of(poses, fields, config) is None
    assert decode(fields, config) == poses


@given(
    st.sampled_from(["greedy", "optimal"]),
    st.sampled_from(["tree", "redundant", "full"]),
    st.sampled_from(KINDS),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=100)
def test_any_option_gives_valid_people(matching, graph, kind, seed):
    fields = strange_fields(kind, seed, 9, 7)
    config = DecodeConfig(matching=matching, graph=graph)
    assert fault_of(decode(fields, config), fields, config) is None


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 6), min_size=1, max_size=4), st.integers(3, 9))
@settings(max_examples=100)
def test_no_person_has_a_joint_that_no_peak_explains(rows, n_cells):
    size = (8 * n_cells, 8 * n_cells)
    xy = np.array(rows).reshape(-1, 3, 2) * (size[0] - 1)
    keypoints = np.concatenate([xy, np.ones((*xy.shape[:2], 1))], axis=2)
    truth = Poses.from_keypoints(keypoints, PAIR)
    found = decode(encode_fields(truth, size))
    assert len(found) <= 3 * len(truth)
    for k in range(3):
        for point in found.xy[found.scores[:, k] > 0, k]:
            # Two Gaussians less than two cells apart are one peak, between them.
            assert np.linalg.norm(truth.xy[:, k] - point, axis=1).min() < 10


@given(st.floats(20, 180), st.floats(20, 180), st.floats(0, 2 * np.pi), st.floats(30, 120))
@settings(max_examples=100)
def test_a_person_alone_comes_back_within_a_quarter_px(x, y, angle, length):
    step = length / 2 * np.array([np.cos(angle), np.sin(angle)])
    xy = np.clip(np.array([x, y]) + np.array([-1, 0, 1])[:, None] * step, 4, 196)
    if np.linalg.norm(np.diff(xy, axis=0), axis=1).min() < 4:
        return  # pushed together by the border
    truth = Poses.from_keypoints([[(*point, 1) for point in xy]], PAIR)
    found = decode(encode_fields(truth, (200, 200)))
    assert len(found) == 1
    assert np.linalg.norm(found.xy[0] - truth.xy[0], axis=1).max() < 0.25


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 12, 16])
@settings(max_examples=15)
@given(st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_encoded_people_come_back_at_every_stride(stride, n_people, seed):
    rng = np.random.default_rng(seed)
    keypoints = np.ones((n_people, 17, 3))
    for i in range(n_people):
        shift = np.array([90 + 160 * i, 6]) + rng.uniform(-8, 8, 2)
        joints = _STANDING * rng.uniform(150, 190) + rng.uniform(-4, 4, (17, 2))
        keypoints[i, :, :2] = joints + shift
    poses = Poses.from_keypoints(keypoints, Skeleton.COCO17)
    found = decode(encode_fields(poses, (208, 160 * n_people + 20), stride=stride))
    assert len(found) == n_people
    order = np.argsort(found.xy[:, 0, 0])
    # At 16 px a joint may lie on a single cell: its neighbors are below what is encoded.
    np.testing.assert_allclose(found.xy[order], poses.xy, atol=3 if stride == 16 else 0.1)


@pytest.mark.parametrize("n_times", [8, 4])
def test_enlarged_fields_have_no_more_people(n_times):
    """As OpenPose and its ports hand them out: each ripple of the enlargement is a maximum."""
    poses = random_people(6, (368, 656), np.random.default_rng(5), height_px=(120, 340))
    fields = encode_fields(poses, (368, 656))
    size = (82 * n_times, 46 * n_times)
    heatmaps, pafs = (
        np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_CUBIC) for plane in planes])
        for planes in (fields.heatmaps, fields.pafs.reshape(-1, 46, 82))
    )
    grid = Grid(8 // n_times)
    enlarged = Fields(heatmaps=heatmaps, pafs=pafs, heatmap_grid=grid, paf_grid=grid,
                      skeleton=Skeleton.COCO17)  # fmt: skip
    found = decode(enlarged)
    assert len(found) == 6
    for person in poses:
        errors = np.nanmax(np.abs(found.xy - person.xy), axis=(1, 2))
        best = errors.argmin()
        assert errors[best] < 4
        np.testing.assert_array_equal(found.scores[best] > 0, person.scores[0] > 0)
    peaks = find_peaks(enlarged)
    steps = assemble_people(peaks, match_limbs(score_limbs(enlarged, peaks)), Skeleton.COCO17)
    np.testing.assert_array_equal(steps.xy, found.xy)


@pytest.mark.parametrize("kind", KINDS)
def test_the_worst_fields_of_full_size_end_and_give_valid_people(kind):
    """benchmarks/fuzz.py watches that they take less than a second."""
    fields = strange_fields(kind, 7, 46, 82, Skeleton.COCO17)
    config = DecodeConfig(peak_support=0)
    assert fault_of(decode(fields, config), fields, config) is None


def test_nan_and_infinity_are_refused():
    fields = strange_fields("noise", 1, 5, 5)
    for value in (np.nan, np.inf, -np.inf):
        for name in ("heatmaps", "pafs"):
            array = getattr(fields, name).copy()
            array.flat[7] = value
            with pytest.raises(ValueError, match=f"^{name}: expected finite"):
                Fields(**{**vars(fields), name: array})
