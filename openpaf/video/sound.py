"""The sound of a video that is written: the source's, as far as it can be had."""

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
_GAP_S = 0.1  # a smaller gap between two pieces of sound is the rounding of their times


class Sound:
    """The sound of a source, copied where mp4 can hold it and made AAC where not.

    What goes wrong with it is a warning, and the rest is left out: the pictures go on.

    Args:
        source: File or address of the source, which has sound.
        output: PyAV's container that it is written to, not yet started.

    Raises:
        FFmpegError, OSError, ValueError: If it cannot be read, or not be written to such a file.
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
        self._end_s = 0.0  # of what was encoded so far
        self._pieces = self._read(stream)
        self._next = next(self._pieces, None)

    @classmethod
    def of(cls, source: str, output: Any) -> Sound | None:
        """The sound of a source; None where it has none or none that can be read."""
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
        """Packets or frames of sound with their times in seconds, to the first that is broken."""
        clock = Clock(
            (self._container.start_time or 0) / 1e6,
            max_leap_s=max_leap_s(self._container),
            earliest_s=-float("inf"),  # an encoder's lead, which players leave out
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
        """Write what is heard before a time."""
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
        # Samples follow each other; the encoder refuses times that do not go on.
        start_s = time_s if time_s > self._end_s + _GAP_S else self._end_s
        frame.time_base = Fraction(1, frame.sample_rate)
        frame.pts = round(start_s * frame.sample_rate)
        self._end_s = start_s + frame.samples / frame.sample_rate
        self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
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
