"""What a training run is, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from openpaf.fields import PAF_HALF_WIDTH_PX, SIGMA_PX
from openpaf.geometry import Grid
from openpaf.networks.lightweight import TRUNK_WIDTHS
from openpaf.skeleton import Skeleton
from openpaf.training.data.augmentation import AugmentConfig

#: Engines that may run a teacher: which one is not left to a measurement, so that runs are alike.
TEACHER_RUNTIMES = ("torch", "onnx", "openvino", "openvino-bf16")
SKELETONS = {skeleton.name: skeleton for skeleton in (Skeleton.COCO17, Skeleton.COCO18_REDUNDANT)}


@dataclass(frozen=True, kw_only=True)
class SetConfig:
    """One set of photos; see :func:`openpaf.training.data.dataset.load_photo_set`.

    Paths are relative to the configuration file.
    """

    annotations: str
    images: str
    name: str | None = None
    weight: float = 1.0
    fully_annotated: bool = True
    min_agreement: float = 0.0
    holdout: tuple[int, int] | None = None
    masks: str = "boxes"

    def __post_init__(self) -> None:
        if self.masks not in ("boxes", "segments"):
            raise ValueError(f"masks: expected boxes or segments, got {self.masks!r}")


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
        teacher: A teacher for photos whose background is not trusted: a safetensors file of this
            library, with the grids and the skeleton of ours.
        teacher_runtime: What runs a teacher that is a safetensors file: ``"torch"``, or an engine
            of :func:`openpaf.engines.load.load_engine`; some processors are twice as fast with
            ``"openvino-bf16"``. Hints need torch.
        teacher_scales: The teacher looks at the crops resized by each of these, and what it says is
            the mean; see :class:`openpaf.training.distillation.multi_scale_teacher.SeveralLooks`.
        teacher_mirrored: So it looks at their mirror images too, none where empty.
        teacher_share: The teacher's share in the targets where labels are; see
            :class:`openpaf.training.losses.Teacher`.
        teacher_unmasks: Whether the teacher's fields are taught where labels are unsure or ignored,
            and nothing would be taught without; for a teacher that knows every limb.
        hint_weight: Weight of hidden features in the loss, drawn to the teacher's; see
            :class:`openpaf.training.distillation.feature_hints.Hints`.
        feature_steps: For so many steps at first, only the features that the stages share are
            drawn to the teacher's, which is much quicker than a whole step; in one process.
        n_refinement_stages: Stages after the initial one.
        width: Channels of the features that the stages share.
        ranks: Of the 3x3 convolutions of context block, initial stage and refinement stages, whole
            where 0, all of them if empty; see :class:`openpaf.networks.LightweightNetwork`.
        hidden_width: Hidden channels of the initial stage's heads, ``4 * width`` if None.
        refinement_width: Channels of the refinement stages, ``width`` if None.
        refinement_hidden_width: Those between the two 3x3 convolutions of a refinement block, as
            many if None.
        atrous: Whether the trunk stays at stride 8, dilated, or is strided once more and brought
            back to stride 8 by a pyramid.
        picture_scales: The network is shown each batch resized by one of these, above 0 and at most
            1, drawn at random; its teacher sees the crops as they are, and so knows small people
            that no network finds at that size. See
            :mod:`openpaf.training.distillation.target_resampling`.
        heatmap_offset: Grid offset of the heatmaps in px.
        paf_offset: Grid offset of the PAFs in px.
        sigma_px: Standard deviation of a joint's Gaussian in the targets, in px. Fine-tuning does
            least harm with the width that the initial weights were trained with.
        paf_half_width_px: A limb's field in the targets reaches this far to either side, in px.
        steps: Optimiser steps of the whole run.
        batch_size: Crops a step, over all processes.
        reused_crops: So many crops are made once, with what the teacher says of them, kept in the
            folder ``crops`` of the output (0.8 MB a crop of 256 px), and learned from again and
            again; 0 makes every crop anew. See
            :class:`openpaf.training.distillation.cached_crops.ReusedCrops`.
        optimizer: ``"adamw"``, ``"sgd"`` with Nesterov's momentum, or ``"muon"``; see
            :class:`openpaf.training.muon.Muon`.
        momentum: Of SGD.
        learning_rate: After warm-up; it falls as a half cosine to a twentieth.
        trunk_rate: Factor on it for the trunk; 0 freezes the trunk.
        frozen_layers: So many layers of the trunk, counted from the picture, do not learn.
        warmup: Steps over which the rate rises.
        weight_decay: Of AdamW, decoupled; of SGD, added to the gradient.
        heatmap_weight: Factor on the heatmaps' error in the loss.
        peak_weight: Cells at peaks, weak ones most, count up to so much more in the heatmaps' error
            than others; see :func:`openpaf.training.losses.near_peaks`.
        clip: Largest gradient norm.
        average: Decay of the running average of weights, which is what is saved.
        precision: ``"float32"``, ``"bfloat16"``, ``"float16"`` with a scaled loss, or ``"auto"``:
            bfloat16 where it is faster here by a short measurement.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between validations.
        size: Short side in px at validation.
        workers: Threads that prepare batches.
        data_on_device: ``"yes"`` holds all photos on the device of the network, as uint8, and makes
            crops and targets there; ``"no"`` makes them on the processor; ``"auto"`` is yes on a
            GPU that has the memory.
        tensorboard: Whether figures are written for TensorBoard too, where it is installed.
        seed: Fixes crops and new weights.
        augment: How crops are drawn.
    """

    output: str
    sets: tuple[SetConfig, ...]
    validation: SetConfig | None = None
    name: str = "lightweight-coco17"
    skeleton: str = "coco17"
    init: str | None = None
    teacher: str | None = None
    teacher_runtime: str = "torch"
    teacher_scales: tuple[float, ...] = (1.0,)
    teacher_mirrored: tuple[float, ...] = ()
    teacher_share: float = 0.0
    teacher_unmasks: bool = False
    hint_weight: float = 0.0
    feature_steps: int = 0
    n_refinement_stages: int = 1
    width: int = 128
    ranks: tuple[int, ...] = ()
    hidden_width: int | None = None
    refinement_width: int | None = None
    refinement_hidden_width: int | None = None
    atrous: bool = True
    picture_scales: tuple[float, ...] = (1.0,)
    heatmap_offset: float = 3.5
    paf_offset: float = 3.5
    sigma_px: float = SIGMA_PX
    paf_half_width_px: float = PAF_HALF_WIDTH_PX
    steps: int = 1000
    batch_size: int = 8
    reused_crops: int = 0
    optimizer: str = "adamw"
    momentum: float = 0.9
    learning_rate: float = 1e-4
    trunk_rate: float = 1.0
    frozen_layers: int = 0
    warmup: int = 100
    weight_decay: float = 1e-4
    heatmap_weight: float = 1.0
    peak_weight: float = 0.0
    clip: float = 10.0
    average: float = 0.998
    precision: str = "auto"
    checkpoint_every: int = 100
    validate_every: int = 500
    size: int = 368
    workers: int = 2
    data_on_device: str = "auto"
    tensorboard: bool = True
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
        for name, allowed in (
            ("skeleton", tuple(SKELETONS)),
            ("optimizer", ("adamw", "sgd", "muon")),
            ("precision", ("auto", "float32", "bfloat16", "float16")),
            ("data_on_device", ("auto", "yes", "no")),
            ("teacher_runtime", TEACHER_RUNTIMES),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        for name in ("heatmap_weight", "clip", "sigma_px", "paf_half_width_px"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected > 0, got {getattr(self, name)}")
        if not self.peak_weight >= 0:
            raise ValueError(f"peak_weight: expected >= 0, got {self.peak_weight}")
        for name in ("average", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 0 to below 1, got {getattr(self, name)}")
        if not 0 <= self.teacher_share <= 1:
            raise ValueError(f"teacher_share: expected 0 to 1, got {self.teacher_share}")
        if self.hint_weight < 0 or (self.hint_weight and not self.teacher):
            raise ValueError("hint_weight: expected >= 0, and a teacher that gives the hints")
        if self.feature_steps < 0 or (self.feature_steps and not self.hint_weight):
            raise ValueError("feature_steps: expected >= 0, and a hint_weight above 0")
        if self.reused_crops < 0 or (self.reused_crops and self.feature_steps):
            raise ValueError("reused_crops: expected >= 0, and no feature_steps")
        if not 0 <= self.frozen_layers <= len(TRUNK_WIDTHS) + 1:
            raise ValueError(
                f"frozen_layers: expected 0 to {len(TRUNK_WIDTHS) + 1}, got {self.frozen_layers}"
            )
        if not self.picture_scales or not all(0 < scale <= 1 for scale in self.picture_scales):
            raise ValueError(
                f"picture_scales: expected numbers above 0 and at most 1, got {self.picture_scales}"
            )
        resampled = set(self.picture_scales) != {1.0}
        widths = self.sigma_px, self.paf_half_width_px
        if resampled and widths != (SIGMA_PX, PAF_HALF_WIDTH_PX):
            raise ValueError(
                f"sigma_px, paf_half_width_px: expected {SIGMA_PX} and {PAF_HALF_WIDTH_PX} where "
                f"targets are resampled (picture_scales), got {widths[0]} and {widths[1]}"
            )
        if self.hint_weight and resampled:
            raise ValueError("hint_weight: expected 0 where the network sees less than its teacher")
        if self.teacher_runtime != "torch" and (self.hint_weight or not self.teacher):
            raise ValueError(
                "teacher_runtime: expected torch with hint_weight or without a teacher, "
                f"got {self.teacher_runtime!r}"
            )
        if self.teacher_unmasks and not self.teacher:
            raise ValueError("teacher_unmasks: expected a teacher that speaks where labels do not")
        looks = (*self.teacher_scales, *self.teacher_mirrored)
        if not looks or not all(scale > 0 for scale in looks):
            raise ValueError(
                "teacher_scales, teacher_mirrored: expected numbers above 0, at least one, "
                f"got {self.teacher_scales}, {self.teacher_mirrored}"
            )
        if looks != (1.0,) and (self.hint_weight or not self.teacher):
            raise ValueError(
                "teacher_scales, teacher_mirrored: expected [1.0] and [] with hint_weight or "
                f"without a teacher, got {self.teacher_scales}, {self.teacher_mirrored}"
            )
        for name in ("ranks", "picture_scales", "teacher_scales", "teacher_mirrored"):
            object.__setattr__(self, name, tuple(getattr(self, name)))


def network_options(config: TrainConfig) -> dict[str, Any]:
    """The options of a run's network, as its weights' description has them."""
    return {
        "n_refinement_stages": config.n_refinement_stages,
        "width": config.width,
        "ranks": list(config.ranks) or None,
        "hidden_width": config.hidden_width,
        "refinement_width": config.refinement_width,
        "refinement_hidden_width": config.refinement_hidden_width,
        "atrous": config.atrous,
    }


def target_grids(config: TrainConfig) -> tuple[Grid, Grid]:
    """Grids of heatmaps and PAFs: of a run's targets, and of its network."""
    return Grid(8, config.heatmap_offset), Grid(8, config.paf_offset)
