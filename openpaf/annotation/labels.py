"""What a model's people are as labels: sure joints, and doubtful people that are ignored."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.errors import printable
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

# Joints stop at eyes, wrists and ankles; training takes the same margin where no box is labeled.
_MARGIN = 0.1
_LEAST_MARGIN_PX = 2.0
_MAX_PX = 1e9
_OUTSIDE_PX = 2.0  # a joint so far outside of the image is moved to its border, others are no label
#: The share of the box that COCO's masks of people fill, on average.
BOX_SHARE = 0.53


#: What XML cannot hold, or no encoding.
NO_TEXT = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Which people and joints become labels.

    Args:
        threshold: People of this score and more are labels.
        ignore_threshold: People from this score up to ``threshold`` are doubtful: ignore regions
            for training and evaluation. Those below are left out.
        joint_threshold: Joints below this score are unlabeled.

    Raises:
        ValueError: If a threshold is negative or not finite, or ``ignore_threshold`` is above
            ``threshold``.
    """

    threshold: float = 0.5
    ignore_threshold: float = 0.1
    joint_threshold: float = 0.2

    def __post_init__(self) -> None:
        for name in ("threshold", "ignore_threshold", "joint_threshold"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ValueError(f"{name}: expected a number, 0 or more, got {value!r}")
        if self.ignore_threshold > self.threshold:
            raise ValueError(
                f"ignore_threshold: expected at most the threshold, {self.threshold:g}, "
                f"got {self.ignore_threshold:g}"
            )


@dataclass(frozen=True, kw_only=True)
class PersonLabel:
    """One labeled person.

    Args:
        keypoints: (K, 3) float64: x and y in px, and COCO's v: 2, 1 where a labeler has marked the
            joint as hidden, or 0 with x and y 0 where unlabeled.
        joint_scores: (K,) float64, 0 where unlabeled.
        box: x, y, width and height in px, inside of the image.
        score: Of the person, 0 or more.
        is_doubtful: Whether the person is an ignore region, to be confirmed or deleted.
        area_px: The labeled area in px^2, if there is one.
        segmentation: COCO's polygons or run lengths of the person, if there are any.

    Raises:
        ValueError: If a number is not finite, or too large to be a place in an image.
    """

    keypoints: NDArray[np.float64]
    joint_scores: NDArray[np.float64]
    box: tuple[float, float, float, float]
    score: float
    is_doubtful: bool
    area_px: float | None = None
    segmentation: Any = None

    def __post_init__(self) -> None:
        if not (np.abs([*self.keypoints.ravel(), *self.box]) < _MAX_PX).all():
            raise ValueError("expected finite places of joints and boxes, in px of the image")

    @property
    def area(self) -> float:
        """Area of the person in px^2; where none is labeled, estimated as 0.53 of the box.

        Reference:
            The mean share of people's masks in their boxes; mmpose and xtcocotools take the same
            for sets without masks.
        """
        if self.area_px is not None:
            return self.area_px
        return round(BOX_SHARE * self.box[2] * self.box[3], 2)

    @property
    def n_labeled(self) -> int:
        """Number of labeled joints."""
        return int((self.keypoints[:, 2] > 0).sum())


@dataclass(frozen=True, kw_only=True)
class LabeledImage:
    """The labels of one image.

    Args:
        file_name: Relative to the set's folder of images, with ``/``.
        image_hw: Height and width in px, upright.
        people: Best first.
        id: COCO's id of the image, if it has one.

    Raises:
        ValueError: If the size is not above 0, or the name has characters that files of labels
            cannot hold.
    """

    file_name: str
    image_hw: tuple[int, int]
    people: tuple[PersonLabel, ...]
    id: int | None = None

    @property
    def sure_people(self) -> tuple[PersonLabel, ...]:
        """Those with a labeled joint who are no ignore regions; some formats have only these."""
        return tuple(one for one in self.people if one.n_labeled and not one.is_doubtful)

    def __post_init__(self) -> None:
        if min(self.image_hw) <= 0:
            height, width = self.image_hw
            raise ValueError(
                f"image '{printable(self.file_name)}': expected a size above 0, got {width} x "
                f"{height} px"
            )
        if NO_TEXT.search(self.file_name):
            raise ValueError(
                f"image '{printable(self.file_name)}': label files cannot hold its name"
            )


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """The labels of many images.

    Args:
        images: The images, in order.
        skeleton: The joints of the labels.
        model: Which model made them, for the tools that show it; None where people did.
        category: What is labeled.

    Raises:
        ValueError: If the category or a joint has characters that files of labels cannot hold.
    """

    images: tuple[LabeledImage, ...]
    skeleton: Skeleton
    model: str | None = "openpaf"
    category: str = "person"

    def __post_init__(self) -> None:
        for name in (self.category, *self.skeleton.joints):
            if NO_TEXT.search(name):
                raise ValueError(f"label files cannot hold the name '{printable(name)}'")

    @property
    def limbs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of joints to draw: of COCO's 17 joints COCO's own, which ours begin with."""
        return self.skeleton.limbs[: 19 if self.skeleton == Skeleton.COCO17 else None]

    def image_ids(self) -> list[int]:
        """An id for each image: its own, or its number if all are named by different ones."""
        own = [image.id for image in self.images if image.id is not None]
        if own and len(set(own)) == len(self.images):
            return own
        stems = [image.file_name.rpartition("/")[2].rpartition(".")[0] for image in self.images]
        if all(stem.isascii() and stem.isdecimal() and len(stem) <= 18 for stem in stems):
            numbers = [int(stem) for stem in stems]
            if len(set(numbers)) == len(numbers):
                return numbers
        return list(range(1, len(stems) + 1))


def label_people(
    poses: Poses, image_hw: tuple[int, int], config: LabelConfig
) -> tuple[PersonLabel, ...]:
    """The labels of an image's people.

    A person of whom no joint is sure enough is doubtful, whatever the score.

    Args:
        poses: The people, in px of the image.
        image_hw: Its height and width in px.
        config: The thresholds.
    """
    last = np.array(image_hw[::-1], np.float64) - 1
    labels = []
    for n in np.argsort(-poses.person_scores, kind="stable"):
        score = float(poses.person_scores[n])
        if score < config.ignore_threshold:
            continue
        xy = poses.xy[n].astype(np.float64)  # NaN, where a joint is missing, is not inside
        is_inside = ((xy >= -0.5 - _OUTSIDE_PX) & (xy <= last + 0.5 + _OUTSIDE_PX)).all(axis=1)
        is_sure = is_inside & (poses.scores[n] >= max(config.joint_threshold, 1e-30))
        around = is_sure if is_sure.any() else is_inside
        if not around.any():
            continue
        xy = np.round(np.clip(np.nan_to_num(xy), 0, last), 3)
        scores = np.where(is_sure, poses.scores[n].astype(np.float64), 0)
        labels.append(
            PersonLabel(
                keypoints=np.column_stack([xy, np.full(len(xy), 2.0)]) * is_sure[:, None],
                joint_scores=scores,
                box=box_around(xy[around], image_hw),
                score=score,
                is_doubtful=score < config.threshold or not is_sure.any(),
            )
        )
    return tuple(labels)


def box_around(
    xy: NDArray[np.float64], image_hw: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The box x, y, width, height in px around joints (N, 2) and a little more, inside the image.

    Args:
        xy: The joints, at least one.
        image_hw: Height and width of the image in px.
    """
    size = np.array(image_hw[::-1], np.float64)
    low, high = xy.min(axis=0), xy.max(axis=0)
    margin = max(_MARGIN * float((high - low).max()), _LEAST_MARGIN_PX)
    low, high = np.clip(low - margin, 0, size), np.clip(high + margin, 0, size)
    x, y = np.round(low, 3).tolist()
    width, height = np.round(high - low, 3).tolist()
    return x, y, width, height
