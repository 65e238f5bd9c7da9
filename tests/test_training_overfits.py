"""Networks of fields learn eight images by heart: nothing between labels and AP is off."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from by_heart import LEAST_AP, QUICK, draw_images, learn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    draw_images(folder)
    return folder


@pytest.mark.parametrize("name", sorted(set(QUICK) - {"lightweight"}))
def test_a_network_learns_eight_images_by_heart(folder: Path, tmp_path: Path, name: str) -> None:
    """The benchmark measures slower families; tests/test_training_learns.py has ``lightweight``."""
    assert learn(name, folder, tmp_path)["AP"] >= LEAST_AP
