"""Inputs whose rows have an error, taken out of the tables of an earlier run to be tried again."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from openpaf.io.files import replacing
from openpaf.tables.files import TABLES

_BY_SUFFIX = {kind.suffix: kind for kind in TABLES.values()}


def drop_failures(files: Sequence[Path]) -> int:
    """Take the rows with an error out of a part.

    A kill leaves each file whole, old or new; or, of a part in several formats, one of them is
    missing, by which it is told that the part is to be made again.

    Args:
        files: Of the part, one of each format.

    Returns:
        How many rows are left in the first file; if none, the part is gone.

    Raises:
        OSError: If they cannot be read or written.
    """
    with contextlib.ExitStack() as stack:
        for file in files:
            place = file.with_name(f".{file.name}.partial")
            n_good, n_failed = _BY_SUFFIX[file.suffix].keep_good(file, place)
            if not n_failed:
                return n_good
            if n_good:
                stack.enter_context(replacing(file, temporary=place, sync=True))
        for file in files[:-1] if n_good else files:
            file.unlink()
    return n_good
