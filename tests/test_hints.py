"""Hints: what a student's hidden features are compared with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from openpaf import Skeleton
from openpaf.networks import LightweightNetwork
from openpaf.training.data.batches import Batch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
from feature_hints import Hints

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


def batch_of(images: Tensor) -> Batch:
    nothing = torch.zeros(len(images), 1, 8, 8)
    return Batch(
        images=images, heatmaps=nothing, pafs=nothing, heatmap_weights=nothing,
        paf_weights=nothing, fully_annotated=torch.ones(len(images), dtype=torch.bool),
    )  # fmt: skip


def test_hints_compare_hidden_features_and_reach_every_part() -> None:
    student = _network(0, ranks=[8, 8, 8], atrous=False).train()
    teacher, images = _network(1), noise()
    hints = Hints(student, teacher)
    with torch.no_grad():
        teacher(images)
    batch = hints.attach(batch_of(images))
    with torch.no_grad():
        teacher(noise(seed=2))  # of the next batch, made ahead
    student(images)
    loss = hints.loss(batch)
    loss.backward()
    assert float(loss.detach()) > 0
    reached = {name.split(".")[0] for name, p in student.named_parameters() if p.grad is not None}
    assert reached == {"trunk", "context", "initial_stage", "refinement_stages"}
    same = Hints(_network(1), teacher)
    same.student(images)
    assert float(same.loss(batch).detach()) < 1e-9


def test_shared_features_are_compared_alone() -> None:
    student, teacher, images = _network(0), _network(1), noise()
    hints = Hints(student, teacher)
    batch = hints.attach_shared(batch_of(images), images)
    hints.shared_loss(images, batch).backward()
    reached = {name.split(".")[0] for name, p in student.named_parameters() if p.grad is not None}
    assert reached == {"trunk", "context"}
    same = Hints(_network(1), teacher)
    assert float(same.shared_loss(images, batch).detach()) < 1e-9


def test_hints_need_features_of_the_same_width() -> None:
    with pytest.raises(ValueError, match=r"hints need 14 channels and 1 .*got 16 and 1"):
        Hints(_network(0, width=14), _network(0))
