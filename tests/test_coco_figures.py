"""Equality with pycocotools to the last digit, on edge cases and real annotations."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_data import by_pycocotools, person, scene, shaken, written

from openpaf.evaluation.annotations import read_annotations
from openpaf.evaluation.breakdown import KINDS, classify, error_breakdown
from openpaf.evaluation.coco import METRICS, ap_by_area, evaluate
from openpaf.evaluation.gallery import photo_error, worst_photos
from openpaf.evaluation.matching import labeled_joints, match_people, precision_at
from openpaf.evaluation.pck import pck, reference_px
from openpaf.evaluation.report import measure
from openpaf.skeleton import Skeleton


def equal(folder: Path, data: Any, results: Any, ids: list[int] | None = None) -> dict[str, float]:
    """See that our figures are pycocotools', and give them."""
    annotations = written(data, folder / "a.json")
    wanted = by_pycocotools(annotations, written(results, folder / "r.json"), ids)
    before = copy.deepcopy(results)
    figures = evaluate(read_annotations(annotations), results, ids)
    assert results == before  # nothing is written into what was given
    assert list(figures) == list(METRICS)
    assert list(figures.values()) == wanted  # to the last digit
    assert evaluate(read_annotations(annotations), results, ids) == figures
    return figures


@pytest.mark.parametrize("deviation", [0.0, 0.02, 0.06, 0.2])
def test_shaken_people(tmp_path: Path, deviation: float) -> None:
    data = scene()
    figures = equal(tmp_path, data, shaken(data["annotations"], deviation))
    assert (figures["AP"] == pytest.approx(1)) == (deviation == 0)


def test_a_part_of_the_photos(tmp_path: Path) -> None:
    data = scene()
    equal(tmp_path, data, shaken(data["annotations"], 0.05), [2, 4])


def test_nobody_labelled(tmp_path: Path) -> None:
    data = scene()
    results = shaken(data["annotations"], 0.05)
    data["annotations"] = []
    assert set(equal(tmp_path, data, results).values()) == {-1.0}


def test_a_photo_without_people(tmp_path: Path) -> None:
    data = scene()
    results = shaken(data["annotations"], 0.02)
    data["annotations"] = [row for row in data["annotations"] if row["image_id"] != 3]
    assert 0 < equal(tmp_path, data, results)["AP"] < 1


def test_a_crowd_only(tmp_path: Path) -> None:
    data, rng = scene(2, 0), np.random.default_rng(4)
    data["annotations"] = [person(1, 1, rng, labelled=0, crowd=True)]
    results = shaken([person(1, 1, rng), person(2, 2, rng)], 0.0)
    assert set(equal(tmp_path, data, results).values()) == {-1.0}


def test_people_without_labeled_joints(tmp_path: Path) -> None:
    data, rng = scene(), np.random.default_rng(5)
    results = shaken(data["annotations"], 0.03)
    data["annotations"] += [person(i, 100 + i, rng, labelled=0) for i in (1, 2, 3)]
    # Found at the places of those nobody labelled: neither right nor wrong.
    results += shaken([{**row, "id": 0} for row in data["annotations"][-3:]], 0.1)
    equal(tmp_path, data, results)


def test_more_than_twenty_detections(tmp_path: Path) -> None:
    data = scene(2, 30)
    results = shaken(data["annotations"], 0.01)
    figures = equal(tmp_path, data, results)
    assert figures["AR50"] == pytest.approx(20 / 30)


def test_results_with_boxes_take_their_area_from_them(tmp_path: Path) -> None:
    data = scene()
    results = shaken(data["annotations"], 0.04)
    for row in results:
        row["bbox"] = [0.0, 0.0, 20.0, 20.0]
    equal(tmp_path, data, results)


def test_nobody_found_is_zero_and_minus_one_where_nobody_is(tmp_path: Path) -> None:
    data = scene()
    annotations = read_annotations(written(data, tmp_path / "a.json"))
    figures = evaluate(annotations, [])
    assert figures["AP"] == figures["AR"] == 0
    data["annotations"] = []
    empty = read_annotations(written(data, tmp_path / "b.json"))
    assert set(evaluate(empty, []).values()) == {-1.0}


def test_a_set_of_photos(tmp_path: Path, shared_dir: Path) -> None:
    """Real annotations, with results as wrong as those of a network."""
    path = shared_dir / "data" / "coco_val_dev" / "person_keypoints.json"
    data = json.loads(path.read_text())
    labelled = [row for row in data["annotations"] if row["num_keypoints"] and not row["iscrowd"]]
    figures = equal(tmp_path, data, shaken(labelled, 0.06)[::2] + shaken(labelled[::3], 0.3, 2))
    assert 0.05 < figures["AP"] < 0.6


