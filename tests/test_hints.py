"""Hints: what a student's hidden features are compared with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from openpaf import Skeleton
from openpaf.networks import LightweightNetwork
from openpaf.training.distillation.feature_hints import Hints

_WIDTHS = (8, 8, 12, 12, 16, 16, 24, 24, 24, 24, 24, 24)


def _network(seed: int, **options: object) -> LightweightNetwork:
    torch.manual_seed(seed)
    options = {"width": 16, "trunk_widths": _WIDTHS, **options}
    network = LightweightNetwork(Skeleton.COCO17, **options)
    for parameter in network.parameters():  # so that signals do not die in a random network
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
    return network.eval()


def noise(n: int = 3, seed: int = 1) -> Tensor:
    """(n, 3, 64, 64) images of noise, normalized."""
    return torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_hints_compare_hidden_features_and_reach_every_part() -> None:
    torch.manual_seed(0)
    student = LightweightNetwork(
        Skeleton.COCO17,
        width=16,
        ranks=[8, 8, 8],
        trunk_widths=_WIDTHS,
        atrous=False,
    )
    teacher, images = _network(1), noise()
    hints = Hints(student, teacher)
    with torch.no_grad():
        teacher(images)
    student(images)
    loss = hints.loss()
    loss.backward()
    assert float(loss.detach()) > 0
    reached = {name.split(".")[0] for name, p in student.named_parameters() if p.grad is not None}
    assert reached == {"trunk", "context", "initial_stage", "refinement_stages"}
    twin = _network(1)
    same = Hints(twin, teacher)
    with torch.no_grad():
        teacher(images)
    twin(images)
    assert float(same.loss().detach()) < 1e-9


def test_hints_need_features_of_the_same_width() -> None:
    with pytest.raises(ValueError, match=r"hints need 14 channels and 1 .*got 16 and 1"):
        Hints(_network(0, width=14), _network(0))
