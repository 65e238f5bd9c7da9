"""All photos of a run as uint8 in one block of a device's memory, and crops out of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openpaf.errors import ImageError
from openpaf.training.dataset import Photo

_LEVELS = 5  # each photo, and four times its half
_GREY = 128


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
        self._rows: dict[str, int] = {}
        shapes: list[list[tuple[int, int, int]]] = []  # offset, height, width of each level
        blocks: list[Tensor] = []
        offset = 0
        unique = list({str(photo.path): photo for photo in photos}.values())
        with ThreadPoolExecutor(workers) as pool:
            read_all = pool.map(lambda photo: _levels(photo, read), unique)
            for photo, levels in zip(unique, read_all, strict=True):
                if levels is None:
                    continue
                self._rows[str(photo.path)] = len(shapes)
                shapes.append([])
                for level in levels:
                    shapes[-1].append((offset, *level.shape[:2]))
                    offset += level.size
                flat = np.concatenate([level.ravel() for level in levels])
                blocks.append(torch.from_numpy(flat).to(device))
        self._pixels = torch.cat(blocks) if blocks else torch.zeros(0, dtype=torch.uint8)
        self._shapes = np.array(shapes, np.int64).reshape(-1, _LEVELS, 3)

    @staticmethod
    def bytes_of(photos: Sequence[Photo]) -> int:
        """About how much memory photos take while they are being loaded."""
        unique = {str(photo.path): photo.size_hw or (640, 640) for photo in photos}
        return sum(2 * 4 * h * w for h, w in unique.values())  # 3 channels and a third more, twice

    def __contains__(self, photo: Photo) -> bool:
        return str(photo.path) in self._rows

    def warp(
        self, photos: Sequence[Photo], affines: Sequence[NDArray[np.float64]], size: int
    ) -> Tensor:
        """Crops of photos; outside of a photo is grey.

        Args:
            photos: (B) of the store.
            affines: (2, 3) each, from px of the photo to px of the crop.
            size: Side of the crops in px.

        Returns:
            (B, 3, S, S) float32, whole numbers from 0 to 255.
        """
        shapes, inverses = [], []
        for photo, affine in zip(photos, affines, strict=True):
            row = self._shapes[self._rows[str(photo.path)]]
            shrink = math.sqrt(abs(np.linalg.det(affine[:, :2])))
            # As on the processor: area averaging first, where bilinear sampling would alias.
            level = 0 if shrink >= 0.6 else min(math.ceil(math.log2(0.6 / shrink)), _LEVELS - 1)
            shapes.append(row[level])
            scale = row[level, :0:-1] / row[0, :0:-1]  # x, y
            back = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2]
            back[:, 2] += 0.5
            back *= scale[:, None]
            back[:, 2] -= 0.5
            inverses.append(back)
        back_ = torch.from_numpy(np.stack(inverses).astype(np.float32)).to(self.device)
        shape_ = torch.from_numpy(np.stack(shapes)).to(self.device)
        return self._sample(back_, shape_, size)

    def _sample(self, back: Tensor, shapes: Tensor, size: int) -> Tensor:
        """Bilinear samples, one gather for crops of photos of all sizes."""
        steps = torch.arange(size, device=self.device, dtype=torch.float32)
        a, b, c = back[..., None, None].unbind(2)  # (B, 2, 1, 1) each
        x, y = (a * steps + b * steps[:, None] + c).unbind(1)  # (B, S, S)
        offset, height, width = (column[:, None, None] for column in shapes.unbind(1))
        x0, y0 = x.floor(), y.floor()
        out = torch.zeros(len(back), 3, size, size, device=self.device)
        channels = torch.arange(3, device=self.device)[:, None, None]
        for down in (0, 1):
            for right in (0, 1):
                column, row = x0.long() + right, y0.long() + down
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                index = offset + 3 * (row * width + column)
                index = torch.where(inside, index, 0)[:, None] + channels  # (B, 3, S, S)
                values = torch.where(inside[:, None], self._pixels[index].float(), float(_GREY))
                share = (x - x0 if right else 1 - (x - x0)) * (y - y0 if down else 1 - (y - y0))
                out += values * share[:, None]
        return out.round()


def _levels(
    photo: Photo, read: Callable[[Photo], NDArray[np.uint8]]
) -> list[NDArray[np.uint8]] | None:
    import cv2

    try:
        levels = [read(photo)]
    except ImageError:
        return None
    while len(levels) < _LEVELS:
        h, w = levels[-1].shape[:2]
        half = (max(1, round(w / 2)), max(1, round(h / 2)))
        levels.append(
            np.asarray(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA), np.uint8)
        )
    return levels
