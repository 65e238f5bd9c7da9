"""Training from given weights: targets of their style, and weights between the start and now."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from openpaf import Grid, Skeleton
from openpaf.networks import build
from openpaf.training.best import BestWeights
from openpaf.training.config import (
    DataConfig,
    NetworkConfig,
    SetConfig,
    TargetsConfig,
    TrainConfig,
)
from openpaf.training.interrupts import HeldSignals
from openpaf.training.style import target_style
from openpaf.weights import ModelSpec, load_model, read_header, save

SPEC = ModelSpec(
    name="small", builder="lightweight", options={"n_refinement_stages": 0, "width": 8},
    skeleton=Skeleton.COCO17, heatmap_grid=Grid(8), paf_grid=Grid(8), mean=128.0, scale=255.0,
    licence="Apache-2.0", metrics={},
)  # fmt: skip


def config_for(folder: Path, start: Path | None, **targets: float) -> TrainConfig:
    return TrainConfig(
        output=str(folder),
        name="best",
        data=DataConfig(sets=(SetConfig(annotations="labels.json", images="images"),)),
        network=NetworkConfig(weights=start and str(start)),
        targets=TargetsConfig(**targets),  # type: ignore[arg-type]
    )


@pytest.fixture
def state() -> dict[str, Tensor]:
    return build(SPEC.builder, SPEC.skeleton, **SPEC.options).state_dict()


def test_targets_have_the_style_of_the_initial_weights(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    file = tmp_path / "start.safetensors"
    assert target_style(config_for(tmp_path, None), Skeleton.COCO17) == (7, 8)
    save(state, file, SPEC)
    assert target_style(config_for(tmp_path, file), Skeleton.COCO17) == (7.5, 10)
    save(state, file, dataclasses.replace(SPEC, sigma_px=9.0, paf_half_width_px=11.0))
    assert read_header(file).sigma_px == 9
    assert target_style(config_for(tmp_path, file), Skeleton.COCO17) == (9, 11)
    assert target_style(config_for(tmp_path, file, sigma_px=6), Skeleton.COCO17) == (6, 11)


def test_a_header_of_unknown_style_says_nothing_of_it() -> None:
    assert "sigma_px" not in SPEC.to_metadata()["openpaf"]


@pytest.mark.parametrize(
    ("peak", "share", "best"),
    [(1.0, 0.5, 1.0), (2.0, 1.0, 2.0), (0.0, 0.5, 0.0)],
)
def test_the_best_of_start_end_and_halfway_is_kept(
    tmp_path: Path, state: dict[str, Tensor], peak: float, share: float, best: float
) -> None:
    """AP falls with the distance of the weights, 0 at first and 2 at last, from a peak."""
    key = next(iter(state))

    def figures(weights: dict[str, Tensor], spec: Any) -> dict[str, float]:
        return {"AP": 1 - abs(float(weights[key].flatten()[0]) - peak) / 10}

    def spec(metrics: dict[str, Any]) -> ModelSpec:
        return dataclasses.replace(SPEC, metrics=metrics)

    def weights(value: float) -> dict[str, Tensor]:
        return {name: torch.full_like(old, value) for name, old in state.items()}

    keeper = BestWeights(config_for(tmp_path, tmp_path / "start"), HeldSignals(), Skeleton.COCO17)
    keeper.validation = figures  # type: ignore[assignment]
    now = weights(0)
    keeper.consider(0, now, spec)
    now[key].fill_(9)  # the running average moves in place
    resumed = BestWeights(config_for(tmp_path, tmp_path / "start"), HeldSignals(), Skeleton.COCO17)
    resumed.validation = figures  # type: ignore[assignment]
    resumed.load(keeper.state(), writes=True)
    last = resumed.consider(5, weights(2), spec)
    assert last["AP"] == pytest.approx(1 - abs(2 - peak) / 10)  # of the run's own weights
    network, found = load_model(tmp_path / "best.safetensors")
    assert float(network.state_dict()[key].flatten()[0]) == best
    assert found.metrics.get("share", 1.0) == (share if best else 1.0)
