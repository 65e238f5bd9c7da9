"""Batches made on the device of the network: photos are held there, crops and targets made there.

A processor that reads and warps photos cannot keep up with a fast GPU. Here it only draws the
plans, of which a crop has a few hundred numbers; the plans, and so the crops, are those of
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
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from openpaf.fields import encode_mask
from openpaf.poses import Poses
from openpaf.training.data.augmentation import CropPlan
from openpaf.training.data.batches import (
    LABELS,
    Batch,
    BatchMaker,
    prepared_ahead,
    taught_channels,
)
from openpaf.training.data.gpu.fields import encode_heatmaps, encode_pafs, unsure_cells
from openpaf.training.data.gpu.photo_store import PhotoIndex, PhotoStore, Places
from openpaf.training.data.rendering import ignored_px

_log = logging.getLogger(__name__)
_REACH_PX = 32  # further than any Gaussian or limb reaches out of a crop's people


def make_device_batches(
    maker: BatchMaker, device: torch.device, choice: str, share: float = 0.5
) -> BatchMaker | DeviceBatchMaker:
    """The batches of a run, on its device where that was asked for, or is sensible.

    Args:
        maker: Makes them on the processor.
        device: Of the network.
        choice: ``"yes"``, ``"no"``, or ``"auto"``: on a GPU whose free memory is enough.
        share: Of the free memory that photos may take.
    """
    if choice == "no" or (choice == "auto" and device.type != "cuda"):
        return maker
    photos = [photo for photo_set in maker.sets for photo in photo_set.photos]
    needed = PhotoStore.bytes_of(photos)
    if choice == "auto" and needed > share * torch.cuda.mem_get_info(device)[0]:
        _log.info("photos stay on the processor: %.1f GB are too many", needed / 1e9)
        return maker
    return DeviceBatchMaker(maker, device)


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """Pieces to be pasted, at most one a crop.

    Args:
        crops: (n,) int64, into which.
        places: Their pixels.
        shapes: (n, 6) float32: x and y of the middle, both half axes, angle, and power.
    """

    crops: NDArray[np.int64]
    places: Places
    shapes: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """What a batch is to be, in arrays that can go to another process."""

    places: Places
    layers: tuple[_Layer, ...]
    colours: NDArray[np.float32]  # (B, 5) saturation, contrast, offsets of red, green and blue
    blurs: NDArray[np.float64]  # (B,) standard deviations in px, 0 for none
    fully_annotated: NDArray[np.bool_]  # (B,)
    xy: NDArray[np.float32]  # (N, K, 2), all people, in px of their crop
    scores: NDArray[np.float32]  # (N, K)
    crop: NDArray[np.int64]  # (N,) whose they are
    maybe: NDArray[np.float32]  # (J, 3) channel, x, y
    crop_of_maybe: NDArray[np.int64]  # (J,)
    heatmap_mask: NDArray[np.float32]  # (B, h, w)
    paf_mask: NDArray[np.float32]  # (B, h, w)
    taught_heatmaps: NDArray[np.float32]  # (B, K+1) 0 where a channel is not looked at
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
        plans = [plan for plan, _ in chosen]
        people = [_people_near(plan, self.maker) for plan in plans]
        maybe = [self._unsure(plan) for plan in plans]
        size_hw = (plans[0].size, plans[0].size)
        ignored = [ignored_px(plan) for plan in plans]
        masks = [
            [encode_mask(size_hw, grid, region=region) for region in ignored]
            for grid in (self.maker.heatmap_grid, self.maker.paf_grid)
        ]
        colours = [[plan.saturation, plan.contrast, *plan.offset] for plan in plans]
        taught = [taught_channels(self.maker.skeleton, plan.unlabelled) for plan in plans]
        n_layers = max(len(plan.patches) for plan in plans)
        return _Drawn(
            places=self.index.places([p.photo for p in plans], [p.affine for p in plans]),
            layers=tuple(self._layer(plans, number) for number in range(n_layers)),
            colours=np.array(colours, np.float32),
            blurs=np.array([plan.blur for plan in plans]),
            fully_annotated=np.array([trusted for _, trusted in chosen]),
            xy=np.concatenate([np.nan_to_num(poses.xy) for poses in people]),
            scores=np.concatenate([poses.scores for poses in people]),
            crop=np.repeat(np.arange(len(plans)), [len(poses) for poses in people]),
            maybe=np.concatenate(maybe),
            crop_of_maybe=np.repeat(np.arange(len(plans)), [len(rows) for rows in maybe]),
            heatmap_mask=np.stack(masks[0]),
            paf_mask=np.stack(masks[1]),
            taught_heatmaps=np.stack([heatmaps for heatmaps, _ in taught]),
            taught_pafs=np.stack([pafs for _, pafs in taught]),
        )

    def _readable_plan(self, step: int, i: int) -> tuple[CropPlan, bool]:
        for plan, trusted in self.maker.plans(step, i):
            photos = [plan.photo, *(patch.photo for patch in plan.patches)]
            if all(photo in self.index for photo in photos):
                return plan, trusted
        raise AssertionError("there is always another plan")

    def _layer(self, plans: Sequence[CropPlan], number: int) -> _Layer:
        crops = [i for i, plan in enumerate(plans) if len(plan.patches) > number]
        patches = [plans[i].patches[number] for i in crops]
        shapes = [[*p.center, *p.axes, p.angle, p.power] for p in patches]
        return _Layer(
            crops=np.array(crops, np.int64),
            places=self.index.places([p.photo for p in patches], [p.affine for p in patches]),
            shapes=np.array(shapes, np.float32),
        )

    def _unsure(self, plan: CropPlan) -> NDArray[np.float32]:
        """(J, 3) rows of channel, x, y."""
        rows = plan.labels.maybe.astype(np.float32, copy=True)
        skeleton = self.maker.skeleton
        channels = np.array([skeleton.index(name) for name in LABELS.joints], np.float32)
        rows[:, 0] = channels[rows[:, 0].astype(np.int64)]
        return rows


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
        if self.in_processes:
            drawn = DataLoader(
                drawer,
                batch_size=None,
                sampler=range(start, stop),
                num_workers=min(workers, os.cpu_count() or 1),
                prefetch_factor=4,
                multiprocessing_context=_processes(),
            )
            yield from map(self._make, drawn)
            return
        for one in prepared_ahead(drawer.__getitem__, start, stop, workers):
            yield self._make(one)

    def _drawer(self, rows: range | None) -> _Drawer:
        return _Drawer(self.maker, self.store.index, rows or range(self.maker.batch_size))

    def _on_device(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    @torch.no_grad()
    def _make(self, drawn: _Drawn) -> Batch:
        maker, n = self.maker, len(drawn.fully_annotated)
        xy, scores, crop = (self._on_device(x) for x in (drawn.xy, drawn.scores, drawn.crop))
        heatmap_mask, paf_mask = map(self._on_device, (drawn.heatmap_mask, drawn.paf_mask))
        taught = [self._on_device(x) for x in (drawn.taught_heatmaps, drawn.taught_pafs)]
        size = drawn.heatmap_mask.shape[1], drawn.heatmap_mask.shape[2]
        heatmaps = encode_heatmaps(xy, scores, crop, n, maker.heatmap_grid, size, maker.sigma_px)
        pafs = encode_pafs(
            xy, scores, crop, n, maker.skeleton, maker.paf_grid, size, maker.paf_half_width_px
        )
        heatmap_weights = heatmap_mask[:, None].repeat(1, heatmaps.shape[1], 1, 1)
        if len(drawn.maybe):
            maybe, whose = self._on_device(drawn.maybe), self._on_device(drawn.crop_of_maybe)
            n_joints = heatmaps.shape[1] - 1
            unsure = unsure_cells(
                maybe, whose, n, n_joints, maker.heatmap_grid, size, maker.sigma_px
            )
            silent = unsure & (heatmaps[:, :-1] == 0)
            silent = torch.cat([silent, silent.any(dim=1, keepdim=True)], dim=1)
            heatmap_weights = heatmap_weights * ~silent
        return Batch(
            images=self._images(drawn),
            heatmaps=heatmaps,
            pafs=pafs,
            heatmap_weights=heatmap_weights * taught[0][..., None, None],
            paf_weights=paf_mask[:, None] * taught[1][..., None, None],
            fully_annotated=self._on_device(drawn.fully_annotated),
        )

    def _images(self, drawn: _Drawn) -> Tensor:
        """The pixels: (B, 3, S, S) float32, 0 to 255."""
        size = self.maker.augment.crop_px
        crops = self.store.warp(drawn.places, size)
        for layer in drawn.layers:
            over = self.store.warp(layer.places, size)
            share = _opacity(self._on_device(layer.shapes), size)[:, None]
            where = self._on_device(layer.crops)
            under = crops[where]
            crops[where] = (under + share * (over - under)).round()
        return _blur(_recolour(crops, self._on_device(drawn.colours)), drawn.blurs)


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
                    if part is not None:
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


def _people_near(plan: CropPlan, maker: BatchMaker) -> Poses:
    """The people who reach into a crop, with the joints of the network's skeleton."""
    keypoints = plan.labels.keypoints
    labelled = keypoints[..., 2:] > 0
    low = np.where(labelled, keypoints[..., :2], np.inf).min(axis=1)
    high = np.where(labelled, keypoints[..., :2], -np.inf).max(axis=1)
    near = ((high > -_REACH_PX) & (low < plan.size + _REACH_PX)).all(axis=1)
    return Poses.from_keypoints(keypoints[near], LABELS).to(maker.skeleton)


