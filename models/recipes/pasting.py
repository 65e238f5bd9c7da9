"""Pieces of other images over a crop: occluders, and people who make a scene more crowded.

- Joints under a piece keep their labels, with v = 1 (labeled, not visible), as in COCO. No occluder
  is pasted that would hide more than half of a person's joints.
- Where a pasted person hides more than half of a person, the hidden joints lose their labels.
- A pasted person brings the labels of everything that is inside the piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from openpaf.geometry import crop_affine
from openpaf.skeleton import Skeleton
from openpaf.training.config import AugmentConfig
from openpaf.training.data.augmentation import CropPlan, Labels
from openpaf.training.data.dataset import Photo
from openpaf.training.data.rendering import fill, warp

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
class PastedPlan(CropPlan):
    """What a crop with pieces of other images is to be.

    Args:
        patches: The pieces, in the order in which they are laid over it.
        layers: Of each ignore region of the labels, 0 for the crop's own image, else the number of
            the patch that brought it; later patches hide it.
    """

    patches: tuple[Patch, ...]
    layers: tuple[int, ...]

    @classmethod
    def of(cls, plan: CropPlan) -> PastedPlan:
        """A plan with nothing pasted yet."""
        return cls(**vars(plan), patches=(), layers=(0,) * len(plan.labels.ignore))

    def pasted(self, patch: Patch, labels: Labels, layers: tuple[int, ...] = ()) -> PastedPlan:
        """The plan with one piece more, the labels that it leaves, and the layers of new ones."""
        return replace(
            self,
            patches=(*self.patches, patch),
            labels=labels,
            layers=self.layers + layers,
            unlabeled=self.unlabeled.union(patch.photo.unlabeled),
        )

    def hidden_by(self, patch: Patch) -> NDArray[np.bool_]:
        """(N, K) which labeled joints are under a patch."""
        keypoints = self.labels.keypoints
        return (patch.distance(keypoints[..., :2]) < 1) & (keypoints[..., 2] > 0)

    def warped(self, read: Callable[[Photo], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The pixels before colors change, RGB, uint8 (S, S, 3)."""
        image = super().warped(read)
        for patch in self.patches:
            _paste(image, patch, read(patch.photo))
        return image

    def ignored_px(self) -> NDArray[np.bool_]:
        """(S, S) True in ignore regions."""
        shapes = list(zip(self.layers, self.labels.ignore, strict=True))
        ignored = fill([shape for layer, shape in shapes if layer == 0], self.size)
        for number, patch in enumerate(self.patches, 1) if shapes else ():
            brought = [shape for layer, shape in shapes if layer == number]
            x0, y0, grid = _patch_grid(patch, self.size)
            inside = patch.distance(grid) < 1
            where = np.s_[y0 : y0 + grid.shape[0], x0 : x0 + grid.shape[1]]
            # What a patch hides is ignored no more, and what it brings ends at its edge.
            ignored[where] = np.where(inside, fill(brought, self.size)[where], ignored[where])
        return ignored


@dataclass(frozen=True, kw_only=True)
class Pasting:
    """Pastes pieces of other images into crops, as ``change_plan`` of a maker of batches.

    Args:
        occluders: Probability of pieces without people over joints, 0 to 1.
        paste_people: Probability of a person of another image, 0 to 1.
        augment: How large people are, and how often they are mirrored.
    """

    occluders: float
    paste_people: float
    augment: AugmentConfig

    def __call__(
        self, plan: CropPlan, rng: np.random.Generator, draw: Callable[[], Photo]
    ) -> CropPlan:
        """A plan with what chance lays over it."""
        changed = PastedPlan.of(plan)
        if self.paste_people and rng.random() < self.paste_people:
            other = draw()
            changed = paste_person(changed, other, self.augment, Skeleton.COCO17, rng)
            complete = changed.fully_annotated and other.fully_annotated
            changed = replace(changed, fully_annotated=complete)
        if self.occluders and rng.random() < self.occluders:
            other = draw()
            changed = paste_occluders(changed, other, rng)
            complete = changed.fully_annotated and other.fully_annotated
            changed = replace(changed, fully_annotated=complete)
        return changed


