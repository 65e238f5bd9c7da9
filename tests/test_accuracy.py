"""The README's AP of the shipped models is what they have."""

from __future__ import annotations

from pathlib import Path

import pytest

from openpaf import PoseEstimator
from openpaf.evaluation.coco import detect, evaluate, load_annotations

_CLOSE = 0.006  # engines and processors round differently


def _told(readme: str, model: str, size: int) -> dict[str, float]:
    """Of the table under "How good": AP, APM and APL on the completely labelled photos."""
    for line in readme.splitlines():
        cells = [cell.strip(" *") for cell in line.split("|")[1:-1]]
        if cells[:3] == [model, str(size), "82, completely labelled"]:
            return {"AP": float(cells[3]), "APM": float(cells[6]), "APL": float(cells[7])}
    raise AssertionError(f"the README has no row of {model} at {size} px")


@pytest.mark.parametrize("size", [368, 256])
@pytest.mark.parametrize("model", ["lightweight-coco17", "fast-coco17"])
def test_a_shipped_model_is_as_good_as_the_readme_says(
    model: str, size: int, repo_root: Path, shared_dir: Path
) -> None:
    folder = shared_dir / "data" / "coco_val_dev"
    annotations = load_annotations(folder / "person_keypoints.json")
    ids = [i for i in sorted(annotations.imgs) if annotations.imgs[i].get("ann_complete")]
    assert len(ids) == 82
    estimator = PoseEstimator(model, size=size, runtime="torch")
    figures = evaluate(annotations, detect(annotations, folder / "images", estimator, ids), ids)
    told = _told((repo_root / "README.md").read_text(), model, size)
    assert {name: figures[name] for name in told} == pytest.approx(told, abs=_CLOSE)
