"""Rows of tables from results of the pipeline."""

from __future__ import annotations

from typing import Any

from openpaf.bulk.parts import table_path
from openpaf.bulk.process import Result
from openpaf.errors import OpenpafError, shown
from openpaf.poses import Poses
from openpaf.tables.schema import ImageRow, image_row


def row_of(
    result: Result, poses: Poses | None, *, error: str | None = None, **named: Any
) -> ImageRow:
    """The row of an image.

    Args:
        result: Of the pipeline.
        poses: The people to write; None where there is an error.
        error: Another than that of the result.
        named: ``model`` and ``engine``.
    """
    if error is None and result.error is not None:
        error = error_text(result.error, result.input.path)
    return image_row(
        poses, image_hw=result.image_hw, path=table_path(result.input.path), error=error,
        sha256=result.sha256, **named,
    )  # fmt: skip


def error_text(error: Exception, path: str) -> str:
    """What an error says, in one line, without the path, which is beside it."""
    text = shown(" ".join(str(error).split())) or type(error).__name__
    if not isinstance(error, (OpenpafError, OSError, ValueError)):
        text = f"{type(error).__name__}: {text}"
    text = text.removeprefix(f"{shown(path)}: ")
    return text if len(text) <= 500 else text[:497] + "..."
