"""What only a GPU can show: the same fields, targets and training as on the processor."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from openpaf import Grid, Skeleton
from openpaf.engines.load import load_engine
from openpaf.networks import LightweightNetwork
from openpaf.training.data.batches import Batch
from openpaf.weights import ModelSpec, save

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
from muon import Muon
from target_resampling import resample_targets

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

S = Skeleton.COCO17


@pytest.mark.parametrize("atrous", [True, False])
def test_an_engine_gives_the_same_fields_on_both(tmp_path: Path, atrous: bool) -> None:
    torch.manual_seed(0)
    options = {"n_refinement_stages": 1, "atrous": atrous}
    row = ModelSpec(
        name="any", builder="lightweight", options=options, skeleton=S, heatmap_grid=Grid(8),
        paf_grid=Grid(8), mean=128.0, scale=255.0, licence="none", metrics={},
    )  # fmt: skip
    save(LightweightNetwork(S, **options).state_dict(), tmp_path / "any.safetensors", row)
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, 96, 136)).astype(np.float32)
    on_cpu = load_engine(tmp_path / "any.safetensors", "torch", "cpu")[0](images).values()
    on_gpu = load_engine(tmp_path / "any.safetensors", "torch", "cuda")[0](images).values()
    for theirs, ours in zip(on_cpu, on_gpu, strict=True):
        assert ours.shape == theirs.shape
        # A GPU multiplies float32 with 10 bits of mantissa (TF32) in convolutions.
        assert np.sqrt(np.mean((ours - theirs) ** 2) / np.mean(theirs**2)) < 2e-3


def test_smaller_crops_are_the_same_on_both() -> None:
    rng = torch.Generator().manual_seed(0)
    heatmaps = torch.rand(2, S.n_joints + 1, 20, 20, generator=rng)
    pafs = torch.rand(2, 2 * S.n_limbs, 20, 20, generator=rng) * 2 - 1
    batch = Batch(
        images=torch.rand(2, 3, 160, 160, generator=rng) * 255,
        heatmaps=heatmaps, pafs=pafs, heatmap_weights=torch.ones_like(heatmaps),
        paf_weights=torch.ones_like(pafs), fully_annotated=torch.ones(2, dtype=torch.bool),
    )  # fmt: skip
    grids = Grid(8), Grid(8, 0.0)
    wanted = resample_targets(batch, 0.75, grids)
    ours = resample_targets(batch.to(torch.device("cuda")), 0.75, grids).to(torch.device("cpu"))
    for name in ("images", "heatmaps", "pafs", "heatmap_weights", "paf_weights"):
        torch.testing.assert_close(
            getattr(ours, name), getattr(wanted, name), atol=2e-3, rtol=1e-4, msg=name
        )


def test_muon_steps_are_the_same_on_both() -> None:
    torch.manual_seed(0)
    network = LightweightNetwork(S, n_refinement_stages=0, width=16)
    start = {name: value.clone() for name, value in network.state_dict().items()}
    results = []
    for device in ("cpu", "cuda"):
        network.load_state_dict(start)
        network.to(device)
        optimizer = Muon([{"params": list(network.parameters())}], lr=1e-2)
        torch.manual_seed(1)
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape).to(device)
        optimizer.step()
        results.append({n: v.detach().cpu().clone() for n, v in network.state_dict().items()})
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, atol=1e-4, rtol=1e-3, msg=name)
