"""Narrower networks from wider ones, without training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from openpaf import Skeleton
from openpaf.networks import LightweightNetwork
from openpaf.training.hints import Hints
from openpaf.training.narrow import choose, fit, narrow

_WIDTHS = (8, 8, 12, 12, 16, 16, 24, 24, 24, 24, 24, 24)


def _network(seed: int, width: int, trunk_widths: tuple[int, ...] = _WIDTHS) -> LightweightNetwork:
    torch.manual_seed(seed)
    network = LightweightNetwork(Skeleton.COCO17, width=width, trunk_widths=trunk_widths)
    for parameter in network.parameters():  # so that signals do not die in a random network
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
    return network.eval()


def _images(n: int = 3) -> Tensor:
    return torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def _share_lost(wide: LightweightNetwork, slim: LightweightNetwork) -> float:
    with torch.no_grad():
        wanted, got = torch.cat(wide(_images())[-1], 1), torch.cat(slim(_images())[-1], 1)
    return float((got - wanted).square().sum() / (wanted - wanted.mean()).square().sum())


def test_a_network_of_the_same_widths_is_the_same_network() -> None:
    wide, slim = _network(0, 16), _network(1, 16)
    narrow(wide, slim, _images())
    assert _share_lost(wide, slim) < 1e-6


def test_a_narrower_network_comes_nearer_than_chance_and_than_a_still_narrower_one() -> None:
    wide = _network(0, 16)
    slim, slimmer = _network(1, 14), _network(1, 6, (8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8))
    before = _share_lost(wide, slim)
    narrow(wide, slim, _images())
    narrow(wide, slimmer, _images())
    assert _share_lost(wide, slim) < min(_share_lost(wide, slimmer), 0.3 * before)


def test_channels_that_say_nothing_new_go_first() -> None:
    x = torch.randn(2, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    x[:, 4] = 0.5 * x[:, 1]  # a copy
    layer = nn.Conv2d(6, 5, 1)
    nn.init.normal_(layer.weight)
    with torch.no_grad():
        layer.weight[:, 2] = 0  # nobody reads it
        kept = choose([(layer, x)], 4).tolist()
        assert 2 not in kept
        assert len({1, 4} & set(kept)) == 1
        assert choose([(layer, x)], 6).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_layer_is_fitted_to_what_is_left() -> None:
    x = torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    x[:, 2] = x[:, 0] - 2 * x[:, 1]
    wide, slim = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1)
    kept, chosen = torch.tensor([0, 1]), torch.tensor([0, 1, 3])
    with torch.no_grad():
        fit(wide, slim, x, x[:, kept], kept, chosen)
        torch.testing.assert_close(slim(x[:, kept]), wide(x)[:, chosen], atol=0.02, rtol=0)


def test_a_slim_network_that_is_wider_is_refused() -> None:
    with pytest.raises(ValueError, match="slim: expected at most 16 channels where it has 20"):
        narrow(_network(0, 16), _network(0, 20), _images(1))


def test_trunk_widths_are_twelve() -> None:
    with pytest.raises(ValueError, match="trunk_widths: expected 12 numbers"):
        LightweightNetwork(Skeleton.COCO17, trunk_widths=(8, 8))


def test_hints_compare_hidden_features_and_reach_every_part() -> None:
    torch.manual_seed(0)
    student = LightweightNetwork(Skeleton.COCO17, width=16, inner_width=8, trunk_widths=_WIDTHS)
    teacher, images = _network(1, 16), _images()
    hints = Hints(student, teacher)
    with torch.no_grad():
        teacher(images)
    student(images)
    loss = hints.loss()
    loss.backward()
    assert float(loss.detach()) > 0
    reached = {name.split(".")[0] for name, p in student.named_parameters() if p.grad is not None}
    assert reached == {"trunk", "context", "initial_stage", "refinement_stages"}
    twin = _network(1, 16)
    same = Hints(twin, teacher)
    with torch.no_grad():
        teacher(images)
    twin(images)
    assert float(same.loss().detach()) < 1e-9


def test_hints_need_features_of_the_same_width() -> None:
    with pytest.raises(ValueError, match=r"widths \[14, 7\], got \[16, 7\]"):
        Hints(_network(0, 14), _network(0, 16))


def test_a_network_that_is_narrow_inside_only_keeps_the_features() -> None:
    wide = _network(0, 16)
    torch.manual_seed(1)
    slim = LightweightNetwork(
        Skeleton.COCO17, width=16, inner_width=12, hidden_width=40, trunk_widths=_WIDTHS
    )
    assert slim.refinement_stages[0].body[0].conv.out_channels == 12
    assert slim.initial_stage.heatmaps.hidden.out_channels == 40
    before = _share_lost(wide, slim)
    narrow(wide, slim, _images())
    assert _share_lost(wide, slim) < 0.3 * before
