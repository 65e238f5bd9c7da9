"""Batches of crops and targets, each a pure function of the seed and the step.

No state is kept between steps, so a run that is killed and resumed sees the same crops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openpaf.errors import ImageError
from openpaf.fields import PAF_HALF_WIDTH_PX, SIGMA_PX, encode_fields, encode_mask
from openpaf.geometry import Grid
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.training.config import SKELETONS, AugmentConfig, DataConfig
from openpaf.training.data.augmentation import CropPlan, plan_crop
from openpaf.training.data.dataset import Photo, PhotoSet, load_photo_set
from openpaf.training.data.photos import PhotoReader


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Crops and their targets.

    Args:
        images: (B, 3, S, S) float32, RGB, 0 to 255.
        heatmaps: (B, K+1, h, w) float32 targets.
        pafs: (B, 2L, h, w) float32 targets.
        heatmap_weights: (B, K+1, h, w) float32, 0 where an error does not count.
        paf_weights: (B, 2L, h, w) float32, the same of the PAFs.
        fully_annotated: (B,) bool, whether what is not labeled is background.
    """

    images: Tensor
    heatmaps: Tensor
    pafs: Tensor
    heatmap_weights: Tensor
    paf_weights: Tensor
    fully_annotated: Tensor

    @classmethod
    def from_targets(cls, images: Tensor, targets: Sequence[Mapping[str, NDArray[Any]]]) -> Batch:
        """A batch of images, on whose device it is, and targets of :meth:`BatchMaker.encode`."""
        parts = {
            name: torch.from_numpy(np.stack([one[name] for one in targets])).to(images.device)
            for name in targets[0]
        }
        weights = {k: parts[k].float() for k in ("heatmap_weights", "paf_weights")}
        return cls(images=images, **{**parts, **weights})

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        parts = {k: part.to(device, non_blocking=True) for k, part in vars(self).items()}
        return replace(self, **parts)


ChangePlan = Callable[[CropPlan, np.random.Generator, Callable[[], Photo]], CropPlan]
_Made = TypeVar("_Made")


def prepared_ahead(
    make: Callable[[int], _Made], start: int, stop: int, workers: int
) -> Generator[_Made]:
    """The batches of steps ``start`` to ``stop`` in order, prepared ahead in threads."""
    with ThreadPoolExecutor(workers) as pool:
        ahead: list[Future[_Made]] = []
        for step in range(start, stop):
            while len(ahead) <= workers and step + len(ahead) < stop:
                ahead.append(pool.submit(make, step + len(ahead)))
            yield ahead.pop(0).result()


def load_sets(data: DataConfig, skeleton: Skeleton | None = None) -> list[PhotoSet]:
    """The image sets of a run, all with the joints of the first one's labels.

    Args:
        data: Which sets.
        skeleton: The joints; as :class:`openpaf.training.config.DataConfig` says if None.

    Raises:
        DatasetError: If one is missing or without people, or the joints of two do not match.
    """
    if data.index is not None:
        raise ValueError("data.index: expected the sets themselves, as read_config gives them")
    sets: list[PhotoSet] = []
    file = None if data.skeleton in SKELETONS else data.skeleton
    for one in data.sets:
        options = msgspec.structs.asdict(one)
        known = sets[0].skeleton if sets else skeleton
        sets.append(
            load_photo_set(**options, skeleton=known, category=data.category, skeleton_file=file)
        )
    return sets


@dataclass
class CropMaker(ABC, Generic[_Made]):
    """Draws crops from image sets, and makes batches of them.

    Args:
        sets: The image sets, mixed by their weights.
        batch_size: Crops a batch.
        augment: How crops are drawn.
        seed: With the step, fixes every batch.
        change_plan: Changes what a crop is to be, e.g. pastes others over it; also gets the source
            of chance, and what draws another image.

    Raises:
        ValueError: If there is no set, no set has a positive weight, or their joints differ.
    """

    sets: Sequence[PhotoSet]
    _: KW_ONLY
    batch_size: int
    augment: AugmentConfig
    seed: int = 0
    change_plan: ChangePlan | None = None

    def __post_init__(self) -> None:
        weights = np.array([photo_set.weight for photo_set in self.sets], np.float64)
        if not len(weights) or weights.min() < 0 or weights.sum() <= 0:
            raise ValueError("sets: expected at least one with a positive weight")
        self.shares = weights / weights.sum()
        self.labels = self.sets[0].skeleton
        if any(photo_set.skeleton != self.labels for photo_set in self.sets):
            raise ValueError("sets: expected labels of the same joints in all")
        self.photos = PhotoReader(self.sets)

    @abstractmethod
    def batch(self, step: int, rows: range | None = None) -> _Made:
        """The batch of a step, or some of its crops."""

    def stream(
        self, start: int, stop: int, workers: int = 2, *, rows: range | None = None
    ) -> Generator[_Made]:
        """The batches of steps ``start`` to ``stop``, prepared ahead in threads."""
        yield from prepared_ahead(lambda step: self.batch(step, rows), start, stop, workers)

    def plans(self, step: int, i: int) -> Iterator[CropPlan]:
        """What crop ``i`` of a step is to be; others follow, in case its image cannot be read."""
        rng = np.random.default_rng((self.seed, step, i))
        while True:
            plan = plan_crop(self._draw(rng), self.augment, self.labels, rng)
            if self.change_plan is not None:
                plan = self.change_plan(plan, rng, lambda: self._draw(rng))
            yield plan

    def _draw(self, rng: np.random.Generator) -> Photo:
        photos = self.sets[int(rng.choice(len(self.sets), p=self.shares))].photos
        return photos[int(rng.integers(len(photos)))]

    def crops(self, step: int, rows: range | None) -> tuple[Tensor, list[CropPlan]]:
        """The crops of a step, or some of them.

        Returns:
            Their pixels (B, 3, S, S) float32, RGB, 0 to 255, and their plans.

        Raises:
            DatasetError: As :meth:`openpaf.training.data.photos.PhotoReader.read`.
        """
        samples = [self._crop(step, i) for i in rows or range(self.batch_size)]
        pixels = torch.from_numpy(np.stack([pixels for pixels, _ in samples]))
        return pixels.permute(0, 3, 1, 2).float(), [plan for _, plan in samples]

    def _crop(self, step: int, i: int) -> tuple[NDArray[np.uint8], CropPlan]:
        for plan in self.plans(step, i):
            try:
                return plan.render(self.photos.read), plan
            except ImageError:
                continue  # another image takes its place
        raise AssertionError("there is always another plan")


