"""Skeletons that are nobody's: figures of a kite's five joints are known, and names must match."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_data import written
from PIL import Image

from openpaf import Poses, Skeleton, write_skeleton
from openpaf.cli import main
from openpaf.evaluation.annotations import read_annotations
from openpaf.evaluation.breakdown import error_breakdown
from openpaf.evaluation.coco import as_results, evaluate
from openpaf.evaluation.compare import Method, Photos, measure_method
from openpaf.evaluation.matching import match_people
from openpaf.evaluation.pck import pck

JOINTS = ["top", "left", "right", "bottom", "tail"]
SIGMAS = [0.05, 0.08, 0.08, 0.05, 0.1]
KITE = {
    "id": 4, "name": "kite", "keypoints": JOINTS, "skeleton": [[1, 2], [1, 3], [1, 4], [4, 5]],
    "oks_sigmas": SIGMAS,
}  # fmt: skip
SHAPE = np.array([[50, 0], [20, 40], [80, 40], [50, 100], [50, 150]], float)
AREA = 6000.0
S = Skeleton.from_coco_category(KITE)


@pytest.fixture
def data() -> dict[str, Any]:
    """Three photos of two kites each, one of them turned over."""
    rows = []
    for n in range(6):
        xy = SHAPE * (1 if n % 2 else -1) + ([30, 20] if n % 2 else [350, 350])
        rows.append(
            {
                "id": n + 1, "image_id": n // 2 + 1, "category_id": 4, "iscrowd": 0, "area": AREA,
                "bbox": [*xy.min(0).tolist(), 60.0, 150.0], "num_keypoints": 5,
                "keypoints": np.c_[xy, np.full(5, 2.0)].ravel().tolist(),
            }
        )  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.png", "width": 400, "height": 400} for i in (1, 2, 3)]
    return {"images": images, "annotations": rows, "categories": [copy.deepcopy(KITE)]}


def results(data: dict[str, Any], move: Any = (0, 0), joints: Any = slice(None)) -> Any:
    """What is labeled, its joints (or some) moved by some px."""
    moved = []
    for row in data["annotations"]:
        keypoints = np.reshape(row["keypoints"], (5, 3)).astype(float)
        keypoints[joints, :2] += move
        entry = {"image_id": row["image_id"], "category_id": 4, "score": 0.5 + row["id"] / 20}
        moved.append({**entry, "keypoints": keypoints.ravel().tolist()})
    return moved


def test_a_perfect_result_has_ap_1(data: Any, tmp_path: Path) -> None:
    annotations = read_annotations(written(data, tmp_path / "a.json"))
    assert annotations.skeleton == S
    assert annotations.category == 4
    assert evaluate(annotations, results(data))["AP"] == pytest.approx(1)
    errors = error_breakdown(annotations, results(data))
    assert (errors["found"], errors["missed"], errors["false"], errors["joints"]) == (6, 0, 0, 30)
    assert errors["share"]["good"] == 1
    assert list(errors["by_joint"]) == JOINTS
    assert pck(annotations, results(data), reference="box")["PCK"] == 1


def test_a_shifted_result_has_the_oks_of_the_skeletons_sigmas(data: Any, tmp_path: Path) -> None:
    annotations = read_annotations(written(data, tmp_path / "a.json"))
    moved = results(data, (6, 8))
    expected = np.exp(-(10.0**2) / (2 * AREA * (2 * np.array(SIGMAS)) ** 2)).mean()
    pairs = [pair for image in match_people(annotations, moved) for pair in image.pairs]
    assert [pair.oks for pair in pairs] == pytest.approx([expected] * 6)
    assert 0.6 < expected < 0.65  # right at OKS .5, .55 and .6, of ten thresholds
    assert evaluate(annotations, moved)["AP"] == pytest.approx(0.3)
    # With wider sigmas, of another skeleton, it is right at all but one or two.
    wide = Skeleton(**{**S.to_dict(), "oks_sigmas": [0.2] * 5})
    annotations = read_annotations(tmp_path / "a.json", skeleton=wide)
    expected = np.exp(-(10.0**2) / (2 * AREA * 0.4**2))
    assert 0.9 < expected < 0.95
    assert evaluate(annotations, moved)["AP"] == pytest.approx(0.9)


def test_sides_that_are_swapped_are_inversions(data: Any, tmp_path: Path) -> None:
    annotations = read_annotations(written(data, tmp_path / "a.json"))
    swapped = results(data)
    for entry in swapped:
        values = np.reshape(entry["keypoints"], (5, 3))[[0, 2, 1, 3, 4]]
        entry["keypoints"] = values.ravel().tolist()
    errors = error_breakdown(annotations, swapped)
    assert (errors["inversion"], errors["good"]) == (12, 18)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    def call(data: Any, rows: Any, *more: str | Path) -> Any:
        files = written(data, tmp_path / "a.json"), written(rows, tmp_path / "r.json")
        command = ["evaluate", "--annotations", files[0], "--results", files[1], *more]
        status = main([str(part) for part in command])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_the_command_measures_kites(run: Run, data: Any, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for image in data["images"]:
        Image.new("RGB", (400, 400)).save(tmp_path / "photos" / image["file_name"])
    status, out, err = run(
        data, results(data, (60, 0), [0]), "--images", tmp_path / "photos",
        "--gallery", tmp_path / "g.html", "--json", tmp_path / "f.json",
    )  # fmt: skip
    assert (status, err.startswith("gallery: ")) == (0, True)
    assert "3 photos, 6 people with labeled joints" in out
    assert "PCK at 0.2 of the box" in out
    assert "joints of 6 people found: good 80.0 %" in out
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["pck"]["by_joint"] == {"top": 0, "left": 1, "right": 1, "bottom": 1, "tail": 1}
    assert (tmp_path / "g.html").read_text().count("<h2>") == 3


def test_a_skeleton_file_gives_joints_and_sigmas(
    run: Run, data: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_skeleton(S.select(["left", "right"]), tmp_path / "s.toml")
    _, out, _ = run(data, results(data, (60, 0), [0, 3, 4]), "--skeleton", path)
    assert out.splitlines()[2].split()[0] == "1.000"
    assert "a.json: top, bottom, tail: not among the joints of 'kite'; not" in caplog.text


def test_estimated_sigmas_are_told(run: Run, data: Any, caplog: pytest.LogCaptureFixture) -> None:
    del data["categories"][0]["oks_sigmas"]
    _, out, _ = run(data, results(data))
    assert out.splitlines()[2].split()[0] == "1.000"
    assert "a.json: no OKS sigmas for 'kite': estimated from the distances of joints" in caplog.text


def test_one_of_several_categories(run: Run, data: Any) -> None:
    dog = {"id": 7, "name": "dog", "keypoints": ["nose", "tail"]}
    data["categories"].append(dog)
    status, _, err = run(data, results(data))
    assert (status, "a.json: categories: several have joints, choose one: 'kite'" in err) == (
        2,
        True,
    )
    assert run(data, results(data), "--category", "kite")[0] == 0
    status, _, err = run(data, results(data), "--category", "cow")
    assert status == 2
    assert "a.json: category: none of the file's categories is 'cow'" in err


def test_joints_that_do_not_match_are_told_with_both_lists(
    run: Run, data: Any, tmp_path: Path
) -> None:
    other = write_skeleton(
        Skeleton(
            name="bird", joints=("top", "left", "right", "bottom", "beak"), limbs=((0, 1),),
            oks_sigmas=(0.1,) * 5,
        ),
        tmp_path / "s.json",
    )  # fmt: skip
    status, out, err = run(data, results(data), "--skeleton", other)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "a.json: categories: 'kite' has tail and lacks beak; expected one with the joints" in err
    assert "bottom, beak of 'bird'; got 'kite' (top, left, right, bottom, tail)" in err


def test_a_model_of_people_does_not_measure_kites(data: Any, tmp_path: Path, capsys: Any) -> None:
    written(data, tmp_path / "a.json")
    command = ["evaluate", "--annotations", str(tmp_path / "a.json"), "--images", str(tmp_path)]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert "'kite' has top, left, right, bottom, tail and lacks nose, left_eye" in err


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("annotations", 4, "keypoints"), [1, 2, 2],
         "keypoints: expected 15 values, 3 for each of 5 joints; not so in 1 of 6, first entry 4, "
         "image 3, got 3"),
        (("annotations", 1, "num_keypoints"), 2, "num_keypoints: expected the number of keypoints"),
        (("categories", 0, "skeleton"), [[1, 9]], "skeleton of 'kite': (1, 9) is out of range"),
        (("categories", 0, "keypoints"), [*JOINTS[:4], "top"], "must be unique, ['top'] repeat"),
        (("categories", 0, "oks_sigmas"), [0.1], "oks_sigmas of 'kite': expected 5, one a joint"),
    ],
)  # fmt: skip
def test_wrong_labels_are_told_by_file_and_annotation(
    run: Run, data: Any, place: tuple[Any, ...], value: Any, message: str
) -> None:
    rows = results(data)
    data[place[0]][place[1]][place[2]] = value
    status, out, err = run(data, rows)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "a.json: " in err
    assert message in err


def test_a_torso_needs_people(run: Run, data: Any) -> None:
    status, _, err = run(data, results(data), "--pck-reference", "torso")
    assert (status, "torso needs joints of people, expected box for 'kite'" in err) == (2, True)


def test_results_of_another_order_and_spelling_are_matched_by_name(
    run: Run, data: Any, tmp_path: Path
) -> None:
    """As our own files of results say which joints they have."""
    annotations = read_annotations(written(data, tmp_path / "a.json"))
    spelled = Skeleton(**{**S.select(S.joints[::-1]).to_dict(), "name": "mine"})
    spelled = Skeleton(**{**spelled.to_dict(), "joints": [n.title() for n in spelled.joints]})
    rows = []
    for row in data["annotations"]:
        values = np.reshape(row["keypoints"], (1, 5, 3))[:, ::-1]
        rows += as_results(Poses.from_keypoints(values, spelled), row["image_id"], annotations)
    assert evaluate(annotations, rows)["AP"] == pytest.approx(1)
    assert run(data, rows)[1].splitlines()[2].split()[0] == "1.000"


def test_files_of_results_of_kites_are_compared(data: Any, tmp_path: Path) -> None:
    path = written(data, tmp_path / "a.json")
    photos = Photos(annotations=read_annotations(path), path=path, images=tmp_path, ids=[1, 2, 3])
    own = Method(name="own", results=written(results(data), tmp_path / "r.json"))
    assert measure_method(own, photos, [], tmp_path)["AP"] == pytest.approx(1)
