"""Batches made on the device of the network: photos are held there, crops and targets made there.

A CPU that reads and warps photos cannot keep up with a fast GPU. Here it only draws the plans, of
which a crop has a few hundred numbers; the plans, and so the crops, are those of
:class:`openpaf.training.data.batches.BatchMaker`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from openpaf.fields import encode_mask
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.training.data.augmentation import CropPlan
from openpaf.training.data.batches import (
    LABELS,
    Batch,
    BatchMaker,
    prepared_ahead,
    taught_channels,
    uncertain_people,
)
from openpaf.training.data.gpu.fields import encode_heatmaps, encode_pafs
from openpaf.training.data.gpu.photo_store import PhotoStore

_log = logging.getLogger(__name__)
_REACH_PX = 32  # further than any Gaussian or limb reaches out of a crop's people


def make_device_batches(
    maker: BatchMaker, device: torch.device, choice: str
) -> BatchMaker | DeviceBatchMaker:
    """The batches of a run, on its device where that was asked for, or is sensible.

    Args:
        maker: Makes them on the CPU.
        device: Of the network.
        choice: ``"yes"``, ``"no"``, or ``"auto"``: on a GPU, if half of its free memory is enough.
    """
    if choice == "no" or (choice == "auto" and device.type != "cuda"):
        return maker
    photos = [photo for photo_set in maker.sets for photo in photo_set.photos]
    needed = PhotoStore.bytes_of(photos)
    if choice == "auto" and needed > torch.cuda.mem_get_info(device)[0] / 2:
        _log.info("photos stay on the CPU: %.1f GB are too many", needed / 1e9)
        return maker
    return DeviceBatchMaker(maker, device)


#: As of ``People`` of :mod:`openpaf.training.data.gpu.fields`.
_People = list[tuple[NDArray[np.int64], NDArray[np.float32]]]


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """What a batch is to be, in arrays that can go to another process."""

    photos: NDArray[np.int64]  # (B,) of the store
    affines: NDArray[np.float64]  # (B, 2, 3)
    colors: NDArray[np.float32]  # (B, 5)
    blurs: NDArray[np.float64]  # (B,)
    fully_annotated: NDArray[np.bool_]  # (B,)
    people: _People
    uncertain: _People  # of one joint each
    masks: list[NDArray[np.float32]]  # (B, h, w) of heatmaps and of PAFs
    taught: list[NDArray[np.float32]]  # (B, K+1) and (B, 2L), 0 where a channel does not count


class _Drawer(Dataset[_Drawn]):
    """Draws what batches are to be; goes to other processes as it is.

    Args:
        maker: Whose batches.
        numbers: Of the photos that can be read, by path.
        rows: Which crops of a batch.
    """

    def __init__(self, maker: BatchMaker, numbers: dict[str, int], rows: range) -> None:
        self.maker, self.numbers, self.rows = maker, numbers, rows

    def __getitem__(self, step: int) -> _Drawn:
        plans, skeleton = [self._readable_plan(step, i) for i in self.rows], self.maker.skeleton
        size_hw = (plans[0].size, plans[0].size)
        ignored = [plan.ignored_px() for plan in plans]
        masks = [
            np.stack([encode_mask(size_hw, grid, region=region) for region in ignored])
            for grid in (self.maker.heatmap_grid, self.maker.paf_grid)
        ]
        taught = zip(*(taught_channels(skeleton, plan.unlabeled) for plan in plans), strict=True)
        uncertain = [uncertain_people(plan.labels.uncertain_joints, skeleton) for plan in plans]
        colors = [[plan.saturation, plan.contrast, *plan.offset] for plan in plans]
        return _Drawn(
            photos=np.array([self.numbers[str(plan.photo.path)] for plan in plans]),
            affines=np.stack([plan.affine for plan in plans]),
            colors=np.array(colors, np.float32),
            blurs=np.array([plan.blur for plan in plans]),
            fully_annotated=np.array([plan.fully_annotated for plan in plans]),
            people=_in_turns([_people_near(plan, skeleton) for plan in plans]),
            uncertain=_in_turns(uncertain),
            masks=masks,
            taught=list(map(np.stack, taught)),
        )

    def _readable_plan(self, step: int, i: int) -> CropPlan:
        plans = self.maker.plans(step, i)
        return next(plan for plan in plans if str(plan.photo.path) in self.numbers)


class DeviceBatchMaker:
    """Draws the batches of a :class:`BatchMaker`, but makes them on a device.

    Args:
        maker: Whose batches.
        device: Where.
        workers: Threads that read the photos.

    Raises:
        DatasetError: If more than one photo in a hundred cannot be read.
    """

    def __init__(self, maker: BatchMaker, device: torch.device, workers: int = 16) -> None:
        self.maker, self.device = maker, device
        # Threads would take turns with the one that keeps a GPU busy.
        self.in_processes = device.type == "cuda"
        photos = [photo for photo_set in maker.sets for photo in photo_set.photos]
        self.store = PhotoStore(photos, maker.photos.read, device, workers)

    def batch(self, step: int, rows: range | None = None) -> Batch:
        """The batch of a step, or some of its crops; see :meth:`BatchMaker.batch`."""
        return self._make(self._drawer(rows)[step])

    def stream(
        self, start: int, stop: int, workers: int = 2, *, rows: range | None = None
    ) -> Generator[Batch]:
        """The batches of steps ``start`` to ``stop``, whose plans are drawn ahead."""
        drawer = self._drawer(rows)
        if not self.in_processes:
            yield from map(self._make, prepared_ahead(drawer.__getitem__, start, stop, workers))
            return
        drawn = DataLoader(
            drawer,
            batch_size=None,
            sampler=range(start, stop),
            num_workers=min(workers, os.cpu_count() or 1),
            prefetch_factor=4,
            multiprocessing_context=_processes(),
        )
        yield from map(self._make, drawn)

    def _drawer(self, rows: range | None) -> _Drawer:
        return _Drawer(self.maker, self.store.numbers, rows or range(self.maker.batch_size))

    def _on_device(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    @torch.no_grad()
    def _make(self, drawn: _Drawn) -> Batch:
        maker = self.maker
        people, uncertain = (
            [(self._on_device(crops), self._on_device(one)) for crops, one in turns]
            for turns in (drawn.people, drawn.uncertain)
        )
        heatmap_weights, paf_weights = (
            self._on_device(mask)[:, None] * self._on_device(taught)[..., None, None]
            for mask, taught in zip(drawn.masks, drawn.taught, strict=True)
        )
        joints = maker.heatmap_grid, heatmap_weights, maker.sigma_px
        limbs = maker.paf_grid, paf_weights, maker.paf_half_width_px
        heatmaps = encode_heatmaps(people, *joints)
        if uncertain:
            blobs = encode_heatmaps(uncertain, *joints)[:, :-1]
            silent = (blobs > 0) & (heatmaps[:, :-1] == 0)
            heatmap_weights *= ~torch.cat([silent, silent.any(dim=1, keepdim=True)], dim=1)
        return Batch(
            images=self.store.crops(
                drawn.photos, drawn.affines, drawn.colors, drawn.blurs, maker.augment.crop_px
            ),
            heatmaps=heatmaps,
            pafs=encode_pafs(people, maker.skeleton, *limbs),
            heatmap_weights=heatmap_weights,
            paf_weights=paf_weights,
            fully_annotated=self._on_device(drawn.fully_annotated),
        )


def made_ahead(
    batches: Iterator[Batch], device: torch.device, n_ahead: int = 2
) -> Generator[Batch]:
    """The same batches, made ahead by a thread of its own, on a GPU in a stream of its own.

    What the GPU has to do for the next batches then fills its pauses between the steps.

    Args:
        batches: Made on the device; the thread alone asks for them.
        device: Where.
        n_ahead: How many are made ahead at most.
    """
    on_gpu = device.type == "cuda"
    stream = torch.cuda.Stream(device) if on_gpu else None
    if stream is not None:
        stream.wait_stream(torch.cuda.current_stream(device))  # photos and teacher are there

    def one() -> tuple[Batch | None, torch.cuda.Event | None]:
        with torch.cuda.stream(stream):
            batch = next(batches, None)
            return batch, None if stream is None else stream.record_event()

    pool = ThreadPoolExecutor(1)
    try:
        ahead = deque(pool.submit(one) for _ in range(n_ahead))
        while True:
            batch, made = ahead.popleft().result()
            if batch is None:
                return
            ahead.append(pool.submit(one))
            if made is not None:
                here = torch.cuda.current_stream(device)
                here.wait_event(made)
                for part in vars(batch).values():
                    part.record_stream(here)  # its memory is in use until then
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def _processes() -> BaseContext:
    """How processes are started: as copies of one that has imported what they need.

    Copies of this one would have its threads' locks and its hold of the GPU; new ones would import
    torch one after the other, which takes a minute for twelve of them.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _people_near(plan: CropPlan, skeleton: Skeleton) -> Poses:
    """The people who reach into a crop, with the joints of a skeleton."""
    keypoints = plan.labels.keypoints
    labeled = keypoints[..., 2:] > 0
    low = np.where(labeled, keypoints[..., :2], np.inf).min(axis=1)
    high = np.where(labeled, keypoints[..., :2], -np.inf).max(axis=1)
    near = ((high > -_REACH_PX) & (low < plan.size + _REACH_PX)).all(axis=1)
    return Poses.from_keypoints(keypoints[near], LABELS).to(skeleton)


def _in_turns(poses: Sequence[Poses]) -> _People:
    """The first person of each crop, then the second of those that have two, and so on."""
    people = [np.dstack([np.nan_to_num(one.xy), one.scores]).astype(np.float32) for one in poses]
    turns = []
    for turn in range(max(map(len, people))):
        crops = [i for i, one in enumerate(people) if len(one) > turn]
        turns.append((np.array(crops, np.int64), np.stack([people[i][turn] for i in crops])))
    return turns
