"""TOML files: read, and written for the few kinds of values that ours have."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openpaf.io.extras import install_hint


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
            raise ImportError(f"training on Python 3.10: {install_hint('train')}") from error
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # with or without a BOM
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # what TOML, UTF-8 and deep nesting raise
        raise ValueError(f"{path}: not TOML ({error})") from error


def toml_rows(values: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Lines of a table: its values, then the tables and the lists of tables in it.

    Text, numbers, booleans and lists of JSON are TOML's too. TOML has no null: such keys are left
    out.

    Args:
        values: The table.
        place: Its name with a dot after it; empty for the whole file.
    """
    tables = {key: value for key, value in values.items() if _has_tables(value)}
    for key, value in values.items():
        if value is not None and key not in tables:
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
    for key, value in tables.items():
        is_list = isinstance(value, list)
        for table in value if is_list else [value]:
            yield f"\n[[{place}{key}]]\n" if is_list else f"\n[{place}{key}]\n"
            yield from toml_rows(table, f"{place}{key}.")


def _has_tables(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, Mapping)