def _opacity(shapes: Tensor, size: int) -> Tensor:
    """(B, S, S), as :meth:`openpaf.training.data.pasting.Patch.opacity`."""
    x, y, first, second, angle, power = shapes[:, :, None, None].unbind(1)  # (B, 1, 1) each
    steps = torch.arange(size, device=shapes.device)
    dx, dy = steps - x, steps[:, None] - y
    cos, sin = angle.cos(), angle.sin()
    along = ((dx * cos + dy * sin) / first).abs()
    across = ((dy * cos - dx * sin) / second).abs()
    distance = (along**power + across**power) ** (1 / power)
    return (0.5 + (1 - distance) * torch.minimum(first, second) / 2).clamp(0, 1)


def _recolour(crops: Tensor, colours: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114], device=crops.device)[:, None, None]
    grey = (crops * weights).sum(dim=1, keepdim=True)
    saturation, contrast = colours[:, :1, None, None], colours[:, 1:2, None, None]
    values = grey + (crops - grey) * saturation
    values = (values - 128) * contrast
    values = values + 128 + colours[:, 2:, None, None]
    return values.clamp(0, 255).floor()  # as a conversion to whole numbers does


def _blur(crops: Tensor, blurs: NDArray[np.float64]) -> Tensor:
    some = np.flatnonzero(blurs)
    if not len(some):
        return crops
    sigmas = blurs[some]
    reach = (np.rint(6 * sigmas + 1).astype(int) | 1) // 2  # OpenCV's size of the kernel
    places = np.arange(-reach.max(), reach.max() + 1)
    kernels = np.exp(-(places**2) / (2 * sigmas[:, None] ** 2))
    kernels *= np.abs(places) <= reach[:, None]
    kernels /= kernels.sum(axis=1, keepdims=True)
    weight = torch.from_numpy(kernels.astype(np.float32)).to(crops.device)
    weight = weight.repeat_interleave(3, dim=0)[:, None]  # (3 B, 1, k)
    where = torch.from_numpy(some).to(crops.device)
    n, pad = 3 * len(some), int(reach.max())
    flat = crops[where].flatten(0, 1)[None]  # (1, 3 B, S, S)
    flat = nn.functional.pad(flat, (pad, pad, pad, pad), mode="reflect")
    flat = nn.functional.conv2d(flat, weight[:, :, None, :], groups=n)
    flat = nn.functional.conv2d(flat, weight[:, :, :, None], groups=n)
    crops[where] = flat[0].unflatten(0, (len(some), 3)).round()
    return crops
