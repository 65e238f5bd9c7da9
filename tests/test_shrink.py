"""Cheaper networks from trained ones, without training."""

from __future__ import annotations

import pytest
import torch
from shrinking import noise, share_lost
from torch import nn

from openpaf import Skeleton
from openpaf.networks import LightweightNetwork
from openpaf.training.linear import keep_most_missed
from openpaf.training.shrink import shrink

_WIDTHS = (8, 8, 12, 12, 16, 16, 24, 24, 24, 24, 24, 24)


def _network(seed: int, **options: object) -> LightweightNetwork:
    torch.manual_seed(seed)
    options = {"width": 16, "trunk_widths": _WIDTHS, **options}
    network = LightweightNetwork(Skeleton.COCO17, **options)
    for parameter in network.parameters():  # so that signals do not die in a random network
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
    return network.eval()


def test_a_network_of_the_same_layers_is_the_same_network() -> None:
    wide, slim = _network(0), _network(1)
    shrink(wide, slim, noise())
    assert share_lost(wide, slim) == 0


def test_factors_of_full_rank_lose_nothing_and_those_of_lower_rank_more_and_more() -> None:
    wide = _network(0)
    lost = []
    for rank in (48, 14, 6):
        slim = _network(1, ranks=[rank] * 3)
        assert slim.initial_stage.body[0][0].out_channels == rank
        before = share_lost(wide, slim)
        shrink(wide, slim, noise())
        lost.append(share_lost(wide, slim))
        assert lost[-1] < 0.5 * before
    assert lost[0] < 1e-6
    assert lost[0] < lost[1] < lost[2]


def test_more_components_than_a_layer_has_are_refused() -> None:
    with pytest.raises(ValueError, match="rank: expected at most 48 for this layer, got 49"):
        shrink(_network(0), _network(1, ranks=[49, 16, 16]), noise(1))


def test_layers_make_up_for_what_those_before_them_lost() -> None:
    wide, slim, blind = _network(0), *(_network(1, ranks=[6, 24, 24]) for _ in range(2))
    unharmed = _network(1, ranks=[48, 24, 24])
    for network in (slim, blind, unharmed):
        shrink(wide, network, noise(8))
    for name in ("initial_stage", "refinement_stages"):
        blind.get_submodule(name).load_state_dict(unharmed.get_submodule(name).state_dict())
    assert share_lost(wide, slim) < 0.9 * share_lost(wide, blind)


def test_a_fitted_pyramid_comes_nearer_than_any_coarse_features_alone() -> None:
    wide, slim = _network(0), _network(1, atrous=False)
    shrink(wide, slim, noise(8))
    with torch.no_grad():
        images = noise()
        wanted, got = wide.features(images), slim.features(images)
        # The best that one value for four cells could do.
        blocks = nn.functional.avg_pool2d(wanted, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert (got - wanted).square().mean() < (blocks - wanted).square().mean()


def test_heads_with_fewer_hidden_channels_come_near() -> None:
    wide, slim = _network(0), _network(1, hidden_width=40)
    assert slim.initial_stage.heatmaps.hidden.out_channels == 40
    shrink(wide, slim, noise())
    with torch.no_grad():
        wanted, got = (torch.cat(network(noise())[0], 1) for network in (wide, slim))
    variance = (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean()
    assert float((got - wanted).square().mean() / variance) < 0.2


def test_a_channel_that_says_nothing_new_goes_first_and_the_rest_makes_up_for_it() -> None:
    x = torch.randn(500, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[:, 4] = 0.5 * x[:, 1]  # a copy
    matrix = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrix[2] = 0  # nobody reads it
    kept, fitted = keep_most_missed(x.T @ x / 500, matrix, 4)
    assert 2 not in kept.tolist()
    assert len({1, 4} & set(kept.tolist())) == 1
    torch.testing.assert_close(x @ fitted, x @ matrix, atol=0.05, rtol=0)


def test_a_strided_trunk_has_every_second_cell_of_the_atrous_one() -> None:
    wide, slim = _network(0), _network(1, atrous=False)
    shrink(wide, slim, noise())
    with torch.no_grad():
        fine, coarse = wide.trunk[:9](noise()), slim.trunk[:9](noise())
    assert coarse.shape[2:] == (4, 4)
    torch.testing.assert_close(fine[:, :, ::2, ::2], coarse, atol=1e-4, rtol=1e-4)


def test_a_pyramid_that_is_trained_is_kept() -> None:
    wide, slim = _network(0, atrous=False), _network(1, atrous=False, ranks=[8, 8, 8])
    shrink(wide, slim, noise())
    for name in ("align", "pyramid"):
        theirs, ours = (network.context.get_submodule(name) for network in (wide, slim))
        pairs = zip(theirs.parameters(), ours.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 20, "hidden_width": 64}, "expected 16 width, got 20"),
        ({"hidden_width": 80}, "expected at most 64 hidden channels, got 80"),
        ({"n_refinement_stages": 2}, "expected 1 refinement stages, got 2"),
        ({"n_refinement_blocks": 4}, r"expected \[5\] blocks of refinement stages, got \[4\]"),
        ({"atrous": False, "stride": 4}, "expected fields at the stride of the wide"),
        ({"trunk_widths": (8,) * 12}, r"trunk\.\d+\.\w+\.\w+ cannot be made"),
    ],
)
def test_a_network_that_cannot_be_made_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"slim: .*{message}"):
        shrink(_network(0), _network(0, **options), noise(1))


def test_a_network_in_factors_is_no_start_for_a_whole_one() -> None:
    with pytest.raises(ValueError, match="wide: expected a network whose convolutions are whole"):
        shrink(_network(0, ranks=[8, 8, 8]), _network(0), noise(1))


def test_images_of_half_a_coarse_cell_are_refused() -> None:
    with pytest.raises(ValueError, match="images: expected height and width of a multiple of 16"):
        shrink(_network(0), _network(0, ranks=[8, 8, 8]), torch.zeros(1, 3, 64, 72))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trunk_widths": (8, 8)}, "trunk_widths: expected 12 numbers"),
        ({"n_refinement_blocks": 0}, "n_refinement_blocks: expected >= 1, got 0"),
        ({"refinement_width": 0}, "refinement_width: expected >= 1, or None, got 0"),
        ({"refinement_hidden_width": 0}, "refinement_hidden_width: expected >= 1, or None, got 0"),
        ({"ranks": (8, 8)}, "ranks: expected three numbers >= 0, or None"),
        ({"ranks": (8, 8, -1)}, "ranks: expected three numbers >= 0, or None"),
        ({"stride": 12, "atrous": False}, "stride: expected one of 4, 8, 16 with atrous=False"),
        ({"stride": 12}, "stride: expected one of 4, 8 with atrous=True, got 12"),
    ],
)
def test_widths_and_ranks_that_no_network_has_are_refused(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LightweightNetwork(Skeleton.COCO17, **options)
