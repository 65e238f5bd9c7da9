"""Models: what they are, where they come from, and how their files are read.

Example:
    >>> import openpaf
    >>> rows = openpaf.weights.table()
    >>> [row["name"] for row in rows if row["shipped"]][:2]
    ['lightweight-coco17', 'fast-coco17']
"""

from openpaf.io.cache import cache_folder
from openpaf.weights.catalog import (
    DEFAULT_MODEL,
    SHORT_NAMES,
    check_card,
    fetch,
    find,
    load,
    load_model,
    locate,
    read_header,
    save,
    table,
    verify,
)
from openpaf.weights.spec import ModelSpec

__all__ = [
    "DEFAULT_MODEL",
    "SHORT_NAMES",
    "ModelSpec",
    "cache_folder",
    "check_card",
    "fetch",
    "find",
    "load",
    "load_model",
    "locate",
    "read_header",
    "save",
    "table",
    "verify",
]
