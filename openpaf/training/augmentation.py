"""From a photo to a training crop: one affine map, colour, and blur."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openpaf.geometry import crop_affine, transform_points
from openpaf.skeleton import Skeleton
from openpaf.training.dataset import Photo


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training crops are drawn.

    Args:
        crop_px: Side of the square crop in px; a multiple of 8.
        person_px: The chosen person's longer side becomes a length in this range, log-uniform.
        max_enlarge: A photo is enlarged by at most this factor.
        rotation_deg: Standard deviation of the rotation in degrees; cut at three of them.
        shift: The person's middle lies within this share of the crop's side from its middle.
        flip: Probability of a mirrored crop.
        colour: Strength of brightness, contrast and saturation changes, 0 to 1.
        grey: Probability of a crop without colour.
        blur: Probability of a blurred crop.
    """

    crop_px: int = 288
    person_px: tuple[float, float] = (48.0, 340.0)
    max_enlarge: float = 2.5
    rotation_deg: float = 15.0
    shift: float = 0.25
    flip: float = 0.5
    colour: float = 0.3
    grey: float = 0.05
    blur: float = 0.1

    def __post_init__(self) -> None:
        if self.crop_px < 8 or self.crop_px % 8:
            raise ValueError(f"crop_px: expected a positive multiple of 8, got {self.crop_px}")
        object.__setattr__(self, "person_px", tuple(float(size) for size in self.person_px))
        if len(self.person_px) != 2 or not 0 < self.person_px[0] <= self.person_px[1]:
            raise ValueError(f"person_px: expected two rising lengths, got {self.person_px}")
        for name in ("shift", "flip", "colour", "grey", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A training crop, its people and its ignored places, all in px of the crop.

    Args:
        image: RGB, uint8 (S, S, 3).
        keypoints: (N, K, 3) x, y, v; v = 0 where unlabelled.
        ignore: (S, S) bool, True in the places that no loss looks at.
        maybe: (J, 3) rows of joint, x, y.
        affine: (2, 3) map from px of the photo to px of the crop.
    """

    image: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    ignore: NDArray[np.bool_]
    maybe: NDArray[np.float32]
    affine: NDArray[np.float64]


def random_crop(
    image: NDArray[np.uint8],
    photo: Photo,
    config: AugmentConfig,
    skeleton: Skeleton,
    rng: np.random.Generator,
) -> Crop:
    """Draw a crop around one of a photo's people.

    Args:
        image: RGB, uint8 (H, W, 3).
        photo: What is known of it.
        config: How to draw.
        skeleton: Whose joints change places in a mirrored crop.
        rng: The only source of chance.
    """
    import cv2

    size = config.crop_px
    affine, flip = _random_affine(photo, config, rng)
    shrink = math.sqrt(abs(np.linalg.det(affine[:, :2])))
    if shrink < 0.6:  # area averaging first: warpAffine alone would alias
        factor = max(shrink * 1.2, 8 / min(image.shape[:2]))
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        sx, sy = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
        warp = affine @ np.array([[1 / sx, 0, 0.5 / sx - 0.5], [0, 1 / sy, 0.5 / sy - 0.5],
                                  [0, 0, 1]])  # fmt: skip
    else:
        small, warp = image, affine
    crop = cv2.warpAffine(
        small, warp, (size, size), flags=cv2.INTER_LINEAR, borderValue=(128, 128, 128)
    )
    keypoints = photo.keypoints.copy()
    keypoints[..., :2] = transform_points(keypoints[..., :2], affine)
    maybe = photo.maybe.copy()
    maybe[:, 1:] = transform_points(maybe[:, 1:], affine)
    if flip:
        swap = np.array(skeleton.flip_permutation)
        keypoints = keypoints[:, swap]
        maybe[:, 0] = swap[maybe[:, 0].astype(np.int64)]
    ignore = np.zeros((size, size), np.uint8)
    for x0, y0, x1, y1 in photo.ignore_boxes:
        corners = transform_points(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), affine)
        cv2.fillConvexPoly(ignore, np.rint(corners).astype(np.int32), (1,))
    return Crop(
        image=_random_colour(np.asarray(crop, np.uint8), config, rng),
        keypoints=keypoints,
        ignore=ignore.astype(bool),
        maybe=maybe,
        affine=affine,
    )


def _random_affine(
    photo: Photo, config: AugmentConfig, rng: np.random.Generator
) -> tuple[NDArray[np.float64], bool]:
    keypoints = photo.keypoints[rng.integers(len(photo.keypoints))]
    labelled = keypoints[keypoints[:, 2] > 0, :2]
    low, high = labelled.min(axis=0), labelled.max(axis=0)
    # Joints end at eyes and ankles; a lone face must not be blown up to a whole person's size.
    extent = max(float((high - low).max()) * 1.15, 16.0)
    if len(labelled) < 8:
        extent *= 2
    wanted = math.exp(rng.uniform(*np.log(config.person_px)))
    scale = min(wanted / extent, config.max_enlarge)
    reach = config.shift * config.crop_px / scale
    center = (low + high) / 2 + rng.uniform(-reach, reach, 2)
    rotation = float(np.clip(rng.normal(), -3, 3)) * config.rotation_deg
    flip = bool(rng.random() < config.flip)
    size = (config.crop_px, config.crop_px)
    return crop_affine((center[0], center[1]), scale, rotation, flip, size), flip


def _random_colour(
    image: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    import cv2

    values = image.astype(np.float32)
    grey = values @ np.array([0.299, 0.587, 0.114], np.float32)
    saturation = rng.uniform(1 - config.colour, 1 + config.colour)
    if rng.random() < config.grey:
        saturation = 0.0
    values = grey[..., None] + (values - grey[..., None]) * np.float32(saturation)
    contrast = rng.uniform(1 - config.colour, 1 + config.colour)
    brightness = rng.uniform(-config.colour, config.colour) * 96
    tint = rng.uniform(-config.colour, config.colour, 3) * 24
    values = (values - 128) * np.float32(contrast) + (128 + brightness + tint).astype(np.float32)
    out = np.clip(values, 0, 255).astype(np.uint8)
    if rng.random() < config.blur:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), rng.uniform(0.5, 1.5)), np.uint8)
    return out
