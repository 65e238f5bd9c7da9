"""Coordinates of cells, pixels and resized pixels: all half pixels of the package are here.

Coordinates are pixel indices: integers are pixel centers, the center of the top-left pixel is
(0, 0), and the last axis is (x, y). An image resized by ``r`` keeps its borders in place, so a
point moves to ``(x + 0.5) * r - 0.5``; mirrored, to ``width - 1 - x``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import as_size, check_number, is_finite

if TYPE_CHECKING:
    from torch import Tensor

    from openpaf.poses import Poses

Number = TypeVar("Number", float, NDArray[Any], "Tensor")


@dataclass(frozen=True)
class Grid:
    """Positions of the cells of a field in the image: cell ``i`` is at ``stride * i + offset`` px.

    Args:
        stride: Distance of two cells in px, a whole number from 1 to a million.
        offset: Position of cell 0 in px. The default, ``(stride - 1) / 2``, is the center of the
            ``stride`` pixels that the cell covers. Published networks differ from it by up to
            half a cell, some between their heatmaps and PAFs.

    Raises:
        ValueError: If the stride is out of its range, or the offset is not finite or beyond a
            billion.

    Example:
        >>> import openpaf
        >>> grid = openpaf.Grid(8)
        >>> grid.to_px(2)
        19.5
        >>> grid.to_cells(19.5)
        2.0
        >>> grid.size_cells((368, 656))
        (46, 82)
    """

    stride: int
    offset: float | None = None

    def __post_init__(self) -> None:
        check_number("stride", self.stride, least=1, most=1_000_000, is_integer=True, unit="px")
        object.__setattr__(self, "stride", int(self.stride))
        offset = (self.stride - 1) / 2 if self.offset is None else self.offset
        if not is_finite(offset) or not abs(offset) <= 1e9:
            raise ValueError(f"offset: expected a finite number of px, got {offset!r}")
        offset = float(offset)
        object.__setattr__(self, "offset", offset)

    @property
    def offset_px(self) -> float:
        """Position of cell 0 in px, never None."""
        assert self.offset is not None  # set by __post_init__
        return self.offset

    def to_px(self, cells: Number) -> Number:
        """Cell coordinates, also fractional ones, to pixel coordinates."""
        return cells * self.stride + self.offset_px

    def to_cells(self, px: Number) -> Number:
        """Pixel coordinates to cell coordinates, not rounded."""
        return (px - self.offset_px) / self.stride

    def size_cells(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the field of an image of ``size_hw`` px."""
        return -(-size_hw[0] // self.stride), -(-size_hw[1] // self.stride)


@dataclass(frozen=True, kw_only=True)
class Letterbox:
    """An image resized into a network's input, padded on the right and the bottom.

    Args:
        image_hw: Height and width of the image in px.
        resized_hw: Height and width of the image inside the network's input in px.
        size_hw: Height and width of the network's input in px, at least ``resized_hw``.

    Raises:
        ValueError: If a size is below 1 px or the resized image does not fit.

    Example:
        >>> import numpy as np
        >>> import openpaf
        >>> letterbox = openpaf.Letterbox.fit((480, 640), short_side=368)
        >>> letterbox.resized_hw, letterbox.size_hw
        ((368, 491), (368, 496))
        >>> letterbox.apply(np.zeros((480, 640, 3), np.uint8)).shape
        (3, 368, 496)
        >>> letterbox.points_to_image(np.array([245.0, 183.5])).tolist()
        [319.5, 239.5]
    """

    image_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    size_hw: tuple[int, int]

    def __post_init__(self) -> None:
        for name in ("image_hw", "resized_hw", "size_hw"):
            object.__setattr__(self, name, as_size(name, getattr(self, name)))
        if self.resized_hw[0] > self.size_hw[0] or self.resized_hw[1] > self.size_hw[1]:
            raise ValueError(
                f"resized_hw: expected at most size_hw {self.size_hw}, got {self.resized_hw}"
            )

    @classmethod
    def fit(
        cls,
        image_hw: tuple[int, int],
        short_side: int = 368,
        *,
        multiple: int = 8,
        max_aspect: float = 8.0,
    ) -> Letterbox:
        """The letterbox that resizes the short side of an image to ``short_side`` px.

        Args:
            image_hw: Height and width of the image in px.
            short_side: Short side of the resized image in px.
            multiple: The network's input is padded to a multiple of this many px.
            max_aspect: The long side is at most this many times ``short_side``; a longer image
                is resized to less, so that a strip of 1 x 5000 px does not take gigabytes.

        Raises:
            ValueError: If a size is below 1 px or no whole number.
        """
        check_number("multiple", multiple, least=1, is_integer=True, unit="px")
        check_number("short_side", short_side, least=multiple, is_integer=True, unit="px")
        height, width = as_size("image_hw", image_hw)
        ratio = min(short_side / min(height, width), short_side * max_aspect / max(height, width))
        resized = (max(1, round(height * ratio)), max(1, round(width * ratio)))
        padded = (-(-resized[0] // multiple) * multiple, -(-resized[1] // multiple) * multiple)
        return cls(image_hw=(height, width), resized_hw=resized, size_hw=padded)

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Network px per image px along x and y, which differ as sizes are rounded."""
        return (
            self.resized_hw[1] / self.image_hw[1],
            self.resized_hw[0] / self.image_hw[0],
        )

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Resize and pad an image.

        Args:
            image: RGB, uint8 (H, W, 3), of ``image_hw``.

        Returns:
            RGB, float32 (3, h, w), values 0 to 255, padded with gray (128).

        Raises:
            ValueError: If the image is not uint8 (H, W, 3) of ``image_hw``.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape != (*self.image_hw, 3):
            raise ValueError(
                f"image: expected uint8 {(*self.image_hw, 3)}, got {image.dtype} {image.shape}"
            )
        height, width = self.resized_hw
        padded = np.full((3, *self.size_hw), 128, np.float32)
        if height <= self.image_hw[0] and width <= self.image_hw[1]:
            from openpaf.kernels.resize import shrink

            # Averaging over the area avoids aliasing of thin limbs.
            rows = area_shares(self.image_hw[0], height)
            columns = area_shares(self.image_hw[1], width)
            pixels = np.ascontiguousarray(image).view()
            pixels.flags.writeable = False  # else the kernel is compiled for both kinds
            shrink(pixels, rows, columns, padded)
        else:
            import cv2

            resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
            padded[:, :height, :width] = resized.transpose(2, 0, 1)
        return padded

    def points_to_network(self, xy: NDArray[Any]) -> NDArray[np.float32]:
        """Points (..., 2) in px of the image to px of the network's input."""
        scale = np.asarray(self.scale_xy, np.float64)
        return ((np.asarray(xy, np.float64) + 0.5) * scale - 0.5).astype(np.float32)

    def points_to_image(self, xy: NDArray[Any]) -> NDArray[np.float32]:
        """Points (..., 2) in px of the network's input to px of the image."""
        scale = np.asarray(self.scale_xy, np.float64)
        return ((np.asarray(xy, np.float64) + 0.5) / scale - 0.5).astype(np.float32)

    def undo(self, poses: Poses) -> Poses:
        """Poses in px of the network's input to poses in px of the image."""
        return poses.replace(xy=self.points_to_image(poses.xy))


@lru_cache(maxsize=16)
def area_shares(
    n_pixels: int, n_new: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The pixels of a line that each pixel of a shorter line covers, and their weights.

    Args:
        n_pixels: Length of the line in px.
        n_new: Length of the shorter line in px; at most ``n_pixels``.

    Returns:
        The first covered pixel of each new one, (n_new,); the number of covered pixels, (n_new,);
        and their weights, (n_new, largest number), whose rows sum to 1.
    """
    borders = np.arange(n_new + 1) * n_pixels / n_new  # of the new pixels; pixel i is i to i + 1
    left, right = borders[:-1, None], borders[1:, None]
    first = np.floor(left).astype(np.int64)
    # Less than a thousandth of a pixel is an effect of rounding the borders.
    counts = np.ceil(right - 1e-3).astype(np.int64) - first
    pixels = first + np.arange(counts.max())  # (n_new, most)
    covered = np.clip(np.minimum(pixels + 1, right) - np.maximum(pixels, left), 0, None)
    covered[np.arange(counts.max()) >= counts] = 0
    shares = covered / covered.sum(axis=1, keepdims=True)
    return first[:, 0], counts[:, 0], shares.astype(np.float32)


def resize_px(px: Number, ratio: float) -> Number:
    """A coordinate in px, after the image is resized by ``ratio``."""
    return (px + 0.5) * ratio - 0.5


def centers_to_corners(px: Number) -> Number:
    """Pixel indices as distances from the image's corner, as tools that draw on a canvas count."""
    return px + 0.5


def corners_to_centers(px: Number) -> Number:
    """Distances from the image's corner as pixel indices."""
    return px - 0.5


def flip_x(x: Number, width: int) -> Number:
    """An x coordinate in px, after the image of ``width`` px is mirrored."""
    return width - 1 - x


def crop_affine(
    center_xy: tuple[float, float],
    scale: float,
    rotation_deg: float,
    flip: bool,
    size_hw: tuple[int, int],
) -> NDArray[np.float64]:
    """The affine map of a training crop: scale, rotation, mirroring and shift.

    Args:
        center_xy: The point of the image, in px, that is mapped to the center of the crop.
        scale: Crop px per image px; above 0.
        rotation_deg: Counter-clockwise on the screen, in degrees.
        flip: Whether the crop is mirrored left to right.
        size_hw: Height and width of the crop in px.

    Returns:
        (2, 3) matrix from pixel coordinates of the image to those of the crop, for
        ``cv2.warpAffine``.

    Raises:
        ValueError: If the scale is not positive.
    """
    check_number("scale", scale, above=0)
    cos = math.cos(math.radians(rotation_deg)) * scale
    sin = math.sin(math.radians(rotation_deg)) * scale
    # The y axis points down, so a counter-clockwise turn has +sin in its first row.
    matrix = np.array([[cos, sin], [-sin, cos]])
    if flip:
        matrix[0] = -matrix[0]
    middle = np.array([(size_hw[1] - 1) / 2, (size_hw[0] - 1) / 2])
    shift = middle - matrix @ np.asarray(center_xy, np.float64)
    return np.column_stack([matrix, shift])


def transform_points(xy: NDArray[Any], affine: NDArray[Any]) -> NDArray[np.float32]:
    """Points (..., 2) in px, mapped by a (2, 3) affine matrix."""
    points = np.asarray(xy, np.float64) @ affine[:, :2].T + affine[:, 2]
    return points.astype(np.float32)
