"""What a training run is: one TOML file, checked before anything starts."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openpaf.networks.lightweight import TRUNK_WIDTHS
from openpaf.skeleton import Skeleton
from openpaf.training.augmentation import AugmentConfig

SKELETONS = {skeleton.name: skeleton for skeleton in (Skeleton.COCO17, Skeleton.COCO18_REDUNDANT)}


@dataclass(frozen=True, kw_only=True)
class SetConfig:
    """One set of photos; see :func:`openpaf.training.dataset.load_photo_set`.

    Paths are relative to the configuration file.
    """

    annotations: str
    images: str
    name: str | None = None
    weight: float = 1.0
    trusted: bool = True
    min_agreement: float = 0.0
    holdout: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run.

    Args:
        output: Folder of checkpoints, log and weights; relative paths are relative to the
            configuration file.
        sets: The photos to train on.
        validation: The photos by whose AP the best weights are chosen, or None.
        name: Name of the trained model.
        skeleton: Name of the network's skeleton, ``"coco17"`` or ``"coco18_redundant"``. Labels are
            COCO's 17 joints always, and so are the people of the trained model.
        init: Weights to start from: a safetensors file of the same network, or None.
        open_model_zoo: ``hpe0001_fp16.npz`` to start from instead, with the channels that it
            lacks fitted by least squares.
        teacher: A teacher for photos whose background is not trusted: ``hpe0001_fp16.npz``, or a
            safetensors file of this library, with the grids and the skeleton of ours.
        narrow: Weights of a wider network of ours to start from instead; see
            :mod:`openpaf.training.narrow`.
        teacher_share: The teacher's share in the targets where labels are; see
            :class:`openpaf.training.losses.Teacher`.
        hint_weight: Weight of hidden features in the loss, drawn to the teacher's; see
            :class:`openpaf.training.hints.Hints`.
        batch_norm: Whether to train with batch norm, folded away in what is saved; see
            :mod:`openpaf.training.batch_norm`.
        fit_batches: Batches for the least squares.
        n_refinement_stages: Stages after the initial one.
        width: Channels of the features that the stages share.
        inner_width: Channels between the layers of a block, ``width`` if None.
        hidden_width: Hidden channels of the initial stage's heads, ``4 * width`` if None.
        trunk_widths: Channels of the trunk's first convolution and of its eleven blocks.
        heatmap_offset: Grid offset of the heatmaps in px.
        paf_offset: Grid offset of the PAFs in px.
        steps: Optimiser steps of the whole run.
        batch_size: Crops a step.
        learning_rate: Of AdamW, after warm-up; it falls as a half cosine to a twentieth.
        trunk_rate: Factor on it for the trunk; 0 freezes the trunk.
        warmup: Steps over which the rate rises.
        weight_decay: Of AdamW.
        heatmap_weight: Factor on the heatmaps' error in the loss.
        clip: Largest gradient norm.
        average: Decay of the running average of weights, which is what is saved.
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where it is faster here
            by a short measurement.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between validations.
        size: Short side in px at validation.
        workers: Threads that prepare batches.
        seed: Fixes crops and new weights.
        augment: How crops are drawn.
    """

    output: str
    sets: tuple[SetConfig, ...]
    validation: SetConfig | None = None
    name: str = "lightweight-coco17"
    skeleton: str = "coco17"
    init: str | None = None
    open_model_zoo: str | None = None
    narrow: str | None = None
    teacher: str | None = None
    teacher_share: float = 0.0
    hint_weight: float = 0.0
    batch_norm: bool = False
    fit_batches: int = 150
    n_refinement_stages: int = 1
    width: int = 128
    inner_width: int | None = None
    hidden_width: int | None = None
    trunk_widths: tuple[int, ...] = TRUNK_WIDTHS
    heatmap_offset: float = 3.5
    paf_offset: float = 3.5
    steps: int = 1000
    batch_size: int = 8
    learning_rate: float = 1e-4
    trunk_rate: float = 1.0
    warmup: int = 100
    weight_decay: float = 1e-4
    heatmap_weight: float = 1.0
    clip: float = 10.0
    average: float = 0.998
    precision: str = "auto"
    checkpoint_every: int = 100
    validate_every: int = 500
    size: int = 368
    workers: int = 2
    seed: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if not self.sets:
            raise ValueError("sets: expected at least one [[sets]]")
        for name in ("steps", "batch_size", "checkpoint_every", "validate_every", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0 or not 0 <= self.trunk_rate <= 1:
            raise ValueError("learning_rate, trunk_rate: expected > 0, and 0 to 1")
        if self.skeleton not in SKELETONS:
            known = ", ".join(SKELETONS)
            raise ValueError(f"skeleton: expected one of {known}, got {self.skeleton!r}")
        if not self.heatmap_weight > 0:
            raise ValueError(f"heatmap_weight: expected > 0, got {self.heatmap_weight}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average: expected 0 to below 1, got {self.average}")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(
                f"precision: expected auto, float32 or bfloat16, got {self.precision!r}"
            )
        if sum(map(bool, (self.init, self.open_model_zoo, self.narrow))) > 1:
            raise ValueError("init, open_model_zoo, narrow: expected one of them, got more")
        if self.hint_weight < 0 or (self.hint_weight and not self.teacher):
            raise ValueError("hint_weight: expected >= 0, and a teacher that gives the hints")
        object.__setattr__(self, "trunk_widths", tuple(self.trunk_widths))


def read_config(path: str | Path) -> TrainConfig:
    """Read and check a training configuration.

    Raises:
        ValueError: If the file cannot be read, is not TOML, or has an unknown, missing or wrong
            key; the message names the file and the key.
    """
    path = Path(path)
    try:
        data = _toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # what TOML and UTF-8 raise
        raise ValueError(f"{path}: not TOML ({error})") from error
    try:
        sets = tuple(_as(SetConfig, row, "sets") for row in data.pop("sets", ()))
        data["sets"] = tuple(_resolve(row, path.parent) for row in sets)
        if "validation" in data:
            row = _as(SetConfig, data["validation"], "validation")
            data["validation"] = _resolve(row, path.parent)
        if "augment" in data:
            data["augment"] = _as(AugmentConfig, data["augment"], "augment")
        config: TrainConfig = _as(TrainConfig, data, "the file")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    paths: dict[str, Any] = {
        name: str(path.parent / getattr(config, name))
        for name in ("output", "init", "open_model_zoo", "narrow", "teacher")
        if getattr(config, name)
    }
    return dataclasses.replace(config, **paths)


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ModuleNotFoundError as error:
            raise ImportError("training on Python 3.10: pip install 'openpaf[train]'") from error
    return tomllib.loads(text)


def _resolve(row: SetConfig, folder: Path) -> SetConfig:
    return dataclasses.replace(
        row,
        annotations=str(folder / row.annotations),
        images=str(folder / row.images),
        holdout=(row.holdout[0], row.holdout[1]) if row.holdout else None,
    )


def _as(cls: Any, values: Mapping[str, Any], where: str) -> Any:
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a table")
    known = {entry.name for entry in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(
            f"unknown key {unknown[0]!r} in {where}; known: {', '.join(sorted(known))}"
        )
    return cls(**values)
