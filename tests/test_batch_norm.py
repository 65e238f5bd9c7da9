"""Batch norm that is there only while a network trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openpaf import Skeleton
from openpaf.networks import LightweightNetwork
from openpaf.training.batch_norm import add_batch_norm, folded


def _network() -> LightweightNetwork:
    torch.manual_seed(0)
    network = LightweightNetwork(Skeleton.COCO17, width=16, trunk_widths=(12,) * 12)
    for parameter in network.parameters():  # so that signals do not die in a random network
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
    return network.eval()


def _images(seed: int) -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def _fields(network: nn.Module) -> Tensor:
    with torch.no_grad():
        return torch.cat(network(_images(9))[-1], 1)


def test_nothing_changes_at_first_and_keys_come_back() -> None:
    network = _network()
    before, keys = _fields(network), set(network.state_dict())
    names = add_batch_norm(network, [_images(0), _images(1)])
    torch.testing.assert_close(_fields(network.eval()), before, atol=1e-4, rtol=1e-4)
    assert not any(name.endswith("out") and "context" not in name for name in names)
    plain = folded(network.state_dict(), names)
    assert set(plain) == keys
    fresh = _network()
    fresh.load_state_dict(plain)
    torch.testing.assert_close(_fields(fresh), before, atol=1e-4, rtol=1e-4)


def test_what_was_trained_is_folded_in() -> None:
    network = _network()
    names = add_batch_norm(network, [_images(0)])
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    for seed in range(3):  # statistics move, too
        heatmaps, pafs = network(_images(seed))[-1]
        loss = heatmaps.square().mean() + pafs.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained = _fields(network.eval())
    fresh = _network()
    assert float((trained - _fields(fresh)).abs().max()) > 1e-2
    fresh.load_state_dict(folded(network.state_dict(), names))
    torch.testing.assert_close(_fields(fresh), trained, atol=1e-4, rtol=1e-4)
