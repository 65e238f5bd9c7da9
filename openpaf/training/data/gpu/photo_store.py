"""All photos of a run as uint8 in one block of a device's memory, and crops out of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openpaf.errors import ImageError
from openpaf.training.data.dataset import Photo

_LEVELS = 5  # each photo, and four times its half
_GRAY = 128


@dataclass(frozen=True)
class Places:
    """Where crops come from.

    Args:
        back: (B, 2, 3) float32, from px of a crop to px of a level of a photo.
        levels: (B, 3) int64, offset in the block in px, height and width of those levels.
    """

    back: NDArray[np.float32]
    levels: NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    """Pieces to be pasted, at most one a crop.

    Args:
        crops: (n,) int64, into which.
        places: Their pixels.
        shapes: (n, 6) float32, x and y of the center, both half axes, angle, and power.
    """

    crops: NDArray[np.int64]
    places: Places
    shapes: NDArray[np.float32]


class PhotoIndex:
    """Where the photos of a store lie, without their pixels, which other processes can have too.

    Args:
        levels: By path of a photo, offset in the block in px, height and width of its levels.
    """

    def __init__(self, levels: dict[str, list[tuple[int, int, int]]]) -> None:
        self._numbers = {path: i for i, path in enumerate(levels)}
        self._levels = np.array(list(levels.values()), np.int64).reshape(-1, _LEVELS, 3)

    def __contains__(self, photo: Photo) -> bool:
        return str(photo.path) in self._numbers

    def places(self, photos: Sequence[Photo], affines: Sequence[NDArray[np.float64]]) -> Places:
        """Where crops of photos come from, with affines (2, 3) from px of the photo to the crop."""
        levels, inverses = [], []
        for photo, affine in zip(photos, affines, strict=True):
            sizes = self._levels[self._numbers[str(photo.path)]]
            shrink = math.sqrt(abs(np.linalg.det(affine[:, :2])))
            # As on the CPU: area averaging first, where bilinear sampling would alias.
            level = 0 if shrink >= 0.6 else min(math.ceil(math.log2(0.6 / shrink)), _LEVELS - 1)
            levels.append(sizes[level])
            scale = sizes[level, :0:-1] / sizes[0, :0:-1]  # x, y
            back = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2]
            back[:, 2] += 0.5
            back *= scale[:, None]
            back[:, 2] -= 0.5
            inverses.append(back)
        return Places(np.stack(inverses).astype(np.float32), np.stack(levels))


class PhotoStore:
    """Photos of any sizes, each with its halves for crops that shrink it.

    Args:
        photos: Those to hold.
        read: Gives the pixels of one, RGB, uint8 (H, W, 3); an ``ImageError`` leaves it out.
        device: Where they are held.
        workers: Threads that read.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        read: Callable[[Photo], NDArray[np.uint8]],
        device: torch.device,
        workers: int,
    ) -> None:
        self.device = device
        places: dict[str, list[tuple[int, int, int]]] = {}
        blocks = [torch.zeros(0, 3, dtype=torch.uint8, device=device)]
        offset = 0
        unique = list({str(photo.path): photo for photo in photos}.values())
        with ThreadPoolExecutor(workers) as pool:
            pyramids = pool.map(lambda photo: _pyramid(photo, read), unique)
            for photo, levels in zip(unique, pyramids, strict=True):
                if not levels:
                    continue
                places[str(photo.path)] = sizes = []
                for level in levels:
                    sizes.append((offset, *level.shape[:2]))
                    offset += level.shape[0] * level.shape[1]
                pixels = np.concatenate([level.reshape(-1, 3) for level in levels])
                blocks.append(torch.from_numpy(pixels).to(device))
        self._pixels = torch.cat(blocks)
        self.index = PhotoIndex(places)

    @staticmethod
    def bytes_of(photos: Sequence[Photo]) -> int:
        """About how much memory photos take while they are being loaded."""
        unique = {str(photo.path): photo.size_hw or (640, 640) for photo in photos}
        return sum(2 * 4 * h * w for h, w in unique.values())  # 3 channels and a third more, twice

    def crops(
        self,
        places: Places,
        layers: Sequence[Layer],
        colors: NDArray[np.float32],
        blurs: NDArray[np.float64],
        size: int,
    ) -> Tensor:
        """Crops of photos; gray outside of a photo.

        Args:
            places: Of the store's index.
            layers: What is pasted over them, in this order.
            colors: (B, 5) saturation, contrast, offsets of red, green and blue.
            blurs: (B,) standard deviations in px, 0 for none.
            size: Side of the crops in px.

        Returns:
            (B, 3, S, S) float32, whole numbers from 0 to 255.
        """
        crops = self._warp(places, size)
        for layer in layers:
            over = self._warp(layer.places, size)
            share = _opacity(torch.from_numpy(layer.shapes).to(self.device), size)[:, None]
            where = torch.from_numpy(layer.crops).to(self.device)
            under = crops[where]
            crops[where] = (under + share * (over - under)).round()
        return _blur(_recolor(crops, torch.from_numpy(colors).to(self.device)), blurs)

    def _warp(self, places: Places, size: int) -> Tensor:
        """Bilinear samples, one gather for photos of all sizes."""
        back, levels = (torch.from_numpy(x).to(self.device) for x in (places.back, places.levels))
        steps = torch.arange(size, device=self.device, dtype=torch.float32)
        a, b, c = back[..., None, None].unbind(2)  # (B, 2, 1, 1) each
        x, y = (a * steps + b * steps[:, None] + c).unbind(1)  # (B, S, S)
        offset, height, width = (column[:, None, None] for column in levels.unbind(1))
        x0, y0 = x.floor(), y.floor()
        out = torch.zeros(len(back), size, size, 3, device=self.device)
        for down in (0, 1):
            for right in (0, 1):
                column, row = x0.long() + right, y0.long() + down
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                index = torch.where(inside, offset + row * width + column, 0)
                values = self._pixels[index].float()  # (B, S, S, 3)
                values = torch.where(inside[..., None], values, float(_GRAY))
                share = (x - x0 if right else 1 - (x - x0)) * (y - y0 if down else 1 - (y - y0))
                out += values * share[..., None]
        return out.round().permute(0, 3, 1, 2).contiguous()


def _pyramid(photo: Photo, read: Callable[[Photo], NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """A photo and its halves; none if it cannot be read."""
    import cv2

    try:
        levels = [read(photo)]
    except ImageError:
        return []
    while len(levels) < _LEVELS:
        h, w = levels[-1].shape[:2]
        half = (max(1, round(w / 2)), max(1, round(h / 2)))
        smaller = cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(smaller, np.uint8))
    return levels


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


def _recolor(crops: Tensor, colors: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114], device=crops.device)[:, None, None]
    gray = (crops * weights).sum(dim=1, keepdim=True)
    saturation, contrast = colors[:, :1, None, None], colors[:, 1:2, None, None]
    values = gray + (crops - gray) * saturation
    values = (values - 128) * contrast
    values = values + 128 + colors[:, 2:, None, None]
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
