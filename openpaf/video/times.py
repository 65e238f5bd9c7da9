"""Times of frames that go on, whatever the timestamps of a file do."""

from __future__ import annotations

import math

MAX_LEAP_S = 10.0
"""In a format that may be joined of pieces, a longer leap is a piece that begins; as in FFmpeg."""

_LEAST_STEP_S = 1e-5  # what is less is the rounding of the numbers


class Clock:
    """Makes timestamps, as a file has them, into times from 0 on of which each is later.

    What goes back is one of three things. A stream that was joined of pieces begins to count anew:
    its frames go on a step after the last. A single timestamp is a little early: the frame comes
    half a step after the last, and nothing else changes. Or presentation times are in the order of
    decoding, as those that FFmpeg makes up for files without any: when they go back more often
    than decoding times, these are taken, as FFmpeg's own programs do.

    Args:
        start_s: The timestamp that is time 0.
        max_leap_s: A leap forward that is longer than this is a piece that begins, too.
        uses_decoding: Whether decoding times are the right ones from the beginning, as in AVI.
        earliest_s: The first time is not before this.
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
        """The time of the next frame in seconds.

        Args:
            presentation_s: Its timestamp in seconds, None where it has none.
            step_s: How long a frame lasts, about, in seconds; above 0.
            decoding_s: The same of the packet that it came with.
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
