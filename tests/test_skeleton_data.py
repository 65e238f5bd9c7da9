"""Skeletons of labels: whose category they are, and OKS sigmas where none are given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openpaf import Skeleton
from openpaf.evaluation.skeletons import estimate_oks_sigmas, skeleton_of

SQUARE = np.array([[0, 0, 2], [100, 0, 2], [0, 100, 2], [100, 100, 1]], float)


def labels(category: dict[str, Any], *people: np.ndarray) -> dict[str, Any]:
    return {
        "categories": [category],
        "annotations": [
            {
                "id": i,
                "category_id": category["id"],
                "area": 40_000,
                "keypoints": p.ravel().tolist(),
            }
            for i, p in enumerate(people)
        ],
    }


def test_sigmas_are_a_third_of_the_way_to_the_next_joint() -> None:
    sigmas = estimate_oks_sigmas(SQUARE[None], np.array([40_000.0]))
    assert sigmas == (0.11,) * 4  # 0.32 * 100 / 200 is above COCO's largest
    sigmas = estimate_oks_sigmas(SQUARE[None], np.array([250_000.0]))
    assert sigmas == (0.064,) * 4
    alone = SQUARE.copy()
    alone[1:, 2] = 0
    assert estimate_oks_sigmas(alone[None], np.array([1.0])) == (0.05,) * 4
    near = SQUARE.copy()
    near[1] = 10, 0, 2
    assert estimate_oks_sigmas(near[None], np.array([40_000.0])) == (0.02, 0.02, 0.11, 0.11)
    both = estimate_oks_sigmas(near[None], np.array([40_000.0]), [(1, 2)])
    assert both[1] == both[2] == pytest.approx(0.32 * (10 + 100) / 2 / 200)
    # Without an area, that of the box around the joints.
    assert estimate_oks_sigmas(SQUARE[None] * [1, 1, 1], np.array([0.0])) == (0.11,) * 4


def test_sigmas_of_people_are_about_cocos(shared_dir: Path) -> None:
    people, areas = [], []
    for name in ("coco_train", "coco_train_extra"):
        path = shared_dir / "data" / name / "person_keypoints.json"
        for person in json.loads(path.read_text())["annotations"]:
            if len(person.get("keypoints") or ()) == 51 and not person.get("iscrowd"):
                people.append(np.reshape(person["keypoints"], (17, 3)))
                areas.append(person["area"])
    skeleton = Skeleton.COCO17
    sigmas = estimate_oks_sigmas(np.array(people, float), np.array(areas), skeleton.flip_pairs)
    ratio = np.array(sigmas) / skeleton.oks_sigmas
    assert 0.6 < ratio.min() < ratio.max() < 1.3


def test_a_category_gives_the_skeleton_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    kite = {"id": 3, "name": "kite", "keypoints": ["a", "left", "right", "b"], "skeleton": [[1, 2]]}
    skeleton = skeleton_of(labels(kite, SQUARE, SQUARE * 2), "k.json")
    assert skeleton.joints == ("a", "left", "right", "b")
    assert skeleton.oks_sigmas == (0.11,) * 4
    assert "k.json: no OKS sigmas for 'kite': estimated from" in caplog.text
    assert "in 2 labels" in caplog.text
    caplog.clear()
    given = skeleton_of(labels({**kite, "oks_sigmas": [0.1] * 4}, SQUARE), "k.json")
    assert given.oks_sigmas == (0.1,) * 4
    assert not caplog.records


def test_people_are_cocos(caplog: pytest.LogCaptureFixture) -> None:
    spelled = [name.replace("left_", "L ") for name in Skeleton.COCO17.joints[::-1]]
    for category in (
        {"id": 1, "name": "person", "keypoints": [*spelled[:12], "head_top"]},
        {"id": 1, "name": "climber", "keypoints": spelled},
    ):
        assert skeleton_of(labels(category), "p.json") == Skeleton.COCO17
    assert not caplog.records


def test_a_file_is_taken_instead(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kite = {"id": 3, "name": "kite", "keypoints": ["a", "b", "c", "d"], "skeleton": [[1, 2]]}
    path = tmp_path / "s.toml"
    path.write_text('joints = ["d", "c"]\nlimbs = [["d", "c"]]')
    skeleton = skeleton_of(labels(kite, SQUARE), "k.json", file=path)
    assert skeleton.joints == ("d", "c")
    assert skeleton.oks_sigmas == (0.11, 0.11)
    assert "estimated" in caplog.text


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([], "k.json: categories: expected one with 'keypoints'"),
        ([{"id": 1, "name": "kite", "keypoints": ["a", "a"]}], "k.json: joints of 'kite': names"),
        ([{"id": 1, "name": "kite", "keypoints": ["a"], "skeleton": [[1, 2]]}],
         r"k.json: skeleton of 'kite': \(1, 2\) is out of range"),
        ([{"id": i, "name": n, "keypoints": ["a"]} for i, n in enumerate(("kite", "dog"))],
         "k.json: categories: several have joints, choose one: 'kite'"),
    ],
)  # fmt: skip
def test_wrong_categories_are_told_by_file(categories: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        skeleton_of({"categories": categories, "annotations": []}, "k.json")
