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
    is_name,
    load_model,
    resolve,
    table,
    verify,
)
from openpaf.weights.download import fetch
from openpaf.weights.model_files import load, load_network, read_header, save
from openpaf.weights.spec import ModelSource, ModelSpec
from openpaf.weights.transfer import load_detector, load_shared, load_trunk

__all__ = [
    "DEFAULT_MODEL",
    "SHORT_NAMES",
    "ModelSource",
    "ModelSpec",
    "cache_folder",
    "fetch",
    "is_name",
    "load",
    "load_detector",
    "load_model",
    "load_network",
    "load_shared",
    "load_trunk",
    "read_header",
    "resolve",
    "save",
    "table",
    "verify",
]
