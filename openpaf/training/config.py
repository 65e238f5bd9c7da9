"""What a training run is: the tables of its configuration, checked before anything starts."""

from __future__ import annotations

from typing import Any, Literal

from openpaf.skeleton import Skeleton
from openpaf.training.tables import (
    Count,
    CountOrZero,
    Decay,
    Finite,
    Positive,
    PositiveOrZero,
    Share,
    Table,
)

#: Skeletons of networks that are trained on labels of COCO's 17 joints.
SKELETONS = {skeleton.name: skeleton for skeleton in (Skeleton.COCO17, Skeleton.COCO18_REDUNDANT)}


class SetConfig(Table, frozen=True, kw_only=True):
    """One set of images; see :func:`openpaf.training.data.dataset.load_photo_set`.

    Args:
        annotations: A JSON file in COCO-keypoints format.
        images: The folder of the images.
        name: For reports; the folder of the annotations if None.
        weight: Share of the crops, relative to the other sets'.
        fully_annotated: Whether everything outside labels and ignore regions is background. If not,
            a teacher says what is there; without one nothing counts there, but around the people
            that are labeled.
        min_agreement: Images with a person whose ``agree`` is lower are left out.
        holdout: ``[r, n]`` leaves out every n-th image, whose position leaves the remainder r.
        masks: What ignore regions are: ``"boxes"``, or ``"segments"`` where there are some; boxes
            of crowds hide much of what is labeled around them.
    """

    annotations: str
    images: str
    name: str | None = None
    weight: PositiveOrZero = 1.0
    fully_annotated: bool = True
    min_agreement: Finite = 0.0
    holdout: tuple[CountOrZero, Count] | None = None
    masks: Literal["boxes", "segments"] = "boxes"

    def check(self) -> None:
        if self.holdout is not None and self.holdout[0] >= self.holdout[1]:
            raise ValueError(f"holdout: expected [r, n] with r below n, got {list(self.holdout)}")


class DataConfig(Table, frozen=True, kw_only=True):
    """``[data]``: what is learned from.

    Args:
        sets: The images to train on.
        index: A file of more ``[[sets]]``, as ``data/<set>/prepare.py`` writes it.
        category: Name of the category that is learned, where the annotations have several with
            joints; the only one, or the one called person, if None.
        skeleton: A TOML or JSON file of the joints and limbs that are learned, see
            :func:`openpaf.read_skeleton`; the category's of the first set if None, of people COCO's
            17 joints. The sets' joints are matched by name. Of people also ``"coco17"``, or
            ``"coco18_redundant"``, whose neck the network has, and labels and results do not.
        validation: The images by whose AP the best weights are chosen, or None.
        workers: Threads that prepare batches.
    """

    sets: tuple[SetConfig, ...] = ()
    index: str | None = None
    category: str | None = None
    skeleton: str | None = None
    validation: SetConfig | None = None
    workers: Count = 2

    def check(self) -> None:
        if not self.sets and self.index is None:
            raise ValueError("sets: expected at least one [[data.sets]], or an index of some")


class NetworkConfig(Table, frozen=True, kw_only=True):
    """``[network]``: what learns.

    Args:
        name: As for :func:`openpaf.networks.build`; that of the weights, or ``"lightweight"``, if
            None. One of Mask R-CNN, e.g. ``"maskrcnn_mobilenet_v2_fpn"``, is trained as a detector.
        options: Arguments of its builder.
        weights: A model to start from, by file or name, e.g. ``"default"``. Its network, grids,
            input and skeleton are taken; where labels have other joints, its heads are new. Fresh
            weights if None.
        trunk: A classifier of ImageNet whose layers the trunk starts from:
            ``mobilenet_v2_1.0.npz`` for MobileNetV2, torchvision's ``vgg19`` for CMU's networks.
    """

    name: str | None = None
    options: dict[str, Any] = {}  # noqa: RUF012  # msgspec copies it
    weights: str | None = None
    trunk: str | None = None

    def check(self) -> None:
        if self.trunk is not None and self.weights is not None:
            raise ValueError("trunk: expected none beside weights")


class TargetsConfig(Table, frozen=True, kw_only=True):
    """``[targets]``: what a network is to give, and what of it counts how much in the loss.

    Args:
        grid_offsets: Of the grids of heatmaps and PAFs in px; ``(stride - 1) / 2`` if None.
        sigma_px: Standard deviation of a joint's Gaussian in px; what the initial weights were
            trained on if None, see :func:`openpaf.training.style.target_style`.
        paf_half_width_px: A limb's field reaches this far to either side, in px; None as above.
        heatmap_weight: Factor on the heatmaps' error; the PAFs' is ten to twenty times as large,
            and would rule what is learned.
    """

    grid_offsets: tuple[Finite, Finite] | None = None
    sigma_px: Positive | None = None
    paf_half_width_px: Positive | None = None
    heatmap_weight: Positive = 10.0


