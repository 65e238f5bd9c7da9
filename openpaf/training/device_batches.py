"""Batches made on the device of the network: photos are held there, crops and targets made there.

A processor that reads and warps photos cannot keep up with a fast GPU. Here it only draws the
plans, of which a crop has a few hundred numbers; the plans, and so the crops, are those of
:class:`openpaf.training.batches.BatchMaker`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openpaf.fields import encode_mask
from openpaf.poses import Poses
from openpaf.training.augmentation import CropPlan
from openpaf.training.batches import LABELS, Batch, BatchMaker
from openpaf.training.device_fields import encode_heatmaps, encode_pafs, unsure_cells
from openpaf.training.pasting import Patch
from openpaf.training.photo_store import PhotoStore
from openpaf.training.rendering import ignored_px

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
class _Drawn:
    """The plans of a batch, and its labels padded to one shape, still on the processor."""

    plans: Sequence[CropPlan]
    trusted: Tensor  # (B,)
    xy: Tensor  # (B, N, K, 2)
    scores: Tensor  # (B, N, K)
    maybe: Tensor  # (B, J, 3)
    heatmap_mask: Tensor  # (B, h, w)
    paf_mask: Tensor  # (B, h, w)


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
        photos = [photo for photo_set in maker.sets for photo in photo_set.photos]
        self.store = PhotoStore(photos, maker.read, device, workers)

    def batch(self, step: int, rows: range | None = None) -> Batch:
        """The batch of a step, or some of its crops; see :meth:`BatchMaker.batch`."""
        return self._make(self._draw(step, rows))

    def stream(
        self, start: int, stop: int, workers: int = 2, *, rows: range | None = None
    ) -> Generator[Batch]:
        """The batches of steps ``start`` to ``stop``; threads draw the plans ahead."""
        with ThreadPoolExecutor(workers) as pool:
            ahead: list[Future[_Drawn]] = []
            for step in range(start, stop):
                while len(ahead) <= 2 * workers and step + len(ahead) < stop:
                    ahead.append(pool.submit(self._draw, step + len(ahead), rows))
                yield self._make(ahead.pop(0).result())

    def _draw(self, step: int, rows: range | None) -> _Drawn:
        plans, trusted = [], []
        for i in rows or range(self.maker.batch_size):
            plan, is_trusted = self._readable_plan(step, i)
            plans.append(plan)
            trusted.append(is_trusted)
        people = [_people_near(plan, self.maker) for plan in plans]
        size_hw = (plans[0].size, plans[0].size)
        masks = [
            [encode_mask(size_hw, grid, region=ignored) for ignored in map(ignored_px, plans)]
            for grid in (self.maker.heatmap_grid, self.maker.paf_grid)
        ]
        return _Drawn(
            plans=plans,
            trusted=torch.tensor(trusted),
            xy=_padded([np.nan_to_num(poses.xy) for poses in people], 0.0),
            scores=_padded([poses.scores for poses in people], 0.0),
            maybe=_padded([self._unsure(plan) for plan in plans], -1.0),
            heatmap_mask=torch.from_numpy(np.stack(masks[0])),
            paf_mask=torch.from_numpy(np.stack(masks[1])),
        )

    def _readable_plan(self, step: int, i: int) -> tuple[CropPlan, bool]:
        for plan, trusted in self.maker.plans(step, i):
            photos = [plan.photo, *(patch.photo for patch in plan.patches)]
            if all(photo in self.store for photo in photos):
                return plan, trusted
        raise AssertionError("there is always another plan")

    def _unsure(self, plan: CropPlan) -> NDArray[np.float32]:
        """(J, 3) rows of channel, x, y."""
        rows = plan.labels.maybe.astype(np.float32, copy=True)
        skeleton = self.maker.skeleton
        channels = np.array([skeleton.index(name) for name in LABELS.joints], np.float32)
        rows[:, 0] = channels[rows[:, 0].astype(np.int64)]
        return rows

    @torch.no_grad()
    def _make(self, drawn: _Drawn) -> Batch:
        maker, device = self.maker, self.device
        xy, scores, maybe, heatmap_mask, paf_mask = (
            t.to(device, non_blocking=True)
            for t in (drawn.xy, drawn.scores, drawn.maybe, drawn.heatmap_mask, drawn.paf_mask)
        )
        h, w = drawn.heatmap_mask.shape[1:]
        heatmaps = encode_heatmaps(xy, scores, maker.heatmap_grid, (h, w))
        pafs = encode_pafs(xy, scores, maker.skeleton, maker.paf_grid, (h, w))
        heatmap_weights = heatmap_mask[:, None].repeat(1, heatmaps.shape[1], 1, 1)
        if maybe.shape[1]:
            unsure = unsure_cells(maybe, heatmaps.shape[1] - 1, maker.heatmap_grid, (h, w))
            silent = unsure & (heatmaps[:, :-1] == 0)
            silent = torch.cat([silent, silent.any(dim=1, keepdim=True)], dim=1)
            heatmap_weights = heatmap_weights * ~silent
        return Batch(
            images=self.images(drawn.plans),
            heatmaps=heatmaps,
            pafs=pafs,
            heatmap_weights=heatmap_weights,
            paf_weights=paf_mask[:, None].repeat(1, pafs.shape[1], 1, 1),
            trusted=drawn.trusted.to(device, non_blocking=True),
        )

    @torch.no_grad()
    def images(self, plans: Sequence[CropPlan]) -> Tensor:
        """The pixels of planned crops: (B, 3, S, S) float32, 0 to 255."""
        size = plans[0].size
        crops = self.store.warp([p.photo for p in plans], [p.affine for p in plans], size)
        for layer in range(max(len(plan.patches) for plan in plans)):
            some = [i for i, plan in enumerate(plans) if len(plan.patches) > layer]
            patches = [plans[i].patches[layer] for i in some]
            over = self.store.warp([p.photo for p in patches], [p.affine for p in patches], size)
            share = _opacity(patches, size, self.device)[:, None]
            where = torch.tensor(some, device=self.device)
            under = crops[where]
            crops[where] = (under + share * (over - under)).round()
        return _blur(_recolour(crops, plans), plans)


def _people_near(plan: CropPlan, maker: BatchMaker) -> Poses:
    """The people who reach into a crop, with the joints of the network's skeleton."""
    keypoints = plan.labels.keypoints
    labelled = keypoints[..., 2:] > 0
    low = np.where(labelled, keypoints[..., :2], np.inf).min(axis=1)
    high = np.where(labelled, keypoints[..., :2], -np.inf).max(axis=1)
    near = ((high > -_REACH_PX) & (low < plan.size + _REACH_PX)).all(axis=1)
    return Poses.from_keypoints(keypoints[near], LABELS).to(maker.skeleton)


