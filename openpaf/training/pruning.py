"""A smaller network from a trained one: which channels stay, and what reads them is fitted anew.

The channels that are kept are those whose loss costs what reads them least. Then every layer that
reads fewer channels is fitted by least squares to the responses of the trained network, from the
picture on, so that each makes up for what the layers before it lost.

Of the blocks of a refinement stage, those after the first go: of the ways to leave out one of five
or two of five, that one lost least. What reads the first block then is fitted anew, too.

Reference:
    He et al., Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017 (channels of a
    layer are chosen, and the layer that reads them is fitted anew).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from openpaf.networks.lightweight import (
    LightweightNetwork,
    RefinementBlock,
    SeparableConv,
    Stage,
)
from openpaf.training.linear import cells, keep_most_missed
from openpaf.training.shrink import Fitting, matrix_of, record

#: By name of a convolution, the indices of its output channels that stay.
Kept = dict[str, Tensor]


def is_smaller(wide: LightweightNetwork, slim: LightweightNetwork) -> bool:
    """Whether trunk or refinement stages have fewer channels or blocks than a trained network's."""
    if any(a < b for a, b in zip(_n_blocks(slim), _n_blocks(wide), strict=False)):
        return True
    theirs, ours = (dict(network.named_modules()) for network in (wide, slim))
    return any(
        layer.out_channels < other.out_channels
        for name, layer in ours.items()
        if name.startswith(("trunk.", "refinement_stages."))
        and isinstance(layer, nn.Conv2d)
        and isinstance(other := theirs.get(name), nn.Conv2d)
    )


@torch.no_grad()
def prune(wide: LightweightNetwork, slim: LightweightNetwork, images: Tensor) -> None:
    """Fill a network from a trained one that has more channels in trunk or refinement.

    Args:
        wide: The trained network; the convolutions of its refinement stages are whole.
        slim: Receives its weights: has the same options but for ``trunk_widths``,
            ``refinement_width``, ``refinement_hidden_width`` and ``n_refinement_blocks``.
        images: (B, 3, H, W) float32, normalised; some forty crops are enough.

    Raises:
        ValueError: If another layer differs, or if there are more channels or blocks in ``slim``,
            or fewer channels in a layer that a pyramid or the context block reads.
    """
    _check(wide, slim)
    if _n_blocks(slim) != _n_blocks(wide):
        wide = _with_fewer_blocks(wide, slim, images)
    groups = list(_groups(wide))
    kept = _choose_channels(groups, wide, slim, images.split(1))
    state = _pruned_state(groups, wide, kept)
    for name, tensor in slim.state_dict().items():
        if name not in state or state[name].shape != tensor.shape:
            raise ValueError(f"slim: {name} cannot be made of the trained network's layers")
    slim.load_state_dict(state)
    changed = {name for group in groups if group.writers[0] in kept for name in group.readers}
    fitting = Fitting(slim, wide, images)
    for name, _ in wide.named_modules():  # in their order: each reads what was fitted before it
        if name not in changed:
            continue
        wanted = fitting.wanted([name])[name]  # one at a time, since all of them fill the memory
        if name in kept:
            wanted = [y[:, kept[name]] for y in wanted]
        fitting.fit_layer(name, wanted, matrix_of(slim.get_submodule(name)))


def _check(wide: LightweightNetwork, slim: LightweightNetwork) -> None:
    """An error where the networks have other layers, not just fewer channels or blocks."""
    if len(wide.refinement_stages) != len(slim.refinement_stages):
        raise ValueError(
            f"slim: expected {len(wide.refinement_stages)} refinement stages, "
            f"got {len(slim.refinement_stages)}"
        )
    for who, network in (("wide", wide), ("slim", slim)):
        for block in network.modules():
            if isinstance(block, RefinementBlock) and not isinstance(block.conv, nn.Conv2d):
                raise ValueError(f"{who}: expected a refinement of whole convolutions, got factors")


def _n_blocks(network: LightweightNetwork) -> list[int]:
    """Of each refinement stage."""
    return [len(cast(nn.Sequential, stage.body)) for stage in network.refinement_stages]


