"""A smaller network from a trained one: which channels stay, and what reads them is fitted anew.

The channels that are kept are those whose loss costs what reads them least. Then every layer that
reads fewer channels is fitted by least squares to the responses of the trained network, from the
picture on, so that each makes up for what the layers before it lost.

Reference:
    He et al., Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017 (channels of a
    layer are chosen, and the layer that reads them is fitted anew).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from openpaf.networks.lightweight import LightweightNetwork, RefinementBlock
from openpaf.training.linear import cells, keep_most_missed
from openpaf.training.shrink import Fitting, matrix_of, n_blocks, record

#: By name of a convolution, the indices of its output channels that stay.
Kept = dict[str, Tensor]


def is_smaller(wide: LightweightNetwork, slim: LightweightNetwork) -> bool:
    """Whether refinement stages have fewer channels than a trained network's."""
    theirs, ours = (dict(network.named_modules()) for network in (wide, slim))
    return any(
        layer.out_channels < other.out_channels
        for name, layer in ours.items()
        if name.startswith("refinement_stages.")
        and isinstance(layer, nn.Conv2d)
        and isinstance(other := theirs.get(name), nn.Conv2d)
    )


@torch.no_grad()
def prune(wide: LightweightNetwork, slim: LightweightNetwork, images: Tensor) -> None:
    """Fill a network from a trained one that has more channels in its refinement stages.

    Args:
        wide: The trained network; the convolutions of its refinement stages are whole.
        slim: Receives its weights: has the same options but for ``refinement_width`` and
            ``refinement_hidden_width``.
        images: (B, 3, H, W) float32, normalised; some forty crops are enough.

    Raises:
        ValueError: If another layer differs, or if there are more channels in ``slim``.
    """
    _check(wide, slim)
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
    """An error where the networks have other layers, not just fewer channels."""
    if len(wide.refinement_stages) != len(slim.refinement_stages):
        raise ValueError(
            f"slim: expected {len(wide.refinement_stages)} refinement stages, "
            f"got {len(slim.refinement_stages)}"
        )
    if n_blocks(slim) != n_blocks(wide):
        raise ValueError(
            f"slim: expected {n_blocks(wide)} blocks of refinement stages, got {n_blocks(slim)}"
        )
    for who, network in (("wide", wide), ("slim", slim)):
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
    wide: LightweightNetwork,
    slim: LightweightNetwork,
    images: Sequence[Tensor],
) -> Kept:
    """Which channels of the trained network stay, of each convolution that has fewer in ``slim``.

    Raises:
        ValueError: If ``slim`` has more channels somewhere.
    """
    kept: Kept = {}
    for group in groups:
        whole, narrow = (
            cast(nn.Conv2d, network.get_submodule(group.writers[0])).out_channels
            for network in (wide, slim)
        )
        if narrow == whole:
            continue
        if narrow > whole:
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
