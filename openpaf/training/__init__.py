"""Training of networks that find people."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from openpaf.io.extras import install_hint

if find_spec("msgspec") is None:  # its tables check configurations
    raise ImportError(f"training needs msgspec: {install_hint('train')}")

_PLACES = {"TrainConfig": "config", "read_config": "config_files", "train": "loop"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
