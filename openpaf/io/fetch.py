"""Images from addresses, within limits of size and time."""

from __future__ import annotations

import time

import requests

import openpaf
from openpaf.errors import ImageError
from openpaf.io.addresses import shown_source
from openpaf.io.http_stream import HttpStream, TooSlowError

#: A longer file is not read.
MAX_BYTES = 100_000_000
#: Seconds for the content of a file, from the beginning of the answer.
MAX_SECONDS = 60.0
#: Seconds to wait before another try, where the server or the connection fails.
PAUSES_S = (1.0, 4.0)
_FOR_NOW = (429, 500, 502, 503, 504)


class _FailedForNow(Exception):
    """Another try may succeed."""


def fetch_image(url: str) -> bytes:
    """The file at an ``http://`` or ``https://`` address, tried up to three times.

    Raises:
        ImageError: If it cannot be had, or not within :data:`MAX_BYTES` and :data:`MAX_SECONDS`;
            the message names it, without a password.
    """
    name = shown_source(url)
    for pause_s in (*PAUSES_S, None):
        try:
            return _fetch(url)
        except _FailedForNow as error:
            if pause_s is None:
                raise ImageError(f"{name}: {error}") from error
            time.sleep(pause_s)
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from error
        except (TooSlowError, ValueError, requests.RequestException) as error:
            raise ImageError(f"{name}: cannot be fetched: {_reason(error)}") from error
    raise AssertionError  # the last pause is None


def _fetch(url: str) -> bytes:
    headers = {"User-Agent": f"openpaf/{openpaf.__version__}"}
    with HttpStream(url, headers) as stream:
        try:
            response = stream.response()
            if response.status_code in _FOR_NOW:
                raise _FailedForNow(f"the server answers {response.status_code}")
            if response.status_code != 200:
                raise ImageError(f"the server answers {response.status_code}")
            _check_length(int(response.headers.get("Content-Length", "0") or 0))
            end, data = time.monotonic() + MAX_SECONDS, bytearray()
            for chunk in stream.chunks():
                data += chunk
                _check_length(len(data))
                if time.monotonic() > end:
                    raise ImageError(f"not there within {MAX_SECONDS:g} s")
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _FailedForNow(f"cannot be fetched: {_reason(error)}") from error
    return bytes(data)


def _check_length(n_bytes: int) -> None:
    if n_bytes > MAX_BYTES:
        raise ImageError(f"more than the {MAX_BYTES:,} bytes read")


def _reason(error: BaseException) -> str:
    """The innermost cause, in short."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return " ".join(str(error).split())[:200] or type(error).__name__
