"""Validation in training: known answers whatever the ids are, and what cannot be measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openpaf import PoseEstimator, Poses, Skeleton
from openpaf.cli import main
from openpaf.training import validation
from openpaf.training.config import SetConfig
from openpaf.training.data.dataset import DatasetError
from openpaf.training.validation import PeopleValidation

S = Skeleton.COCO17
Data = dict[str, Any]
WIDTHS = (50, 60, 70, 80)  # by which the photos are told


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Labels of four photos in ``tmp_path / "images"``, with a person each."""
    rng = np.random.default_rng(3)
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for i, width in enumerate(WIDTHS):
        Image.new("RGB", (width, 40)).save(tmp_path / "images" / f"{i}.png")
        images.append({"id": i + 1, "file_name": f"{i}.png", "width": width, "height": 40})
        joints = np.column_stack([rng.uniform(5, 45, 17), rng.uniform(5, 35, 17), np.full(17, 2)])
        annotations.append(
            {"id": i + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0,
             "bbox": [5, 5, 40, 30], "keypoints": joints.ravel().tolist(), "area": 900.0}
        )  # fmt: skip
    person = {"id": 1, "name": "person", "keypoints": list(S.joints)}
    return {"images": images, "annotations": annotations, "categories": [person]}


def measured(
    folder: Path, data: Data, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> dict[str, float]:
    """The figures of an estimator that finds everybody but the person in the first photo."""
    by_width = {
        image["width"]: np.reshape(person["keypoints"], (1, -1, 3))
        for image, person in zip(data["images"], data["annotations"], strict=False)
    }

    class Estimator:
        skeleton = S

        def __call__(self, pixels: Any) -> Poses:
            width = pixels.shape[1]
            return Poses.empty(S) if width == 50 else Poses.from_keypoints(by_width[width], S)

    monkeypatch.setattr(validation, "_network", lambda *_: None)
    monkeypatch.setattr(PoseEstimator, "from_network", lambda *_, **__: Estimator())
    return check(folder, data, **more)({}, None)  # type: ignore[arg-type]


def check(folder: Path, data: Data, **more: Any) -> PeopleValidation:
    (folder / "people.json").write_text(json.dumps(data))
    images, annotations = str(folder / "images"), str(folder / "people.json")
    return PeopleValidation(SetConfig(annotations=annotations, images=images, **more), 64)


@pytest.mark.parametrize("category", [1, 0, 7, -2, 2**60])
@pytest.mark.parametrize("first", [1, 0, -7, 2**53, 2**70])
def test_ids_are_labels(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch, category: int, first: int
) -> None:
    data["categories"][0]["id"] = category
    for i in range(4):
        data["images"][i]["id"] = first - i
        data["annotations"][i] |= {"id": first + i, "image_id": first - i, "category_id": category}
    figures = measured(tmp_path, data, monkeypatch)
    assert figures["AR"] == pytest.approx(0.75)  # three of four people
    assert figures["AP"] == pytest.approx(76 / 101)  # precision 1 at 76 of 101 recalls
    held_out = measured(tmp_path, data, monkeypatch, holdout=(1, 2))  # those of widths 60 and 80
    assert held_out["AP"] == pytest.approx(1.0)


def test_animals_count_for_nothing_and_other_joints_are_left_out(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    dog = {**data["annotations"][0], "id": 9, "category_id": 2}
    for key in ("area", "iscrowd", "bbox"):
        del dog[key]
    data["categories"].append({"id": 2, "name": "dog", "keypoints": list(S.joints)})
    data["annotations"].append(dog)
    assert measured(tmp_path, data, monkeypatch)["AR"] == pytest.approx(0.75)
    data["categories"][0]["keypoints"][1:3] = ["head_bottom", "head_top"]  # as PoseTrack18's
    assert measured(tmp_path, data, monkeypatch)["AR"] == pytest.approx(0.75)


def test_a_validation_that_measures_nothing_is_refused(tmp_path: Path, data: Data) -> None:
    people = data["annotations"]
    for person in people[1::2]:
        person["keypoints"] = [0] * 51
    check(tmp_path, data)
    with pytest.raises(DatasetError, match=r"of 2 people in 2 photos none has labeled joints"):
        check(tmp_path, data, holdout=(1, 2))
    for person in people[::2]:
        person["area"] = 0
    with pytest.raises(DatasetError, match=r"people.json: .* none has an area above 0"):
        check(tmp_path, data)
    for person in people[::2]:
        person |= {"area": 900, "iscrowd": 1}
    with pytest.raises(DatasetError, match="none has labeled joints"):
        check(tmp_path, data)
    data["annotations"] = []
    with pytest.raises(DatasetError, match="of 0 people in 4 photos none has labeled joints"):
        check(tmp_path, data)


def test_the_command_refuses_it_before_the_run(
    tmp_path: Path, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "people.json").write_text(json.dumps(data))
    for person in data["annotations"]:
        person["keypoints"] = [0] * 51
    (tmp_path / "nobody.json").write_text(json.dumps(data))
    (tmp_path / "run.toml").write_text(
        'output = "run"\n[[data.sets]]\nannotations = "people.json"\nimages = "images"\n'
        '[data.validation]\nannotations = "nobody.json"\nimages = "images"\n'
    )
    assert main(["train", str(tmp_path / "run.toml")]) == 2
    assert "nobody.json: validation would measure nothing" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_photos_that_are_not_there_or_not_those_that_were_labelled(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "images" / "0.png").unlink()
    assert measured(tmp_path, data, monkeypatch)["AP"] == pytest.approx(1.0)
    assert "0.png: no such file" in caplog.text
    data["images"][1]["width"] = 120
    with pytest.raises(DatasetError, match=r"1.png: the image is 60 x 40 px, its labels"):
        measured(tmp_path, data, monkeypatch)
    for i in range(1, 4):
        (tmp_path / "images" / f"{i}.png").unlink()
    with pytest.raises(DatasetError, match=r"nothing could be measured: 4 of 4 photos cannot"):
        measured(tmp_path, data, monkeypatch)


def test_the_figures_are_those_of_evaluate(
    tmp_path: Path, repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shipped model on a photo that it labelled itself: everything is found, and no file made."""
    from openpaf.weights import load_model

    (tmp_path / "images").mkdir()
    shutil.copy(repo_root / "data" / "photos" / "astronaut.jpg", tmp_path / "images" / "a.jpg")
    poses = PoseEstimator(size=128)(tmp_path / "images" / "a.jpg")
    joints = np.concatenate([np.nan_to_num(poses.xy), (poses.scores[..., None] > 0) * 2], axis=2)
    with Image.open(tmp_path / "images" / "a.jpg") as image:
        width, height = image.size
    data = {
        "images": [{"id": 0, "file_name": "a.jpg", "width": width, "height": height}],
        "annotations": [
            {"id": i, "image_id": 0, "category_id": 0, "iscrowd": 0, "area": 1e5,
             "bbox": [0, 0, width, height], "keypoints": row.ravel().tolist()}
            for i, row in enumerate(joints)
        ],
        "categories": [{"id": 0, "name": "person"}],
    }  # fmt: skip
    (tmp_path / "people.json").write_text(json.dumps(data))
    images = SetConfig(annotations=str(tmp_path / "people.json"), images=str(tmp_path / "images"))
    network, weights = load_model()
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path / "cache"))
    assert PeopleValidation(images, 128)(network.state_dict(), weights)["AP"] > 0.95
    assert not (tmp_path / "cache").exists()
