"""Runs of the recipes: what their table adds to a run, and which tables are refused."""

# ruff: noqa: F811  # fixtures of another file

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import (  # noqa: F401
    SMALL_NETWORK,
    assert_equal,
    config_for,
    maker_for,
    photo_folder,
    teacher,
)

from openpaf import Grid, Skeleton
from openpaf.io.toml_files import toml_rows
from openpaf.training.checkpoints import CheckpointError
from openpaf.training.config import DistillationConfig
from openpaf.training.config_files import read_config, read_config_as
from openpaf.training.distillation import load_teacher
from openpaf.training.loop import train
from openpaf.training.losses import fields_loss
from openpaf.training.tables import as_table, plain
from openpaf.weights import load_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
from peak_weights import near_peaks, weight_peaks
from recipe_task import RecipeConfig
from target_resampling import ImageScales
from teacher_engine import run_by_engine
from train import main, train_recipe

S = Skeleton.COCO17
_CHEAP = {**SMALL_NETWORK, "ranks": [16, 8, 16], "hidden_width": 16, "atrous": False}


def recipe_for(folder: Path, output: str = "run", **tables: dict[str, Any]) -> RecipeConfig:
    """A small run with a recipe's table."""
    recipe = tables.pop("recipe", {})
    values = plain(config_for(folder, output, **tables))
    return as_table(RecipeConfig, {**values, "recipe": recipe})


def states_of_two_runs(folder: Path, **tables: Any) -> list[dict[str, torch.Tensor]]:
    """Weights of one run twice: made at a stretch, and stopped after a step and resumed."""
    straight, stopped = (recipe_for(folder, name, **tables) for name in ("straight", "stopped"))
    train_recipe(stopped, 0.0)
    files = [train_recipe(config) for config in (straight, stopped)]
    return [load_model(file)[0].state_dict() for file in files]


def test_hints_and_what_goes_with_them_resume_bit_exactly(photo_folder: Path, teacher: str) -> None:
    assert_equal(
        states_of_two_runs(
            photo_folder,
            network={"options": _CHEAP},
            optimizer={"steps": 2},
            distillation={"teacher": teacher},
            recipe={"hint_weight": 0.5, "feature_steps": 1, "frozen_layers": 5},
        )
    )


def test_features_come_first_and_frozen_layers_stay(photo_folder: Path, teacher: str) -> None:
    start = config_for(photo_folder, "start", optimizer={"steps": 1, "learning_rate": 1e-2})
    weights = train(start)
    path = train_recipe(
        recipe_for(
            photo_folder,
            network={"weights": str(weights)},
            optimizer={"steps": 2, "average": 0.0},
            distillation={"teacher": teacher},
            recipe={"hint_weight": 0.5, "feature_steps": 2, "frozen_layers": 7},
        )
    )
    before, after = load_model(weights)[0].state_dict(), load_model(path)[0].state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert any(key.startswith("trunk.7.") for key in moved)
    assert any(key.startswith("context.") for key in moved)
    stays = ("initial_stage", "refinement_stages", *(f"trunk.{i}." for i in range(7)))
    assert not any(key.startswith(stays) for key in moved)


def test_image_scales_resume_bit_exactly(photo_folder: Path, teacher: str) -> None:
    tables: dict[str, Any] = {
        "distillation": {"teacher": teacher},
        "recipe": {"image_scales": [0.5, 1.0], "peak_weight": 2.0},
    }
    assert_equal(states_of_two_runs(photo_folder, **tables))
    batch = maker_for(photo_folder).batch(0)
    resized = [ImageScales([0.5, 1.0], (Grid(8), Grid(8)), 0)(batch, step) for step in range(6)]
    assert {one.images.shape[2] for one in resized} == {32, 64}
    assert {one.heatmaps.shape[2] for one in resized} == {4, 8}
    assert all(torch.equal(one.pafs, batch.pafs) for one in resized if one.images.shape[2] == 64)


def test_weak_peaks_count_more_than_background_and_strong_ones(photo_folder: Path) -> None:
    batch = maker_for(photo_folder).batch(0)
    heatmaps = torch.zeros_like(batch.heatmaps)
    heatmaps[0, 0, 1, 1], heatmaps[1, 0, 1, 1] = 0.15, 0.9
    shares = near_peaks(heatmaps)
    assert shares.shape == heatmaps.shape
    assert (shares[0, 0, :3, :3] == 1).all()  # the cells around it too
    assert 0.3 < float(shares[1, 0, 0, 2]) < 0.7
    assert float(shares.sum()) == pytest.approx(9 + 9 * float(shares[1, 0, 0, 2]), abs=1e-4)
    batch = replace(batch, heatmaps=heatmaps, heatmap_weights=torch.ones_like(heatmaps))
    error = torch.zeros_like(heatmaps)
    error[0, 0, 1, 1] = 1
    for weight, factor in ((0.0, 1), (3.0, 4)):
        weighted = weight_peaks(batch, weight)
        _, parts = fields_loss([(heatmaps + error, batch.pafs)], weighted)
        assert float(parts["heatmaps_1"]) == pytest.approx(factor / heatmaps[:, 0].numel())


@pytest.mark.parametrize("hint_weight", [0.0, 0.5])
def test_a_run_on_cached_crops_resumes_bit_exactly(
    photo_folder: Path, teacher: str, hint_weight: float
) -> None:
    assert_equal(
        states_of_two_runs(
            photo_folder,
            optimizer={"steps": 3, "trunk_rate": 0.0},
            distillation={"teacher": teacher},
            recipe={"muon": True, "hint_weight": hint_weight, "cached_crops": 4},
        )
    )


