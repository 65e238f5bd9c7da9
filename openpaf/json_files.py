"""JSON files: read with errors that name them, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from pathlib import Path
from typing import Any


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: If it is not JSON; the message names the file.
        OSError: If it cannot be read.
    """
    raw = Path(path).read_bytes()
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise ValueError(f"{os.fspath(path)}: not JSON: {error}") from error


def write_json(data: Any, path: str | os.PathLike[str]) -> None:
    """Write a JSON file, whole or not at all: a reader never sees half a file.

    Args:
        data: Lists, dictionaries, texts and finite numbers.
        path: The file; its folder must exist. An existing file is replaced.

    Raises:
        ValueError: If a number is NaN or infinite.
        OSError: If the file cannot be written; the message names the path.
    """
    text = json.dumps(data, allow_nan=False) + "\n"
    target = Path(os.path.realpath(path))  # a link stays a link
    temporary = target.with_name(f".openpaf-{uuid.uuid4().hex}.tmp")
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_text(text, encoding="utf-8")  # a pipe or /dev/stdout
            return
        if target.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        # The same kind of error, but about the path that the caller knows.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
