"""A narrower network from a trained one: the start of a fast model.

Channels are chosen by how little their loss costs once the layer that reads them is fitted anew
(backward elimination on least squares), and then every layer is fitted, from the picture on, to
give what the wide network's gives, from what the narrow one has. No gradient is needed; the
result is where training starts.

Reference:
    He, Zhang, Sun, Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017
    (layer-wise refitting, equation 1); Hassibi and Stork, Second Order Derivatives for Network
    Pruning: Optimal Brain Surgeon, NIPS 1992 (cost of a removal, equation 5).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from openpaf.networks.lightweight import (
    Head,
    LightweightNetwork,
    RefinementBlock,
    SeparableConv,
    Stage,
)

_RIDGE = 1e-3  # of the mean squared input; towards the wide network's own weights


@torch.no_grad()
def narrow(wide: LightweightNetwork, slim: LightweightNetwork, images: Tensor) -> None:
    """Fill a narrower network from a wide one of the same skeleton and stages.

    Args:
        wide: A trained network.
        slim: Receives its weights; every layer at most as wide.
        images: (B, 3, H, W) float32, normalised; some twenty crops are enough.

    Raises:
        ValueError: If a layer of ``slim`` is wider than that of ``wide``.
    """
    _Narrowing(wide, slim, images).run()


class _Narrowing:
    """Walks both networks layer by layer, with the wide and the slim activations of the crops."""

    def __init__(self, wide: LightweightNetwork, slim: LightweightNetwork, images: Tensor) -> None:
        self.wide, self.slim, self.images = wide.eval(), slim.eval(), images

    def run(self) -> None:
        wide, slim = self.wide, self.slim
        w, s, kept = self._trunk()
        w, s, kept = self._context(w, s, kept)
        initial = self._initial_body(w, s, kept)
        fields_w, fields_s = self._heads(wide.initial_stage, slim.initial_stage, *initial)
        for i in range(len(wide.refinement_stages)):
            stages = (_stage(wide, i), _stage(slim, i))
            # A stage reads the features and all the fields of the stage before it.
            fields = torch.arange(fields_w.shape[1])
            k = torch.cat([kept, w.shape[1] + fields])
            body = self._refinement_body(
                *stages, torch.cat([w, fields_w], 1), torch.cat([s, fields_s], 1), k
            )
            fields_w, fields_s = self._heads(*stages, *body)

    def _trunk(self) -> tuple[Tensor, Tensor, Tensor]:
        first_w, first_s = cast(nn.Conv2d, self.wide.trunk[0]), cast(nn.Conv2d, self.slim.trunk[0])
        blocks_w = cast("list[SeparableConv]", _layers(self.wide.trunk)[2:])
        blocks_s = cast("list[SeparableConv]", _layers(self.slim.trunk)[2:])
        w, s = self.images, self.images
        kept = torch.arange(3)
        layers = [(first_w, first_s)] + [
            (a.pointwise, b.pointwise) for a, b in zip(blocks_w, blocks_s, strict=True)
        ]
        for i, (layer_w, layer_s) in enumerate(layers):
            after = layer_w(w).relu()
            if i < len(blocks_w):  # what the next block makes of each channel, before it mixes
                mixed = blocks_w[i].depthwise(after).relu()
                chosen = choose([(blocks_w[i].pointwise, mixed)], layer_s.out_channels)
            else:
                chosen = choose([(self.wide.context.align, after)], layer_s.out_channels)
            fit(layer_w, layer_s, w, s, kept, chosen)
            w, s, kept = after, layer_s(s).relu(), chosen
            if i < len(blocks_w):
                depthwise_w, depthwise_s = blocks_w[i].depthwise, blocks_s[i].depthwise
                _take(depthwise_w, depthwise_s, kept)
                w, s = depthwise_w(w).relu(), depthwise_s(s).relu()
        return w, s, kept

    def _context(self, w: Tensor, s: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, b = self.wide.context, self.slim.context
        elu = nn.functional.elu
        aligned = elu(a.align(w))
        total = aligned + a.separable(elu(a.reduce(aligned)))
        both = choose([(a.out, total), (a.reduce, aligned)], b.align.out_channels)
        fit(a.align, b.align, w, s, kept, both)
        aligned_w, aligned_s = aligned, elu(b.align(s))
        x_w, x_s, k = aligned_w, aligned_s, both
        blocks_w = cast("list[SeparableConv]", _layers(a.separable))
        blocks_s = cast("list[SeparableConv]", _layers(b.separable))
        layers = [(a.reduce, b.reduce)] + [
            (p.pointwise, q.pointwise) for p, q in zip(blocks_w, blocks_s, strict=True)
        ]
        for i, (layer_w, layer_s) in enumerate(layers):
            after = elu(layer_w(x_w))
            if i < len(blocks_w):
                mixed = elu(blocks_w[i].depthwise(after))
                chosen = choose([(blocks_w[i].pointwise, mixed)], layer_s.out_channels)
            else:
                chosen = both  # it is added to the aligned features
            fit(layer_w, layer_s, x_w, x_s, k, chosen)
            x_w, x_s, k = after, elu(layer_s(x_s)), chosen
            if i < len(blocks_w):
                depthwise_w, depthwise_s = blocks_w[i].depthwise, blocks_s[i].depthwise
                _take(depthwise_w, depthwise_s, k)
                x_w, x_s = elu(depthwise_w(x_w)), elu(depthwise_s(x_s))
        x_w, x_s = aligned_w + x_w, aligned_s + x_s
        features = a.out(x_w).relu()
        reader = cast(nn.Conv2d, _layers(self.wide.initial_stage.body)[0])
        chosen = choose([(reader, features)], b.out.out_channels)
        fit(a.out, b.out, x_w, x_s, both, chosen)
        return features, b.out(x_s).relu(), chosen

    def _initial_body(self, w: Tensor, s: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stage = self.wide.initial_stage
        layers_w = cast("list[nn.Conv2d]", _layers(stage.body)[::2])
        layers_s = cast("list[nn.Conv2d]", _layers(self.slim.initial_stage.body)[::2])
        for i, (layer_w, layer_s) in enumerate(zip(layers_w, layers_s, strict=True)):
            after = layer_w(w).relu()
            readers = layers_w[i + 1 : i + 2] or [stage.heatmaps.hidden, stage.pafs.hidden]
            chosen = choose([(reader, after) for reader in readers], layer_s.out_channels)
            fit(layer_w, layer_s, w, s, kept, chosen)
            w, s, kept = after, layer_s(s).relu(), chosen
        return w, s, kept

    def _refinement_body(
        self, a: Stage, b: Stage, w: Tensor, s: Tensor, kept: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        blocks_w = cast("list[RefinementBlock]", _layers(a.body))
        blocks_s = cast("list[RefinementBlock]", _layers(b.body))
        for i, (block_w, block_s) in enumerate(zip(blocks_w, blocks_s, strict=True)):
            readers = [block.squeeze for block in blocks_w[i + 1 : i + 2]]
            readers = readers or [a.heatmaps.hidden, a.pafs.hidden]
            w, s, kept = self._block(block_w, block_s, readers, w, s, kept)
        return w, s, kept

    def _block(
        self,
        a: RefinementBlock,
        b: RefinementBlock,
        readers: list[nn.Conv2d],
        w: Tensor,
        s: Tensor,
        kept: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        squeezed_w = a.squeeze(w).relu()
        inner_w = a.conv(squeezed_w).relu()
        total_w = squeezed_w + a.dilated(inner_w).relu()
        both = choose([(reader, total_w) for reader in readers], b.squeeze.out_channels)
        fit(a.squeeze, b.squeeze, w, s, kept, both)
        squeezed_s = b.squeeze(s).relu()
        inner = choose([(a.dilated, inner_w)], b.conv.out_channels)
        fit(a.conv, b.conv, squeezed_w, squeezed_s, both, inner)
        inner_s = b.conv(squeezed_s).relu()
        fit(a.dilated, b.dilated, inner_w, inner_s, inner, both)
        return total_w, squeezed_s + b.dilated(inner_s).relu(), both

    def _heads(
        self, a: Stage, b: Stage, w: Tensor, s: Tensor, kept: Tensor
    ) -> tuple[Tensor, Tensor]:
        fields = [
            self._head(*heads, w, s, kept) for heads in ((a.heatmaps, b.heatmaps), (a.pafs, b.pafs))
        ]
        return torch.cat([f[0] for f in fields], 1), torch.cat([f[1] for f in fields], 1)

    def _head(self, a: Head, b: Head, w: Tensor, s: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        hidden_w = a.hidden(w).relu()
        chosen = choose([(a.out, hidden_w)], b.hidden.out_channels)
        fit(a.hidden, b.hidden, w, s, kept, chosen)
        hidden_s = b.hidden(s).relu()
        every = torch.arange(a.out.out_channels)
        fit(a.out, b.out, hidden_w, hidden_s, chosen, every)
        return a.out(hidden_w), b.out(hidden_s)


def choose(readers: list[tuple[nn.Conv2d, Tensor]], n_kept: int) -> Tensor:
    """The channels that the layers which read them can least do without.

    Args:
        readers: Layers, and their common input (B, C, H, W) as each sees it.
        n_kept: How many channels to keep.

    Returns:
        Their indices, rising.

    Raises:
        ValueError: If there are fewer channels than that.
    """
    n = readers[0][1].shape[1]
    if n_kept > n:
        raise ValueError(f"slim: expected at most {n} channels where it has {n_kept}")
    if n_kept == n:
        return torch.arange(n)
    problems = []
    for layer, x in readers:
        weight = layer.weight[:, :n]
        # A larger kernel is taken at its summed taps: neighbouring cells are much alike.
        matrix = weight.double().flatten(2).sum(2).T.contiguous()  # (C, O)
        rows = _cells(x)
        rows = rows - rows.mean(0)
        gram = rows.T @ rows / len(rows)
        gram += _RIDGE * gram.diagonal().mean() * torch.eye(n, dtype=torch.float64)
        whole = float((matrix * (gram @ matrix)).sum())
        problems.append([torch.linalg.inv(gram), matrix, whole])
    alive = torch.ones(n, dtype=torch.bool)
    for _ in range(n - n_kept):
        cost = torch.zeros(n, dtype=torch.float64)
        for inverse, matrix, whole in problems:
            cost += matrix.square().sum(1) / inverse.diagonal().clamp(min=1e-30) / whole
        cost[~alive] = torch.inf
        gone = int(cost.argmin())
        alive[gone] = False
        for problem in problems:
            inverse, matrix, _whole = problem
            column, pivot = inverse[:, gone].clone(), float(inverse[gone, gone])
            matrix -= torch.outer(column / pivot, matrix[gone])
            inverse -= torch.outer(column, column) / pivot
            matrix[gone] = 0
            inverse[gone], inverse[:, gone], inverse[gone, gone] = 0, 0, 1e-30
    return alive.nonzero()[:, 0]


def fit(
    wide: nn.Conv2d, slim: nn.Conv2d, w: Tensor, s: Tensor, kept: Tensor, chosen: Tensor
) -> None:
    """Fit a layer to give, from the slim input, what the wide one gives from its own.

    Args:
        wide: The wide layer; not depthwise.
        slim: The layer to fill.
        w: (B, C, H, W), what the wide layer reads.
        s: (B, c, H, W), what the slim one reads: an approximation of the channels ``kept``.
        kept: (c,) which channels of ``w`` those of ``s`` stand for.
        chosen: Which output channels the slim layer has.
    """
    # (c * kernel, o): the wide network's own weights are what the fit is drawn to.
    prior = wide.weight[chosen][:, kept].flatten(1).T.double()
    wanted = _cells(wide(w)[:, chosen])
    patches = nn.functional.unfold(
        s, slim.kernel_size, slim.dilation, cast("tuple[int, int]", slim.padding), slim.stride
    )  # (B, c * kernel, cells)
    rows = patches.permute(0, 2, 1).reshape(-1, patches.shape[1])
    n = rows.shape[1]
    mean_in, mean_out = rows.double().mean(0), wanted.mean(0)
    gram = torch.zeros(n, n, dtype=torch.float64)
    moment = torch.zeros(n, len(chosen), dtype=torch.float64)
    for part, want in zip(rows.split(20_000), wanted.split(20_000), strict=True):
        part = part.double() - mean_in
        gram += part.T @ part
        moment += part.T @ (want - mean_out)
    ridge = _RIDGE * gram.diagonal().mean()
    gram += ridge * torch.eye(n, dtype=torch.float64)
    solution = torch.linalg.solve(gram, moment + ridge * prior)
    slim.weight.copy_(solution.T.reshape(slim.weight.shape))
    _bias(slim).copy_(mean_out - mean_in @ solution)


def _cells(x: Tensor) -> Tensor:
    """(B, C, H, W) to rows (B * H * W, C), in double precision."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).double()


def _take(wide: nn.Conv2d, slim: nn.Conv2d, kept: Tensor) -> None:
    """Copy some channels of a depthwise layer."""
    slim.weight.copy_(wide.weight[kept])
    _bias(slim).copy_(_bias(wide)[kept])


def _layers(module: nn.Module) -> list[nn.Module]:
    return list(module.children())


def _stage(network: LightweightNetwork, i: int) -> Stage:
    return cast(Stage, network.refinement_stages[i])


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None  # every convolution of this network has one
    return layer.bias
