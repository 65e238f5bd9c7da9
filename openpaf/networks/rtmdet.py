"""RTMDet-nano: boxes of people in an image.

A CSPNeXt trunk and a CSP-PAFPN pyramid, both of depthwise convolutions 5x5, and a head of which
the three levels share their convolutions but not their batch norms; these are folded into the
convolutions, so that each level has its own here.

Reference:
    Lyu et al., 2022: RTMDet: An Empirical Study of Designing Real-Time Object Detectors; sections
    3.1 to 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from openpaf.networks.folded import Normalize, boxes_of_distances, cell_centers
from openpaf.skeleton import Skeleton

_STRIDES = (8, 16, 32)
_CHANNELS = (16, 32, 64, 128, 256)  # of the stem and the stages
_N_BLOCKS = (1, 2, 2, 1)
_N_HEAD = 64
# Of BGR of 0 to 255, as MMDetection takes it.
_MEAN, _STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)


class RTMDet(nn.Module):
    """RTMDet-nano for one class, people.

    Args:
        skeleton: Not used: a detector knows no joints.

    Example:
        >>> network = RTMDet().eval()
        >>> boxes, scores = network(torch.zeros(1, 3, 96, 160))[-1]
        >>> boxes.shape, scores.shape
        (torch.Size([1, 315, 4]), torch.Size([1, 315]))
    """

    def __init__(self, skeleton: Skeleton | None = None) -> None:
        super().__init__()
        self.normalize = Normalize(_MEAN, _STD)
        self.stem = nn.Sequential(_conv(3, 8, 3, 2), _conv(8, 8, 3), _conv(8, 16, 3))
        self.stages = nn.ModuleList(
            _stage(_CHANNELS[i], _CHANNELS[i + 1], n_blocks, last=i == len(_N_BLOCKS) - 1)
            for i, n_blocks in enumerate(_N_BLOCKS)
        )
        fine, middle, coarse = _CHANNELS[-3:]
        self.top_down = nn.ModuleList([_TopDown(coarse), _TopDown(middle)])
        self.bottom_up = nn.ModuleList([_BottomUp(fine), _BottomUp(middle)])
        self.outputs = nn.ModuleList(_separable(n, _N_HEAD, 3) for n in _CHANNELS[-3:])
        self.heads = nn.ModuleList(_Head(_N_HEAD, stride) for stride in _STRIDES)

    def forward(self, images: Tensor) -> list[tuple[Tensor, ...]]:
        """Boxes of people, before any suppression.

        Args:
            images: (B, 3, h, w), BGR of 0 to 255; h and w are multiples of 32.

        Returns:
            One stage: (boxes (B, N, 4), scores (B, N)): the borders x0, y0, x1, y1 in px, where
            pixel i reaches from i to i + 1, and 0 to 1; a box for each cell of the three levels.
        """
        x = self.stem(self.normalize(images))
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        boxes, scores = zip(
            *(head(x) for head, x in zip(self.heads, self._pyramid(*levels[1:]), strict=True)),
            strict=True,
        )
        return [(torch.cat(boxes, 1), torch.cat(scores, 1))]

    def _pyramid(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> list[Tensor]:
        coarse, middle = self.top_down[0](coarse, middle)
        middle, fine = self.top_down[1](middle, fine)
        middle = self.bottom_up[0](fine, middle)
        coarse = self.bottom_up[1](middle, coarse)
        levels = zip(self.outputs, (fine, middle, coarse), strict=True)
        return [output(x) for output, x in levels]


def _conv(n_in: int, n_out: int, size: int = 1, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, size, stride, size // 2), nn.SiLU())


def _separable(n_in: int, n_out: int, size: int, stride: int = 1) -> nn.Sequential:
    depthwise = nn.Conv2d(n_in, n_in, size, stride, size // 2, groups=n_in)
    return nn.Sequential(depthwise, nn.SiLU(), _conv(n_in, n_out))


def _stage(n_in: int, n_out: int, n_blocks: int, *, last: bool) -> nn.Sequential:
    pooling = [_PyramidPooling(n_out)] if last else []
    layer = _CSPLayer(n_out, n_out, n_blocks, residual=not last, attention=True)
    return nn.Sequential(_separable(n_in, n_out, 3, 2), *pooling, layer)


class _Block(nn.Module):
    """Separable convolutions, 3x3 and 5x5."""

    def __init__(self, n: int, *, residual: bool) -> None:
        super().__init__()
        self.convs = nn.Sequential(_separable(n, n, 3), _separable(n, n, 5))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x) + x if self.residual else self.convs(x)


class _CSPLayer(nn.Module):
    """Blocks on half of the channels, while the other half passes."""

    def __init__(
        self, n_in: int, n_out: int, n_blocks: int, *, residual: bool, attention: bool
    ) -> None:
        super().__init__()
        half = n_out // 2
        self.short = _conv(n_in, half)
        self.main = _conv(n_in, half)
        self.blocks = nn.Sequential(*(_Block(half, residual=residual) for _ in range(n_blocks)))
        self.attention = nn.Conv2d(n_out, n_out, 1) if attention else None
        self.final = _conv(n_out, n_out)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.blocks(self.main(x)), self.short(x)], 1)
        if self.attention is not None:
            x = x * functional.hardsigmoid(self.attention(x.mean((2, 3), keepdim=True)))
        x = self.final(x)
        return x


class _PyramidPooling(nn.Module):
    """The largest value in squares of 1, 5, 9 and 13 cells."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.squeeze = _conv(n, n // 2)
        self.merge = _conv(2 * n, n)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        pooled = [functional.max_pool2d(x, size, 1, size // 2) for size in (5, 9, 13)]
        x = self.merge(torch.cat([x, *pooled], 1))
        return x


class _TopDown(nn.Module):
    """A level takes what the coarser one knows; gives the coarser one, reduced, and itself."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.reduce = _conv(n, n // 2)
        self.merge = _CSPLayer(n, n // 2, 1, residual=False, attention=False)

    def forward(self, coarser: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        coarser = self.reduce(coarser)
        above = functional.interpolate(coarser, scale_factor=2.0)
        return coarser, self.merge(torch.cat([above, x], 1))


class _BottomUp(nn.Module):
    """A level takes what the finer one knows."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.down = _separable(n, n, 3, 2)
        self.merge = _CSPLayer(2 * n, 2 * n, 1, residual=False, attention=False)

    def forward(self, finer: Tensor, x: Tensor) -> Tensor:
        x = self.merge(torch.cat([self.down(finer), x], 1))
        return x


class _Head(nn.Module):
    """Boxes and scores of the cells of one level, by separable convolutions."""

    def __init__(self, n: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.score_convs = nn.Sequential(_separable(n, n, 3), _separable(n, n, 3))
        self.scores = nn.Conv2d(n, 1, 1)
        self.box_convs = nn.Sequential(_separable(n, n, 3), _separable(n, n, 3))
        self.distances = nn.Conv2d(n, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.scores(self.score_convs(x)).sigmoid()
        distances = self.distances(self.box_convs(x)).flatten(2).transpose(1, 2) * self.stride
        boxes = boxes_of_distances(cell_centers(scores, self.stride, 0), distances)
        return boxes, scores.flatten(1)
