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
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from openpaf.networks.lightweight import LightweightNetwork, SeparableConv, Stage
from openpaf.training.linear import cells, keep_most_missed
from openpaf.training.shrink import Fitting, matrix_of

#: By name of a convolution, the indices of its output channels that stay.
Kept = dict[str, Tensor]


def is_smaller(wide: LightweightNetwork, slim: LightweightNetwork) -> bool:
    """Whether trunk or refinement stages have fewer channels or blocks than a trained network's."""
    if any(a < b for a, b in zip(_n_blocks(slim), _n_blocks(wide), strict=False)):
        return True
    theirs, ours = (dict(network.named_modules()) for network in (wide, slim))
    return any(
        name in theirs and theirs[name].out_channels > layer.out_channels
        for name, layer in ours.items()
        if isinstance(layer, nn.Conv2d) and name.startswith(("trunk.", "refinement_stages."))
    )


@torch.no_grad()
def prune(wide: LightweightNetwork, slim: LightweightNetwork, images: Tensor) -> None:
    """Fill a network from a trained one that has more channels in trunk or refinement.

    Args:
        wide: The trained network; the convolutions of its refinement stages are whole.
        slim: Receives its weights: has the same options but for ``trunk_widths``,
            ``refinement_width`` and ``n_refinement_blocks``.
        images: (B, 3, H, W) float32, normalised; some forty crops are enough.

    Raises:
        ValueError: If another layer differs, or if there are more channels or blocks in ``slim``,
            or fewer channels in a layer that a pyramid or the context block reads.
    """
    if _n_blocks(slim) != _n_blocks(wide):
        wide = _with_fewer_blocks(wide, slim, images)
    kept = _choose_channels(wide, slim, images.split(1))
    state = _pruned_state(wide, kept)
    for name, tensor in slim.state_dict().items():
        if name not in state or state[name].shape != tensor.shape:
            raise ValueError(f"slim: {name} cannot be made of the trained network's layers")
    slim.load_state_dict(state)
    changed = _readers_of_less(wide, kept)
    fitting = Fitting(slim, wide, images, images)
    for name in changed:
        wanted = fitting.wanted([name])[name]
        if name in kept:
            wanted = [y[:, kept[name]] for y in wanted]
        fitting.fit_layer(name, wanted, matrix_of(slim.get_submodule(name)))


def _n_blocks(network: LightweightNetwork) -> list[int]:
    """Of each refinement stage."""
    return [len(cast(nn.Sequential, stage.body)) for stage in network.refinement_stages]


def _with_fewer_blocks(
    wide: LightweightNetwork, slim: LightweightNetwork, images: Tensor
) -> LightweightNetwork:
    """A copy of the trained network with as many blocks a stage as ``slim`` has."""
    network = copy.deepcopy(wide)
    for number, (has, wanted) in enumerate(zip(_n_blocks(wide), _n_blocks(slim), strict=False)):
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
        fitting = Fitting(network, wide, images, images)
        for ours, theirs in rows:
            layer = network.get_submodule(ours)
            fitting.fit_layer(ours, fitting.wanted([theirs])[theirs], matrix_of(layer))
    return network


def _choose_channels(
    wide: LightweightNetwork, slim: LightweightNetwork, images: Sequence[Tensor]
) -> Kept:
    """Which channels of the trained network a narrower one is to have.

    Args:
        wide: The trained network; the convolutions of its refinement stages are whole.
        slim: Has as many layers, and as many channels or fewer in the trunk and the refinement.
        images: (1, 3, H, W) float32 each, normalised.

    Returns:
        For every convolution of ``slim`` that has fewer channels, and every depthwise one between,
        which of the trained network's stay.

    Raises:
        ValueError: If ``slim`` has more channels somewhere, or fewer in a layer that a pyramid
            reads or where the trunk ends.
    """
    kept: Kept = {}
    ours = dict(slim.named_modules())
    for writers, reader, matrix in _readers(wide):
        whole, narrow = (n.get_submodule(writers[0]) for n in (wide, slim))
        assert isinstance(whole, nn.Conv2d)
        assert isinstance(narrow, nn.Conv2d)
        if narrow.out_channels == whole.out_channels:
            continue
        if reader is None or narrow.out_channels > whole.out_channels:
            raise ValueError(
                f"slim: expected {whole.out_channels} channels of {writers[0]}, "
                f"got {narrow.out_channels}"
            )
        rows = torch.cat([cells(x) for x in _inputs(wide, reader, images)])
        rows = rows - rows.mean(0)
        channels, _ = keep_most_missed(rows.T @ rows / len(rows), matrix, narrow.out_channels)
        kept |= {writer: channels for writer in writers if writer in ours}
    return kept


