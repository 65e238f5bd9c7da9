"""AP of the shipped models is what the README and docs/accuracy.md say."""

from __future__ import annotations

from pathlib import Path

import pytest

from openpaf import PoseEstimator
from openpaf.evaluation.coco import detect, evaluate
from openpaf.evaluation.label_files import load_annotations

_CLOSE = 0.006  # engines and processors round differently
_CLOSE_IN_8_BITS = 0.025  # 0.304 with VNNI was 0.317 and 0.319 without


def _told(page: Path, *row: str) -> dict[str, float]:
    """Of the page's first row that begins so: AP, APM and APL."""
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip(" *") for cell in line.split("|")[1:-1]]
        if cells[:3] == list(row):
            return {"AP": float(cells[3]), "APM": float(cells[6]), "APL": float(cells[7])}
    raise AssertionError(f"{page.name} has no row of {row}")


def _measured(model: str, size: int, engine: str, folder: Path) -> dict[str, float]:
    """COCO's figures on the completely labelled photos."""
    annotations = load_annotations(folder / "person_keypoints.json")
    ids = [i for i in sorted(annotations.imgs) if annotations.imgs[i].get("ann_complete")]
    assert len(ids) == 82
    estimator = PoseEstimator(model, size=size, engine=engine)
    return evaluate(annotations, detect(annotations, folder / "images", estimator, ids), ids)


@pytest.mark.parametrize("size", [368, 256])
@pytest.mark.parametrize("model", ["lightweight-coco17", "fast-coco17"])
def test_a_shipped_model_is_as_good_as_the_readme_says(
    model: str, size: int, repo_root: Path, shared_dir: Path
) -> None:
    figures = _measured(model, size, "torch", shared_dir / "data" / "coco_val_dev")
    told = _told(repo_root / "README.md", model, str(size), "82, completely labeled")
    assert {name: figures[name] for name in told} == pytest.approx(told, abs=_CLOSE)


@pytest.mark.parametrize(("model", "size"), [("lightweight-coco17", 368), ("fast-coco17", 256)])
def test_a_shipped_model_in_8_bits_is_nearly_as_good_as_its_page_says(
    model: str, size: int, repo_root: Path, shared_dir: Path
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    ap = _measured(model, size, "openvino-int8", shared_dir / "data" / "coco_val_dev")["AP"]
    told = _told(repo_root / "docs" / "accuracy.md", model, "openvino-int8", str(size))
    assert told["AP"] - _CLOSE_IN_8_BITS < ap < told["AP"] + _CLOSE_IN_8_BITS
