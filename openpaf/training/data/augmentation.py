"""How a training crop is drawn from an image: one affine map, color, blur, and what is pasted.

Chance is here and pixels are in :mod:`openpaf.training.data.rendering`, so that the CPU
and a GPU draw the same crops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.geometry import crop_affine
from openpaf.skeleton import Skeleton
from openpaf.training.config import AugmentConfig
from openpaf.training.data.dataset import Photo
from openpaf.training.data.pasting import Labels, Patch, paste_occluders, paste_person


@dataclass(frozen=True, kw_only=True)
class CropPlan:
    """Everything about a crop but its pixels.

    Args:
        photo: Whose pixels.
        affine: (2, 3) from px of the image to px of the crop.
        size: Side of the crop in px.
        labels: Its people and its ignore regions, in px of the crop, those of the patches included.
        patches: Pieces of other images, in the order in which they are laid over it.
        saturation: Factor on color; 0 is gray.
        contrast: Factor on the distance from middle gray.
        offset: (3,) added to red, green and blue.
        blur: Standard deviation of a Gaussian blur in px, 0 for none.
    """

    photo: Photo
    affine: NDArray[np.float64]
    size: int
    labels: Labels
    patches: tuple[Patch, ...]
    saturation: float
    contrast: float
    offset: NDArray[np.float64]
    blur: float

    @property
    def unlabeled(self) -> frozenset[int]:
        """Joints that the set of one of its images labels in no person."""
        photos = (self.photo, *(patch.photo for patch in self.patches))
        return frozenset(joint for photo in photos for joint in photo.unlabeled)


def plan_crop(
    photo: Photo,
    config: AugmentConfig,
    skeleton: Skeleton,
    rng: np.random.Generator,
    other: Callable[[], Photo] | None = None,
) -> CropPlan:
    """Draw a crop around one of an image's people.

    Args:
        photo: The image.
        config: How to draw.
        skeleton: Whose joints change places in a mirrored crop.
        rng: The only source of chance.
        other: Draws the images that pieces are cut from; nothing is pasted without it.
    """
    affine, flip = _random_affine(photo, config, rng)
    labels = Labels.of(photo, affine, skeleton if flip else None)
    color = _random_color(config, rng)
    patches: list[Patch] = []
    size = config.crop_px
    # Chance is asked only where something may be pasted, so that other runs see the same crops.
    if other is not None and config.paste_people and rng.random() < config.paste_people:
        labels = paste_person(labels, patches, other(), config, skeleton, rng)
    if other is not None and config.occluders and rng.random() < config.occluders:
        labels = paste_occluders(labels, patches, other(), size, rng)
    return CropPlan(
        photo=photo, affine=affine, size=size, labels=labels, patches=tuple(patches), **color
    )


def _random_affine(
    photo: Photo, config: AugmentConfig, rng: np.random.Generator
) -> tuple[NDArray[np.float64], bool]:
    keypoints = photo.keypoints[rng.integers(len(photo.keypoints))]
    labeled = keypoints[keypoints[:, 2] > 0, :2]
    low, high = labeled.min(axis=0), labeled.max(axis=0)
    # Joints end at eyes and ankles; a lone face must not be blown up to a whole person's size.
    extent = max(float((high - low).max()) * 1.15, 16.0)
    if len(labeled) < 8:
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
