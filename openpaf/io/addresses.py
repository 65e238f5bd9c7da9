"""Addresses of streams: what counts as one, and how one is shown without its password."""

from __future__ import annotations

import re

_STREAM = re.compile(r"(rtsp|rtsps|rtmp|rtmps|http|https|udp|tcp|srt|hls)://", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)\S*@")
_SECRET = re.compile(
    r"([?&;][^\s=&;]*(?:pass|pwd|psw|user|login|token|secret|auth|key|sig)[^\s=&;]*=)[^\s&;#]*",
    re.IGNORECASE,
)


def is_url(source: str | int) -> bool:
    """Whether a source is the address of a stream, such as ``rtsp://...``."""
    return isinstance(source, str) and bool(_STREAM.match(source))


def shown_source(source: str | int) -> str:
    """A source as it is named in messages and files: an address without its password."""
    if isinstance(source, int):
        return f"camera {source}"
    if _ADDRESS.match(source):
        source = re.sub(r"\s", "%20", source)  # else the password would seem to end there
    return without_passwords(source.encode(errors="replace").decode())


def without_passwords(text: str) -> str:
    """A text in which no address has a user, a password, or a query that names a secret.

    A password may hold ``@``, ``/``, ``?`` and ``#`` as they are, so all that stands before the
    last ``@`` goes, even where it was the address's path: too much is hidden rather than too
    little.
    """
    if "://" not in text:
        return text
    return _SECRET.sub(r"\1***", _LOGIN.sub("", text))
