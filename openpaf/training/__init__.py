"""Training of networks that find people."""

from importlib.util import find_spec

if find_spec("msgspec") is None:  # its tables check configurations
    raise ImportError("training needs msgspec: pip install 'openpaf[train]'")