class OptimizerConfig(Table, frozen=True, kw_only=True):
    """``[optimizer]``: how it is learned, and what is kept on the way.

    Args:
        name: ``"adamw"``, or ``"sgd"`` with Nesterov's momentum.
        steps: Of the whole run.
        batch_size: Crops a step, over all processes.
        learning_rate: After warm-up; it falls as a half cosine to a twentieth.
        trunk_rate: Factor on the rate for the trunk; 0 freezes the trunk.
        warmup: Steps over which the rate rises.
        weight_decay: Of AdamW, decoupled; of SGD, added to the gradient.
        clip: Largest gradient norm.
        average: Decay of the running average of weights, which is what is saved.
        precision: ``"float32"``, ``"bfloat16"``, ``"float16"`` with a scaled loss, or ``"auto"``:
            bfloat16 where it is faster here by a short measurement. Detectors train in float32.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between validations.
        validation_size: Short side in px at validation.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    steps: Count = 1000
    batch_size: Count = 8
    learning_rate: Positive = 1e-4
    trunk_rate: Share = 1.0
    warmup: CountOrZero = 100
    weight_decay: PositiveOrZero = 1e-4
    clip: Positive = 10.0
    average: Decay = 0.998
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    checkpoint_every: Count = 100
    validate_every: Count = 500
    validation_size: Count = 368


class AugmentConfig(Table, frozen=True, kw_only=True):
    """``[augment]``: how training crops are drawn.

    Args:
        crop_px: Side of the square crop in px; a multiple of 8.
        person_px: The chosen person's longer side becomes a length in this range, log-uniform.
        max_enlarge: An image is enlarged by at most this factor.
        min_cover: An image is shrunk no further than to where its longer side covers this share of
            the crop's side; without it, a person who fills a small image leaves most of the crop
            gray. 0 lets every image shrink.
        rotation_deg: Standard deviation of the rotation in degrees; cut at three of them.
        shift: The person's center lies within this share of the crop's side from its center.
        flip: Probability of a mirrored crop.
        color: Strength of brightness, contrast and saturation changes.
        gray: Probability of a crop without color.
        blur: Probability of a blurred crop.
    """

    crop_px: Count = 288
    person_px: tuple[Positive, Positive] = (48.0, 340.0)
    max_enlarge: Positive = 2.5
    min_cover: Share = 0.0
    rotation_deg: PositiveOrZero = 15.0
    shift: Share = 0.25
    flip: Share = 0.5
    color: Share = 0.3
    gray: Share = 0.05
    blur: Share = 0.1

    def check(self) -> None:
        if self.crop_px % 8:
            raise ValueError(f"crop_px: expected a multiple of 8, got {self.crop_px}")
        if self.person_px[0] > self.person_px[1]:
            raise ValueError(f"person_px: expected two rising lengths, got {self.person_px}")


class DistillationConfig(Table, frozen=True, kw_only=True):
    """``[distillation]``: what is learned from another network.

    Args:
        teacher: A safetensors file of this library. Its fields stand in for labels where a set is
            not fully annotated.
        weight: The teacher's share in the targets where labels are.
        inside_ignore_regions: Whether the teacher's fields are used as targets inside ignore
            regions and at uncertain joints; for a teacher that knows every limb.
    """

    teacher: str | None = None
    weight: Share = 0.0
    inside_ignore_regions: bool = False

    def check(self) -> None:
        if not self.teacher and (key := self.changed("weight", "inside_ignore_regions")):
            raise ValueError(f"{key[0]}: expected a teacher beside it, got none")


class TrainConfig(Table, frozen=True, kw_only=True):
    """One training run.

    Args:
        output: Folder of checkpoints, log and weights.
        name: Of the trained model, and of the file of its weights.
        seed: Fixes crops and new weights.

    The other arguments are tables. Paths in a file are relative to it.
    """

    output: str
    name: str = "model"
    seed: CountOrZero = 0
    data: DataConfig
    network: NetworkConfig = NetworkConfig()
    targets: TargetsConfig = TargetsConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    augment: AugmentConfig = AugmentConfig()
    distillation: DistillationConfig = DistillationConfig()
