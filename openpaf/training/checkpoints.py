"""Everything a run needs to resume, in one file that is whole or not there."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import torch

from openpaf.errors import OpenpafError
from openpaf.io.files import write_whole
from openpaf.training.config import TrainConfig
from openpaf.training.tables import as_table, flat, plain

_log = logging.getLogger(__name__)

#: What of a configuration may differ when a run resumes. The first do not change what it computes,
#: or only how it is rounded. ``steps`` makes it longer (or shorter): the learning rate follows the
#: new length from there on. ``batch_size`` holds for the steps that are left. Everything else, and
#: above all what is learned from what, by which network, is the run itself.
_FREE = (
    "output", "data.workers", "recipe.on_device", "optimizer.checkpoint_every",
    "optimizer.validate_every", "optimizer.precision", "optimizer.steps", "optimizer.batch_size",
)  # fmt: skip


class CheckpointError(OpenpafError):
    """A checkpoint is damaged, or belongs to another configuration."""


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; the one before it stays until this one is wholly on the disk.

    Raises:
        OSError: If it cannot be written, e.g. on a full disk; the old one survives.
    """
    # In memory first: torch's writer turns a full disk into errors that do not say so.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        # A fixed name: of a run that is killed again and again, one file is left, and replaced.
        partial = path.with_name(path.name + ".partial")
        write_whole(path, buffer.getbuffer(), temporary=partial, sync=True)
    except OSError as error:
        reason = f"the checkpoint cannot be written ({error.strerror}); the one before it is kept"
        raise OSError(error.errno, reason, str(path)) from error


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


def comparable_config(config: TrainConfig) -> dict[str, Any]:
    """A configuration as one flat table, without what may differ in a resumed run."""
    values = {key: value for key, value in flat(plain(config)).items() if key not in _FREE}
    if values.get("network.name") == "lightweight":
        values["network.name"] = None  # the default was named before
    return values


def refuse_other_config(config: TrainConfig, state: dict[str, Any], path: Path) -> None:
    """Make sure that a run resumes with the configuration that it began with.

    Args:
        config: The run's.
        state: The checkpoint; keys that its ``config`` lacks count as left at their defaults.
        path: The checkpoint's, for the message.

    Raises:
        CheckpointError: If they differ, but for what may, or more steps are done than asked for;
            the message shows each difference.
    """
    try:
        saved = as_table(type(config), {**state["config"], "output": config.output})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: made by another version of this library ({error}); choose another output "
            "folder to start anew"
        ) from error
    ours, theirs = comparable_config(config), comparable_config(saved)
    differences = [
        f"{key}: {theirs.get(key)!r} -> {ours.get(key)!r}"
        for key in {**ours, **theirs}
        if ours.get(key) != theirs.get(key)
    ]
    if differences:
        raise CheckpointError(
            f"{path}: made with another configuration ({'; '.join(differences)}); "
            "choose another output folder to start anew"
        )
    steps = config.optimizer.steps
    if state["step"] > steps:
        raise CheckpointError(
            f"{path}: is at step {state['step']} already; optimizer.steps: expected no less, "
            f"got {steps}"
        )
    for key in ("steps", "batch_size"):
        old, new = (getattr(one.optimizer, key) for one in (saved, config))
        if old != new:
            _log.info("%s: %s until now, %s from here on", key, old, new)
