"""Everything a run needs to go on, in one file that is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from openpaf.errors import OpenpafError


class CheckpointError(OpenpafError):
    """A checkpoint is damaged, or belongs to another configuration."""


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; the one before it stays until this one is wholly on the disk.

    Raises:
        OSError: If it cannot be written, e.g. on a full disk; the old one survives.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        CheckpointError: If it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path}: not a checkpoint ({error})") from error
    return state