def _readers(wide: LightweightNetwork) -> list[tuple[list[str], str | None, Tensor]]:
    """Of each layer, the convolutions that write its channels, and what reads them.

    Convolutions with the same channels come together. What reads them is a convolution's name and
    its matrix (channels, numbers that are made of them).
    """
    rows: list[tuple[list[str], str | None, Tensor]] = []
    blocks = [i for i, layer in enumerate(wide.trunk) if isinstance(layer, SeparableConv)]
    writers = ["trunk.0", *(f"trunk.{i}.pointwise" for i in blocks)]
    for writer, i in zip(writers, [*blocks, None], strict=True):
        before = int(writer.split(".")[1])
        if i is None or wide.is_kept[before]:
            rows.append(([writer], None, torch.zeros(0)))
        else:
            reader = f"trunk.{i}.pointwise"
            rows.append(([writer, f"trunk.{i}.depthwise"], reader, _matrix(wide, reader)))
    for number, stage in enumerate(wide.refinement_stages):
        path = f"refinement_stages.{number}"
        n_blocks = len(stage.body)  # type: ignore[arg-type]
        for k in range(n_blocks):
            body = f"{path}.body.{k}"
            rows.append(([f"{body}.conv"], f"{body}.dilated", _matrix(wide, f"{body}.dilated")))
            after = [f"{path}.body.{k + 1}.squeeze"]
            if k + 1 == n_blocks:
                after = [f"{path}.heatmaps.hidden", f"{path}.pafs.hidden"]
            matrix = torch.cat([_matrix(wide, name) for name in after], 1)
            rows.append(([f"{body}.squeeze", f"{body}.dilated"], after[0], matrix))
        for head in ("heatmaps", "pafs"):
            out = f"{path}.{head}.out"
            rows.append(([f"{path}.{head}.hidden"], out, _matrix(wide, out)))
    return rows


def _matrix(network: nn.Module, name: str) -> Tensor:
    """A convolution as (n_in, n_out * kh * kw), float64."""
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Conv2d)
    return layer.weight.detach().transpose(0, 1).flatten(1).double()


def _inputs(network: nn.Module, name: str, images: Sequence[Tensor]) -> list[Tensor]:
    """What a convolution reads, an image each."""
    rows: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: rows.append(inputs[0])
    )
    for image in images:
        network(image)
    handle.remove()
    return rows


def _pruned_state(wide: LightweightNetwork, kept: Kept) -> dict[str, Tensor]:
    """The weights of the trained network without the channels that go."""
    state = {name: tensor.clone() for name, tensor in wide.state_dict().items()}
    readers = {reader: writers[0] for writers, reader, _ in _readers(wide) if reader}
    for number in range(len(wide.refinement_stages)):  # a second reader of the same channels
        path = f"refinement_stages.{number}"
        readers[f"{path}.pafs.hidden"] = readers[f"{path}.heatmaps.hidden"]
        for k, _ in enumerate(wide.refinement_stages[number].body):  # type: ignore[arg-type]
            readers[f"{path}.body.{k}.conv"] = f"{path}.body.{k}.squeeze"
    for name, channels in kept.items():
        for part in ("weight", "bias"):
            state[f"{name}.{part}"] = state[f"{name}.{part}"][channels]
    for reader, writer in readers.items():
        if writer in kept:
            state[f"{reader}.weight"] = state[f"{reader}.weight"][:, kept[writer]]
    return state


def _readers_of_less(wide: LightweightNetwork, kept: Kept) -> list[str]:
    """The convolutions that read channels of which some go, in their order; no depthwise ones."""
    readers = {reader for writers, reader, _ in _readers(wide) if reader and writers[0] in kept}
    for name in list(kept):
        if name.endswith(".conv"):  # which reads what the first one of its block writes
            readers.add(name)
    readers |= {name.replace("heatmaps", "pafs") for name in readers if "heatmaps.hidden" in name}
    return [name for name, _ in wide.named_modules() if name in readers]
