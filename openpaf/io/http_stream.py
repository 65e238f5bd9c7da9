"""The answer to one HTTP request, which must come at a least pace.

It is read in a thread, since a server that sends a byte now and then would keep its reader busy
for days: no time limit of a socket counts more than one piece. A thread that is given up
ends with its next piece, or with the program.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import requests
from requests import Response

from openpaf.io.closing import Closing

#: Seconds to wait for a connection, and for the next piece of an answer.
CONNECT_S, STALL_S = 10.0, 30.0
#: Seconds to wait for the beginning of an answer, all redirects together.
ANSWER_S = 90.0
#: An answer of which fewer bytes come in so many seconds of waiting is given up.
LEAST_BYTES, WINDOW_S = 1 << 18, 30.0
_CHUNK = 1 << 14
_SCHEMES = ("http://", "https://")
_REDIRECTS, _MAX_REDIRECTS = (301, 302, 303, 307, 308), 10

_Item = Response | bytes | BaseException | None


class TooSlowError(Exception):
    """An answer comes more slowly than it may."""


class HttpStream(Closing):
    """An answer, to be used as a context.

    Args:
        url: The link; redirects are followed, to http and https alone.
        headers: Of the request.
    """

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        # A few pieces only: a slow disk must not fill the memory.
        self._items: queue.Queue[_Item] = queue.Queue(maxsize=8)
        self._left = threading.Event()
        #: The link, and those that it led to.
        self.links = [url]
        thread = threading.Thread(target=self._read, args=(headers,), daemon=True)
        thread.start()

    def close(self) -> None:
        """Let the thread end."""
        self._left.set()

    def response(self) -> Response:
        """Status and headers; of the content see :meth:`chunks`.

        Raises:
            TooSlowError: If they do not come in time.
            ValueError: If the link, or one that it leads to, cannot be followed.
            requests.RequestException: If the connection fails.
        """
        try:
            item = self._items.get(timeout=ANSWER_S)
        except queue.Empty:
            raise TooSlowError(f"no answer in {ANSWER_S:g} s") from None
        if isinstance(item, BaseException):
            raise item
        assert isinstance(item, Response)
        return item

    def chunks(self) -> Iterator[bytes]:
        """The content, piece by piece.

        Raises:
            TooSlowError: If it comes too slowly.
            requests.RequestException: If the connection fails.
        """
        waited, n_bytes = 0.0, 0  # the time that the caller takes for himself does not count
        while True:
            before = time.monotonic()
            try:
                item = self._items.get(timeout=max(0.0, WINDOW_S - waited))
            except queue.Empty:
                item = b""
            waited += time.monotonic() - before
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            assert isinstance(item, bytes)
            n_bytes += len(item)
            if waited >= WINDOW_S:
                if n_bytes < LEAST_BYTES:
                    raise TooSlowError(f"too slow: {n_bytes} bytes in {WINDOW_S:g} s")
                waited, n_bytes = 0.0, 0
            if item:
                yield item

    def _read(self, headers: dict[str, str]) -> None:
        try:
            with self._answer(headers) as response:
                self._put(response)
                for chunk in response.iter_content(_CHUNK):
                    self._put(chunk)
            self._put(None)
        except _Left:
            pass
        except (requests.RequestException, ValueError) as error:  # of the link, or the connection
            self._put_last(error)
        except BaseException as error:
            self._put_last(requests.ConnectionError(f"{type(error).__name__}: {error}"))

    def _answer(self, headers: dict[str, str]) -> Response:
        """The first answer that is no redirect."""
        locations: list[str] = []

        def take(response: Response, **_: Any) -> None:
            # Or requests would look at it itself, and leave the connection open if it is broken.
            locations.append(response.headers.pop("Location", ""))

        while len(self.links) <= _MAX_REDIRECTS:
            response = requests.get(
                self.links[-1], headers=headers, stream=True, timeout=(CONNECT_S, STALL_S),
                hooks={"response": take},
            )  # fmt: skip
            if response.status_code not in _REDIRECTS or not locations[-1]:
                return response
            response.close()
            link = urljoin(self.links[-1], locations[-1].encode("latin-1").decode("utf-8"))
            if not link.lower().startswith(_SCHEMES):
                raise ValueError("neither http nor https")
            self.links.append(link)
        raise requests.TooManyRedirects

    def _put(self, item: _Item) -> None:
        while not self._left.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=0.5)
                return
        raise _Left

    def _put_last(self, error: BaseException) -> None:
        with contextlib.suppress(_Left):
            self._put(error)


class _Left(Exception):
    """The answer is not waited for any longer."""
