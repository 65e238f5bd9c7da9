"""One file from several mirrors: resumed where it broke off, and trusted by its hash alone."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

import openpaf
from openpaf.errors import WeightsError
from openpaf.io import http_stream
from openpaf.weights.checkpoints import is_web_page, read_state
from openpaf.weights.hashing import mismatch
from openpaf.weights.limits import MAX_DOWNLOAD_BYTES
from openpaf.weights.published import Published

if TYPE_CHECKING:
    from requests import Response

_PAUSE_S = 1.0
# Answers of a server that may be better in a moment.
_BUSY = (429, 500, 502, 503, 504)
# A mirror is given up after so many attempts that brought nothing new, or so many in all.
MAX_STALLED_ATTEMPTS, _MAX_ATTEMPTS = 2, 50


class PermanentError(Exception):
    """Why a mirror does not give the file; nothing that another attempt would change."""


class InterruptedDownload(Exception):
    """Why an attempt ended early; the next one may go on from there."""


@dataclass(frozen=True)
class _Partial:
    """What there is of a download, with a note of where it is from and which version it is."""

    path: Path

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def write_note(self, url: str, version: str | None) -> None:
        self.note.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def version(self, url: str) -> str | None:
        """The version of which there is a part from this link; None where it cannot go on."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            version = note["version"] if note["url"] == url and self.size() else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        # It becomes a header of the next request.
        return version if isinstance(version, str) and _is_header(version) else None


def download_from_mirrors(row: Published, path: Path, progress: bool = True) -> Path:
    """Download a checkpoint from the first mirror that gives it.

    Args:
        row: The row of the table.
        path: Where it will lie; the download lies beside it, under another name.
        progress: Whether to show a bar on a terminal.

    Returns:
        Path of the download, whole and with the right hash, which is to be moved to ``path``.

    Raises:
        OSError: If it cannot be written.
        WeightsError: If no mirror gives the file; the message says why for each.
    """
    partial = _Partial(path.with_name(path.name + ".partial"))
    reasons = []
    hidden = None if progress else True
    with tqdm(
        total=row.size, desc=row.name, unit="B", unit_scale=True, file=sys.stderr,
        disable=hidden, leave=False,
    ) as bar:  # fmt: skip
        for url in row.urls:
            try:
                _from_mirror(row, url, partial, bar)
                partial.note.unlink(missing_ok=True)
                return partial.path
            except PermanentError as error:
                reasons.append(f"{urlsplit(url).hostname}: {error}")
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    partial.remove()  # what is left of a full disk is of more use empty
                raise
    if partial.size() == 0:
        partial.remove()
    offline = all(reason.endswith(_UNREACHABLE) for reason in reasons)
    raise WeightsError(
        f"{row.name}: no mirror gave the file: {'; '.join(reasons)}. "
        + ("Is this machine offline? " if offline else "")
        + "A file from elsewhere is taken with --weights PATH"
    )


def _from_mirror(row: Published, url: str, partial: _Partial, bar: tqdm[Any]) -> None:
    """One mirror, in as many attempts as bring it further; then the hash.

    Raises:
        OSError: If it cannot be written.
        PermanentError: If the mirror does not give the file.
    """
    resumed = partial.version(url) is not None
    n_stalled, furthest = 0, partial.size()
    for _ in range(_MAX_ATTEMPTS):
        try:
            _attempt(row, url, partial, bar)
        except InterruptedDownload as error:
            n_stalled = 0 if partial.size() > furthest else n_stalled + 1
            furthest = max(furthest, partial.size())
            if n_stalled >= MAX_STALLED_ATTEMPTS:
                raise PermanentError(str(error)) from error
            resumed = partial.size() > 0
            time.sleep(_PAUSE_S)
            continue
        problem = _problem(row, partial.path)
        if problem is None:
            return
        partial.remove()
        if not resumed:
            raise PermanentError(problem)
        resumed = False  # the two halves may be of two files: once more, from the beginning
    raise PermanentError("the connection breaks off again and again")