def test_bands_of_size_are_pycocotools_medium_and_large(tmp_path: Path) -> None:
    data = scene(8, 4)
    results = shaken(data["annotations"], 0.04)
    annotations = read_annotations(written(data, tmp_path / "a.json"))
    figures = evaluate(annotations, results)
    bands = ap_by_area(annotations, results, None, [(32, 96), (96, 1e5), (0, 1e5)])
    assert [ap for ap, _ in bands] == [figures["APM"], figures["APL"], figures["AP"]]
    assert bands[2][1] == len(data["annotations"])


def test_matches_are_those_of_recall(tmp_path: Path) -> None:
    data = scene(6, 4)
    results = shaken(data["annotations"], 0.15)
    annotations = read_annotations(written(data, tmp_path / "a.json"))
    photos = match_people(annotations, results, oks=0.5)
    found = sum(len(photo.pairs) for photo in photos)
    figures = evaluate(annotations, results)
    assert 0 < found < len(results)
    assert found / len(results) == pytest.approx(figures["AR50"])
    assert precision_at(annotations, results) == pytest.approx((found / 24, found / 24))
    for photo in photos:
        assert len(photo.pairs) + len(photo.missed) == len(photo.pairs) + len(photo.false) == 4
        assert all(pair.oks >= 0.5 for pair in photo.pairs)


def test_the_worst_photos_come_first(tmp_path: Path) -> None:
    data = scene()
    results = shaken([row for row in data["annotations"] if row["image_id"] != 4], 0.0)
    for row in results:
        row["score"] = 0.9
        if row["image_id"] == 2:
            row["keypoints"] = [value + 900 for value in row["keypoints"]]
    annotations = read_annotations(written(data, tmp_path / "a.json"))
    photos = worst_photos(annotations, results, [1, 2, 3, 4, 5], 20)
    assert [photo.image_id for photo in photos[:2]] == [2, 4]
    assert [photo_error(photo) for photo in photos[:2]] == [6, 3]
    assert all(photo_error(photo) < 1e-6 for photo in photos[2:])
    assert len(worst_photos(annotations, results, [1, 2, 3, 4, 5], 1)) == 1


def _people(n: int = 2) -> list[tuple[np.ndarray, float]]:
    """People 1,000 px apart, every joint 40 px from the next, of 100 x 100 px."""
    people = []
    for i in range(n):
        joints = np.ones((17, 3))
        joints[:, 0] = 1000 * i + 40 * np.arange(17)
        people.append((joints, 10_000.0))
    return people


def test_the_kinds_of_errors() -> None:
    people = _people()
    found = people[0][0].copy()
    k = Skeleton.COCO17.index
    limit = 2 * 0.062 * 100 * np.sqrt(2 * np.log(1 / 0.85))  # where ks of a wrist is 0.85
    found[k("left_wrist"), 1] += 0.99 * limit
    found[k("right_wrist"), 1] += 1.01 * limit
    found[k("left_knee")] = people[0][0][k("right_knee")]
    found[k("right_ankle")] = people[1][0][k("right_ankle")]
    found[k("left_ankle")] = people[1][0][k("right_ankle")]  # either side of another person
    found[k("left_hip"), 1] += 500
    found[k("nose")] = people[0][0][k("left_shoulder")]  # no part that a nose is mistaken for
    found[k("left_ear")] = 0  # not found
    kinds = classify(found, people, 0)
    wanted = dict.fromkeys(Skeleton.COCO17.joints, "good")
    wanted.update(
        right_wrist="jitter", left_knee="inversion", right_ankle="swap", left_ankle="swap",
        left_hip="miss", nose="miss", left_ear="miss",
    )  # fmt: skip
    assert dict(zip(Skeleton.COCO17.joints, kinds, strict=True)) == wanted


def test_joints_that_nobody_labelled_have_no_kind() -> None:
    people = _people(1)
    people[0][0][3:] = 0
    kinds = classify(_people(1)[0][0], people, 0)
    assert kinds == ["good"] * 3 + [None] * 14


def test_a_joint_near_its_own_and_another_is_its_own() -> None:
    people = _people()
    people[1] = (people[0][0].copy(), 10_000.0)  # two people in one place
    assert set(classify(people[0][0], people, 0)) == {"good"}


