"""TOML, read by Python and written for the few kinds of values that our files have."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file.

    Raises:
        ValueError: If it cannot be read or is not TOML; the message names it.
        ImportError: On Python 3.10 without the package ``tomli``.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ModuleNotFoundError as error:
            raise ImportError("training on Python 3.10: pip install 'openpaf[train]'") from error
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # with or without a BOM
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # what TOML, UTF-8 and deep nesting raise
        raise ValueError(f"{path}: not TOML ({error})") from error


def toml_rows(values: Mapping[str, Any]) -> Iterator[str]:
    """Lines ``key = value``; text, numbers, booleans and lists of JSON are TOML's too.

    TOML has no null: such keys are left out.
    """
    for key, value in values.items():
        if value is not None:
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
