"""How a training crop is drawn from an image: one affine map, color and blur.

All chance is in the plan, pixels are made from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.geometry import crop_affine, transform_points
from openpaf.skeleton import Skeleton
from openpaf.training.config import AugmentConfig
from openpaf.training.data.dataset import Photo
from openpaf.training.data.rendering import fill, outlines, recolor, warp

_SURROUNDINGS = 0.25  # of a person's longer side
_LEAST_SURROUNDINGS_PX = 16.0


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of a crop, in its px.

    Args:
        keypoints: (N, K, 3) x, y, v; v = 0 where unlabeled.
        uncertain_joints: (J, 3) joint, x, y: neither targets nor background.
        ignore: (P, 2) polygons of the ignore regions.
    """

    keypoints: NDArray[np.float32]
    uncertain_joints: NDArray[np.float32]
    ignore: tuple[NDArray[np.float32], ...]

    @classmethod
    def of(cls, photo: Photo, affine: NDArray[np.float64], mirrored: Skeleton | None) -> Labels:
        """A photo's labels after an affine map; with a skeleton, left and right change places."""
        keypoints, uncertain = photo.keypoints.copy(), photo.uncertain_joints.copy()
        keypoints[..., :2] = transform_points(keypoints[..., :2], affine)
        uncertain[:, 1:] = transform_points(uncertain[:, 1:], affine)
        if mirrored is not None:
            swap = np.array(mirrored.flip_permutation)
            keypoints = keypoints[:, swap]
            uncertain[:, 0] = swap[uncertain[:, 0].astype(np.int64)]
        ignore = tuple(transform_points(shape, affine) for shape in photo.ignore_outlines)
        return cls(keypoints=keypoints, uncertain_joints=uncertain, ignore=ignore)


@dataclass(frozen=True, kw_only=True)
class CropPlan:
    """Everything about a crop but its pixels.

    Args:
        photo: Whose pixels.
        affine: (2, 3) from px of the image to px of the crop.
        size: Side of the crop in px.
        labels: Its people and its ignore regions, in px of the crop.
        unlabeled: Joints that the image's set labels in no person.
        fully_annotated: Whether what is not labeled is background.
        saturation: Factor on color; 0 is gray.
        contrast: Factor on the distance from middle gray.
        offset: (3,) added to red, green and blue.
        blur: Standard deviation of a Gaussian blur in px, 0 for none.
    """

    photo: Photo
    affine: NDArray[np.float64]
    size: int
    labels: Labels
    unlabeled: frozenset[int]
    fully_annotated: bool
    saturation: float
    contrast: float
    offset: NDArray[np.float64]
    blur: float

    def render(self, read: Callable[[Photo], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The pixels of the crop, RGB, uint8 (S, S, 3).

        Args:
            read: Gives the pixels of an image, RGB, uint8 (H, W, 3).

        Raises:
            ImageError: If ``read`` does.
        """
        pixels = self.warped(read)
        return recolor(pixels, self.saturation, self.contrast, self.offset, self.blur)

    def warped(self, read: Callable[[Photo], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The pixels before colors change, RGB, uint8 (S, S, 3)."""
        return warp(read(self.photo), self.affine, (self.size, self.size))

    def ignored_px(self) -> NDArray[np.bool_]:
        """(S, S) True in ignore regions."""
        return fill(self.labels.ignore, self.size)

    def unknown_px(self) -> NDArray[np.bool_]:
        """(S, S) True where there may be people whom the labels miss.

        That is nowhere if the image is fully annotated, otherwise outside the boxes of labeled
        people: those of their labeled joints, larger by a quarter of the longer side, 16 px at
        least, on every side.
        """
        if self.fully_annotated:
            return np.zeros((self.size, self.size), bool)
        labeled = [one[one[:, 2] > 0, :2] for one in self.labels.keypoints]
        boxes = [_surroundings(xy) for xy in labeled if len(xy)]
        return ~fill([shape for box in boxes for shape in outlines(None, box)], self.size)


def _surroundings(xy: NDArray[np.float32]) -> list[float]:
    """The enlarged box of joints (K, 2): x0, y0, x1, y1."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    margin = max(_SURROUNDINGS * (high - low).max(), _LEAST_SURROUNDINGS_PX)
    return [*(low - margin), *(high + margin)]


def plan_crop(
    photo: Photo, config: AugmentConfig, skeleton: Skeleton, rng: np.random.Generator
) -> CropPlan:
    """Draw a crop around one of an image's people.

    Args:
        photo: The image.
        config: How to draw.
        skeleton: Whose joints change places in a mirrored crop.
        rng: The only source of chance.
    """
    affine, flip = _random_affine(photo, config, rng)
    return CropPlan(
        photo=photo,
        affine=affine,
        size=config.crop_px,
        labels=Labels.of(photo, affine, skeleton if flip else None),
        unlabeled=frozenset(photo.unlabeled),
        fully_annotated=photo.fully_annotated,
        **_random_color(config, rng),
    )


def _random_affine(
    photo: Photo, config: AugmentConfig, rng: np.random.Generator
) -> tuple[NDArray[np.float64], bool]:
    keypoints = photo.keypoints[rng.integers(len(photo.keypoints))]
    labeled = keypoints[keypoints[:, 2] > 0, :2]
    low, high = labeled.min(axis=0), labeled.max(axis=0)
    # Joints end at eyes and ankles; a lone face must not be blown up to a whole person's size.
    extent = max(float((high - low).max()) * 1.15, 16.0)
    if 2 * len(labeled) < len(keypoints) - 1:  # fewer than 8 of COCO's 17
        extent *= 2
    size_px = math.exp(rng.uniform(*np.log(config.person_px)))
    scale = min(size_px / extent, config.max_enlarge)
    if photo.size_hw is not None:
        scale = max(scale, config.min_cover * config.crop_px / max(photo.size_hw))
    reach = config.shift * config.crop_px / scale
    center = (low + high) / 2 + rng.uniform(-reach, reach, 2)
    rotation = float(np.clip(rng.normal(), -3, 3)) * config.rotation_deg
    flip = bool(rng.random() < config.flip)
    size = (config.crop_px, config.crop_px)
    return crop_affine((center[0], center[1]), scale, rotation, flip, size), flip


def _random_color(config: AugmentConfig, rng: np.random.Generator) -> dict[str, Any]:
    saturation = rng.uniform(1 - config.color, 1 + config.color)
    if rng.random() < config.gray:
        saturation = 0.0
    contrast = rng.uniform(1 - config.color, 1 + config.color)
    brightness = rng.uniform(-config.color, config.color) * 96
    tint = rng.uniform(-config.color, config.color, 3) * 24
    blur = rng.uniform(0.5, 1.5) if rng.random() < config.blur else 0.0
    return {
        "saturation": saturation, "contrast": contrast, "offset": brightness + tint, "blur": blur
    }  # fmt: skip
