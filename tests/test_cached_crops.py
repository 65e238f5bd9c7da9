"""Crops that are made once and learned from again, and the optimizer that goes with them."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import maker_for, photo_folder  # noqa: F401
from torch import nn

from openpaf.training.data.batches import Batch
from openpaf.training.distributed import Processes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
from cached_crops import CachedCrops
from feature_hints import HintedBatch
from muon import Muon, is_matrix, orthogonalized

_ALONE = Processes(device=torch.device("cpu"))


def _crops(folder: Path, n: int, of_run: str = "one", **more: object) -> CachedCrops:
    return CachedCrops(folder / "crops", maker_for(folder, **more), n, _ALONE, of_run)


def _unchanged(batch: Batch, step: int) -> Batch:
    return batch


def _all(crops: CachedCrops, start: int, stop: int) -> Batch:
    batches = list(crops.stream(start, stop))
    names = ("images", "heatmaps", "pafs", "heatmap_weights", "paf_weights", "fully_annotated")
    return Batch(**{name: torch.cat([getattr(b, name) for b in batches]) for name in names})


def test_each_turn_gives_every_crop_once_in_an_order_of_its_own(photo_folder: Path) -> None:  # noqa: F811
    crops = _crops(photo_folder, 13)
    size = crops.maker.batch_size
    n = 13 // size  # whole batches
    crops.make(_unchanged)
    made = torch.cat([crops.maker.batch(step).images for step in range(n)]).round()
    turns = [_all(crops, turn * n, turn * n + n).images for turn in range(2)]
    orders = [[int((made - x).abs().sum((1, 2, 3)).argmin()) for x in turn] for turn in turns]
    for turn, order in zip(turns, orders, strict=True):
        assert sorted(order) == list(range(n * size))
        assert torch.equal(turn, made[order])
    assert orders[0] != orders[1]
    part = next(crops.stream(n, n + 1, rows=range(1, size)))
    assert torch.equal(part.images, turns[1][1:size])


def test_the_rest_of_a_crop_comes_back_with_it(photo_folder: Path) -> None:  # noqa: F811
    def teach(batch: Batch, step: int) -> Batch:
        return HintedBatch.of(batch, batch.images[:, :2, ::8, ::8] / 256)

    crops = _crops(photo_folder, 4, batch_size=2)
    crops.make(teach)
    made = [teach(crops.maker.batch(step), step) for step in range(2)]
    for batch in crops.stream(0, 2):
        assert batch.fully_annotated.dtype == torch.bool
        for i, image in enumerate(batch.images):
            step, row = next(
                (step, row)
                for step in range(2)
                for row in range(2)
                if torch.equal(made[step].images[row].round(), image)
            )
            for name in ("heatmaps", "pafs", "heatmap_weights", "paf_weights", "features"):
                ours, theirs = getattr(batch, name)[i], getattr(made[step], name)[row]
                torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_crops_that_are_there_are_kept_and_those_of_another_run_or_half_made_are_not(
    photo_folder: Path,  # noqa: F811
) -> None:
    calls = []

    def teach(batch: Batch, step: int) -> Batch:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return batch

    def made(of_run: str) -> int:
        calls.clear()
        _crops(photo_folder, 4, of_run, batch_size=1).make(teach)
        return len(calls)

    assert [made("one"), made("one"), made("two")] == [4, 0, 4]
    with pytest.raises(KeyboardInterrupt):
        _crops(photo_folder, 9, "four", batch_size=1).make(teach)
    calls.clear()
    assert made("two") == 4  # half of them were overwritten


def test_too_few_crops_and_a_full_disk(
    photo_folder: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match="cached_crops: expected at least the 2 of a batch, got 1"):
        _crops(photo_folder, 1, batch_size=2)

    def full(*args: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        _crops(photo_folder, 2, batch_size=2).make(_unchanged)
    assert not (photo_folder / "crops" / "made.txt").exists()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 16, 40), (2, 40, 16), (1, 24, 24)])
def test_orthogonalized_matrices_have_singular_values_near_one(
    shape: tuple[int, ...], precision: torch.dtype
) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    got = orthogonalized(matrices, precision)
    assert got.dtype == torch.float32
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    values = torch.linalg.svdvals(got)
    if shape[1] != shape[2]:  # a square one may have a value near zero, which takes more rounds
        assert values.min() > 0.6
    assert values.max() < 1.3
    assert float((got * (u @ v)).sum() / got.norm() / (u @ v).norm()) > 0.95  # the same directions


def test_muon_comes_to_the_layer_that_is_wanted_as_its_rate_falls() -> None:
    wanted = torch.randn(8, 16, 1, 1, generator=torch.Generator().manual_seed(1))
    x = torch.randn(64, 16, 4, 4, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 8, 1)
    optimizer, losses = Muon(layer.parameters(), lr=0.5, weight_decay=0.0), []
    for step in range(100):
        optimizer.param_groups[0]["lr"] = 0.5 * (1 - step / 100)
        optimizer.zero_grad()
        loss = (layer(x) - nn.functional.conv2d(x, wanted)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.01 * losses[0]


def test_muon_leaves_biases_and_depthwise_layers_to_adamw_and_goes_on_from_its_state() -> None:
    def network() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 6, 1))

    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    straight, stopped = network(), network()
    assert [is_matrix(p) for p in straight.parameters()] == [False, False, True, False]

    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, n: int) -> None:
        for _ in range(n):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

    steps(straight, Muon(straight.parameters(), lr=1e-2), 4)
    first = Muon(stopped.parameters(), lr=1e-2)
    steps(stopped, first, 2)
    second = Muon(stopped.parameters(), lr=1e-2)
    second.load_state_dict(first.state_dict())
    steps(stopped, second, 2)
    pairs = zip(straight.parameters(), stopped.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    one, other = network(), network()
    steps(one, Muon(one.parameters(), lr=1e-2), 1)
    steps(other, torch.optim.AdamW(other.parameters(), lr=1e-2), 1)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b) != is_matrix(a)
