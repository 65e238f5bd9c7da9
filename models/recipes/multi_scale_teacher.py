"""A network whose fields are a mean over crops of several sizes, and over mirror images.

That mean is far better than the fields of a single view, and too slow for a camera; as a teacher it
costs nothing when its student is used.

Reference:
    Radosavovic et al., Data Distillation: Towards Omni-Supervised Learning, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from openpaf.estimator.multiscale import check_scales, cubic_weights
from openpaf.geometry import Grid, flip_x, resize_px
from openpaf.skeleton import Skeleton


class MultiScaleNetwork(nn.Module):
    """A network of one stage: the mean of the last stage of another over several views.

    As :func:`openpaf.estimator.multiscale.multiscale_fields` on whatever device the network is on,
    but on the cells of the crops as they are.

    Args:
        network: Gives heatmaps and PAFs of all its stages.
        skeleton: Its channels.
        grids: Of its heatmaps and its PAFs.
        scales: The crops are resized by each of these.
        mirrored: Their mirror images are resized by each of these.

    Raises:
        ValueError: If there is no view, a scale is not positive, or the mirror image of a limb is
            not a limb of the skeleton.
    """

    def __init__(
        self,
        network: nn.Module,
        skeleton: Skeleton,
        grids: tuple[Grid, Grid],
        scales: Sequence[float],
        mirrored: Sequence[float] = (),
    ) -> None:
        super().__init__()
        check_scales((*scales, *mirrored))
        self.network, self.grids = network, grids
        self.views = [(scale, False) for scale in scales] + [(scale, True) for scale in mirrored]
        self._joints = [*skeleton.flip_permutation, skeleton.n_joints]  # the background stays
        flip = skeleton.flip_limbs if mirrored else ()
        self._limbs = [2 * index + axis for index, _ in flip for axis in (0, 1)]
        self._signs = torch.tensor(
            [sign for _, backwards in flip for sign in ((1, -1) if backwards else (-1, 1))]
        )

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """One stage, as a network gives it.

        Args:
            images: (B, 3, S, S), normalized; S a multiple of the stride.

        Returns:
            ``[(heatmaps (B, K+1, h, w), pafs (B, 2L, h, w))]``, float32.
        """
        views = [self._view(images, *view) for view in self.views]
        heatmaps, pafs = (sum(fields) / len(views) for fields in zip(*views, strict=True))
        return [(heatmaps, pafs)]

    def _view(self, images: Tensor, scale: float, mirrored: bool) -> tuple[Tensor, Tensor]:
        side, stride = images.shape[2], self.grids[0].stride
        size = stride * max(1, round(side * scale / stride))
        if size != side:
            images = nn.functional.interpolate(
                images, size=(size, size), mode="bilinear", antialias=size < side
            )
        if mirrored:
            images = images.flip(3)
        images = images.contiguous(memory_format=torch.channels_last)
        heatmaps, pafs = (fields.float() for fields in self.network(images)[-1])
        if mirrored:
            signs = self._signs.to(pafs.device, pafs.dtype)[:, None, None]
            heatmaps, pafs = heatmaps[:, self._joints], pafs[:, self._limbs] * signs
        if size == side and not mirrored:
            return heatmaps, pafs
        return (
            _resampled(heatmaps, self.grids[0], side, size, mirrored),
            _resampled(pafs, self.grids[1], side, size, mirrored),
        )


def _resampled(field: Tensor, grid: Grid, side: int, size: int, mirrored: bool) -> Tensor:
    """A view's field at the cells of the crop as it is."""
    n = grid.size_cells((side, side))[0]
    px = resize_px(grid.to_px(torch.arange(n, dtype=torch.float64).numpy()), size / side)
    rows, columns = (
        torch.from_numpy(cubic_weights(grid.to_cells(place), field.shape[2])).to(field.device)
        for place in (px, flip_x(px, size) if mirrored else px)
    )
    with torch.autocast(field.device.type, enabled=False):
        return rows @ field @ columns.T
