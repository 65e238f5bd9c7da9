"""Narrower networks from trained ones, without training."""

from __future__ import annotations

import pytest
import torch
from shrinking import noise, share_lost
from torch import nn

from openpaf import Skeleton
from openpaf.networks import LightweightNetwork
from openpaf.training.pruning import is_smaller, prune

_WIDE = (8, 8, 12, 12, 16, 16, 24, 24, 24, 24, 24, 24)
_SMALL = {"atrous": False, "ranks": [8, 8, 0], "hidden_width": 16}


def _network(seed: int, **options: object) -> LightweightNetwork:
    torch.manual_seed(seed)
    options = {"width": 16, "trunk_widths": _WIDE, **_SMALL, **options}
    network = LightweightNetwork(Skeleton.COCO17, **options)
    for parameter in network.parameters():  # so that signals do not die in a random network
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
        else:
            nn.init.normal_(parameter, std=0.1)
    return network.eval()


@torch.no_grad()
def _silence(network: LightweightNetwork, slim: LightweightNetwork) -> None:
    """Make channels that a narrower refinement has no place for give nothing, some anywhere."""
    modules, narrow = dict(network.named_modules()), dict(slim.named_modules())
    rng = torch.Generator().manual_seed(5)
    for writers in [
        *(
            names
            for k in range(5)
            for names in (
                [f"refinement_stages.0.body.{k}.conv"],
                [f"refinement_stages.0.body.{k}.{name}" for name in ("squeeze", "dilated")],
            )
        ),
        *([f"refinement_stages.0.{head}.hidden"] for head in ("heatmaps", "pafs")),
    ]:
        n, n_kept = (of[writers[0]].out_channels for of in (modules, narrow))
        gone = torch.randperm(n, generator=rng)[: n - n_kept]
        for name in writers:
            modules[name].weight[gone] = 0
            modules[name].bias[gone] = 0


def test_channels_that_give_nothing_go_and_nothing_is_lost() -> None:
    wide, slim = _network(0), _network(1, refinement_width=11)
    assert is_smaller(wide, slim)
    assert not is_smaller(slim, wide)
    _silence(wide, slim)
    assert share_lost(wide, slim) > 0.5
    prune(wide, slim, noise())
    assert share_lost(wide, slim) < 1e-6


def test_the_narrower_the_more_is_lost_and_less_than_without_fitting() -> None:
    wide = _network(0)
    lost = []
    for width in (16, 15, 12):
        slim = _network(1, refinement_width=width)
        prune(wide, slim, noise())
        lost.append(share_lost(wide, slim))
    assert lost[0] == 0
    assert lost[0] < lost[1] < lost[2] < 0.9


@torch.no_grad()
def test_channels_between_the_convolutions_of_a_block_go_too() -> None:
    wide, slim = _network(0), _network(1, refinement_hidden_width=10)
    assert is_smaller(wide, slim)
    assert not is_smaller(slim, wide)
    convolutions = dict(slim.named_modules())
    assert convolutions["refinement_stages.0.body.4.conv"].out_channels == 10
    assert convolutions["refinement_stages.0.body.4.dilated"].out_channels == 16
    prune(wide, slim, noise())
    hidden = share_lost(wide, slim)
    narrow = _network(1, refinement_width=10)
    prune(wide, narrow, noise())
    assert 0 < hidden < share_lost(wide, narrow)
    for block in wide.refinement_stages[0].body:
        block.conv.weight[[1, 2, 3, 5, 8, 13]] = 0
        block.conv.bias[[1, 2, 3, 5, 8, 13]] = 0
    prune(wide, slim, noise())
    assert share_lost(wide, slim) < 1e-6


def test_factors_cannot_be_pruned_and_are_told() -> None:
    wide, slim = _network(0, ranks=[8, 8, 4]), _network(1, refinement_width=12)
    with pytest.raises(ValueError, match="wide: expected a refinement of whole convolutions"):
        prune(wide, slim, noise(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_refinement_stages": 0}, "slim: expected 1 refinement stages, got 0"),
        ({"refinement_width": 12, "ranks": [8, 8, 4]}, "slim: expected a refinement of whole"),
        ({"n_refinement_blocks": 4}, r"expected \[5\] blocks of refinement stages, got \[4\]"),
        ({"refinement_width": 20}, "expected 16 channels of .*body.0.conv, got 20"),
        ({"refinement_hidden_width": 20}, "expected 16 channels of .*body.0.conv, got 20"),
        ({"trunk_widths": (*_WIDE[:-1], 20)}, "trunk.12.pointwise.weight cannot be made of"),
        ({"refinement_width": 12, "ranks": [4, 8, 0]}, "context.out.0.weight cannot be made of"),
    ],
)
def test_what_cannot_be_made_of_the_trained_network_is_told(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        prune(_network(0), _network(1, **options), noise(1))
