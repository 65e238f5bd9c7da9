"""Where converted models and measurements of this machine are kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openpaf.download import cache_folder

_log = logging.getLogger(__name__)


def own_folder() -> Path:
    """The folder of :func:`openpaf.download.cache_folder`, made if missing."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def file_key(path: Path, *parts: str) -> str:
    """A name for what is made from a file: it changes with the file and with the parts.

    Args:
        path: The file.
        parts: What else the result depends on, such as versions.
    """
    key = hashlib.sha256(path.read_bytes())
    for part in parts:
        key.update(b"\0" + part.encode())
    return key.hexdigest()[:24]


def cached_file(name: str, make: Callable[[Path], None]) -> Path | None:
    """A file of the cache, made if it is not there; other programs never see half of it.

    Args:
        name: Of the file.
        make: Writes it to the path that it is given, whose suffix is the name's.

    Returns:
        Its path; None where the cache cannot be written to, which is logged.
    """
    try:
        path = own_folder() / name
        if path.is_file():
            os.utime(path)
            return path
        partial = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
        try:
            make(partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return path
    except OSError as error:
        _log.warning("the cache cannot be used, so models are converted each time: %s", error)
        return None


def read_note(name: str) -> Any:
    """A small JSON file of the cache; None where it is missing or damaged."""
    try:
        return json.loads((own_folder() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_note(name: str, value: Any) -> None:
    """Keep a small JSON file; where the cache cannot be written to, only the log hears of it."""

    def write(path: Path) -> None:
        path.write_text(json.dumps(value), encoding="utf-8")

    try:
        (own_folder() / name).unlink(missing_ok=True)
    except OSError:
        return
    cached_file(name, write)
