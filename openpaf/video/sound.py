"""The sound of a written video: that of its source, as far as it can be read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from openpaf.io.addresses import is_url, shown_source
from openpaf.video.base import OPEN_READ_TIMEOUT_S, file_address, import_av, max_leap_s, reason_of
from openpaf.video.times import Clock

_log = logging.getLogger(__name__)

_IN_MP4 = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "opus"})
# fmt: off
_AAC_RATES = frozenset({
    7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000,
})
# fmt: on
_GAP_S = 0.1  # a smaller gap between two frames of sound is an effect of rounding their times


class Sound:
    """The sound of a source, copied where mp4 supports its codec and converted to AAC otherwise.

    An error while it is written is logged as a warning, and the rest of the sound is left out.

    Args:
        source: File or address of a source with sound.
        output: PyAV's output container, not yet started.

    Raises:
        FFmpegError, OSError, ValueError: If it cannot be read, or not be written to the container.
    """

    def __init__(self, source: str, output: Any) -> None:
        self._av = import_av()
        self._name = shown_source(source)
        self._container = _open(self._av, source)
        stream = self._container.streams.audio[0]
        codec = stream.codec_context
        self._copies = codec.codec.canonical_name in _IN_MP4
        if self._copies:
            self._stream = output.add_stream_from_template(stream)
        else:
            rate = codec.sample_rate if codec.sample_rate in _AAC_RATES else 48_000
            self._stream = output.add_stream("aac", rate=rate)
        self._output = output
        self._end_s = 0.0  # of the sound encoded so far
        self._pieces = self._read(stream)
        self._next = next(self._pieces, None)

    @classmethod
    def of(cls, source: str, output: Any) -> Sound | None:
        """The sound of a source; None if it has none or it cannot be read."""
        av = import_av()
        try:
            with _open(av, source) as container:
                if not container.streams.audio:
                    return None
            return cls(source, output)
        except (av.FFmpegError, OSError, ValueError) as error:
            _warn(shown_source(source), error)
            return None

    def _read(self, stream: Any) -> Iterator[tuple[float, Any]]:
        """Packets or frames of sound with their times in s, up to the first damaged one."""
        clock = Clock(
            (self._container.start_time or 0) / 1e6,
            max_leap_s=max_leap_s(self._container),
            earliest_s=-float("inf"),  # encoder delay, which players skip
        )
        try:
            for packet in self._container.demux(stream):
                if not packet.size:
                    continue
                for piece in [packet] if self._copies else packet.decode():
                    base, stamp = piece.time_base, piece.pts
                    stamp_s = float(stamp * base) if base and stamp is not None else None
                    step_s = float(piece.duration * base) if base and piece.duration else 0.02
                    yield clock(stamp_s, step_s), piece
        except (self._av.FFmpegError, OSError) as error:
            _log.warning("%s: its sound ends early: %s", self._name, reason_of(error))

    def copy_until(self, time_s: float) -> None:
        """Write the sound before a time in s."""
        try:
            while self._next is not None and self._next[0] < time_s:
                (self._copy if self._copies else self._encode)(*self._next)
                self._next = next(self._pieces, None)
        except OSError:  # the output's: a full disk
            raise
        except (self._av.FFmpegError, ValueError) as error:
            self._next = None
            _warn(self._name, error)

    def _copy(self, time_s: float, packet: Any) -> None:
        packet.pts = packet.dts = round(time_s / packet.time_base)
        packet.stream = self._stream
        self._output.mux(packet)

    def _encode(self, time_s: float, frame: Any) -> None:
        # Samples are contiguous; the encoder refuses times that do not increase.
        start_s = time_s if time_s > self._end_s + _GAP_S else self._end_s
        frame.time_base = Fraction(1, frame.sample_rate)
        frame.pts = round(start_s * frame.sample_rate)
        self._end_s = start_s + frame.samples / frame.sample_rate
        self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write the rest of the encoder's buffer."""
        try:
            if not self._copies:
                self._output.mux(self._stream.encode(None))
        except OSError:
            raise
        except (self._av.FFmpegError, ValueError) as error:
            _warn(self._name, error)
        finally:
            self._container.close()


def _open(av: Any, source: str) -> Any:
    if is_url(source):
        return av.open(source, timeout=OPEN_READ_TIMEOUT_S)
    return av.open(file_address(source))


def _warn(name: str, error: BaseException) -> None:
    _log.warning("%s: its sound is left out: %s", name, reason_of(error))