def test_the_breakdown_of_a_set(tmp_path: Path) -> None:
    data = scene(4, 2)
    annotations = read_annotations(written(data, tmp_path / "a.json"))
    perfect = error_breakdown(annotations, shaken(data["annotations"], 0.0))
    assert (perfect["found"], perfect["missed"], perfect["false"]) == (8, 0, 0)
    assert perfect["joints"] == perfect["good"] == 8 * 17
    swap = list(Skeleton.COCO17.flip_permutation)
    mirrored = []
    for row in shaken(data["annotations"], 0.0):
        keypoints = np.array(row["keypoints"]).reshape(17, 3)[swap]
        mirrored.append({**row, "keypoints": keypoints.ravel().tolist()})
    result = error_breakdown(annotations, mirrored)
    assert result["by_joint"]["nose"]["good"] == 1
    assert result["inversion"] > 0.5 * result["joints"]
    assert sum(result["share"].values()) == pytest.approx(1)
    assert sum(result[kind] for kind in KINDS) == result["joints"]


def test_pck_of_known_distances(tmp_path: Path) -> None:
    data = scene(3, 1)
    for row in data["annotations"]:
        row["bbox"] = [row["bbox"][0], row["bbox"][1], 30.0, 40.0]  # a diagonal of 50 px
        row["area"] = 10_000.0
    annotations = read_annotations(written(data, tmp_path / "a.json"))
    results = shaken(data["annotations"], 0.0)
    for row in results[:2]:  # 17 + 5 of 51 joints are wrong
        keypoints = np.array(row["keypoints"]).reshape(17, 3)
        keypoints[: 17 if row is results[0] else 5, 0] += 5.5
        row["keypoints"] = keypoints.ravel().tolist()
    wrong = pck(annotations, results, reference="box", alpha=0.1)  # within 5 px
    assert (wrong["people"], wrong["joints"]) == (3, 51)
    assert wrong["PCK"] == wrong["PCK_found"] == pytest.approx(29 / 51)
    assert wrong["by_joint"]["nose"] == pytest.approx(1 / 3)
    assert pck(annotations, results, reference="box", alpha=0.12)["PCK"] == 1
    missed = pck(annotations, results[2:], reference="box", alpha=0.1)
    assert (missed["PCK"], missed["PCK_found"]) == pytest.approx((1 / 3, 1))


def test_references_of_pck() -> None:
    row = person(1, 1, np.random.default_rng(0), labelled=17)
    joints = np.zeros((17, 3))
    places = {"left_shoulder": (0, 0), "right_hip": (30, 40), "right_shoulder": (30, 0),
              "left_hip": (0, 60), "nose": (10, 10), "left_ear": (16, 18)}  # fmt: skip
    for name, xy in places.items():
        joints[Skeleton.COCO17.index(name)] = (*xy, 2)
    row.update(keypoints=joints.ravel().tolist(), bbox=[0, 0, 60, 80])
    assert reference_px(row, "box") == pytest.approx(100)
    assert reference_px(row, "torso") == pytest.approx((50 + np.hypot(30, 60)) / 2)
    assert reference_px(row, "head") == pytest.approx(10)
    joints[Skeleton.COCO17.index("nose"), 2] = 0
    joints[Skeleton.COCO17.index("left_shoulder"), 2] = 0
    joints[Skeleton.COCO17.index("left_hip"), 2] = 0
    row["keypoints"] = joints.ravel().tolist()
    assert reference_px(row, "head") is None
    assert reference_px(row, "torso") is None
    with pytest.raises(ValueError, match="reference: expected one of box, torso, head"):
        reference_px(row, "arm")


def test_all_figures_of_a_set(tmp_path: Path) -> None:
    data = scene(4, 3)
    data["annotations"] = [row for row in data["annotations"] if row["image_id"] < 4]
    data["annotations"] += [person(4, 90, np.random.default_rng(1))]
    annotations = read_annotations(written(data, tmp_path / "a.json"))
    results = shaken(data["annotations"], 0.03)
    figures = measure(annotations, results, [1, 2, 3, 4], min_score=0.0)
    json.dumps(figures, allow_nan=False)
    assert (figures["photos"], figures["people"], figures["detections"]) == (4, 10, 10)
    assert [band["photos"] for band in figures["by_people"]] == [1, 3, 0, 0]
    assert figures["by_people"][0]["AP"] == evaluate(annotations, results, [4])["AP"]
    assert figures["by_people"][3]["AP"] == -1
    assert sum(band["people"] for band in figures["by_size"]) == 10
    assert labeled_joints(data["annotations"][0]).shape == (17, 3)
