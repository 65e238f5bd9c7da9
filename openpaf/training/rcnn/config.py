"""What ``openpaf train`` reads of a file with ``method = "mask-rcnn"``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openpaf.training.config import SetConfig
from openpaf.training.config_files import as_config, resolve_set
from openpaf.training.data.augmentation import AugmentConfig
from openpaf.training.toml_files import read_toml

METHOD = "mask-rcnn"


@dataclass(frozen=True, kw_only=True)
class TopDownTrainConfig:
    """One training run of a detector.

    Args:
        output: Folder of checkpoints, log and weights; relative paths are relative to the
            configuration file.
        sets: The photos to train on.
        validation: The photos by whose AP the best weights are chosen, or None.
        method: ``"mask-rcnn"``, which tells such files from those of other networks.
        name: Name of the trained model.
        network: Name of the detector for :func:`openpaf.networks.build`.
        options: Its arguments, e.g. ``masks = true``.
        imagenet: ``mobilenet_v2_1.0.npz``, with which a MobileNetV2 trunk starts, or None.
        init: Weights to start from: a safetensors file of the same detector, or None.
        steps: Optimiser steps of the whole run.
        batch_size: Crops a step.
        learning_rate: Of AdamW, after warm-up; it falls as a half cosine to a twentieth.
        trunk_rate: Factor on it for the trunk; 0 freezes the trunk.
        warmup: Steps over which the rate rises.
        weight_decay: Of AdamW.
        keypoint_weight: Factor on the joints' error in the loss.
        clip: Largest gradient norm.
        average: Decay of the running average of weights, which is what is saved.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between validations.
        size: Short side in px at validation.
        workers: Threads that prepare batches.
        seed: Fixes crops, new weights and what the losses look at.
        augment: How crops are drawn; ``crop_px`` a multiple of 32.

    Raises:
        ValueError: If a value is out of range.
    """

    output: str
    sets: tuple[SetConfig, ...]
    validation: SetConfig | None = None
    method: str = METHOD
    name: str = "mask-rcnn-mobilenet"
    network: str = "keypointrcnn_mobilenet_v2_fpn"
    options: dict[str, Any] = field(default_factory=dict)
    imagenet: str | None = None
    init: str | None = None
    steps: int = 10_000
    batch_size: int = 4
    learning_rate: float = 4e-4
    trunk_rate: float = 0.3
    warmup: int = 200
    weight_decay: float = 1e-4
    keypoint_weight: float = 1.0
    clip: float = 10.0
    average: float = 0.998
    checkpoint_every: int = 100
    validate_every: int = 1000
    size: int = 368
    workers: int = 2
    seed: int = 0
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(crop_px=320))

    def __post_init__(self) -> None:
        if self.method != METHOD:
            raise ValueError(f"method: expected {METHOD!r}, got {self.method!r}")
        if not self.sets:
            raise ValueError("sets: expected at least one [[sets]]")
        for name in (
            "steps", "batch_size", "warmup", "checkpoint_every", "validate_every", "workers",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "keypoint_weight", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected > 0, got {getattr(self, name)}")
        if not 0 <= self.trunk_rate <= 1:
            raise ValueError(f"trunk_rate: expected 0 to 1, got {self.trunk_rate}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average: expected 0 to below 1, got {self.average}")
        if self.init and self.imagenet:
            raise ValueError("init, imagenet: expected one of them, got both")
        if self.augment.crop_px % 32:
            raise ValueError(
                f"augment.crop_px: expected a multiple of 32, got {self.augment.crop_px}"
            )


def is_top_down(path: str | Path) -> bool:
    """Whether a training file asks for a detector; files that cannot be read do not."""
    try:
        return read_toml(Path(path)).get("method") == METHOD
    except ValueError:
        return False  # whoever reads the file next says what is wrong with it


def read_config(path: str | Path) -> TopDownTrainConfig:
    """Read and check a training file.

    Raises:
        ValueError: If the file cannot be read, is not TOML, or has an unknown, missing or wrong
            key; the message names the file and the key.
    """
    path = Path(path)
    data = read_toml(path)
    try:
        rows = [as_config(SetConfig, row, "sets") for row in data.pop("sets", ())]
        data["sets"] = tuple(resolve_set(row, path.parent) for row in rows)
        if "validation" in data:
            row = as_config(SetConfig, data["validation"], "validation")
            data["validation"] = resolve_set(row, path.parent)
        if "augment" in data:
            data["augment"] = as_config(
                AugmentConfig, {"crop_px": 320, **data["augment"]}, "augment"
            )
        config: TopDownTrainConfig = as_config(TopDownTrainConfig, data, "the file")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    paths: dict[str, Any] = {
        name: str(path.parent / getattr(config, name))
        for name in ("output", "init", "imagenet")
        if getattr(config, name)
    }
    return dataclasses.replace(config, **paths)
