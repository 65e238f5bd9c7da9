"""Labels of CVAT and Label Studio, written, read by their own code, and read back by ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from openpaf import Skeleton
from openpaf.annotation.coco_labels import labels_to_coco
from openpaf.annotation.cvat import cvat_task_labels, labels_to_cvat
from openpaf.annotation.cvat_reader import read_cvat
from openpaf.annotation.files import write_labels
from openpaf.annotation.label_studio import label_studio_config, labels_to_label_studio
from openpaf.annotation.label_studio_reader import read_label_studio
from openpaf.annotation.labels import LabeledImage, LabelSet, PersonLabel, box_around
from openpaf.annotation.reading import ReadOptions

HW = (180, 240)


def some_labels(skeleton: Skeleton = Skeleton.COCO17) -> LabelSet:
    """Three images: two people, one of them doubtful and with a missing joint; one; none."""
    rng = np.random.default_rng(0)

    def person(doubtful: bool) -> PersonLabel:
        keypoints = np.full((skeleton.n_joints, 3), 2.0)
        keypoints[:, :2] = rng.uniform(5, 170, (skeleton.n_joints, 2)).round(3)
        if doubtful:
            keypoints[1] = 0
        is_labeled = keypoints[:, 2] > 0
        return PersonLabel(
            keypoints=keypoints,
            joint_scores=np.where(is_labeled, 0.75, 0),
            box=box_around(keypoints[is_labeled, :2], HW),
            score=0.25 if doubtful else 0.875,
            is_doubtful=doubtful,
        )

    people = [(person(False), person(True)), (person(False),), ()]
    names = ["a b.jpg", "sub/ü&<'\".png", "empty.png"]
    images = tuple(
        LabeledImage(file_name=name, image_hw=HW, people=some)
        for name, some in zip(names, people, strict=True)
    )
    return LabelSet(images=images, skeleton=skeleton, model="test-model")


def assert_same(read: LabelSet, labels: LabelSet, *, without_empty: bool = False) -> None:
    """Equal but for the scores of joints, to the digits that the files have."""
    images = [image for image in labels.images if image.people or not without_empty]
    assert read.skeleton.joints == labels.skeleton.joints
    assert [image.file_name for image in read.images] == [image.file_name for image in images]
    for ours, image in zip(read.images, images, strict=True):
        assert ours.image_hw == image.image_hw
        assert len(ours.people) == len(image.people)
        for one, other in zip(ours.people, image.people, strict=True):
            np.testing.assert_allclose(one.keypoints, other.keypoints, atol=0.002)
            np.testing.assert_allclose(one.box, other.box, atol=0.01)
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.is_doubtful == other.is_doubtful


@pytest.mark.parametrize("skeleton", [Skeleton.COCO17, Skeleton.BODY25, Skeleton.MPI15])
def test_cvats_file_says_the_same(tmp_path: Path, skeleton: Skeleton) -> None:
    labels = some_labels(skeleton)
    files = write_labels(labels, tmp_path / "labels.xml", "cvat")
    assert [file.name for file in files] == ["labels.xml", "labels.cvat-labels.json"]
    assert_same(read_cvat(tmp_path / "labels.xml"), labels)


def test_what_cvats_importer_asks_of_every_element() -> None:
    """load_anno of CVAT takes these attributes without a default."""
    root = ElementTree.fromstring(labels_to_cvat(some_labels()).encode())
    assert root.findtext("version") == "1.1"
    for image in root.iter("image"):
        assert {"id", "name", "width", "height"} <= set(image.attrib)
    skeletons = list(root.iter("skeleton"))
    assert len(skeletons) == 3
    for skeleton in skeletons:
        assert skeleton.attrib["label"] == "person"
        points = list(skeleton.iter("points"))
        assert [point.attrib["label"] for point in points] == list(Skeleton.COCO17.joints)
        for point in points:
            assert point.attrib["occluded"] == "0"
            assert re.fullmatch(r"-?[\d.]+,-?[\d.]+", point.attrib["points"])
        names = [attribute.attrib["name"] for attribute in skeleton.iter("attribute")]
        assert names == ["score", "ignore"]
    outside = [[p.attrib["outside"] for p in s.iter("points")].index("1") for s in skeletons[1:2]]
    assert outside == [1]


def test_the_labels_of_a_task_of_cvat() -> None:
    (label,) = cvat_task_labels(some_labels())
    assert (label["name"], label["type"]) == ("person", "skeleton")
    assert [sub["name"] for sub in label["sublabels"]] == list(Skeleton.COCO17.joints)
    svg = ElementTree.fromstring(f"<svg>{label['svg']}</svg>")
    circles, lines = list(svg.iter("circle")), list(svg.iter("line"))
    assert [circle.attrib["data-label-name"] for circle in circles] == list(Skeleton.COCO17.joints)
    assert [circle.attrib["data-node-id"] for circle in circles] == [str(k) for k in range(1, 18)]
    edges = [(int(x.attrib["data-node-from"]), int(x.attrib["data-node-to"])) for x in lines]
    assert edges == [(a + 1, b + 1) for a, b in Skeleton.COCO17.limbs[:19]]
    for line, (a, b) in zip(lines, edges, strict=True):  # lines end at their joints
        assert line.attrib["x1"] == circles[a - 1].attrib["cx"]
        assert line.attrib["y2"] == circles[b - 1].attrib["cy"]


def test_joints_without_a_known_place_lie_on_a_circle() -> None:
    hand = Skeleton(name="hand", joints=("a", 'b"<'), limbs=((0, 1),), oks_sigmas=(0.1, 0.1))
    (label,) = cvat_task_labels(some_labels(hand))
    circles = list(ElementTree.fromstring(f"<svg>{label['svg']}</svg>").iter("circle"))
    places = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in circles]
    assert places == [(50, 5), (50, 95)]
    assert circles[1].attrib["data-label-name"] == 'b"<'


def test_corrections_in_cvat_are_read(tmp_path: Path) -> None:
    """A hidden joint, a person confirmed, one deleted, one without any joint left."""
    write_labels(some_labels(), tmp_path / "labels.xml", "cvat")
    tree = ElementTree.parse(tmp_path / "labels.xml")
    first, second, third = tree.iter("skeleton")
    nose = next(iter(first.iter("points")))
    nose.set("occluded", "1")
    nose.set("points", "0.5,20.50")  # in the middle of the first column of pixels
    next(a for a in second.iter("attribute") if a.attrib["name"] == "ignore").text = "false"
    for point in third.iter("points"):
        point.set("outside", "1")
    tree.write(tmp_path / "labels.xml")
    labels = read_cvat(tmp_path / "labels.xml")
    one, two = labels.images[0].people
    assert one.keypoints[0].tolist() == [0, 20, 1]
    assert not two.is_doubtful
    assert labels.images[1].people == ()
    data = labels_to_coco(labels)
    assert data["annotations"][0]["keypoints"][2] == 1
    assert data["annotations"][0]["num_keypoints"] == 17


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no element found"),
        ("<html></html>", "expected <annotations>"),
        ("<annotations></annotations>", "category: expected one with joints, got none"),
        ("<!DOCTYPE a><annotations/>", "definitions of entities"),
    ],
)
def test_other_files_are_no_cvat(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.xml: not of CVAT for images 1\.1: .*{message}"):
        read_cvat(tmp_path / "a.xml")


@pytest.mark.parametrize("skeleton", [Skeleton.COCO17, Skeleton.BODY25])
def test_label_studios_file_says_the_same(tmp_path: Path, skeleton: Skeleton) -> None:
    labels = some_labels(skeleton)
    files = write_labels(labels, tmp_path / "labels.json", "label-studio")
    assert [file.name for file in files] == ["labels.json", "labels.label-studio.xml"]
    assert_same(read_label_studio(tmp_path / "labels.json"), labels, without_empty=True)
    write_labels(labels, tmp_path / "l.json", "label-studio", image_prefix="https://x.org/i/")
    tasks = json.loads((tmp_path / "l.json").read_text())
    assert tasks[0]["data"]["image"] == "https://x.org/i/a%20b.jpg"
    scores = read_label_studio(tmp_path / "labels.json").images[0].people[0].joint_scores
    assert scores.tolist() == [0.75] * skeleton.n_joints
    read = read_label_studio(tmp_path / "l.json", ReadOptions(image_prefix="https://x.org/i/"))
    assert_same(read, labels, without_empty=True)


def test_tasks_of_label_studio() -> None:
    labels = some_labels()
    tasks = labels_to_label_studio(labels)
    assert tasks[0]["data"] == {"image": "/data/local-files/?d=a%20b.jpg"}
    (prediction,) = tasks[0]["predictions"]
    assert prediction["model_version"] == "test-model"
    assert prediction["score"] == pytest.approx((0.875 + 0.25) / 2)
    results = prediction["result"]
    boxes = [result for result in results if result["type"] == "rectanglelabels"]
    assert [box["value"]["rectanglelabels"] for box in boxes] == [["person"], ["doubtful person"]]
    assert len(results) == 2 + 17 + 16
    nose = results[1]
    assert (nose["parentID"], nose["score"]) == (boxes[0]["id"], 0.75)
    x, y = labels.images[0].people[0].keypoints[0, :2]
    assert nose["value"]["x"] == pytest.approx(100 * (x + 0.5) / 240, abs=1e-5)  # of the corner
    assert nose["value"]["y"] == pytest.approx(100 * (y + 0.5) / 180, abs=1e-5)
    assert len({result["id"] for result in results}) == len(results)
    config = ElementTree.fromstring(label_studio_config(labels))
    tags = {element.attrib.get("name"): element for element in config}
    for result in results:  # what the predictions refer to is there
        values = [label.attrib["value"] for label in tags[result["from_name"]]]
        assert result["value"][result["type"]][0] in values
        assert tags[result["from_name"]].attrib["toName"] == result["to_name"] == "image"


def test_corrections_in_label_studio_are_read(tmp_path: Path) -> None:
    """The last annotation that was not skipped; a point without a parent goes to its rectangle."""
    tasks = labels_to_label_studio(some_labels())
    result: list[dict[str, Any]] = json.loads(json.dumps(tasks[0]["predictions"][0]["result"]))
    tasks[0]["annotations"] = [
        {"result": []},
        {"result": result},
        {"result": [], "was_cancelled": True},
    ]
    second = next(r for r in result if r["value"].get("rectanglelabels") == ["doubtful person"])
    second["value"]["rectanglelabels"] = ["person"]
    middle = {
        axis: second["value"][axis] + second["value"][side] / 2
        for axis, side in (("x", "width"), ("y", "height"))
    }
    result.append({**result[1], "id": "new", "parentID": None,
                   "value": {**middle, "width": 1, "keypointlabels": ["left_eye"]}})  # fmt: skip
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    one, two = read_label_studio(tmp_path / "export.json").images[0].people
    assert not two.is_doubtful
    assert two.keypoints[1].tolist() == pytest.approx(
        [middle["x"] * 2.4 - 0.5, middle["y"] * 1.8 - 0.5, 2], abs=0.01
    )
    assert one.keypoints[1, 2] == 2


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({}, "expected a list of tasks"),
        ([{"annotations": [{"result": [{}]}]}], "task 0: 'type' is missing"),
        ([7], "task 0: .*no attribute"),
    ],
)
def test_other_files_are_no_label_studio(tmp_path: Path, tasks: Any, message: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    with pytest.raises(ValueError, match=rf"a\.json: not of Label Studio: .*{message}"):
        read_label_studio(tmp_path / "a.json")


def test_datumaro_reads_our_files(tmp_path: Path) -> None:
    """The library with which CVAT reads COCO's format; it reads CVAT's own, too."""
    datumaro = pytest.importorskip("datumaro")
    labels = some_labels()
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    (tmp_path / "coco" / "images").mkdir()
    write_labels(labels, tmp_path / "coco" / "annotations" / "person_keypoints_default.json")
    coco = datumaro.Dataset.import_from(str(tmp_path / "coco"), "coco_person_keypoints")
    points = {
        item.id: [a for a in item.annotations if type(a).__name__ == "Points"] for item in coco
    }
    first = points["a b"]
    assert len(first) == 2
    sure = next(one for one in first if not one.attributes["is_crowd"])
    expected = labels.images[0].people[0].keypoints[:, :2].ravel()
    np.testing.assert_allclose(sure.points, expected, atol=0.01)
    (tmp_path / "cvat" / "images" / "sub").mkdir(parents=True)
    for image in labels.images:
        Image.new("RGB", (240, 180)).save(tmp_path / "cvat" / "images" / image.file_name)
    write_labels(labels, tmp_path / "cvat" / "annotations.xml", "cvat")
    cvat = datumaro.Dataset.import_from(str(tmp_path / "cvat"), "cvat")
    joints = {item.id: item.annotations for item in cvat}
    assert len(joints["empty"]) == 0
    places = np.array([joint.points for joint in joints["a b"]])  # it knows no skeletons
    np.testing.assert_allclose(places[:17].ravel(), expected + 0.5, atol=0.01)


def test_label_studios_own_code_reads_our_files(tmp_path: Path) -> None:
    """Its validator takes the predictions; its YOLO export of them has every joint of a person."""
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    converter = pytest.importorskip("label_studio_sdk.converter")
    labels = some_labels()
    config, tasks = label_studio_config(labels), labels_to_label_studio(labels)
    checked = interface.LabelInterface(config)
    for task in tasks:
        (prediction,) = task["predictions"]
        assert checked.validate_prediction(prediction, return_errors=True) == []
    for number, task in enumerate(tasks):
        task["id"] = number
        task["annotations"] = [{"id": number, "result": task.pop("predictions")[0]["result"]}]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    export = converter.Converter(config, project_dir=None, download_resources=False)
    export.convert_to_yolo(str(tmp_path / "export.json"), str(tmp_path / "yolo"), is_dir=False)
    (file,) = (tmp_path / "yolo" / "labels").glob("*a%20b*")
    lines = [list(map(float, line.split())) for line in file.read_text().splitlines()]
    keypoints = labels.images[0].people[0].keypoints + np.array([0.5, 0.5, 0])
    expected = keypoints / (240, 180, 1)
    assert any(
        len(line) == 5 + 51 and np.allclose(np.reshape(line[5:], (17, 3)), expected, atol=1e-4)
        for line in lines
    )