def _padded(rows: Sequence[NDArray[np.float32]], value: float) -> Tensor:
    """Arrays of different lengths as one; what is missing is ``value``."""
    longest = max(len(row) for row in rows)
    out = np.full((len(rows), longest, *rows[0].shape[1:]), value, np.float32)
    for target, row in zip(out, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(out)


def _opacity(patches: Sequence[Patch], size: int, device: torch.device) -> Tensor:
    """(B, S, S), as :meth:`Patch.opacity`."""

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]

    dx, dy = (
        torch.arange(size, device=device).view(shape) - column([p.center[axis] for p in patches])
        for axis, shape in ((0, (1, 1, size)), (1, (1, size, 1)))
    )
    cos, sin = (column([f(p.angle) for p in patches]) for f in (math.cos, math.sin))
    power = column([p.power for p in patches])
    along = ((dx * cos + dy * sin) / column([p.axes[0] for p in patches])).abs()
    across = ((dy * cos - dx * sin) / column([p.axes[1] for p in patches])).abs()
    distance = (along**power + across**power) ** (1 / power)
    edge = column([p.axes.min() for p in patches]) / 2
    return (0.5 + (1 - distance) * edge).clamp(0, 1)


def _recolour(crops: Tensor, plans: Sequence[CropPlan]) -> Tensor:
    def numbers(values: Sequence[NDArray[np.float64] | float]) -> Tensor:
        array = np.asarray(values, np.float32).reshape(len(plans), -1)
        return torch.from_numpy(array).to(crops.device)[:, :, None, None]

    weights = torch.tensor([0.299, 0.587, 0.114], device=crops.device)[:, None, None]
    grey = (crops * weights).sum(dim=1, keepdim=True)
    values = grey + (crops - grey) * numbers([plan.saturation for plan in plans])
    values = (values - 128) * numbers([plan.contrast for plan in plans])
    values = values + 128 + numbers([plan.offset for plan in plans])
    return values.clamp(0, 255).floor()  # as a conversion to whole numbers does


def _blur(crops: Tensor, plans: Sequence[CropPlan]) -> Tensor:
    some = [i for i, plan in enumerate(plans) if plan.blur]
    if not some:
        return crops
    sigmas = np.array([plans[i].blur for i in some])
    reach = (np.rint(6 * sigmas + 1).astype(int) | 1) // 2  # OpenCV's size of the kernel
    places = np.arange(-reach.max(), reach.max() + 1)
    kernels = np.exp(-(places**2) / (2 * sigmas[:, None] ** 2))
    kernels *= np.abs(places) <= reach[:, None]
    kernels /= kernels.sum(axis=1, keepdims=True)
    weight = torch.from_numpy(kernels.astype(np.float32)).to(crops.device)
    weight = weight.repeat_interleave(3, dim=0)[:, None]  # (3 B, 1, k)
    where = torch.tensor(some, device=crops.device)
    n, pad = 3 * len(some), int(reach.max())
    flat = crops[where].flatten(0, 1)[None]  # (1, 3 B, S, S)
    flat = nn.functional.pad(flat, (pad, pad, pad, pad), mode="reflect")
    flat = nn.functional.conv2d(flat, weight[:, :, None, :], groups=n)
    flat = nn.functional.conv2d(flat, weight[:, :, :, None], groups=n)
    crops[where] = flat[0].unflatten(0, (len(some), 3)).round()
    return crops