@dataclass
class BatchMaker(CropMaker[Batch]):
    """Makes batches with fields; see :class:`CropMaker`.

    Args:
        skeleton: Its joints and limbs give the channels; it may have a neck that labels lack.
        heatmap_grid: Where the cells of the heatmaps lie.
        paf_grid: Where the cells of the PAFs lie.
        sigma_px: Standard deviation of a joint's Gaussian in px.
        paf_half_width_px: A limb's field reaches this far to either side, in px.
        is_taught: A teacher tells what is where an image that is not fully annotated has no label;
            otherwise nothing counts there, but around labeled people.
    """

    _: KW_ONLY
    skeleton: Skeleton
    heatmap_grid: Grid
    paf_grid: Grid
    sigma_px: float = SIGMA_PX
    paf_half_width_px: float = PAF_HALF_WIDTH_PX
    is_taught: bool = False

    def batch(self, step: int, rows: range | None = None) -> Batch:
        """The batch of a step, or some of its crops; errors as :meth:`CropMaker.crops`."""
        images, plans = self.crops(step, rows)
        return Batch.from_targets(images, [self.encode(plan) for plan in plans])

    def encode(self, plan: CropPlan) -> dict[str, NDArray[Any]]:
        """The targets of a crop, by the names of a batch's parts; weights as bool."""
        size_hw = (plan.size, plan.size)
        ignored = plan.ignored_px()
        if not self.is_taught:
            ignored |= plan.unknown_px()
        heatmap_mask, paf_mask = (
            encode_mask(size_hw, grid, region=ignored) > 0
            for grid in (self.heatmap_grid, self.paf_grid)
        )
        fields = encode_fields(
            Poses.from_keypoints(plan.labels.keypoints, self.labels).to(self.skeleton),
            size_hw,
            sigma_px=self.sigma_px,
            paf_half_width_px=self.paf_half_width_px,
            heatmap_grid=self.heatmap_grid,
            paf_grid=self.paf_grid,
        )
        joints, limbs = taught_channels(self.labels, self.skeleton, plan.unlabeled)
        heatmap_weights = heatmap_mask & joints[:, None, None]
        if len(plan.labels.uncertain_joints):
            blobs = encode_fields(
                uncertain_people(plan.labels.uncertain_joints, self.labels, self.skeleton),
                size_hw,
                sigma_px=self.sigma_px,
                heatmap_grid=self.heatmap_grid,
            ).heatmaps
            silent = (blobs[:-1] > 0) & (fields.heatmaps[:-1] == 0)
            heatmap_weights[:-1][silent] = False
            heatmap_weights[-1][silent.any(axis=0)] = False
        return {
            "heatmaps": fields.heatmaps,
            "pafs": fields.pafs.reshape(-1, *fields.size_cells),
            "heatmap_weights": heatmap_weights,
            "paf_weights": paf_mask & limbs[:, None, None],
            "fully_annotated": np.array(plan.fully_annotated),
        }


def uncertain_people(joints: NDArray[np.float32], labels: Skeleton, skeleton: Skeleton) -> Poses:
    """Uncertain joints (J, 3) of joint, x and y, each as a person with no other joint."""
    keypoints = np.zeros((len(joints), labels.n_joints, 3), np.float32)
    keypoints[:, :, :2] = joints[:, None, 1:]
    keypoints[np.arange(len(joints)), joints[:, 0].astype(np.int64), 2] = 1
    return Poses.from_keypoints(keypoints, labels).to(skeleton)


@lru_cache(maxsize=64)
def taught_channels(
    labels: Skeleton, skeleton: Skeleton, unlabeled: frozenset[int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which channels labels say something of, where their set labels not all joints.

    What it leaves out is there, only without a label: to call it background would be wrong.

    Args:
        labels: The joints of the labels.
        skeleton: The network's.
        unlabeled: Joints of the labels that are labeled in no person. Their mirror images are left
            out too, as a crop may be mirrored.

    Returns:
        (K+1,) for heatmaps, the background last, and (2L,) for PAFs.
    """
    swap = labels.flip_permutation
    gone = [place for joint in unlabeled for place in (joint, swap[joint])]
    person = np.ones((1, labels.n_joints, 3), np.float32)
    person[:, gone, 2] = 0
    known = Poses.from_keypoints(person, labels).to(skeleton).scores[0] > 0
    limbs = np.array([known[a] and known[b] for a, b in skeleton.limbs], bool)
    return np.append(known, known.all()), np.repeat(limbs, 2)
