"""Increasing times of frames from the timestamps of a file."""

from __future__ import annotations

import math

MAX_LEAP_S = 10.0
"""In formats whose files may be concatenated, a longer gap starts a new part, as in FFmpeg."""

_LEAST_STEP_S = 1e-5  # smaller steps are effects of rounding


class Clock:
    """Converts timestamps of a file to strictly increasing times that start at 0.

    A timestamp that decreases has one of three reasons. In a concatenated stream a new part starts
    to count again: its frames continue one step after the last. A single timestamp is a little
    early: the frame comes half a step after the last, and nothing else changes. Or presentation
    times are in the order of decoding, as those that FFmpeg generates for files without any: when
    they decrease more often than decoding times, those are used, as in FFmpeg's own programs.

    Args:
        start_s: The timestamp of time 0, in s.
        max_leap_s: A longer gap, in s, starts a new part, too.
        uses_decoding: Whether decoding times are used from the beginning, as for AVI.
        earliest_s: Lower bound of the first time, in s.
    """

    def __init__(
        self,
        start_s: float = 0.0,
        *,
        max_leap_s: float = math.inf,
        uses_decoding: bool = False,
        earliest_s: float = 0.0,
    ) -> None:
        self._offset_s, self._max_leap_s, self._earliest_s = start_s, max_leap_s, earliest_s
        self._uses_decoding = uses_decoding
        self._last_s: float | None = None
        self._was_early = False
        self._lasts = {"presentation": -math.inf, "decoding": -math.inf}
        self._n_back = {"presentation": 0, "decoding": 0}

    def __call__(
        self, presentation_s: float | None, step_s: float, decoding_s: float | None = None
    ) -> float:
        """The time of the next frame in s.

        Args:
            presentation_s: Its presentation timestamp in s, None where it has none.
            step_s: Approximate duration of a frame in s; above 0.
            decoding_s: Decoding timestamp of its packet in s.
        """
        stamp_s = self._chosen(presentation_s, decoding_s)
        if self._last_s is None:
            first_s = 0.0 if stamp_s is None else stamp_s - self._offset_s
            self._last_s = max(first_s, self._earliest_s)
            return self._last_s
        time_s = self._last_s + step_s
        if stamp_s is not None:
            ahead_s = stamp_s - self._offset_s - self._last_s
            if _LEAST_STEP_S < ahead_s <= self._max_leap_s + step_s:
                time_s, self._was_early = self._last_s + ahead_s, False
            elif -2.5 * step_s < ahead_s <= _LEAST_STEP_S and not self._was_early:
                time_s, self._was_early = self._last_s + step_s / 2, True
            else:
                self._offset_s, self._was_early = stamp_s - time_s, False
        self._last_s = time_s
        return time_s

    def _chosen(self, presentation_s: float | None, decoding_s: float | None) -> float | None:
        for name, stamp_s in (("presentation", presentation_s), ("decoding", decoding_s)):
            if stamp_s is not None:
                self._n_back[name] += stamp_s <= self._lasts[name]
                self._lasts[name] = stamp_s
        if not self._uses_decoding and decoding_s is not None:
            self._uses_decoding = self._n_back["presentation"] > self._n_back["decoding"] + 1
        return decoding_s if self._uses_decoding else presentation_s
