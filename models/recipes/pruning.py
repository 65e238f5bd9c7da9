"""First weights of a network with fewer channels in its refinement stages than a trained one.

    python pruning.py RUN.toml --from TRAINED

The channels that stay are those whose loss would cost most what reads them. Then every layer that
reads fewer channels is fitted by least squares to the responses of the trained network, from the
image on, so that each makes up for what the layers before it lost.

Reference:
    He et al., Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017 (channels of a
    layer are chosen, and the layer that reads them is fitted anew).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from layer_fitting import LayerFitter, n_blocks
from least_squares import cells, keep_inputs, matrix_of, record
from run_files import RunFile, load_trained, run_script, save_start
from torch import Tensor, nn

from openpaf.networks.lightweight import LightweightNetwork, RefinementBlock

#: By name of a convolution, the indices of its output channels that stay.
Channels = dict[str, Tensor]


@torch.no_grad()
def prune(trained: LightweightNetwork, narrower: LightweightNetwork, images: Tensor) -> None:
    """Fill a network from a trained one that has more channels in its refinement stages.

    Args:
        trained: The convolutions of its refinement stages are whole.
        narrower: Receives the weights: has the same options but for ``refinement_width`` and
            ``refinement_hidden_width``.
        images: (B, 3, H, W) float32, normalized; some forty crops are enough.

    Raises:
        ValueError: If another layer differs, or if there are more channels in ``narrower``.
    """
    _check(trained, narrower)
    groups = list(_groups(trained))
    channels = _choose_channels(groups, trained, narrower, images.split(1))
    state = _pruned_state(groups, trained, channels)
    for name, tensor in narrower.state_dict().items():
        if name not in state or state[name].shape != tensor.shape:
            raise ValueError(f"narrower: {name} cannot be made of the trained network's layers")
    narrower.load_state_dict(state)
    changed = {name for group in groups if group.writers[0] in channels for name in group.readers}
    fitter = LayerFitter(narrower, trained, images)
    for name, _ in trained.named_modules():  # in their order: each reads what was fitted before it
        if name not in changed:
            continue
        responses = fitter.responses([name])[name]  # one at a time: all of them fill the memory
        if name in channels:
            responses = [y[:, channels[name]] for y in responses]
        fitter.fit_layer(name, responses, matrix_of(narrower.get_submodule(name)))


def _check(trained: LightweightNetwork, narrower: LightweightNetwork) -> None:
    """An error where the networks have other layers, not just fewer channels."""
    if n_blocks(narrower) != n_blocks(trained):
        raise ValueError(
            f"narrower: expected {n_blocks(trained)} blocks of refinement stages, "
            f"got {n_blocks(narrower)}"
        )
    for who, network in (("trained", trained), ("narrower", narrower)):
        for block in network.modules():
            if isinstance(block, RefinementBlock) and not isinstance(block.conv, nn.Conv2d):
                raise ValueError(f"{who}: expected a refinement of whole convolutions, got factors")


@dataclass(frozen=True)
class _Group:
    """Convolutions that must keep the same channels.

    Args:
        writers: Those whose output channels they are.
        readers: Those that mix them.
        judges: The readers whose loss says which channels matter; all read the same.
    """

    writers: tuple[str, ...]
    readers: tuple[str, ...]
    judges: tuple[str, ...]


def _groups(network: LightweightNetwork) -> Iterator[_Group]:
    """Those of the refinement stages."""
    for number, n in enumerate(n_blocks(network)):
        path = f"refinement_stages.{number}"
        heads = f"{path}.heatmaps", f"{path}.pafs"
        for k in range(n):
            body = f"{path}.body.{k}"
            yield _Group((f"{body}.conv",), (f"{body}.dilated",), (f"{body}.dilated",))
            after: tuple[str, ...] = (f"{path}.body.{k + 1}.squeeze",)
            if k + 1 == n:
                after = tuple(f"{head}.hidden" for head in heads)
            # Squeezed features are read by the block itself and, with what it adds, after it.
            yield _Group((f"{body}.squeeze", f"{body}.dilated"), (f"{body}.conv", *after), after)
        for head in heads:
            yield _Group((f"{head}.hidden",), (f"{head}.out",), (f"{head}.out",))


def _choose_channels(
    groups: Sequence[_Group],
    trained: LightweightNetwork,
    narrower: LightweightNetwork,
    images: Sequence[Tensor],
) -> Channels:
    """Which channels of the trained network stay, of each convolution that has fewer in the other.

    Raises:
        ValueError: If the other has more channels somewhere.
    """
    channels: Channels = {}
    for group in groups:
        whole, narrow = (
            cast(nn.Conv2d, network.get_submodule(group.writers[0])).out_channels
            for network in (trained, narrower)
        )
        if narrow == whole:
            continue
        if narrow > whole:
            raise ValueError(
                f"narrower: expected {whole} channels of {group.writers[0]}, got {narrow}"
            )
        judge = group.judges[0]
        inputs = torch.cat([cells(x) for x in record(trained, [judge], "input", images)[judge]])
        inputs = inputs - inputs.mean(0)
        matrix = torch.cat([_by_channel(trained, name) for name in group.judges], 1)
        indices, _ = keep_inputs(inputs.T @ inputs / len(inputs), matrix, narrow)
        channels |= dict.fromkeys(group.writers, indices)
    return channels


def _by_channel(network: nn.Module, name: str) -> Tensor:
    """A convolution as (n_in, n_out * kh * kw), float64."""
    layer = cast(nn.Conv2d, network.get_submodule(name))
    return layer.weight.detach().transpose(0, 1).flatten(1).double()


def _pruned_state(
    groups: Sequence[_Group], trained: LightweightNetwork, channels: Channels
) -> dict[str, Tensor]:
    """The weights of the trained network without the channels that go."""
    state = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    for name, indices in channels.items():
        for part in ("weight", "bias"):
            state[f"{name}.{part}"] = state[f"{name}.{part}"][indices]
    for group in groups:
        if group.writers[0] in channels:
            for reader in group.readers:
                weight = state[f"{reader}.weight"]
                state[f"{reader}.weight"] = weight[:, channels[group.writers[0]]]
    return state


def main(argv: Sequence[str] | None = None) -> None:
    """The command of this file."""
    parser = argparse.ArgumentParser(description="First weights with fewer refinement channels.")
    parser.add_argument(
        "run", type=Path, help="the run's TOML file; its [network] weights are made"
    )
    parser.add_argument("--from", dest="source", required=True, help="the trained network")
    arguments = parser.parse_args(argv)
    run = RunFile.read(arguments.run)
    trained, spec = load_trained(arguments.source, run.skeleton)
    narrower = run.network()
    prune(trained, narrower, run.crops())
    save_start(narrower, run, spec)


if __name__ == "__main__":
    run_script(main)
