"""Training of networks that find people."""

try:
    import msgspec as _  # in whose tables configurations are checked
except ModuleNotFoundError as error:
    raise ImportError("training needs msgspec: pip install 'openpaf[train]'") from error
