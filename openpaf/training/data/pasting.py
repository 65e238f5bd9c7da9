"""Pieces of other photos over a crop: occluders, and people who make a scene more crowded.

- Joints under a piece keep their labels, with v = 1 (labeled, not visible), as in COCO. No occluder
  is pasted that would hide more than half of a person's joints.
- Where a pasted person hides more than half of a person, the hidden joints lose their labels.
- A pasted person brings the labels of everything that is inside the piece.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from openpaf.geometry import crop_affine, transform_points
from openpaf.skeleton import Skeleton
from openpaf.training.config import AugmentConfig
from openpaf.training.data.dataset import Photo

_TRIES = 12  # places that are tried for a piece before it is given up
_MAX_HIDDEN = 0.5  # share of a person's joints


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A piece of another photo, in the shape of a superellipse.

    Args:
        photo: Whose pixels.
        affine: (2, 3) from px of that photo to px of the crop.
        center: (2,) in px of the crop.
        axes: (2,) half axes in px.
        angle: Of the first axis, in radians.
        power: 2 gives an ellipse, more goes towards a rectangle.
    """

    photo: Photo
    affine: NDArray[np.float64]
    center: NDArray[np.float64]
    axes: NDArray[np.float64]
    angle: float
    power: float

    def distance(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Of points (..., 2) in px of the crop: below 1 inside, 1 on the edge."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turned = (np.asarray(xy, np.float64) - self.center) @ np.array([[cos, -sin], [sin, cos]])
        return (np.abs(turned / self.axes) ** self.power).sum(axis=-1) ** (1 / self.power)

    def opacity(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """0 to 1, with an edge of about 2 px, as a camera's would be."""
        soft = 0.5 + (1 - self.distance(xy)) * float(self.axes.min()) / 2
        return np.clip(soft, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of a crop, in its px.

    Args:
        keypoints: (N, K, 3) x, y, v; v = 0 where unlabeled.
        uncertain_joints: (J, 3) joint, x, y: neither targets nor background.
        ignore: (P, 2) polygons of the ignore regions.
        layers: Of each of them, 0 for the photo's, else the number of the patch that brought it;
            later patches hide it.
    """

    keypoints: NDArray[np.float32]
    uncertain_joints: NDArray[np.float32]
    ignore: tuple[NDArray[np.float32], ...]
    layers: tuple[int, ...]

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
        shapes = photo.ignore_outlines
        if shapes is None:
            shapes = tuple(
                photo.ignore_boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]].reshape(-1, 4, 2)
            )
        return cls(
            keypoints=keypoints,
            uncertain_joints=uncertain,
            ignore=tuple(transform_points(shape, affine) for shape in shapes),
            layers=(0,) * len(shapes),
        )

    def hidden_by(self, patch: Patch) -> NDArray[np.bool_]:
        """(N, K) which labeled joints are under a patch."""
        return (patch.distance(self.keypoints[..., :2]) < 1) & (self.keypoints[..., 2] > 0)


def paste_occluders(
    labels: Labels, patches: list[Patch], photo: Photo, size: int, rng: np.random.Generator
) -> Labels:
    """Lay one to three pieces without people over joints.

    Args:
        labels: Of the crop so far.
        patches: Gets the pieces.
        photo: Where they are cut from.
        size: Side of the crop in px.
        rng: The source of chance.

    Returns:
        The labels, with v = 1 for what is hidden now.
    """
    keypoints = labels.keypoints.copy()
    labeled = keypoints[..., 2] > 0
    inside = labeled & ((keypoints[..., :2] >= 0) & (keypoints[..., :2] < size)).all(axis=-1)
    places = keypoints[inside][:, :2]
    hidden = np.zeros_like(labeled)
    for _ in range(int(rng.integers(1, 4)) if len(places) else 0):
        patch = _piece_without_people(photo, places[rng.integers(len(places))], size, rng)
        if patch is None:
            continue
        after = hidden | labels.hidden_by(patch)
        if (after.sum(axis=1) <= _MAX_HIDDEN * labeled.sum(axis=1)).all():
            patches.append(patch)
            hidden = after
    keypoints[hidden, 2] = 1
    return replace(labels, keypoints=keypoints)


def _piece_without_people(
    photo: Photo, joint: NDArray[np.float32], size: int, rng: np.random.Generator
) -> Patch | None:
    """A piece of a photo beside its people, around a joint; None where there is no room."""
    if photo.size_hw is None:
        return None
    axes = size * np.exp(rng.uniform(math.log(0.03), math.log(0.15), 2))
    center = joint + rng.uniform(-0.5, 0.5, 2) * axes
    boxes = np.concatenate([photo.boxes, photo.ignore_boxes])
    scale = math.exp(rng.uniform(math.log(0.7), math.log(2)))
    reach = float(np.hypot(*axes)) / scale  # whatever the angle
    angle, power = rng.uniform(0, math.pi), float(rng.choice([2.0, 2.0, 8.0]))
    room = np.array(photo.size_hw[::-1]) - 1 - 2 * reach
    if room.min() <= 0:
        return None
    for _ in range(_TRIES):
        source = reach + rng.uniform(0, 1, 2) * room
        low, high = source - reach, source + reach
        if not ((boxes[:, :2] < high) & (boxes[:, 2:] > low)).all(axis=1).any():
            affine = _moved(source, center, scale)
            return Patch(
                photo=photo, affine=affine, center=center, axes=axes, angle=angle, power=power
            )
    return None


def paste_person(
    labels: Labels,
    patches: list[Patch],
    photo: Photo,
    config: AugmentConfig,
    skeleton: Skeleton,
    rng: np.random.Generator,
) -> Labels:
    """Lay a person of another photo, with a margin, over a crop.

    Args:
        labels: Of the crop so far.
        patches: Gets the piece.
        photo: Where it is cut from.
        config: How large people are, and how often they are mirrored.
        skeleton: Whose joints change places in a mirrored piece.
        rng: The source of chance.

    Returns:
        The labels of the crop with the piece on it.
    """
    x0, y0, x1, y1 = photo.boxes[rng.integers(len(photo.boxes))].astype(np.float64)
    extent = max(x1 - x0, y1 - y0, 16.0)
    length = math.exp(rng.uniform(*np.log(config.person_px)))
    scale = min(length / extent, config.max_enlarge)
    center = rng.uniform(0.1, 0.9, 2) * config.crop_px
    flip = bool(rng.random() < config.flip)
    affine = _moved(np.array([(x0 + x1) / 2, (y0 + y1) / 2]), center, scale, flip)
    axes = np.maximum(np.array([x1 - x0, y1 - y0]) * scale * 0.6, 4.0)
    patch = Patch(photo=photo, affine=affine, center=center, axes=axes, angle=0.0, power=6.0)
    patches.append(patch)

    keypoints = labels.keypoints.copy()
    hidden = labels.hidden_by(patch)
    lost = hidden.sum(axis=1) > _MAX_HIDDEN * (keypoints[..., 2] > 0).sum(axis=1)
    keypoints[hidden, 2] = 1
    keypoints[hidden & lost[:, None], 2] = 0
    brought = Labels.of(photo, affine, skeleton if flip else None)
    outside = patch.distance(brought.keypoints[..., :2]) >= 1
    brought.keypoints[outside, 2] = 0
    people = (brought.keypoints[..., 2] > 0).any(axis=1)
    ours, theirs = labels.uncertain_joints, brought.uncertain_joints
    ours_hidden, theirs_inside = (patch.distance(one[:, 1:]) < 1 for one in (ours, theirs))
    return Labels(
        keypoints=np.concatenate([keypoints, brought.keypoints[people]]),
        uncertain_joints=np.concatenate([ours[~ours_hidden], theirs[theirs_inside]]),
        ignore=labels.ignore + brought.ignore,
        layers=labels.layers + (len(patches),) * len(brought.ignore),
    )


def _moved(
    source: NDArray[np.float64], target: NDArray[np.float64], scale: float, flip: bool = False
) -> NDArray[np.float64]:
    """The affine map that scales, mirrors if asked, and brings one point to another."""
    affine = crop_affine((0.0, 0.0), scale, 0.0, flip, (1, 1))
    affine[:, 2] = target - affine[:, :2] @ source
    return affine