def paste_occluders(plan: PastedPlan, photo: Photo, rng: np.random.Generator) -> PastedPlan:
    """Lay one to three pieces without people over joints.

    Args:
        plan: The crop so far.
        photo: Where they are cut from.
        rng: The source of chance.

    Returns:
        The plan, with v = 1 for what is hidden now.
    """
    keypoints = plan.labels.keypoints.copy()
    labeled = keypoints[..., 2] > 0
    inside = labeled & ((keypoints[..., :2] >= 0) & (keypoints[..., :2] < plan.size)).all(axis=-1)
    places = keypoints[inside][:, :2]
    hidden = np.zeros_like(labeled)
    for _ in range(int(rng.integers(1, 4)) if len(places) else 0):
        place = places[rng.integers(len(places))]
        patch = _piece_without_people(photo, place, plan.size, rng)
        if patch is None:
            continue
        after = hidden | plan.hidden_by(patch)
        if (after.sum(axis=1) <= _MAX_HIDDEN * labeled.sum(axis=1)).all():
            plan = plan.pasted(patch, plan.labels)
            hidden = after
    keypoints[hidden, 2] = 1
    return replace(plan, labels=replace(plan.labels, keypoints=keypoints))


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
    plan: PastedPlan,
    photo: Photo,
    config: AugmentConfig,
    skeleton: Skeleton,
    rng: np.random.Generator,
) -> PastedPlan:
    """Lay a person of another image, with a margin, over a crop.

    Args:
        plan: The crop so far.
        photo: Where the piece is cut from.
        config: How large people are, and how often they are mirrored.
        skeleton: Whose joints change places in a mirrored piece.
        rng: The source of chance.

    Returns:
        The plan with the piece on it.
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

    labels, keypoints = plan.labels, plan.labels.keypoints.copy()
    hidden = plan.hidden_by(patch)
    lost = hidden.sum(axis=1) > _MAX_HIDDEN * (keypoints[..., 2] > 0).sum(axis=1)
    keypoints[hidden, 2] = 1
    keypoints[hidden & lost[:, None], 2] = 0
    brought = Labels.of(photo, affine, skeleton if flip else None)
    outside = patch.distance(brought.keypoints[..., :2]) >= 1
    brought.keypoints[outside, 2] = 0
    people = (brought.keypoints[..., 2] > 0).any(axis=1)
    ours, theirs = labels.uncertain_joints, brought.uncertain_joints
    ours_hidden, theirs_inside = (patch.distance(one[:, 1:]) < 1 for one in (ours, theirs))
    new = Labels(
        keypoints=np.concatenate([keypoints, brought.keypoints[people]]),
        uncertain_joints=np.concatenate([ours[~ours_hidden], theirs[theirs_inside]]),
        ignore=labels.ignore + brought.ignore,
    )
    return plan.pasted(patch, new, (len(plan.patches) + 1,) * len(brought.ignore))


def _moved(
    source: NDArray[np.float64], target: NDArray[np.float64], scale: float, flip: bool = False
) -> NDArray[np.float64]:
    """The affine map that scales, mirrors if asked, and brings one point to another."""
    affine = crop_affine((0.0, 0.0), scale, 0.0, flip, (1, 1))
    affine[:, 2] = target - affine[:, :2] @ source
    return affine


def _patch_grid(patch: Patch, size: int) -> tuple[int, int, NDArray[np.float64]]:
    """First column and row of a patch's surroundings, and the px (h, w, 2) there."""
    reach = float(np.hypot(*patch.axes)) * 1.1 + 2  # whatever its angle and power
    low = np.clip(np.floor(patch.center - reach), 0, size).astype(int)
    high = np.clip(np.ceil(patch.center + reach) + 1, 0, size).astype(int)
    x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    return int(low[0]), int(low[1]), np.stack([x, y], axis=-1).astype(np.float64)


def _paste(image: NDArray[np.uint8], patch: Patch, source: NDArray[np.uint8]) -> None:
    x0, y0, grid = _patch_grid(patch, len(image))
    h, w = grid.shape[:2]
    if not h or not w:
        return
    affine = patch.affine.copy()
    affine[:, 2] -= (x0, y0)
    over = warp(source, affine, (w, h)).astype(np.float32)
    share = patch.opacity(grid).astype(np.float32)[..., None]
    under = image[y0 : y0 + h, x0 : x0 + w]
    under[:] = np.rint(under + share * (over - under)).astype(np.uint8)
