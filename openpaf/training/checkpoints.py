"""Everything a run needs to go on, in one file that is whole or not there."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path
from typing import Any

import torch

from openpaf.errors import OpenpafError
from openpaf.training.config import SetConfig, TrainConfig


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
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        reason = f"the checkpoint cannot be written ({error.strerror}); the one before it is kept"
        raise OSError(error.errno, reason, str(path)) from error


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut too, where the system can."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


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
    """The configuration as plain values, without what may differ in a resumed run."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    free = ("output", "workers", "checkpoint_every", "precision", "tensorboard", "data_on_device")
    for name in free:
        del values[name]
    return values


def refuse_other_config(config: TrainConfig, saved: dict[str, Any], path: Path) -> None:
    """Make sure that a run goes on with the configuration that it began with.

    Args:
        config: The run's.
        saved: What :func:`comparable_config` gave when it began; keys that are newer than the
            checkpoint count as left at their defaults.
        path: The checkpoint, for the message.

    Raises:
        CheckpointError: If they differ; the message shows each difference.
    """
    ours = comparable_config(config)
    defaults = comparable_config(TrainConfig(output=config.output, sets=config.sets))
    theirs = {**defaults, **saved}
    theirs["augment"] = {**defaults["augment"], **saved.get("augment", {})}
    plain = dataclasses.asdict(SetConfig(annotations="", images=""))
    theirs["sets"] = [{**plain, **row} for row in theirs["sets"]]
    if theirs["validation"] is not None:
        theirs["validation"] = {**plain, **theirs["validation"]}
    rows = [
        f"{key}: {theirs[key]!r} -> {ours[key]!r}"
        for key in sorted(ours)
        if ours[key] != theirs[key] and key != "augment"
    ] + [
        f"augment.{key}: {theirs['augment'].get(key)!r} -> {value!r}"
        for key, value in sorted(ours["augment"].items())
        if value != theirs["augment"].get(key)
    ]
    if rows:
        raise CheckpointError(
            f"{path}: made with another configuration ({'; '.join(rows)}); "
            "choose another output folder to start anew"
        )
