"""Everything a run needs to go on, in one file that is whole or not there."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from openpaf.errors import OpenpafError
from openpaf.io import files
from openpaf.training.config import SetConfig, TrainConfig

if TYPE_CHECKING:
    from openpaf.training.rcnn.config import TopDownTrainConfig

    Config = TrainConfig | TopDownTrainConfig


_log = logging.getLogger(__name__)

#: What of a configuration may differ when a run goes on. The first do not change what it computes,
#: or only how it is rounded. ``steps`` makes it longer (or shorter): the learning rate follows the
#: new length from there on. ``batch_size`` holds for the steps that are left. Everything else, and
#: above all what is learned from what, by which network, is the run itself.
FREE = (
    "output", "workers", "checkpoint_every", "validate_every", "precision", "tensorboard",
    "data_on_device", "steps", "batch_size",
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
        write_whole(buffer.getbuffer(), path)
    except OSError as error:
        reason = f"the checkpoint cannot be written ({error.strerror}); the one before it is kept"
        raise OSError(error.errno, reason, str(path)) from error


def write_whole(data: bytes | memoryview, path: Path) -> None:
    """Write a file so that it is there wholly or as it was, through kills and power cuts too.

    Raises:
        OSError: If it cannot be written.
    """
    # A fixed name: of a run that is killed again and again, one file is left, and replaced.
    files.write_whole(path, data, temporary=path.with_name(path.name + ".partial"), sync=True)


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


def comparable_config(config: Config) -> dict[str, Any]:
    """The configuration as plain values, without what may differ in a resumed run."""
    return {key: value for key, value in _plain(config).items() if key not in FREE}


def _plain(config: Config) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return values


def config_state(config: Config) -> dict[str, Any]:
    """What a checkpoint keeps of the configuration: all but where the run lies."""
    return {key: value for key, value in _plain(config).items() if key != "output"}


def refuse_other_config(config: Config, state: dict[str, Any], path: Path) -> None:
    """Make sure that a run goes on with the configuration that it began with.

    What is in :data:`FREE` may differ, and what of it changes the run is told; ``steps`` may be
    any number that is not yet passed.

    Args:
        config: The run's.
        state: The checkpoint; keys of ``config`` that are newer count as left at their defaults.
        path: The checkpoint's, for the message.

    Raises:
        CheckpointError: If they differ; the message shows each difference.
    """
    ours, saved = comparable_config(config), state["config"]
    defaults = comparable_config(type(config)(output=config.output, sets=config.sets))
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
    if state["step"] > config.steps:
        raise CheckpointError(
            f"{path}: is at step {state['step']} already; steps: expected no less, "
            f"got {config.steps}"
        )
    for key in ("steps", "batch_size"):
        if saved.get(key, getattr(config, key)) != getattr(config, key):
            _log.info("%s: %s until now, %s from here on", key, saved[key], getattr(config, key))
