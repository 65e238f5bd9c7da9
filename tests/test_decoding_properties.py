"""Whatever the fields hold, the parser gives valid people, soon, and the same ones again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openpaf import DecodeConfig, Fields, Poses, Skeleton, decode, encode_fields

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
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
