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
from openpaf.training.data.gpu.fields import People, encode_heatmaps, encode_pafs
from openpaf.training.data.gpu.photo_store import Layer, PhotoIndex, PhotoStore, Places
from openpaf.training.data.rendering import ignored_px

_log = logging.getLogger(__name__)
_REACH_PX = 32  # further than any Gaussian or limb reaches out of a crop's people


def make_device_batches(
    maker: BatchMaker, device: torch.device, choice: str, share: float = 0.5
) -> BatchMaker | DeviceBatchMaker:
    """The batches of a run, on its device where that was asked for, or is sensible.

    Args:
        maker: Makes them on the CPU.
        device: Of the network.
        choice: ``"yes"``, ``"no"``, or ``"auto"``: on a GPU whose free memory is enough.
        share: Of the free memory that photos may take.
    """
    if choice == "no" or (choice == "auto" and device.type != "cuda"):
        return maker
    photos = [photo for photo_set in maker.sets for photo in photo_set.photos]
    needed = PhotoStore.bytes_of(photos)
    if choice == "auto" and needed > share * torch.cuda.mem_get_info(device)[0]:
        _log.info("photos stay on the CPU: %.1f GB are too many", needed / 1e9)
        return maker
    return DeviceBatchMaker(maker, device)


#: Positions (N, K, 2) and scores (N, K) of people, and (N,) the crop of each; as of ``People``.
_Arrays = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """What a batch is to be, in arrays that can go to another process."""

    places: Places
    layers: tuple[Layer, ...]
    colors: NDArray[np.float32]
    blurs: NDArray[np.float64]
    fully_annotated: NDArray[np.bool_]  # (B,)
    people: _Arrays
    uncertain: _Arrays  # of one joint each
    heatmap_mask: NDArray[np.float32]  # (B, h, w)
    paf_mask: NDArray[np.float32]  # (B, h, w)
    taught_heatmaps: NDArray[np.float32]  # (B, K+1) 0 where a channel does not count
    taught_pafs: NDArray[np.float32]  # (B, 2L)


class _Drawer(Dataset[_Drawn]):
    """Draws what batches are to be; goes to other processes as it is.

    Args:
        maker: Whose batches.
        index: Of the photos that can be read.
        rows: Which crops of a batch.
    """

    def __init__(self, maker: BatchMaker, index: PhotoIndex, rows: range) -> None:
        self.maker, self.index, self.rows = maker, index, rows

    def __getitem__(self, step: int) -> _Drawn:
        chosen = [self._readable_plan(step, i) for i in self.rows]
        plans, skeleton = [plan for plan, _ in chosen], self.maker.skeleton
        size_hw = (plans[0].size, plans[0].size)
        ignored = [ignored_px(plan) for plan in plans]
        heatmap_mask, paf_mask = (
            np.stack([encode_mask(size_hw, grid, region=region) for region in ignored])
            for grid in (self.maker.heatmap_grid, self.maker.paf_grid)
        )
        taught = [taught_channels(skeleton, plan.unlabeled) for plan in plans]
        uncertain = [uncertain_people(plan.labels.uncertain_joints, skeleton) for plan in plans]
        colors = [[plan.saturation, plan.contrast, *plan.offset] for plan in plans]
        n_layers = max(len(plan.patches) for plan in plans)
        return _Drawn(
            places=self.index.places([p.photo for p in plans], [p.affine for p in plans]),
            layers=tuple(self._layer(plans, number) for number in range(n_layers)),
            colors=np.array(colors, np.float32),
            blurs=np.array([plan.blur for plan in plans]),
            fully_annotated=np.array([fully_annotated for _, fully_annotated in chosen]),
            people=_as_arrays([_people_near(plan, skeleton) for plan in plans]),
            uncertain=_as_arrays(uncertain),
            heatmap_mask=heatmap_mask,
            paf_mask=paf_mask,
            taught_heatmaps=np.stack([heatmaps for heatmaps, _ in taught]),
            taught_pafs=np.stack([pafs for _, pafs in taught]),
        )

    def _readable_plan(self, step: int, i: int) -> tuple[CropPlan, bool]:
        for plan, fully_annotated in self.maker.plans(step, i):
            photos = [plan.photo, *(patch.photo for patch in plan.patches)]
            if all(photo in self.index for photo in photos):
                return plan, fully_annotated
        raise AssertionError("there is always another plan")

    def _layer(self, plans: Sequence[CropPlan], number: int) -> Layer:
        crops = [i for i, plan in enumerate(plans) if len(plan.patches) > number]
        patches = [plans[i].patches[number] for i in crops]
        shapes = [[*p.center, *p.axes, p.angle, p.power] for p in patches]
        return Layer(
            crops=np.array(crops, np.int64),
            places=self.index.places([p.photo for p in patches], [p.affine for p in patches]),
            shapes=np.array(shapes, np.float32),
        )


class DeviceBatchMaker:
    """Draws the batches of a :class:`BatchMaker`, but makes them on a device.

    Args:
        maker: Whose batches.
        device: Where.
        workers: Threads that read the photos.
        in_processes: Whether other processes draw the plans of :meth:`stream`, and not threads,
            which would take turns with the one that keeps a GPU busy; on a GPU if None.

    Raises:
        DatasetError: If more than one photo in a hundred cannot be read.
    """

    def __init__(
        self,
        maker: BatchMaker,
        device: torch.device,
        workers: int = 16,
        *,
        in_processes: bool | None = None,
    ) -> None:
        self.maker, self.device = maker, device
        self.in_processes = device.type == "cuda" if in_processes is None else in_processes
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
        return _Drawer(self.maker, self.store.index, rows or range(self.maker.batch_size))

    def _on_device(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    @torch.no_grad()
    def _make(self, drawn: _Drawn) -> Batch:
        maker, n = self.maker, len(drawn.fully_annotated)
        sigma_px, half_width_px = maker.sigma_px, maker.paf_half_width_px
        size = drawn.heatmap_mask.shape[1], drawn.heatmap_mask.shape[2]
        people, uncertain = (
            People(*(self._on_device(array) for array in arrays))
            for arrays in (drawn.people, drawn.uncertain)
        )
        heatmaps = encode_heatmaps(people, n, maker.heatmap_grid, size, sigma_px)
        pafs = encode_pafs(people, n, maker.skeleton, maker.paf_grid, size, half_width_px)
        heatmap_weights, paf_weights = (
            self._on_device(mask)[:, None] * self._on_device(taught)[..., None, None]
            for mask, taught in (
                (drawn.heatmap_mask, drawn.taught_heatmaps), (drawn.paf_mask, drawn.taught_pafs)
            )
        )  # fmt: skip
        if len(uncertain.xy):
            blobs = encode_heatmaps(uncertain, n, maker.heatmap_grid, size, sigma_px)[:, :-1]
            silent = (blobs > 0) & (heatmaps[:, :-1] == 0)
            heatmap_weights *= ~torch.cat([silent, silent.any(dim=1, keepdim=True)], dim=1)
        return Batch(
            images=self.store.crops(
                drawn.places, drawn.layers, drawn.colors, drawn.blurs, maker.augment.crop_px
            ),
            heatmaps=heatmaps,
            pafs=pafs,
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


def _as_arrays(poses: Sequence[Poses]) -> _Arrays:
    """The people of a batch, from those of each crop."""
    return (
        np.concatenate([np.nan_to_num(one.xy) for one in poses]),
        np.concatenate([one.scores for one in poses]),
        np.repeat(np.arange(len(poses)), [len(one) for one in poses]),
    )
