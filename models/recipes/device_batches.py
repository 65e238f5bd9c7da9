"""Batches whose images are made on the device of the network, where photos are held.

A CPU that reads and warps photos cannot keep up with a fast GPU. Here it only draws the plans, of
which a crop has a few hundred numbers, and encodes the targets, in threads that do not hold the
interpreter's lock. Plans and targets are those of
:class:`openpaf.training.data.batches.BatchMaker`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from photo_store import PhotoStore
from torch.utils.data import DataLoader, Dataset

from openpaf.training.data.augmentation import CropPlan
from openpaf.training.data.batches import Batch, BatchMaker, prepared_ahead

_log = logging.getLogger(__name__)
_ENCODERS = 8  # threads


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


class _Drawer(Dataset[list[CropPlan]]):
    """Draws what batches are to be; goes to other processes as it is.

    Args:
        maker: Whose batches.
        numbers: Of the photos that can be read, by path.
        rows: Which crops of a batch.
    """

    def __init__(self, maker: BatchMaker, numbers: dict[str, int], rows: range) -> None:
        self.maker, self.numbers, self.rows = maker, numbers, rows

    def __getitem__(self, step: int) -> list[CropPlan]:
        plans = [self._readable_plan(step, i) for i in self.rows]
        # Outlines of people are long, and of no use to fields.
        return [replace(plan, photo=replace(plan.photo, outlines=())) for plan in plans]

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
        self.pool = ThreadPoolExecutor(min(_ENCODERS, os.cpu_count() or 1))
        self.store = PhotoStore(photos, maker.photos.read, device, workers)

    def batch(self, step: int, rows: range | None = None) -> Batch:
        """The batch of a step, or some of its crops; see :meth:`BatchMaker.batch`."""
        return next(self._encoded([self._drawer(rows)[step]]))

    def stream(
        self, start: int, stop: int, workers: int = 2, *, rows: range | None = None
    ) -> Generator[Batch]:
        """The batches of steps ``start`` to ``stop``, whose plans are drawn ahead."""
        drawer = self._drawer(rows)
        if not self.in_processes:
            yield from self._encoded(prepared_ahead(drawer.__getitem__, start, stop, workers))
            return
        drawn = DataLoader(
            drawer,
            batch_size=None,
            sampler=range(start, stop),
            num_workers=min(workers, os.cpu_count() or 1),
            prefetch_factor=4,
            multiprocessing_context=_processes(),
        )
        yield from self._encoded(drawn)

    def _drawer(self, rows: range | None) -> _Drawer:
        return _Drawer(self.maker, self.store.numbers, rows or range(self.maker.batch_size))

    def _encoded(self, batches: Iterable[list[CropPlan]]) -> Generator[Batch]:
        """The batches, while the targets of the next one are encoded."""
        ahead: deque[tuple[list[CropPlan], Iterator[dict[str, NDArray[Any]]]]] = deque()
        for plans in batches:
            ahead.append((plans, self.pool.map(self.maker.encode, plans)))
            if len(ahead) > 1:
                yield self._make(*ahead.popleft())
        for plans, targets in ahead:
            yield self._make(plans, targets)

    @torch.no_grad()
    def _make(self, plans: list[CropPlan], targets: Iterator[dict[str, NDArray[Any]]]) -> Batch:
        colors = [[plan.saturation, plan.contrast, *plan.offset] for plan in plans]
        images = self.store.crops(
            np.array([self.store.numbers[str(plan.photo.path)] for plan in plans]),
            np.stack([plan.affine for plan in plans]),
            np.array(colors, np.float32),
            np.array([plan.blur for plan in plans]),
            self.maker.augment.crop_px,
        )
        return Batch.from_targets(images, list(targets))


def _processes() -> BaseContext:
    """How processes are started: as copies of one that has imported what they need.

    Copies of this one would have its threads' locks and its hold of the GPU; new ones would import
    torch one after the other, which takes a minute for twelve of them.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([BatchMaker.__module__, __name__])
    return context
