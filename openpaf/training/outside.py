"""Joints that are labelled outside of their photos."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)


class Outside:
    """Takes away joints that lie outside of their picture, and counts them.

    Labels are made by hand and programs; a joint far outside would place people where a crop
    shows nothing. Up to :attr:`tolerance_px` beyond the border is rounding, and is let be.
    """

    tolerance_px = 2.0

    def __init__(self) -> None:
        self.n_joints = 0
        self.first: Any = None

    def without(
        self, size_hw: tuple[int, int] | None, row: Mapping[str, Any], joints: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Joints (K, 3) of a person, v = 0 in such; all as they are where the size is unknown."""
        if size_hw is None:
            return joints
        last = np.array(size_hw[::-1]) - 0.5 + self.tolerance_px
        inside = ((joints[:, :2] >= -0.5 - self.tolerance_px) & (joints[:, :2] <= last)).all(axis=1)
        gone = ~inside & (joints[:, 2] > 0)  # a coordinate that is not a number is not inside
        if not gone.any():
            return joints
        self.n_joints += int(gone.sum())
        self.first = row.get("id") if self.first is None else self.first
        return np.where(gone[:, None], 0, joints)

    def report(self, source: Path) -> None:
        """Warn of what was taken away."""
        if self.n_joints:
            _log.warning(
                "%s: %d joints lie outside of their pictures and are left out, the first in "
                "annotation %s",
                source,
                self.n_joints,
                self.first,
            )
