"""COCO figures: known answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_data import person
from hypothesis import given, settings
from hypothesis import strategies as st

from openpaf import Poses, Skeleton
from openpaf.evaluation.coco import METRICS, detect, evaluate
from openpaf.evaluation.label_files import index_annotations, load_annotations
from openpaf.evaluation.matching import match_people, precision_at


@pytest.fixture
def two_people(tmp_path: Path) -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(3)
    keypoints = np.full((2, 17, 3), 2.0)
    keypoints[..., :2] = rng.uniform(50, 150, (2, 17, 2)) + np.array([0, 200])[:, None, None]
    data = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 400, "height": 400}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": i + 1, "image_id": 7, "category_id": 1, "iscrowd": 0, "area": 10_000,
                "bbox": [50, 50, 100, 100], "num_keypoints": 17,
                "keypoints": person.ravel().tolist(),
            }
            for i, person in enumerate(keypoints)
        ],
    }  # fmt: skip
    (tmp_path / "people.json").write_text(json.dumps(data))
    return load_annotations(tmp_path / "people.json"), keypoints


def test_the_truth_scores_one(two_people: tuple[Any, np.ndarray]) -> None:
    annotations, keypoints = two_people
    poses = Poses.from_keypoints(keypoints, Skeleton.COCO17)
    detections = detect(annotations, "nowhere", lambda path: poses, progress=False)
    figures = evaluate(annotations, detections)
    assert tuple(figures) == METRICS
    assert figures["AP"] == figures["AR"] == pytest.approx(1.0)
    assert precision_at(annotations, detections) == (1.0, 1.0)


def test_half_of_the_people_and_one_that_is_none(two_people: tuple[Any, np.ndarray]) -> None:
    annotations, keypoints = two_people
    found = keypoints.copy()
    found[1, :, :2] += 500
    poses = Poses.from_keypoints(found, Skeleton.COCO17, person_scores=[0.9, 0.5])
    detections = detect(annotations, "nowhere", lambda path: poses, progress=False)
    assert evaluate(annotations, detections)["AR50"] == pytest.approx(0.5)
    assert precision_at(annotations, detections) == (0.5, 0.5)
    assert precision_at(annotations, detections, min_score=0.6) == (1.0, 0.5)


def test_nobody_is_zero(two_people: tuple[Any, np.ndarray]) -> None:
    annotations, _ = two_people
    assert evaluate(annotations, [])["AP"] == 0
    assert precision_at(annotations, []) == (1.0, 0.0)


@given(
    image_ids=st.lists(st.integers(), min_size=2, max_size=2, unique=True),
    row_ids=st.lists(st.integers(), min_size=3, max_size=3, unique=True),
    category=st.integers(),
)
@settings(max_examples=30)
def test_a_perfect_result_has_ap_1_whatever_the_ids(
    image_ids: list[int], row_ids: list[int], category: int
) -> None:
    rng = np.random.default_rng(0)
    rows = [person(image_ids[n % 2], row_ids[n], rng) for n in range(3)]
    for row in rows:
        row["category_id"] = category
    annotations = index_annotations(
        {
            "images": [{"id": i, "file_name": f"{i}.jpg"} for i in image_ids],
            "annotations": rows,
            "categories": [{"id": category, "name": "person"}],
        }
    )
    results = [{**row, "score": 0.5 + n / 10} for n, row in enumerate(rows)]
    assert evaluate(annotations, results)["AP"] == pytest.approx(1)
    assert precision_at(annotations, results) == (1, 1)
    matches = match_people(annotations, results)
    assert sorted(photo.image_id for photo in matches) == sorted(image_ids)
    pairs = [pair for photo in matches for pair in photo.pairs]
    assert len(pairs) == 3
    for pair in pairs:
        assert pair.truth["id"] == pair.detection["id"]
        assert pair.oks == pytest.approx(1)
