"""JSON files: read with errors that name them, written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import re
from typing import Any

from openpaf.io.files import write_text

#: Files of more bytes are refused; COCO's own largest has 0.5 GB.
MAX_BYTES = 2 * 1024**3
#: Whole numbers of more digits are beyond every float, and grow slower to read with their square.
MAX_DIGITS = 300

_NO_NUMBER = re.compile(r'(?<![\w"])(?:NaN|-?Infinity|[-\d.]+[eE]\+?\d{3,})(?![\w"])')
_LARGE = re.compile(r"[eE]\+?\d{3}")  # 1e999 is read as infinite


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds; a byte order mark before it is passed over.

    Raises:
        ValueError: If it is not JSON, has NaN, Infinity or a number as large, a whole number of
            more than :data:`MAX_DIGITS` digits, more than :data:`MAX_BYTES` bytes, or is nested
            too deeply; the message names the file.
        OSError: If it cannot be read.
    """
    return _parsed(_text(path), os.fspath(path))


def read_json_lines(path: str | os.PathLike[str]) -> list[Any]:
    """What a file of one JSON text a line holds (``.jsonl``); empty lines are passed over.

    Raises:
        ValueError: As for :func:`read_json`; the message names the file and the line.
        OSError: If it cannot be read.
    """
    name = os.fspath(path)
    return [
        _parsed(line, f"{name}: line {number}")
        for number, line in enumerate(_text(path).split("\n"), 1)
        if line.strip()
    ]


def read_json_or_lines(path: str | os.PathLike[str]) -> Any:
    """What a file of JSON holds, or of a file of one JSON text a line the list of them.

    Raises:
        ValueError: As for :func:`read_json` or :func:`read_json_lines`.
        OSError: If it cannot be read.
    """
    if os.fspath(path).lower().endswith((".jsonl", ".ndjson")):
        return read_json_lines(path)
    try:
        return read_json(path)
    except ValueError as error:
        cause = error.__cause__
        if isinstance(cause, json.JSONDecodeError) and cause.msg == "Extra data":
            return read_json_lines(path)  # as openpifpaf names them
        raise


def is_number(value: Any) -> bool:
    """Whether something is a finite number, small enough (below 1e15) to be squared as a float."""
    return type(value) in (int, float) and -1e15 < value < 1e15


def _text(path: str | os.PathLike[str]) -> str:
    """The text of a file in UTF-8, -16 or -32, as RFC 4627 tells them apart."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size <= MAX_BYTES:
                raw = file.read(MAX_BYTES + 1)  # of a pipe the size is not known before
                if len(raw) <= MAX_BYTES:
                    return raw.decode(json.detect_encoding(raw)).removeprefix("\ufeff")
        raise ValueError(f"more than the {MAX_BYTES:,} bytes allowed")
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{name}: not JSON: {error}") from error
    except MemoryError as error:
        raise ValueError(f"{name}: not enough memory to read it") from error


def _parsed(text: str, name: str) -> Any:
    # Asking each float takes as long again as reading them, so only where it can matter.
    parse_float = _finite if _LARGE.search(text) else None
    try:
        return json.loads(
            text,
            parse_int=_whole_number,
            parse_float=parse_float,
            parse_constant=_refuse_constant,
        )
    except _NoNumberError as error:
        # The parser does not say where; the first that matches is nearly always it.
        match = _NO_NUMBER.search(text)
        near = text[max(0, match.start() - 60) : match.end() + 20] if match else ""
        place = f", near {' '.join(near.split())}" if near else ""
        raise ValueError(f"{name}: not JSON: {error} is no finite number{place}") from error
    except RecursionError as error:
        raise ValueError(f"{name}: not JSON: nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{name}: not JSON: {error}") from error
    except MemoryError as error:
        raise ValueError(f"{name}: not enough memory to read it") from error


class _NoNumberError(ValueError):
    """NaN, Infinity or 1e999, which Python's parser takes for a number."""


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _NoNumberError(text)
    return value


def _refuse_constant(text: str) -> Any:
    raise _NoNumberError(text)


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits, expected at most {MAX_DIGITS}")
    return int(text)


def write_json(data: Any, path: str | os.PathLike[str]) -> None:
    """Write a JSON file, whole or not at all: a reader never sees half a file.

    Args:
        data: Lists, dictionaries, texts and finite numbers.
        path: As for :func:`openpaf.io.files.write_text`.

    Raises:
        ValueError: If a number is NaN or infinite.
        OSError: If the file cannot be written; the message names the path.
    """
    write_text(path, json.dumps(data, allow_nan=False) + "\n")
