"""The cache folder: converted models, compiled kernels, measurements of this machine.

A file of the cache begins with the SHA-256 of the rest. It is written whole or not at all; a
truncated or changed one counts as missing and is made again. Where nothing can be written, results
are used without a cache and made again the next time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from openpaf.io.files import is_temporary, replacing

Made = TypeVar("Made")

_log = logging.getLogger(__name__)

_DIGEST_BYTES = 32
_MAX_BYTES = 2 << 30
_MAX_AGE_SECONDS = 180 * 86400
_PARTIAL_SECONDS = 86400  # age at which the temporary file of a killed process is deleted


def cache_folder(cache: str | Path | None = None) -> Path:
    """The folder of downloaded checkpoints and of the cache.

    Args:
        cache: A folder to use instead.

    Returns:
        ``cache``; else the value of the environment variable ``OPENPAF_CACHE``; else the
        platform's folder for caches, such as ``~/.cache/openpaf``. It need not exist.
    """
    chosen = cache or os.environ.get("OPENPAF_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("openpaf", appauthor=False))


def own_folder() -> Path:
    """The folder of converted models and measurements; it need not exist."""
    return cache_folder() / "converted"


def file_key(path: Path, *parts: str) -> str:
    """A key for a result made from a file: it changes with the file and with the parts.

    Args:
        path: The file.
        parts: Other inputs of the result, such as versions.

    Returns:
        24 hexadecimal digits.
    """
    key = hashlib.sha256(path.read_bytes())
    for part in parts:
        key.update(b"\0" + part.encode())
    return key.hexdigest()[:24]


def kept(
    name: str,
    make: Callable[[], Made],
    to_bytes: Callable[[Made], bytes],
    from_bytes: Callable[[bytes], Made],
) -> Made:
    """A result from the cache, or made now and written to the cache.

    Args:
        name: Name of the file.
        make: Makes the result.
        to_bytes: Converts the result to the content of the file.
        from_bytes: Converts the content back; if it raises any error, ``make`` is called.
    """
    data = read_sealed(own_folder() / name)
    if data is not None:
        try:
            return from_bytes(data)
        except Exception as error:
            _log.warning("%s: cannot be used, so it is made again: %s", name, error)
    made = make()
    try:
        data = to_bytes(made)
        made = from_bytes(data)  # so that the first result equals the later ones
        write_sealed(own_folder() / name, data)
    except OSError as error:
        _log.warning("the cache cannot be used, so models are converted each time: %s", error)
    return made


def read_sealed(path: Path) -> bytes | None:
    """The content of a file of :func:`write_sealed`; None if missing, damaged or unreadable."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    seal, rest = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != seal:
        _log.info("%s: damaged, so it is made again", path)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # prune() deletes the least recently used first
    return rest


def write_sealed(path: Path, data: bytes, *, max_bytes: int = _MAX_BYTES) -> None:
    """Write a file and its hash, whole or not at all, and prune its folder.

    Args:
        path: The file; its folder is made if missing.
        data: The content.
        max_bytes: As for :func:`prune`.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, sync=True) as partial, open(partial, "wb") as file:
        file.write(hashlib.sha256(data).digest())
        file.write(data)
    prune(path.parent, path.suffix, max_bytes=max_bytes)


def prune(
    folder: Path,
    suffix: str,
    *,
    max_bytes: int = _MAX_BYTES,
    max_age_seconds: float = _MAX_AGE_SECONDS,
) -> None:
    """Delete files of a folder that are old, and the least recently used beyond a total size.

    Args:
        folder: The folder; other files in it are ignored.
        suffix: Suffix of the files that are counted and deleted.
        max_bytes: Total size that is kept; the newest file is kept in any case.
        max_age_seconds: Age since the last use at which a file is deleted.
    """
    now, files = time.time(), []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):  # another process may be pruning
                if path.suffix == suffix:
                    files.append((path.stat().st_mtime, path.stat().st_size, path))
                elif is_temporary(path) and now - path.stat().st_mtime > _PARTIAL_SECONDS:
                    path.unlink()
    total = 0
    for i, (modified, size, path) in enumerate(sorted(files, reverse=True)):
        total += size
        if i and (total > max_bytes or now - modified > max_age_seconds):
            with contextlib.suppress(OSError):
                path.unlink()


def read_note(name: str) -> Any:
    """A small JSON file of the cache; None where it is missing or damaged."""
    data = read_sealed(own_folder() / name)
    try:
        return None if data is None else json.loads(data)
    except ValueError:
        return None


def write_note(name: str, value: Any) -> None:
    """Write a small JSON file to the cache; a failure is only logged."""
    try:
        write_sealed(own_folder() / name, json.dumps(value).encode())
    except OSError as error:
        _log.warning("the cache cannot be used, so engines are measured each time: %s", error)
