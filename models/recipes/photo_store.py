"""All photos of a run as uint8 in one block of a device's memory, and crops out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openpaf.errors import ImageError
from openpaf.training.data.dataset import Photo

_LEVELS = 5  # each photo, and four times its half
_GRAY = 128


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
        self.numbers: dict[str, int] = {}  # of the images that could be read, by path
        sizes: list[list[tuple[int, int, int]]] = []  # of each, offset, height, width of its levels
        blocks = [torch.zeros(0, 3, dtype=torch.uint8, device=device)]
        offset = 0
        unique = list({str(photo.path): photo for photo in photos}.values())
        with ThreadPoolExecutor(workers) as pool:
            pyramids = pool.map(lambda photo: _pyramid(photo, read), unique)
            for photo, levels in zip(unique, pyramids, strict=True):
                if not levels:
                    continue
                self.numbers[str(photo.path)] = len(sizes)
                sizes.append([])
                for level in levels:
                    sizes[-1].append((offset, *level.shape[:2]))
                    offset += level.shape[0] * level.shape[1]
                pixels = np.concatenate([level.reshape(-1, 3) for level in levels])
                blocks.append(torch.from_numpy(pixels).to(device))
        self._pixels = torch.cat(blocks)
        self._levels = np.array(sizes, np.int64).reshape(-1, _LEVELS, 3)

    @staticmethod
    def bytes_of(photos: Sequence[Photo]) -> int:
        """About how much memory photos take while they are being loaded."""
        unique = {str(photo.path): photo.size_hw or (640, 640) for photo in photos}
        return sum(2 * 4 * h * w for h, w in unique.values())  # 3 channels and a third more, twice

    def crops(
        self,
        numbers: NDArray[np.int64],
        affines: NDArray[np.float64],
        colors: NDArray[np.float32],
        blurs: NDArray[np.float64],
        size: int,
    ) -> Tensor:
        """Crops of photos; gray outside of a photo.

        Args:
            numbers: (B,) of the photos.
            affines: (B, 2, 3) from px of a photo to px of its crop.
            colors: (B, 5) saturation, contrast, offsets of red, green and blue.
            blurs: (B,) standard deviations in px, 0 for none.
            size: Side of the crops in px.

        Returns:
            (B, 3, S, S) float32, whole numbers from 0 to 255.
        """
        crops = self._warp(numbers, affines, size)
        return _blur(_recolor(crops, torch.from_numpy(colors).to(self.device)), blurs)

    def _warp(self, numbers: NDArray[np.int64], affines: NDArray[np.float64], size: int) -> Tensor:
        """Bilinear samples, one gather for photos of all sizes."""
        back, levels = (torch.from_numpy(x).to(self.device) for x in self._back(numbers, affines))
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

    def _back(
        self, numbers: NDArray[np.int64], affines: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(B, 2, 3) from px of crops to px of levels of photos, and (B, 3) these levels."""
        shrink = np.sqrt(np.abs(np.linalg.det(affines[..., :2])))
        # As on the CPU: area averaging first, where bilinear sampling would alias.
        halvings = np.ceil(np.log2(0.6 / shrink)).clip(0, _LEVELS - 1).astype(int)
        levels = self._levels[numbers, halvings]
        scale = levels[:, :0:-1] / self._levels[numbers, 0, :0:-1]  # x, y
        last = np.broadcast_to([[[0.0, 0.0, 1.0]]], (len(affines), 1, 3))
        back = np.linalg.inv(np.concatenate([affines, last], axis=1))[:, :2]
        back[..., 2] += 0.5
        back *= scale[..., None]
        back[..., 2] -= 0.5
        return back.astype(np.float32), levels


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


def _recolor(crops: Tensor, colors: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114], device=crops.device)[:, None, None]
    gray = (crops * weights).sum(dim=1, keepdim=True)
    saturation, contrast = colors[:, :1, None, None], colors[:, 1:2, None, None]
    values = gray + (crops - gray) * saturation
    values = (values - 128) * contrast
    values = values + 128 + colors[:, 2:, None, None]
    return values.clamp(0, 255).floor()  # as a conversion to whole numbers does


def _blur(crops: Tensor, blurs: NDArray[np.float64]) -> Tensor:
    for i in np.flatnonzero(blurs):
        reach = (int(np.rint(6 * blurs[i] + 1)) | 1) // 2  # OpenCV's size of the kernel
        weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * blurs[i] ** 2))
        kernel = torch.from_numpy((weights / weights.sum()).astype(np.float32)).to(crops.device)
        padded = nn.functional.pad(crops[i, :, None], 4 * (reach,), mode="reflect")
        rows = nn.functional.conv2d(padded, kernel[None, None, None, :])
        crops[i] = nn.functional.conv2d(rows, kernel[None, None, :, None])[:, 0].round()
    return crops
