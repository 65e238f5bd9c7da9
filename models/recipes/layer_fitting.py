"""A cheaper network from a trained one of the same stages: the start of a fast model.

What both have alike is copied. What the cheaper network has of its own is fitted by least squares,
layer by layer from the picture on: a pyramid, an initial stage whose convolutions are two factors
each, heads with fewer hidden channels, and refinement on a coarser grid. Each layer reads what the
cheaper network gives it, and is to give what the trained network's layer gives, so that it makes up
for what the layers before it lost. No gradient is needed; the result is where training starts.

Reference:
    Zhang et al., Accelerating Very Deep Convolutional Networks for Classification and Detection,
    TPAMI 2016, section 3.3 (layers are fitted to the inputs of the cheaper network).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from openpaf.networks.lightweight import Head, LightweightNetwork
from openpaf.training.linear import LinearFit, cells, keep_most_missed


def shrink(
    wide: LightweightNetwork,
    slim: LightweightNetwork,
    images: Tensor,
    target: LightweightNetwork | None = None,
) -> None:
    """Fill a cheaper network from a trained one.

    Args:
        wide: A trained network; its 3x3 convolutions are whole.
        slim: Receives its weights: of the same skeleton, stages and widths, but maybe strided, with
            a rank, or fewer hidden channels in the initial stage's heads.
        images: (B, 3, H, W) float32, normalised, H and W multiples of 16; some forty crops are
            enough.
        target: The network whose responses the layers are fitted to, if not ``wide``: the one that
            ``wide`` was made of.

    Raises:
        ValueError: If a layer of ``slim`` cannot be made of one of ``wide``, or the images have
            another size.
    """
    left = _copy(wide, slim)
    _check(wide, slim, left)
    if not left:
        return
    if images.shape[2] % 16 or images.shape[3] % 16:
        raise ValueError(
            f"images: expected height and width of a multiple of 16 px, got {images.shape[2:]}"
        )
    with torch.no_grad():
        Fitting(slim, target or wide, images).fit(left)


@torch.no_grad()
def _copy(wide: nn.Module, slim: nn.Module) -> list[str]:
    """Copy all tensors of the same name and shape; the names of the others."""
    theirs, left = wide.state_dict(), []
    for name, tensor in slim.state_dict().items():
        if name in theirs and theirs[name].shape == tensor.shape:
            tensor.copy_(theirs[name])
        else:
            left.append(name)
    return left


def _check(wide: LightweightNetwork, slim: LightweightNetwork, left: list[str]) -> None:
    """An error where the networks differ in what cannot be fitted."""
    ours, theirs = slim.initial_stage.pafs, wide.initial_stage.pafs
    if ours.hidden.out_channels > theirs.hidden.out_channels:
        raise ValueError(
            f"slim: expected at most {theirs.hidden.out_channels} hidden channels, "
            f"got {ours.hidden.out_channels}"
        )
    for name, ours_has, theirs_has in (
        ("width", slim.context.align.out_channels, wide.context.align.out_channels),
        ("limbs", ours.out.out_channels // 2, theirs.out.out_channels // 2),
        ("refinement stages", len(slim.refinement_stages), len(wide.refinement_stages)),
        ("blocks of refinement stages", n_blocks(slim), n_blocks(wide)),
    ):
        # A pyramid needs four times the channels before it.
        if ours_has != theirs_has and (name != "width" or ours_has != 4 * theirs_has):
            raise ValueError(f"slim: expected {theirs_has} {name}, got {ours_has}")
    n_steps = len(slim.context.pyramid.steps)
    if n_steps > 1 or len(wide.context.pyramid.steps) > n_steps:
        raise ValueError("slim: expected fields at the stride of the wide network's")
    missing = [name for name in left if name.startswith("trunk.")]
    if missing:
        raise ValueError(f"slim: {missing[0]} cannot be made of the wide network's layers")


def n_blocks(network: LightweightNetwork) -> list[int]:
    """Of each refinement stage."""
    return [len(cast(nn.Sequential, stage.body)) for stage in network.refinement_stages]


class Fitting:
    """Fits the layers of a network in their order.

    Args:
        slim: The network.
        target: Another, whose layers say what those of ``slim`` are to give.
        images: (B, 3, H, W) float32, normalised.
    """

    def __init__(
        self, slim: LightweightNetwork, target: LightweightNetwork, images: Tensor
    ) -> None:
        self.slim, self.target, self.images = slim, target, images.split(1)

    def fit(self, left: list[str]) -> None:
        """Fit the first layer that was left, and what follows it."""
        names = [
            name
            for name, module in self.target.named_modules()
            if isinstance(module, nn.Conv2d) and module.groups == 1 and "pyramid" not in name
        ]
        ours = dict(self.slim.named_modules())
        if any(name not in ours for name in names):
            raise ValueError("wide: expected a network whose convolutions are whole, got factors")
        has_pyramid = any("pyramid" in name for name in left)
        start = min(
            i
            for i, name in enumerate(names)
            if any(tensor.startswith(f"{name}.") for tensor in left)
            or (has_pyramid and name == "context.align")
        )
        if all(name.startswith("context.") for name in left):  # stages that are trained are kept
            names = [name for name in names if name.startswith("context.")]
            start = names.index("context.align")
        wanted = self.wanted(names[start:])
        for name in names[start:]:
            parent, _, last = name.rpartition(".")
            if name == "context.align" and len(self.slim.context.pyramid.steps):
                if has_pyramid:  # one that is trained is kept
                    self._fit_pyramid(name, "context.pyramid", wanted[name])
            elif not isinstance(self.slim.get_submodule(parent), Head):
                self.fit_layer(name, wanted[name], matrix_of(self.target.get_submodule(name)))
            elif last == "hidden":  # and what follows it
                self._fit_head(parent, wanted)

    def wanted(self, names: list[str]) -> dict[str, list[Tensor]]:
        """The responses of some layers of ``target``, by name a tensor (1, C, h, w) an image."""
        return record(self.target, names, 1, self.images)

    def fit_layer(self, name: str, wanted: list[Tensor], prior: Tensor) -> None:
        """Fit a convolution, or its two factors, to responses, near the layer ``prior``."""
        ours = self.slim.get_submodule(name)
        first = ours[0] if isinstance(ours, nn.Sequential) else ours
        assert isinstance(first, nn.Conv2d)
        size = first.kernel_size[0]
        fit = LinearFit()
        for x, y in zip(self._inputs(name), wanted, strict=True):
            padding = first.dilation[0] * (size // 2)
            patches = nn.functional.unfold(x, size, first.dilation, padding, first.stride)
            # A strided trunk has every second cell of the other.
            step = y.shape[3] * first.stride[1] // x.shape[3]
            fit.add(patches[0].T.double(), cells(y[:, :, ::step, ::step]))
        if isinstance(ours, nn.Conv2d):
            layer = fit.solve(prior)
            _fill(ours, layer[:-1], layer[-1])
            return
        one, two = fit.factors(fit.solve(prior), first.out_channels, size)
        _fill(first, one, None)
        _fill(cast(nn.Conv2d, ours[1]), two[:-1], two[-1])  # type: ignore[index]

    def _fit_head(self, name: str, wanted: dict[str, list[Tensor]]) -> None:
        """Fit both layers of a head, which may have fewer hidden channels."""
        whole, head = (
            cast(Head, network.get_submodule(name)) for network in (self.target, self.slim)
        )
        hidden = wanted[f"{name}.hidden"]
        rows = torch.cat([cells(x.relu()) for x in hidden])
        mean, matrix = rows.mean(0), matrix_of(whole.out)
        gram = (rows - mean).T @ (rows - mean) / len(rows)
        kept, fitted = keep_most_missed(gram, matrix[:-1], head.hidden.out_channels)
        bias = matrix[-1] + mean @ matrix[:-1] - mean @ fitted
        self.fit_layer(
            f"{name}.hidden", [x[:, kept] for x in hidden], matrix_of(whole.hidden)[:, kept]
        )
        prior = torch.cat([fitted[kept], bias[None]])
        self.fit_layer(f"{name}.out", wanted[f"{name}.out"], prior)

    def _fit_pyramid(self, align: str, pyramid: str, wanted: list[Tensor]) -> None:
        """Fit the 1x1 convolution before a pyramid of one step, and the step itself."""
        coarse = cast(nn.Conv2d, self.slim.get_submodule(align))
        lateral = cast(nn.Conv2d, self.slim.get_submodule(f"{pyramid}.steps.0.lateral"))
        fit = LinearFit()
        inputs = zip(
            self._inputs(align), self._inputs(f"{pyramid}.steps.0.lateral"), wanted, strict=True
        )
        for end, fine, y in inputs:
            # An input is one fine cell's: the coarse cell that covers it and a 1 for the bias, at
            # one of four places by which of the four cells it is; and the finer features.
            end_cells = cells(end)
            one = end_cells.new_ones(len(end_cells), 1)
            for k in range(4):
                phase = torch.zeros(len(end_cells), 4, coarse.in_channels + 1, dtype=torch.float64)
                phase[:, k] = torch.cat([end_cells, one], 1)
                of_phase = cells(fine[:, :, k // 2 :: 2, k % 2 :: 2])
                fit.add(
                    torch.cat([phase.flatten(1), of_phase], 1),
                    cells(y[:, :, k // 2 :: 2, k % 2 :: 2]),
                )
        n_phases, width = 4 * (coarse.in_channels + 1), lateral.out_channels
        layer = fit.solve(
            torch.zeros(n_phases + lateral.in_channels + 1, width, dtype=torch.float64)
        )
        phases = layer[:n_phases].view(4, -1, width).permute(1, 2, 0).flatten(1)  # (n, width * 4)
        _fill(coarse, phases[:-1], phases[-1] + layer[-1].repeat_interleave(4))
        _fill(lateral, layer[n_phases:-1], None)

    def _inputs(self, name: str) -> list[Tensor]:
        """What a layer of the network reads, an image each."""
        return record(self.slim, [name], 0, self.images)[name]


def record(
    network: nn.Module, names: list[str], which: int, images: Sequence[Tensor]
) -> dict[str, list[Tensor]]:
    """Inputs (``which`` 0) or outputs (1) of some layers, by name one tensor an image."""
    kept: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = [
        network.get_submodule(name).register_forward_hook(_keeper(rows, which))
        for name, rows in kept.items()
    ]
    for image in images:
        network(image)
    for handle in handles:
        handle.remove()
    return kept


def _keeper(rows: list[Tensor], which: int) -> Callable[..., None]:
    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        rows.append((inputs[0], output)[which])

    return keep


def matrix_of(layer: nn.Module) -> Tensor:
    """A convolution as a matrix (n_in * kh * kw + 1, n_out), its bias last, float64."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    return torch.cat([layer.weight.flatten(1).T, layer.bias[None]]).double()


def _fill(layer: nn.Conv2d, matrix: Tensor, bias: Tensor | None) -> None:
    layer.weight.copy_(matrix.T.reshape(layer.weight.shape))
    if bias is not None:
        assert layer.bias is not None
        layer.bias.copy_(bias)