def _problem(row: Published, path: Path) -> str | None:
    """What is wrong with a download, if anything."""
    if row.sha256 or row.md5:
        difference = mismatch(row, path)
        return f"another file ({difference})" if difference else None
    try:  # no hash is known, so it must at least be a checkpoint, and whole
        read_state(path)
    except WeightsError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def _attempt(row: Published, url: str, partial: _Partial, bar: tqdm[Any]) -> None:
    """Ask for the file, or for the rest of it, and write what comes.

    Raises:
        OSError: If it cannot be written.
        PermanentError: If the server does not have it.
        InterruptedDownload: If less comes than was promised.
    """
    version = partial.version(url)
    headers = {"User-Agent": f"openpaf/{openpaf.__version__}", "Accept-Encoding": "identity"}
    if version is not None:
        # The server sends the rest only if its file is still this version, and else all of it.
        headers |= {"Range": f"bytes={partial.size()}-", "If-Range": version}
    try:
        with http_stream.HttpStream(url, headers) as stream:
            response = stream.response()
            start = _start(response, partial, version)
            _refuse(row, stream.links, response)
            _write(row, stream, response, start, partial, bar, url)
    except http_stream.TooSlowError as error:
        raise PermanentError(str(error)) from error
    except requests.exceptions.TooManyRedirects as error:
        raise PermanentError("redirects in circles") from error
    except ValueError as error:  # of requests and urllib3, some of them without a common class
        raise PermanentError("leads to a link that cannot be followed") from error
    except requests.RequestException as error:
        raise InterruptedDownload(_reason(error)) from error


def _is_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text) <= 1000


def _start(response: Response, partial: _Partial, version: str | None) -> int:
    """The place in the file from which on the response has it.

    Raises:
        PermanentError: If the response is an error that will stay.
        InterruptedDownload: If another attempt may do better.
    """
    if response.status_code == requests.codes.partial_content:
        found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        # Some servers do not care for If-Range, and send the rest of whatever they have now.
        same = _version(response) in (None, version)
        if same and found and int(found[1]) == partial.size():
            return partial.size()
        partial.remove()
        raise InterruptedDownload("sends another part than was asked for")
    if response.status_code == requests.codes.requested_range_not_satisfiable:
        partial.remove()
        raise InterruptedDownload("has no more of the file")
    if response.status_code != requests.codes.ok:
        kind = InterruptedDownload if response.status_code in _BUSY else PermanentError
        raise kind(f"answers {response.status_code} {response.reason}".rstrip())
    return 0


def _refuse(row: Published, links: list[str], response: Response) -> None:
    """Refuse what cannot be the file.

    Raises:
        PermanentError: If it is a web page, or came by a way on which anyone can change it
            while there is no hash that would tell.
    """
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise PermanentError("answers with a web page instead of the file")
    if row.sha256 or row.md5:
        return
    secure = [link.lower().startswith("https:") for link in links]
    if secure[0] and not all(secure):
        raise PermanentError("redirects to a link without encryption, and no hash is known")


def _write(
    row: Published,
    stream: http_stream.HttpStream,
    response: Response,
    start: int,
    partial: _Partial,
    bar: tqdm[Any],
    url: str,
) -> None:
    most = row.size or MAX_DOWNLOAD_BYTES
    total = _total(response, start)
    if total is not None:
        if total > most or row.size not in (None, total):
            partial.remove()
            raise PermanentError(f"offers {total} bytes, expected {_expected(row)}")
        free = shutil.disk_usage(partial.path.parent).free
        if total - start > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        bar.total = total
    with partial.path.open("r+b" if start else "wb") as file:
        partial.write_note(url, _version(response))
        file.seek(start)
        bar.n = start
        bar.refresh()
        for chunk in stream.chunks():
            if file.tell() == 0 and is_web_page(chunk[:512]):
                raise PermanentError("answers with a web page instead of the file")
            if file.tell() + len(chunk) > most:
                partial.remove()
                raise PermanentError(f"sends more bytes than expected, {_expected(row)}")
            file.write(chunk)
            bar.update(len(chunk))
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
        written = file.tell()
    if total is not None and written < total:
        raise InterruptedDownload(f"sent {written} of {total} bytes")


def _expected(row: Published) -> str:
    return str(row.size) if row.size else f"at most {MAX_DOWNLOAD_BYTES}"


def _total(response: Response, start: int) -> int | None:
    """Size of the whole file by the answer's header, if it says."""
    length = response.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdecimal() and len(length) < 20):
        return None
    return start + int(length)


def _version(response: Response) -> str | None:
    """What names this version of the file: its strong ETag, or the time of its last change."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    return response.headers.get("Last-Modified")


_UNREACHABLE = "cannot be reached"


def _reason(error: requests.RequestException) -> str:
    """An error of the connection in a few words."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no answer in {http_stream.CONNECT_S:g} s, it {_UNREACHABLE}"
    if isinstance(error, requests.Timeout) or "Read timed out" in str(error):
        return f"stalled for {http_stream.STALL_S:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate cannot be verified"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError):
        return _UNREACHABLE
    return f"failed ({type(error).__name__})"
