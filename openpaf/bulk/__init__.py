"""Images by the thousand and million: listed lazily, in parts that are committed, anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openpaf.bulk.pose_batch import PoseBatch as PoseBatch

__all__ = ["PoseBatch"]


def __getattr__(name: str) -> Any:
    if name == "PoseBatch":  # when it is asked for, as it brings torch's part of the package
        from openpaf.bulk.pose_batch import PoseBatch

        return PoseBatch
    raise AttributeError(f"module 'openpaf.bulk' has no attribute {name!r}")
