"""Arguments of other types and ranges: one ValueError that begins with the argument's name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from openpaf import (
    DecodeConfig,
    Grid,
    Letterbox,
    Poses,
    Skeleton,
    Smoothing,
    Tracker,
    TrackerConfig,
    encode_fields,
)
from openpaf.checks import as_array, as_size, is_finite, is_number, is_whole

NOBODY = Poses.empty(Skeleton.COCO17)
TRIANGLE: dict[str, Any] = {
    "name": "triangle", "joints": ("a", "b", "c"), "limbs": ((0, 1),), "oks_sigmas": (0.1,) * 3
}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: DecodeConfig(join_distance=10**400), "join_distance"),
        (lambda: DecodeConfig(max_peaks="9"), "max_peaks"),  # type: ignore[arg-type]
        (lambda: Grid([8]), "stride"),  # type: ignore[arg-type]
        (lambda: Grid(8, [0]), "offset"),  # type: ignore[arg-type]
        (lambda: Letterbox(image_hw=9, resized_hw=(9, 9), size_hw=(9, 9)), "image_hw"),  # type: ignore[arg-type]
        (lambda: Letterbox.fit((9, "9")), "image_hw"),  # type: ignore[arg-type]
        (lambda: Letterbox.fit((9, np.nan)), "image_hw"),  # type: ignore[arg-type]
        (lambda: Letterbox.fit((9, 9), [32]), "short_side"),  # type: ignore[arg-type]
        (lambda: Letterbox.fit((9, 9), multiple=0), "multiple"),
        (lambda: Letterbox.fit((9, 9), multiple="8"), "multiple"),  # type: ignore[arg-type]
        (lambda: Skeleton(**TRIANGLE | {"name": {}}), "name"),
        (lambda: Skeleton(**TRIANGLE | {"joints": 3}), "joints"),
        (lambda: Skeleton(**TRIANGLE | {"limbs": (0, 1)}), "limbs"),
        (lambda: Skeleton(**TRIANGLE | {"limbs": ((0, 1.5),)}), "limbs"),
        (lambda: Skeleton(**TRIANGLE | {"oks_sigmas": (0.1, [], 0.1)}), "oks_sigmas"),
        (lambda: Skeleton.from_dict(TRIANGLE | {"flip_pairs": 1.0}), "flip_pairs"),
        (lambda: Smoothing(beta="12"), "beta"),  # type: ignore[arg-type]
        (lambda: Smoothing(max_gap_s=None), "max_gap_s"),  # type: ignore[arg-type]
        (lambda: TrackerConfig(max_gap_s="2"), "max_gap_s"),  # type: ignore[arg-type]
        (lambda: TrackerConfig(second_reach=[]), "second_reach"),  # type: ignore[arg-type]
        (lambda: TrackerConfig(max_joint_speed=np.nan), "max_joint_speed"),
        (lambda: TrackerConfig(min_new_score=10**400), "min_new_score"),
        (lambda: Tracker()(NOBODY, "0"), "time_s"),  # type: ignore[arg-type]
        (lambda: encode_fields(NOBODY, (9,)), "size_hw"),  # type: ignore[arg-type]
        (lambda: encode_fields(NOBODY, (9, 9), sigma_px="7"), "sigma_px"),  # type: ignore[arg-type]
        (lambda: Poses.from_keypoints([[{}]], Skeleton.COCO17), "keypoints"),
        (lambda: NOBODY.replace(ids=[np.nan]), "ids"),
        (lambda: NOBODY.replace(scores=[[10**400]]), "scores"),
    ],
)  # fmt: skip
def test_what_is_no_such_argument_is_refused_by_name(
    make: Callable[[], object], argument: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{argument}\b") as caught:
        make()
    assert re.fullmatch(r"[^\n]{9,500}", str(caught.value))


def test_numbers() -> None:
    for value in (0, -1.5, True, np.float32(2), np.int64(3)):
        assert is_number(value)
        assert is_finite(value)
    for value in (None, "1", [1], 1j, np.array(1.0), 10**400, np.nan):
        assert not is_number(value)
        assert not is_finite(value)
        assert not is_whole(value)
    assert is_number(np.inf)
    assert not is_finite(np.inf)
    assert is_whole(2.0)
    assert not is_whole(2.5)


def test_sizes_and_arrays() -> None:
    assert as_size("size", np.array([3, 4])) == (3, 4)
    array = np.ones(3, np.float32)
    assert as_array("array", array, np.float32) is array
    assert as_array("array", [2.0, 3], np.int64).tolist() == [2, 3]
    with pytest.raises(ValueError, match="array: expected whole numbers"):
        as_array("array", [2.5], np.int64)
    with pytest.raises(ValueError, match="array: expected an array of float32: complex numbers"):
        as_array("array", [1j], np.float32)