def _with_fewer_blocks(
    wide: LightweightNetwork, slim: LightweightNetwork, images: Tensor
) -> LightweightNetwork:
    """A copy of the trained network with as many blocks a stage as ``slim`` has."""
    network = copy.deepcopy(wide)
    for number, (has, wanted) in enumerate(zip(_n_blocks(wide), _n_blocks(slim), strict=True)):
        n_gone = has - wanted
        if n_gone < 0:
            raise ValueError(f"slim: expected at most {has} blocks of a refinement, got {wanted}")
        if not n_gone:
            continue
        stage = cast(Stage, network.refinement_stages[number])
        first, *others = cast(nn.Sequential, stage.body)
        stage.body = nn.Sequential(first, *others[n_gone:])
        path = f"refinement_stages.{number}"
        rows = [(f"{path}.body.1.squeeze", f"{path}.body.{1 + n_gone}.squeeze")]
        if wanted == 1:  # the heads read the first block then
            rows = [(name, name) for name in (f"{path}.heatmaps.hidden", f"{path}.pafs.hidden")]
        fitting = Fitting(network, wide, images)
        for ours, theirs in rows:
            layer = network.get_submodule(ours)
            fitting.fit_layer(ours, fitting.wanted([theirs])[theirs], matrix_of(layer))
    return network


@dataclass(frozen=True)
class _Group:
    """Convolutions that must keep the same channels.

    Args:
        writers: Those whose output channels they are, depthwise ones among them.
        readers: Those that mix them.
        judges: The readers whose loss says which channels matter; all read the same.
    """

    writers: tuple[str, ...]
    readers: tuple[str, ...]
    judges: tuple[str, ...]


def _groups(network: LightweightNetwork) -> Iterator[_Group]:
    """Those of trunk and refinement stages; without readers where all channels must stay."""
    blocks = [i for i, layer in enumerate(network.trunk) if isinstance(layer, SeparableConv)]
    writers = ["trunk.0", *(f"trunk.{i}.pointwise" for i in blocks)]
    for writer, i in zip(writers, [*blocks, None], strict=True):
        if i is None or network.is_kept[int(writer.split(".")[1])]:
            yield _Group((writer,), (), ())
        else:
            reader = (f"trunk.{i}.pointwise",)
            yield _Group((writer, f"trunk.{i}.depthwise"), reader, reader)
    for number, n_blocks in enumerate(_n_blocks(network)):
        path = f"refinement_stages.{number}"
        heads = f"{path}.heatmaps", f"{path}.pafs"
        for k in range(n_blocks):
            body = f"{path}.body.{k}"
            yield _Group((f"{body}.conv",), (f"{body}.dilated",), (f"{body}.dilated",))
            after: tuple[str, ...] = (f"{path}.body.{k + 1}.squeeze",)
            if k + 1 == n_blocks:
                after = tuple(f"{head}.hidden" for head in heads)
            # Squeezed features are read by the block itself and, with what it adds, after it.
            yield _Group((f"{body}.squeeze", f"{body}.dilated"), (f"{body}.conv", *after), after)
        for head in heads:
            yield _Group((f"{head}.hidden",), (f"{head}.out",), (f"{head}.out",))


def _choose_channels(
    groups: Sequence[_Group],
    wide: LightweightNetwork,
    slim: LightweightNetwork,
    images: Sequence[Tensor],
) -> Kept:
    """Which channels of the trained network stay, of each convolution that has fewer in ``slim``.

    Raises:
        ValueError: If ``slim`` has more channels somewhere, or fewer where all must stay.
    """
    kept: Kept = {}
    for group in groups:
        whole, narrow = (
            cast(nn.Conv2d, network.get_submodule(group.writers[0])).out_channels
            for network in (wide, slim)
        )
        if narrow == whole:
            continue
        if not group.readers or narrow > whole:
            raise ValueError(f"slim: expected {whole} channels of {group.writers[0]}, got {narrow}")
        judge = group.judges[0]
        rows = torch.cat([cells(x) for x in record(wide, [judge], 0, images)[judge]])
        rows = rows - rows.mean(0)
        matrix = torch.cat([_by_channel(wide, name) for name in group.judges], 1)
        channels, _ = keep_most_missed(rows.T @ rows / len(rows), matrix, narrow)
        kept |= dict.fromkeys(group.writers, channels)
    return kept


def _by_channel(network: nn.Module, name: str) -> Tensor:
    """A convolution as (n_in, n_out * kh * kw), float64."""
    layer = cast(nn.Conv2d, network.get_submodule(name))
    return layer.weight.detach().transpose(0, 1).flatten(1).double()


def _pruned_state(
    groups: Sequence[_Group], wide: LightweightNetwork, kept: Kept
) -> dict[str, Tensor]:
    """The weights of the trained network without the channels that go."""
    state = {name: tensor.clone() for name, tensor in wide.state_dict().items()}
    for name, channels in kept.items():
        for part in ("weight", "bias"):
            state[f"{name}.{part}"] = state[f"{name}.{part}"][channels]
    for group in groups:
        if group.writers[0] in kept:
            for reader in group.readers:
                weight = state[f"{reader}.weight"]
                state[f"{reader}.weight"] = weight[:, kept[group.writers[0]]]
    return state