def test_a_multi_scale_teacher_resumes_bit_exactly(photo_folder: Path, teacher: str) -> None:
    table = {"teacher": teacher, "weight": 0.5, "inside_ignore_regions": True}
    tables: dict[str, Any] = {"optimizer": {"steps": 3}, "distillation": table}
    views = {"teacher_scales": [1.0, 0.75], "mirrored_scales": [1.5]}
    states = states_of_two_runs(photo_folder, **tables, recipe=views)
    assert_equal(states)
    once = train_recipe(recipe_for(photo_folder, "once", **tables))
    other = load_model(once)[0].state_dict()
    assert not all(torch.equal(states[0][key], other[key]) for key in other)


def test_a_teacher_in_another_engine_gives_the_same(photo_folder: Path, teacher: str) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    batch = maker_for(photo_folder, paf_grid=Grid(8)).batch(0)
    cpu = torch.device("cpu")
    one, other = (
        load_teacher(DistillationConfig(teacher=teacher, weight=0.5), S, (Grid(8), Grid(8)), cpu)
        for _ in range(2)
    )
    assert one is not None
    assert other is not None
    run_by_engine(other, teacher, "openvino", cpu)
    ours, theirs = one.fill(batch), other.fill(batch)
    torch.testing.assert_close(ours.heatmaps, theirs.heatmaps, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(ours.pafs, theirs.pafs, atol=1e-4, rtol=1e-3)
    tables: dict[str, Any] = {"optimizer": {"steps": 2}, "distillation": {"teacher": teacher}}
    config = recipe_for(photo_folder, **tables, recipe={"teacher_engine": "openvino"})
    assert train_recipe(config).exists()


def test_pasted_pieces_resume_bit_exactly_and_change_what_is_learned(photo_folder: Path) -> None:
    recipe = {"occluders": 0.8, "paste_people": 0.8}
    states = states_of_two_runs(photo_folder, recipe=recipe)
    assert_equal(states)
    plain = load_model(train(config_for(photo_folder, "plain")))[0].state_dict()
    assert not all(torch.equal(states[0][key], plain[key]) for key in plain)


def test_hints_need_networks_that_can_be_compared(photo_folder: Path, teacher: str) -> None:
    tables: dict[str, Any] = {
        "distillation": {"teacher": teacher}, "recipe": {"hint_weight": 1.0}
    }  # fmt: skip
    narrow = {"options": {"width": 8}}
    with pytest.raises(ValueError, match=r"hints need 8 channels and 1 .* got 16 and 0"):
        train_recipe(recipe_for(photo_folder, network=narrow, **tables))
    with pytest.raises(ValueError, match="frozen_layers: expected 0 to 13, got 14"):
        train_recipe(recipe_for(photo_folder, recipe={"frozen_layers": 14}))


@pytest.mark.parametrize(
    ("recipe", "tables", "message"),
    [
        ({"hint_weight": 1}, {}, "recipe.hint_weight: expected a [distillation] with a teacher"),
        ({"feature_steps": 5}, {}, "recipe.feature_steps: expected a hint_weight above 0"),
        ({"image_scales": [1, 1.2]}, {}, "recipe.image_scales[1]: expected float <= 1.0, got 1.2"),
        ({"image_scales": []}, {}, "recipe.image_scales: expected list of length >= 1, got []"),
        ({"image_scales": [0.5]}, {"targets": {"sigma_px": 9}},
         "targets.sigma_px: expected 7 beside image_scales"),
        ({"hint_weight": 1, "teacher_scales": [2]}, {},
         "recipe.teacher_scales: expected the default beside hint_weight"),
        ({"hint_weight": 1, "teacher_engine": "onnx"}, {},
         "recipe.teacher_engine: expected the default beside hint_weight"),
        ({"teacher_engine": "onnx"}, {},
         "recipe.teacher_engine: expected a [distillation] with a teacher"),
        ({"teacher_scales": []}, {}, "recipe.teacher_scales, mirrored_scales: expected at least"),
        ({"mirrored_scales": [0]}, {}, "recipe.mirrored_scales[0]: expected float > 0.0"),
        ({"occluders": 0.2, "on_device": "yes"}, {},
         'recipe.on_device: expected "auto" or "no" where pieces are pasted'),
        ({"hint_weight": 1, "image_scales": [0.5]}, {},
         "recipe.hint_weight: expected 0 beside image_scales other than 1"),
        ({"hint_weight": 1, "feature_steps": 1, "cached_crops": 9}, {},
         "recipe.cached_crops: expected no feature_steps beside it"),
        ({"peak_weight": -1}, {}, "recipe.peak_weight: expected float >= 0"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be(
    photo_folder: Path, recipe: dict[str, Any], tables: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        recipe_for(photo_folder, recipe=recipe, **tables)


def test_the_command_trains_packs_and_refuses_another_recipe(
    photo_folder: Path, tmp_path: Path
) -> None:
    config = recipe_for(photo_folder, recipe={"muon": True, "image_scales": [0.5, 1.0]})
    file = photo_folder / "run.toml"
    file.write_text("".join(toml_rows(plain(config))))
    main([str(file), "--max-minutes", "0"])
    assert (photo_folder / "run" / "checkpoint.pt").exists()
    main([str(file), "--pack", str(tmp_path / "packed")])
    packed = read_config_as(RecipeConfig, tmp_path / "packed" / "run.toml")
    assert packed.recipe == config.recipe
    with pytest.raises(ValueError, match="unknown key 'recipe'"):
        read_config(file)
    values = {**plain(config), "recipe": {"muon": True}}
    file.write_text("".join(toml_rows(values)))
    with pytest.raises(
        CheckpointError, match=re.escape("recipe.image_scales: [0.5, 1.0] -> [1.0]")
    ):
        main([str(file)])
