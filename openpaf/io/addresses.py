"""Addresses of streams: their detection, and their form without passwords for messages."""

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


def is_http(source: object) -> bool:
    """Whether a source is an ``http://`` or ``https://`` address, which may be one of an image."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def shown_source(source: str | int) -> str:
    """A source for messages and files: an address without its password."""
    if isinstance(source, int):
        return f"camera {source}"
    if _ADDRESS.match(source):
        source = re.sub(r"\s", "%20", source)  # a space would end the password
    return without_passwords(source.encode(errors="replace").decode())


def without_passwords(text: str) -> str:
    """A text without the users, passwords and secret query values of its addresses.

    A password may contain ``@``, ``/``, ``?`` and ``#``, so everything before the last ``@`` is
    removed, even if it was part of the path.
    """
    if "://" not in text:
        return text
    return _SECRET.sub(r"\1***", _LOGIN.sub("", text))
