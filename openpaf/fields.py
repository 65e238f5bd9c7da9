"""Joint heatmaps and part affinity fields, and their encoding from labeled people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.channels import CHANNEL_ORDERS, ChannelOrder
from openpaf.checks import as_size, check_number
from openpaf.errors import printable
from openpaf.geometry import Grid
from openpaf.kernels.encode import encode_heatmaps, encode_pafs
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

SIGMA_PX = 7.0  # the trainers of the 2017 network: a Gaussian of sigma 7 px at stride 8,
PAF_HALF_WIDTH_PX = 8.0  # limbs one cell wide on either side
_MAX_PX = 250_000_000  # a larger size is a mistake


@dataclass(frozen=True, kw_only=True, eq=False)
class Fields:
    """The output of a network for one image: joint heatmaps and part affinity fields (PAFs).

    NumPy and torch arrays of any real dtype and strides are accepted, and converted to float32.

    Args:
        heatmaps: (K+1, h, w), about 0 to 1; one per joint, the last is background.
        pafs: (L, 2, h, w), about -1 to 1; x and y of the unit vector along each limb. (2L, h, w),
            the output of networks, is accepted too.
        heatmap_grid: Positions of the cells of the heatmaps in the network's input.
        paf_grid: Positions of the cells of the PAFs; in published checkpoints they differ from
            those of the heatmaps by up to half a cell.
        skeleton: The joints and limbs, in channel order.

    Raises:
        ValueError: If a shape does not fit the skeleton or the other array, or a value is NaN or
            infinite.

    Reference:
        Cao et al., CVPR 2017, section 2.

    Example:
        >>> import numpy as np
        >>> import openpaf
        >>> fields = openpaf.Fields(
        ...     heatmaps=np.zeros((18, 46, 62)),  # 17 joints and background
        ...     pafs=np.zeros((28, 2, 46, 62)),
        ...     heatmap_grid=openpaf.Grid(8),
        ...     paf_grid=openpaf.Grid(8),
        ...     skeleton=openpaf.Skeleton.COCO17,
        ... )
        >>> fields.size_cells
        (46, 62)
        >>> len(openpaf.decode(fields))
        0
    """

    heatmaps: NDArray[np.float32]
    pafs: NDArray[np.float32]
    heatmap_grid: Grid
    paf_grid: Grid
    skeleton: Skeleton

    def __post_init__(self) -> None:
        k, n_limbs = self.skeleton.n_joints, self.skeleton.n_limbs
        heatmaps = _as_float32("heatmaps", self.heatmaps)
        pafs = _as_float32("pafs", self.pafs)
        if heatmaps.ndim != 3 or heatmaps.shape[0] != k + 1 or min(heatmaps.shape[1:]) < 1:
            raise ValueError(
                f"heatmaps: expected shape ({k + 1}, h, w), {k} joints of {self.skeleton.name!r} "
                f"and background, got {heatmaps.shape}"
            )
        if pafs.ndim == 3 and pafs.shape[0] == 2 * n_limbs:
            pafs = pafs.reshape(n_limbs, 2, *pafs.shape[1:])
        if pafs.shape != (n_limbs, 2, *heatmaps.shape[1:]):
            raise ValueError(
                f"pafs: expected shape {(n_limbs, 2, *heatmaps.shape[1:])}, {n_limbs} limbs of "
                f"{self.skeleton.name!r} on the cells of the heatmaps, got {pafs.shape}"
            )
        object.__setattr__(self, "heatmaps", heatmaps)
        object.__setattr__(self, "pafs", pafs)

    @classmethod
    def from_batch(
        cls,
        heatmaps: Any,
        pafs: Any,
        *,
        heatmap_grid: Grid,
        paf_grid: Grid,
        skeleton: Skeleton | None = None,
        channels: str | ChannelOrder | None = None,
    ) -> list[Fields]:
        """The fields of each image of a batch, from the output of a network.

        Args:
            heatmaps: (B, K+1, h, w), NumPy or torch.
            pafs: (B, 2L, h, w) or (B, L, 2, h, w), NumPy or torch.
            heatmap_grid: As for :class:`Fields`.
            paf_grid: As for :class:`Fields`.
            skeleton: The joints and limbs, in channel order, where ``channels`` is not given.
            channels: The network's own order of channels: a
                :class:`~openpaf.channels.ChannelOrder`, or the name of one of
                :data:`~openpaf.channels.CHANNEL_ORDERS`.

        Returns:
            The fields of each image, for :func:`openpaf.decode` or ``decode_batch``.

        Raises:
            ValueError: If neither or both of skeleton and channels are given, the name is
                unknown, the batch sizes differ, or an array is not as :class:`Fields` expects.
        """
        if (skeleton is None) == (channels is None):
            raise ValueError("skeleton, channels: expected one of them")
        if channels is not None:
            order = _channel_order(channels)
            heatmaps, pafs = order.apply(heatmaps, pafs)
            skeleton = order.skeleton
        assert skeleton is not None
        if len(heatmaps) != len(pafs):
            raise ValueError(f"pafs: expected a batch of {len(heatmaps)}, got {len(pafs)}")
        return [
            cls(
                heatmaps=one,
                pafs=other,
                heatmap_grid=heatmap_grid,
                paf_grid=paf_grid,
                skeleton=skeleton,
            )
            for one, other in zip(heatmaps, pafs, strict=True)
        ]

    @property
    def size_cells(self) -> tuple[int, int]:
        """Rows and columns of the fields."""
        return self.heatmaps.shape[1], self.heatmaps.shape[2]


def _channel_order(channels: str | ChannelOrder) -> ChannelOrder:
    if isinstance(channels, ChannelOrder):
        return channels
    if channels not in CHANNEL_ORDERS:
        known = ", ".join(sorted(CHANNEL_ORDERS))
        raise ValueError(f"channels: expected one of {known}, got {channels!r}")
    return CHANNEL_ORDERS[channels]


def _as_float32(name: str, array: Any) -> NDArray[np.float32]:
    if hasattr(array, "detach"):  # a torch tensor, perhaps on a GPU or with gradients
        array = array.detach().cpu()
        array = (array.float() if array.dtype.is_floating_point else array).numpy()
    array = np.asarray(array)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected an array of real numbers, got dtype {array.dtype}")
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, refused below
        # Writable: the kernels would be compiled again for read-only arrays.
        array = np.require(array, np.float32, ["C", "A", "W"])
    bad = np.count_nonzero(~np.isfinite(array))
    if bad:
        raise ValueError(f"{name}: expected finite numbers, {bad} of {array.size} are not")
    return array


def encode_fields(
    poses: Poses,
    size_hw: tuple[int, int],
    stride: int = 8,
    *,
    sigma_px: float = SIGMA_PX,
    paf_half_width_px: float = PAF_HALF_WIDTH_PX,
    heatmap_grid: Grid | None = None,
    paf_grid: Grid | None = None,
) -> Fields:
    """The ideal fields of labeled people, the targets of training; the inverse of ``decode``.

    Args:
        poses: Labeled people in px of the image; a joint counts where its score is above 0.
        size_hw: Height and width of the image in px.
        stride: Px per cell, at least 1, where no grids are given.
        sigma_px: Standard deviation of a joint's Gaussian in px, above 0.
        paf_half_width_px: A limb's field extends this far to either side of it and beyond both of
            its joints, in px, above 0. (In the paper it ends at the joints, but then a short limb
            may cover no cell; the published trainers extend it too.)
        heatmap_grid: Grid of the heatmaps; ``Grid(stride)`` where not given.
        paf_grid: Grid of the PAFs, of the same stride; that of the heatmaps where not given.

    Returns:
        Fields with heatmaps combined over people by maximum, PAFs averaged over the people whose
        limb covers a cell, and background ``1 - max`` of the heatmaps.

    Raises:
        ValueError: If a size or width is not positive, the size is above 250 megapixels, or the
            strides of the grids differ.

    Reference:
        Cao et al., CVPR 2017, equations 6 to 9.

    Example:
        >>> import numpy as np
        >>> import openpaf
        >>> keypoints = np.zeros((1, 17, 3))  # x, y and score; a joint of score 0 is missing
        >>> keypoints[0, 5] = keypoints[0, 7] = 44, 20, 1  # left shoulder and elbow
        >>> keypoints[0, 7, 1] = 60
        >>> poses = openpaf.Poses.from_keypoints(keypoints, openpaf.Skeleton.COCO17)
        >>> fields = openpaf.encode_fields(poses, size_hw=(80, 96))
        >>> fields.heatmaps.shape, fields.pafs.shape
        ((18, 10, 12), (28, 2, 10, 12))
        >>> fields.pafs[0, :, 4, 5].tolist()  # limb 0 is the upper left arm: down, along +y
        [0.0, 1.0]
    """
    heatmap_grid = heatmap_grid or Grid(stride)
    paf_grid = _with_stride_of(heatmap_grid, paf_grid or heatmap_grid)
    size_hw = as_size("size_hw", size_hw)
    if size_hw[0] * size_hw[1] > _MAX_PX:
        raise ValueError(f"size_hw: expected at most {_MAX_PX:,} px, got {printable(size_hw)}")
    check_number("sigma_px", sigma_px, above=0, unit="px")
    check_number("paf_half_width_px", paf_half_width_px, above=0, unit="px")
    skeleton = poses.skeleton
    h, w = heatmap_grid.size_cells(size_hw)
    heatmaps = np.zeros((skeleton.n_joints + 1, h, w), np.float32)
    pafs = np.zeros((skeleton.n_limbs, 2, h, w), np.float32)
    sigma, half_width = sigma_px / heatmap_grid.stride, paf_half_width_px / paf_grid.stride
    limbs = np.array(skeleton.limbs, np.int64).reshape(-1, 2)
    encode_heatmaps(heatmaps, heatmap_grid.to_cells(poses.xy), poses.scores, sigma)
    encode_pafs(pafs, paf_grid.to_cells(poses.xy), poses.scores, limbs, half_width)
    return Fields(
        heatmaps=heatmaps,
        pafs=pafs,
        heatmap_grid=heatmap_grid,
        paf_grid=paf_grid,
        skeleton=skeleton,
    )


def _with_stride_of(heatmap_grid: Grid, paf_grid: Grid) -> Grid:
    """The grid of the PAFs.

    Raises:
        ValueError: If its stride is not that of the heatmaps.
    """
    if heatmap_grid.stride != paf_grid.stride:
        raise ValueError(
            f"paf_grid: expected stride {heatmap_grid.stride} as heatmap_grid has, "
            f"got {paf_grid.stride}"
        )
    return paf_grid


def encode_mask(
    size_hw: tuple[int, int],
    grid: Grid,
    *,
    boxes: Sequence[Sequence[float]] | NDArray[Any] = (),
    region: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """The mask of a loss: 0 in the cells of unlabeled people and crowds, 1 elsewhere.

    Args:
        size_hw: Height and width of the image in px.
        grid: The grid of the fields.
        boxes: (M, 4) boxes x0, y0, x1, y1 in px to mask.
        region: (H, W) bool, True in the pixels to mask, e.g. a crowd's segmentation.

    Returns:
        (h, w) float32 of 0 and 1.

    Raises:
        ValueError: If ``region`` is not of ``size_hw``.

    Reference:
        Cao et al., CVPR 2017, equation 5 (the mask W).

    Example:
        >>> import openpaf
        >>> mask = openpaf.encode_mask((64, 64), openpaf.Grid(8), boxes=[(0, 0, 31, 31)])
        >>> mask.shape
        (8, 8)
        >>> int((mask == 0).sum())
        16
    """
    h, w = grid.size_cells(size_hw)
    mask = np.ones((h, w), np.float32)
    rows, columns = grid.to_px(np.arange(h)), grid.to_px(np.arange(w))
    for x0, y0, x1, y1 in np.asarray(boxes, np.float64).reshape(-1, 4):
        inside_y = (rows >= y0) & (rows <= y1)
        inside_x = (columns >= x0) & (columns <= x1)
        mask[np.ix_(inside_y, inside_x)] = 0
    if region is not None:
        if region.shape != tuple(size_hw):
            raise ValueError(f"region: expected shape {tuple(size_hw)}, got {region.shape}")
        y = np.clip(np.rint(rows).astype(np.int64), 0, size_hw[0] - 1)
        x = np.clip(np.rint(columns).astype(np.int64), 0, size_hw[1] - 1)
        mask[region[np.ix_(y, x)]] = 0
    return mask
