"""Published checkpoints in a cache on this machine: fetched, checked, whole or not there."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.errors import WeightsError
from openpaf.io.cache import cache_folder
from openpaf.weights.hashing import mismatch, sha256_of, write_down
from openpaf.weights.published import Published, find_published

if TYPE_CHECKING:
    from filelock import FileLock

_log = logging.getLogger(__name__)


def cached(name: str, cache: str | Path | None = None) -> Path:
    """The file of a published checkpoint in the cache, its hash checked.

    Args:
        name: Of a row of the table.
        cache: As for :func:`cache_folder`.

    Raises:
        WeightsError: If the name is unknown, the file is not there, or its hash is another.
    """
    row = find_published(name)
    path = cache_folder(cache) / row.file
    if not path.is_file():
        raise WeightsError(
            f"{name}: not fetched yet; openpaf weights fetch {name} does it, "
            "or give the file with --weights PATH"
        )
    check(row, path)
    return path


def check(row: Published, path: Path) -> None:
    """See that a file is the one that was published.

    Args:
        row: The row of the table.
        path: The file.

    Raises:
        WeightsError: If its hash is another, or it cannot be read.
    """
    try:
        difference = mismatch(row, path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    if difference:
        raise WeightsError(
            f"{path}: {difference}; it is damaged or another file; "
            f"openpaf weights fetch {row.name} replaces it"
        )


def fetch(
    name: str,
    *,
    cache: str | Path | None = None,
    accept_licence: bool = False,
    progress: bool = True,
) -> Path:
    """Bring a published checkpoint into the cache, unless it is there.

    The mirrors are tried in turn. A download that broke off resumes where it stopped, if the
    server can do that and its file is still the same. The file gets its name only after its hash
    was checked; two processes that fetch it at once do it once.

    Args:
        name: Of a row of the table.
        cache: As for :func:`cache_folder`.
        accept_licence: Whether you agree to the licence of the row, which must be if it is
            restricted.
        progress: Whether to show a progress bar where the standard error stream is a terminal.

    Returns:
        The path of the file.

    Raises:
        WeightsError: If the name is unknown, the licence is not agreed to, no mirror gives the
            file, or the cache cannot be written to.
    """
    row = find_published(name)
    folder = cache_folder(cache)
    path = folder / row.file
    if _is_good(row, path):
        return path
    if row.restricted and not accept_licence:
        raise WeightsError(
            f"{name}: its licence must be agreed to before the first download: {row.licence} "
            "(--accept-licence, or accept_licence=True)"
        )
    if not row.urls:
        raise WeightsError(f"{name}: no link to it is known; a file is taken with --weights PATH")
    from filelock import FileLock

    with _readable_errors(row, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _held(FileLock(path.with_name(row.file + ".lock")), name):
            if not _is_good(row, path):  # another process may have been quicker
                _replace(row, path, progress)
    return path


def _is_good(row: Published, path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        check(row, path)
    except WeightsError:
        return False
    return True


def _replace(row: Published, path: Path, progress: bool) -> None:
    from openpaf.weights.mirrors import download_from_mirrors

    download = download_from_mirrors(row, path, progress)
    write_down(row, path, sha256_of(download))
    os.replace(download, path)


@contextmanager
def _held(lock: FileLock, name: str) -> Iterator[None]:
    """Hold a lock; say so if another process has it."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("%s: another process is fetching it; waiting for that", name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _readable_errors(row: Published, folder: Path) -> Iterator[None]:
    """Errors of the disk as errors that say which folder and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsError(
                f"{row.name}: no space left in {folder}; --cache DIR or OPENPAF_CACHE takes another"
            ) from error
        raise WeightsError(
            f"{row.name}: the cache {folder} cannot be written to "
            f"({error.strerror or error}); --cache DIR or OPENPAF_CACHE takes another"
        ) from error
