"""How well ids hold over time: MOTA, id switches and IDF1 against known truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.oks import oks
from openpaf.poses import Poses


@dataclass(frozen=True, kw_only=True)
class TrackingFigures:
    """The figures of one or several videos.

    Args:
        n_truth: True people, summed over the frames.
        n_missed: Of these, those who were not found.
        n_false: Found people who are none of the true ones.
        n_switches: How often a true person's id became another one.
        n_id_matches: People found under the id that is theirs over the whole video.
        n_found: Found people, summed over the frames.
    """

    n_truth: int
    n_missed: int
    n_false: int
    n_switches: int
    n_id_matches: int
    n_found: int

    @property
    def mota(self) -> float:
        """Multiple object tracking accuracy; at most 1, and negative where errors abound."""
        return 1 - (self.n_missed + self.n_false + self.n_switches) / max(self.n_truth, 1)

    @property
    def idf1(self) -> float:
        """F1 of the people who are found under the right id, 0 to 1."""
        return 2 * self.n_id_matches / max(self.n_truth + self.n_found, 1)

    def __add__(self, other: TrackingFigures) -> TrackingFigures:
        return TrackingFigures(
            n_truth=self.n_truth + other.n_truth,
            n_missed=self.n_missed + other.n_missed,
            n_false=self.n_false + other.n_false,
            n_switches=self.n_switches + other.n_switches,
            n_id_matches=self.n_id_matches + other.n_id_matches,
            n_found=self.n_found + other.n_found,
        )


def evaluate_tracking(
    frames: Iterable[tuple[Poses, Poses] | tuple[Poses, Poses, NDArray[Any]]],
    *,
    min_oks: float = 0.5,
) -> TrackingFigures:
    """Compare the people found in a video with the true ones.

    Args:
        frames: For each frame the true people and the found ones, both with ids; and, where the
            people are larger than their visible joints, the areas (N,) of the true ones in px^2.
        min_oks: From this object keypoint similarity on, a found person may be a true one.

    Returns:
        Counts, MOTA and IDF1.

    Raises:
        ValueError: If people have no ids.

    Reference:
        Bernardin and Stiefelhagen, The CLEAR MOT metrics, 2008, equation for MOTA; Ristani et al.,
        Performance measures for multi-target tracking, 2016, equation 11.
    """
    last: dict[int, int] = {}  # the id that each true person was last found under
    before: dict[int, int] = {}  # in the frame before
    overlaps: dict[tuple[int, int], int] = {}
    n_truth = n_found = n_matched = n_switches = 0
    for truth, found, *areas in frames:
        true_ids, found_ids = _ids("truth", truth), _ids("found", found)
        similar = oks(truth, found, *areas) >= min_oks
        for i, k in zip(*np.nonzero(similar), strict=True):
            pair = (true_ids[i], found_ids[k])
            overlaps[pair] = overlaps.get(pair, 0) + 1
        # Who was matched before and still may be stays matched; then as many others as possible.
        stays = np.array([[before.get(i) == k for k in found_ids] for i in true_ids], bool)
        gain = similar * (1.0 + len(true_ids) * stays.reshape(similar.shape))
        before = {true_ids[i]: found_ids[k] for i, k in _best(gain)}
        n_switches += sum(last.get(i, k) != k for i, k in before.items())
        last.update(before)
        n_truth, n_found = n_truth + len(truth), n_found + len(found)
        n_matched += len(before)
    return TrackingFigures(
        n_truth=n_truth,
        n_missed=n_truth - n_matched,
        n_false=n_found - n_matched,
        n_switches=n_switches,
        n_id_matches=_id_matches(overlaps),
        n_found=n_found,
    )


def _ids(name: str, poses: Poses) -> list[int]:
    if poses.ids is None:
        raise ValueError(f"{name}: these people have no ids")
    return [int(id) for id in poses.ids]


def _best(gain: NDArray[np.float64]) -> list[tuple[int, int]]:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(gain, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(i, k) for i, k in pairs if gain[i, k] > 0]


def _id_matches(overlaps: dict[tuple[int, int], int]) -> int:
    """Frames in which people have the right id, by the best one-to-one choice of ids."""
    true_ids = sorted({i for i, _ in overlaps})
    found_ids = sorted({k for _, k in overlaps})
    table = np.zeros((len(true_ids), len(found_ids)))
    for (i, k), n in overlaps.items():
        table[true_ids.index(i), found_ids.index(k)] = n
    return int(sum(table[i, k] for i, k in _best(table)))
