"""First weights of a cheaper network from a trained one of the same stages.

    python layer_fitting.py RUN.toml --from TRAINED [--target TEACHER]

What both have alike is copied. What the cheaper network has of its own is fitted by least squares,
layer by layer from the image on: a pyramid, an initial stage whose convolutions are two factors
each, heads with fewer hidden channels, and refinement on a coarser grid. Each layer reads what the
cheaper network gives it, and is to give what the trained network's layer gives, so that it makes up
for what the layers before it lost. No gradient is needed; the result is where training starts.

Reference:
    Zhang et al., Accelerating Very Deep Convolutional Networks for Classification and Detection,
    TPAMI 2016, section 3.3 (layers are fitted to the inputs of the cheaper network).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from least_squares import LeastSquares, cells, fill, keep_inputs, matrix_of, record
from run_files import RunFile, load_trained, run_script, save_start
from torch import Tensor, nn

from openpaf.networks.lightweight import Head, LightweightNetwork


@torch.no_grad()
def fit_layers(
    trained: LightweightNetwork,
    cheaper: LightweightNetwork,
    images: Tensor,
    target: LightweightNetwork | None = None,
) -> None:
    """Fill a cheaper network from a trained one.

    Args:
        trained: Its 3x3 convolutions are whole where those of ``cheaper`` are fitted.
        cheaper: Receives the weights: of the same skeleton, stages and widths, but possibly
            strided, with ranks, or with fewer hidden channels in the initial stage's heads.
        images: (B, 3, H, W) float32, normalized, H and W multiples of 16; some forty crops are
            enough.
        target: The network whose responses the layers are fitted to; ``trained`` where not given.

    Raises:
        ValueError: If a layer of ``cheaper`` cannot be made of one of ``trained``, or the images
            have another size.
    """
    missing = _copy(trained, cheaper)
    _check(trained, cheaper, missing)
    if images.shape[2] % 16 or images.shape[3] % 16:
        raise ValueError(
            f"images: expected height and width of a multiple of 16 px, got {images.shape[2:]}"
        )
    if missing:
        LayerFitter(cheaper, target or trained, images).fit(missing)


def _copy(trained: nn.Module, cheaper: nn.Module) -> list[str]:
    """Copy all tensors of the same name and shape; the names of the others."""
    theirs, missing = trained.state_dict(), []
    for name, tensor in cheaper.state_dict().items():
        if name in theirs and theirs[name].shape == tensor.shape:
            tensor.copy_(theirs[name])
        else:
            missing.append(name)
    return missing


def _check(trained: LightweightNetwork, cheaper: LightweightNetwork, missing: list[str]) -> None:
    """An error where the networks differ in what cannot be fitted."""
    ours, theirs = cheaper.initial_stage.pafs, trained.initial_stage.pafs
    if ours.hidden.out_channels > theirs.hidden.out_channels:
        raise ValueError(
            f"cheaper: expected at most {theirs.hidden.out_channels} hidden channels, "
            f"got {ours.hidden.out_channels}"
        )
    for name, ours_has, theirs_has in (
        ("width", cheaper.context.reduce.out_channels, trained.context.reduce.out_channels),
        ("limbs", ours.out.out_channels // 2, theirs.out.out_channels // 2),
        ("refinement stages", len(cheaper.refinement_stages), len(trained.refinement_stages)),
        ("blocks of refinement stages", n_blocks(cheaper), n_blocks(trained)),
    ):
        if ours_has != theirs_has:
            raise ValueError(f"cheaper: expected {theirs_has} {name}, got {ours_has}")
    n_steps = len(cheaper.context.pyramid.steps)
    if n_steps > 1 or len(trained.context.pyramid.steps) > n_steps:
        raise ValueError("cheaper: expected fields at the stride of the trained network's")
    for name in missing:
        if name.startswith("trunk."):
            raise ValueError(f"cheaper: {name} cannot be made of the trained network's layers")


def n_blocks(network: LightweightNetwork) -> list[int]:
    """Blocks of each refinement stage."""
    return [len(cast(nn.Sequential, stage.body)) for stage in network.refinement_stages]


class LayerFitter:
    """Fits the layers of a network in their order.

    Args:
        network: The network.
        target: Another, whose layers say what those of ``network`` are to give.
        images: (B, 3, H, W) float32, normalized.
    """

    def __init__(
        self, network: LightweightNetwork, target: LightweightNetwork, images: Tensor
    ) -> None:
        self.network, self.target, self.images = network, target, images.split(1)

    def fit(self, missing: Sequence[str]) -> None:
        """Fit the first layer with a tensor among ``missing``, and what follows it."""
        has_pyramid = any("pyramid" in name for name in missing)
        names = self._layers_to_fit(missing, has_pyramid)
        responses = self.responses(names)
        for name in names:
            parent, _, last = name.rpartition(".")
            if name == "context.align" and len(self.network.context.pyramid.steps):
                if has_pyramid:  # one that is trained stays
                    self._fit_pyramid(responses[name])
            elif not isinstance(self.network.get_submodule(parent), Head):
                self.fit_layer(name, responses[name], matrix_of(self.target.get_submodule(name)))
            elif last == "hidden":  # with the layer that follows it
                self._fit_head(parent, responses)

    def _layers_to_fit(self, missing: Sequence[str], has_pyramid: bool) -> list[str]:
        """Names of the target's layers, from the first that has to be fitted."""
        names = [
            name
            for name, module in self.target.named_modules()
            if isinstance(module, nn.Conv2d) and module.groups == 1 and "pyramid" not in name
        ]
        ours = dict(self.network.named_modules())
        if any(name not in ours for name in names):
            raise ValueError("trained: expected whole convolutions, got factors")
        start = min(
            i
            for i, name in enumerate(names)
            if any(tensor.startswith(f"{name}.") for tensor in missing)
            or (has_pyramid and name == "context.align")
        )
        if all(name.startswith("context.") for name in missing):  # stages that are trained stay
            names = [name for name in names if name.startswith("context.")]
            start = names.index("context.align")
        return names[start:]

    def responses(self, names: Sequence[str]) -> dict[str, list[Tensor]]:
        """What layers of the target give, by name a tensor (1, C, h, w) for each image."""
        return record(self.target, names, "output", self.images)

    def fit_layer(self, name: str, responses: Sequence[Tensor], prior: Tensor) -> None:
        """Fit a convolution, or its two factors, to responses, near the layer ``prior``."""
        layer = self.network.get_submodule(name)
        first = layer[0] if isinstance(layer, nn.Sequential) else layer
        assert isinstance(first, nn.Conv2d)
        size = first.kernel_size[0]
        fit = LeastSquares()
        for x, y in zip(self._inputs(name), responses, strict=True):
            padding = first.dilation[0] * (size // 2)
            patches = nn.functional.unfold(x, size, first.dilation, padding, first.stride)
            # A strided trunk has every second cell of the other.
            step = y.shape[3] * first.stride[1] // x.shape[3]
            fit.add(patches[0].T.double(), cells(y[:, :, ::step, ::step]))
        solution = fit.solve(prior)
        if isinstance(layer, nn.Conv2d):
            fill(layer, solution[:-1], solution[-1])
            return
        one, two = fit.factors(solution, first.out_channels, size)
        fill(first, one, None)
        fill(cast(nn.Conv2d, cast(nn.Sequential, layer)[1]), two[:-1], two[-1])

    def _fit_head(self, name: str, responses: dict[str, list[Tensor]]) -> None:
        """Fit both layers of a head, which may have fewer hidden channels."""
        whole, head = (
            cast(Head, network.get_submodule(name)) for network in (self.target, self.network)
        )
        hidden = responses[f"{name}.hidden"]
        inputs = torch.cat([cells(x.relu()) for x in hidden])
        mean, matrix = inputs.mean(0), matrix_of(whole.out)
        gram = (inputs - mean).T @ (inputs - mean) / len(inputs)
        channels, fitted = keep_inputs(gram, matrix[:-1], head.hidden.out_channels)
        bias = matrix[-1] + mean @ matrix[:-1] - mean @ fitted
        self.fit_layer(
            f"{name}.hidden", [x[:, channels] for x in hidden], matrix_of(whole.hidden)[:, channels]
        )
        prior = torch.cat([fitted[channels], bias[None]])
        self.fit_layer(f"{name}.out", responses[f"{name}.out"], prior)

    def _fit_pyramid(self, responses: Sequence[Tensor]) -> None:
        """Fit the 1x1 convolution before a pyramid of one step, and the step itself."""
        align, step = "context.align", "context.pyramid.steps.0.lateral"
        coarse, lateral = (
            cast(nn.Conv2d, self.network.get_submodule(name)) for name in (align, step)
        )
        fit = LeastSquares()
        for end, fine, y in zip(self._inputs(align), self._inputs(step), responses, strict=True):
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
        layer = fit.solve()
        phases = layer[:n_phases].view(4, -1, width).permute(1, 2, 0).flatten(1)  # (n, width * 4)
        fill(coarse, phases[:-1], phases[-1] + layer[-1].repeat_interleave(4))
        fill(lateral, layer[n_phases:-1], None)

    def _inputs(self, name: str) -> list[Tensor]:
        """What a layer of the network reads, a tensor for each image."""
        return record(self.network, [name], "input", self.images)[name]


def main(argv: Sequence[str] | None = None) -> None:
    """The command of this file."""
    parser = argparse.ArgumentParser(description="First weights from a trained network's layers.")
    parser.add_argument(
        "run", type=Path, help="the run's TOML file; its [network] weights are made"
    )
    parser.add_argument("--from", dest="source", required=True, help="the trained network")
    parser.add_argument("--target", help="whose responses are fitted (default: the trained one's)")
    arguments = parser.parse_args(argv)
    run = RunFile.read(arguments.run)
    trained, spec = load_trained(arguments.source, run.skeleton)
    target = load_trained(arguments.target, run.skeleton)[0] if arguments.target else None
    cheaper = run.network()
    fit_layers(trained, cheaper, run.crops(), target)
    save_start(cheaper, run, spec)


if __name__ == "__main__":
    run_script(main)
