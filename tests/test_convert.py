"""``openpaf convert``: known answers of each format, round trips, warnings and errors."""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openpaf import Skeleton
from openpaf.annotation.coco_labels import labels_to_coco
from openpaf.annotation.coco_reader import read_coco
from openpaf.annotation.convert import convert_labels, format_for, format_of, read_labels
from openpaf.annotation.files import LABEL_FORMATS
from openpaf.annotation.label_formats import LabelFormat
from openpaf.annotation.labels import LabeledImage, LabelSet, PersonLabel
from openpaf.annotation.losses import FEATURES
from openpaf.annotation.reading import ReadOptions
from openpaf.cli import main

INPUTS = Path(__file__).parent / "inputs"
HW = (48, 64)
KITE = Skeleton(
    name="kite",
    joints=("top", "left", "right", "cross", "tail"),
    limbs=((0, 3), (3, 1), (3, 2), (3, 4)),
    flip_pairs=((1, 2),),
    oks_sigmas=(0.05,) * 5,
)
#: Top, left (hidden), right, cross; the tail is not labeled.
KEYPOINTS = [10.0, 4.0, 2, 5.0, 12.5, 1, 15.25, 12.5, 2, 10.0, 12.0, 2, 0, 0, 0]


def coco(**person: Any) -> dict[str, Any]:
    """A kite in one image, and an image without any."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 64, "height": 48},
            {"id": 3, "file_name": "b/c.png", "width": 64, "height": 48},
        ],
        "categories": [
            {"id": 5, "name": "kite", "keypoints": list(KITE.joints),
             "skeleton": [[a + 1, b + 1] for a, b in KITE.limbs]},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 5, "keypoints": KEYPOINTS, "num_keypoints": 4,
             "bbox": [4.0, 3.0, 12.0, 40.0], "area": 250.0, "iscrowd": 0, **person},
        ],
    }  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the images, which is the current one."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", HW[::-1]).save(tmp_path / name)
    return tmp_path


def write(path: str | Path, contents: Any) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    text = contents if isinstance(contents, str) else json.dumps(contents)
    Path(path).write_text(text)
    return Path(path)


def yolo_set(line: str, *, yaml: str = "", images: str = "images/train") -> Path:
    """A set of one image and its line."""
    write("set/data.yaml", yaml or (
        "train: images/train\nkpt_shape: [2, 3]\nflip_idx: [1, 0]\nnames: [kite]\n"
    ))  # fmt: skip
    Path("set", images).mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(f"set/{images}/a.png")
    write(f"set/{images.replace('images', 'labels')}/a.txt", line)
    return Path("set")


def test_the_formats() -> None:
    assert list(LABEL_FORMATS) == ["coco", "cvat", "label-studio", "yolo", "deeplabcut", "sleap"]
    assert all(kind.read and kind.reads for kind in LABEL_FORMATS.values())
    assert {lack for kind in LABEL_FORMATS.values() for lack in kind.lacks} == set(FEATURES)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.json", "coco"), ("a.label-studio.json", "label-studio"), ("a.xml", "cvat"),
        ("a.csv", "deeplabcut"), ("a.slp", "sleap"), ("set", "yolo"), ("set.v1/", "yolo"),
    ],
)  # fmt: skip
def test_the_format_to_write_by_name(place: Path, name: str, format: str) -> None:
    Path("set.v1").mkdir()
    assert format_for(Path(name)) == format
    with pytest.raises(ValueError, match=r"a\.txt: expected \.json, \.xml, \.csv, \.slp, or the f"):
        format_for(Path("a.txt"))


def test_the_format_that_is_read(place: Path) -> None:
    assert format_of(write("a.json", [])) == "label-studio"
    assert format_of(write("b.json", {})) == "coco"
    names = {"a.h5": "deeplabcut", "a.CSV": "deeplabcut", "a.pkg.slp": "sleap", "a.xml": "cvat"}
    assert {name: format_of(Path(name)) for name in names} == names
    assert format_of(Path("data.yaml")) == format_of(place) == "yolo"
    with pytest.raises(ValueError, match=r"a\.txt: expected labels, a folder or \.json, \.xml"):
        format_of(Path("a.txt"))


def test_cocos_labels_are_kept(place: Path) -> None:
    """Image ids, boxes, areas, masks, hidden joints; crowds are doubtful."""
    mask = [[4, 3, 16, 3, 16, 43]]
    data = coco(segmentation=mask)
    crowd = {"id": 2, "image_id": 7, "category_id": 5, "iscrowd": 1, "bbox": [0, 0, 5, 5]}
    data["annotations"].append(crowd)
    labels = read_labels(write("a.json", data))
    assert (labels.category, labels.skeleton.joints) == ("kite", KITE.joints)
    assert labels.skeleton.limbs == KITE.limbs
    one, two = labels.images[0].people
    assert one.keypoints.ravel().tolist() == KEYPOINTS
    assert (one.area, one.is_doubtful, two.is_doubtful) == (250.0, False, True)
    convert_labels(labels, "b.json")
    written = json.loads(Path("b.json").read_text())
    assert written["images"] == data["images"]
    assert written["annotations"][0]["segmentation"] == mask
    for key, value in coco()["annotations"][0].items():
        assert key == "category_id" or written["annotations"][0][key] == value
    assert labels_to_coco(read_coco("b.json")) == written


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": KEYPOINTS[3:]},
         r"a\.json: annotations: keypoints: expected 15 finite numbers, 3 for each of 5 joints; "
         r"not so in 1 of 1, first entry 0, image 7, got 12"),
        ({"keypoints": [*KEYPOINTS[:2], 3, *KEYPOINTS[3:]]}, "expected 0, 1 or 2 as the third"),
        ({"keypoints": None, "bbox": None}, "bbox: expected one where no joint is labeled"),
        ({"area": -1}, "area: expected a finite number, 0 or more"),
        ({"bbox": [1, 2, 3]}, "bbox: expected 4 finite numbers"),
        ({"image_id": 9}, "1 of 1 are of 1 images that the file does not list: 9"),
        ({"category_id": 9}, "category_id: expected one that the file lists: 5"),
    ],
)  # fmt: skip
def test_wrong_coco_entries(place: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_coco(write("a.json", coco(**change)))


def test_a_category_is_chosen(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = coco(caption="blue")
    dog = {"id": 6, "name": "dog", "keypoints": ["nose"], "skeleton": []}
    data["categories"].append(dog)
    data["annotations"].append({"id": 2, "image_id": 3, "category_id": 6, "keypoints": [1, 2, 2]})
    write("a.json", data)
    with pytest.raises(ValueError, match=r"a\.json: .*name one of those with joints: kite, dog"):
        read_coco("a.json")
    with pytest.raises(ValueError, match="of those with joints: kite, dog; got 'cat'"):
        read_coco("a.json", ReadOptions(category="cat"))
    dogs = read_coco("a.json", ReadOptions(category="dog"))
    assert dogs.images[1].people[0].keypoints.tolist() == [[1, 2, 2]]
    assert dogs.images[1].people[0].box == (0, 0, 3, 4)  # around the joint
    assert "left out: annotations of other categories (1)" in caplog.text
    read_coco("a.json", ReadOptions(category="kite"))
    assert "'caption' of annotations (1)" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"a.png"', '"a\\u0007.png"', r"image 'a\\x07\.png': label files cannot hold its name"),
        ('"top"', '"to\\u0000p"', r"label files cannot hold the name 'to\\x00p'"),
    ],
)
def test_names_that_no_file_can_hold(place: Path, old: str, new: str, message: str) -> None:
    write("x.json", json.dumps(coco()).replace(old, new))
    with pytest.raises(ValueError, match=rf"^x\.json: {message}"):
        read_labels("x.json")


def test_sizes_are_read_from_images(place: Path) -> None:
    data = coco()
    del data["images"][0]["width"]
    write("a.json", data)
    with pytest.raises(ValueError, match="image 7: expected width and height, got None and 48"):
        read_coco("a.json")
    turned = Image.new("RGB", (30, 20))
    exif = turned.getexif()
    exif[274] = 6  # to be turned by a quarter
    turned.save("a.png", exif=exif)
    assert read_coco("a.json", ReadOptions(image_dir=place)).images[0].image_hw == (30, 20)
    (place / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a\.png: no such file; .*--image-dir"):
        read_coco("a.json", ReadOptions(image_dir=place))


def test_a_yolo_line(place: Path) -> None:
    """class, center and size of the box, then x, y, v; all shares of 64 x 48 px."""
    yolo_set("0 0.5 0.5 0.25 0.5 0.25 0.125 2 0.75 1 1\n")
    labels = read_labels("set")
    (image,) = labels.images
    assert (image.file_name, image.image_hw) == ("images/train/a.png", HW)
    (kite,) = image.people
    assert kite.box == (24, 12, 16, 24)
    assert kite.keypoints.tolist() == [[16, 6, 2], [48, 48, 1]]
    assert labels.skeleton.joints == ("joint_0", "joint_1")
    assert labels.skeleton.flip_pairs == ((0, 1),)


def test_yolo_without_v(place: Path) -> None:
    yaml = "train: images\nkpt_shape: [2, 2]\nnames: {0: dog, 1: kite}\nkpt_names: {1: [a, b]}\n"
    yolo_set("1 .5 .5 .25 .5 0 0 .75 1\n0 .5 .5 .1 .1 0 0 0 0\n", yaml=yaml, images="images")
    labels = read_labels("set/data.yaml", options=ReadOptions(category="kite"))
    assert labels.skeleton.joints == ("a", "b")
    assert labels.images[0].people[0].keypoints.tolist() == [[0, 0, 0], [48, 48, 2]]
    assert len(labels.images[0].people) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 .5 .5 .2 .2 .1 .1 2", "line 1: expected 11 numbers, a class, a box and 2 joints of 3; "
         "got 8"),
        ("\n0 .5 .5 .2 .2 .1 .1 2 12 7 2", "line 2: expected shares of the image, from 0 to 1; "
         "got 12"),
        ("0 .5 .5 .2 .2 .1 .1 3 0 0 0", "line 1: joint 0: expected v of 0, 1 or 2, got 3"),
        ("1 .5 .5 .2 .2 .1 .1 2 0 0 0", "line 1: expected a class of 0, got 1"),
        ("0 .5 .5 .2 .2 .1 nan 2 0 0 0", "line 1: expected shares of the image"),
        ("0 .5 .5 .2 .2 .1 x 2 0 0 0", "line 1: could not convert"),
    ],
)  # fmt: skip
def test_wrong_yolo_lines(place: Path, line: str, message: str) -> None:
    yolo_set(line)
    with pytest.raises(ValueError, match=rf"labels/train/a\.txt: {message}"):
        read_labels("set")


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: [a]\ntrain: images", r"kpt_shape: expected \[number of joints, 2 or 3\]"),
        ("kpt_shape: [2, 3]\ntrain: images", "names: expected a name for each class, got None"),
        ("kpt_shape: [2, 3]\nnames: [a]\nflip_idx: [1, 1]", "flip_idx: expected 2 joints that"),
        ("kpt_shape: [2, 3]\nnames: [a]\nkpt_names: {0: [b]}", "expected the names of 2, .*got 1"),
        ("kpt_shape: [2, 3]\nnames: [a]", "split: expected one of none"),
        ("kpt_shape: [2, 3]\nnames: [a]\ntrain: images/no", "train: no folder .*no"),
        ("kpt_shape: [2, 3]\nnames: [a]\ntrain: ../../../x", r"without '\.\.'"),
        ("{", "not YAML"),
        ("7", "expected kpt_shape and names, got int"),
    ],
)
def test_wrong_yolo_sets(place: Path, yaml: str, message: str) -> None:
    yolo_set("", yaml=yaml)
    with pytest.raises(ValueError, match=rf"data\.yaml: .*{message}"):
        read_labels("set")


def test_splits_and_lists_of_yolo(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = "kpt_shape: [2, 3]\nnames: [kite]\n"
    yolo_set("0 .5 .5 .2 .2 .1 .1 2 0 0 0", yaml=f"train: images/train\nval: val.txt\n{names}")
    Path("set/images/more").mkdir()
    Image.new("RGB", (64, 48)).save("set/images/more/b.png")
    write("set/val.txt", "./images/more/b.png\n\n")
    write("set/labels/train/gone.txt", "")
    labels = read_labels("set")
    assert [image.file_name for image in labels.images] == [
        "images/train/a.png", "images/more/b.png",
    ]  # fmt: skip
    assert labels.images[1].people == ()  # it has no label file
    assert "train, val: one set is made of them" in caplog.text
    assert "1 label files have no image and are left out, the first is set/labels/train/gone" in (
        caplog.text
    )
    train = read_labels("set", options=ReadOptions(split="train"))
    assert len(train.images) == 1
    with pytest.raises(ValueError, match="split: expected one of train, val, got test"):
        read_labels("set", options=ReadOptions(split="test"))


@pytest.mark.parametrize("entry", ["train/images", "../train/images"])
def test_folders_of_images_in_splits(place: Path, entry: str) -> None:
    """As Roboflow exports them, with a path out of the set that ultralytics passes over, too."""
    yaml = f"train: {entry}\nkpt_shape: [2, 3]\nnames: [kite]\n"
    yolo_set("0 .5 .5 .2 .2 .1 .1 2 0 0 0", yaml=yaml, images="train/images")
    for folder in (None, Path("set"), Path("set/train/images")):
        (image,) = read_labels("set", options=ReadOptions(image_dir=folder)).images
        top = "" if folder == Path("set/train/images") else "train/images/"
        assert (image.file_name, len(image.people)) == (f"{top}a.png", 1)


def test_a_yolo_set_is_written(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Numbers by hand; what has no place in it is told."""
    data = coco(segmentation=[[0, 0, 1, 1, 2, 0]], score=0.5)
    crowd = {"id": 2, "image_id": 7, "category_id": 5, "iscrowd": 1, "bbox": [0, 0, 5, 5]}
    outside = {**data["annotations"][0], "id": 3, "image_id": 3, "keypoints": [-9, 1, 2] + [0] * 12}
    data["annotations"] += [crowd, outside]
    written = convert_labels(read_coco(write("a.json", data)), "set")
    assert written == [Path("set/labels"), Path("set/data.yaml")]
    line = Path("set/labels/a.txt").read_text()
    x = [10 / 64, 5 / 64, 15.25 / 64, 10 / 64]
    y = [4 / 48, 12.5 / 48, 12.5 / 48, 12 / 48]
    expected = [
        0, 10 / 64, 23 / 48, 12 / 64, 40 / 48,
        x[0], y[0], 2, x[1], y[1], 1, x[2], y[2], 2, x[3], y[3], 2, 0, 0, 0,
    ]  # fmt: skip
    np.testing.assert_allclose([float(word) for word in line.split()], expected, atol=1e-8)
    assert Path("set/labels/b/c.txt").read_text().split()[5:] == ["0"] * 15
    assert Path("set/data.yaml").read_text() == (
        "train: images\nval: images\nkpt_shape: [5, 3]\nflip_idx: [0, 2, 1, 3, 4]\n"
        'names:\n  0: "kite"\nkpt_names:\n  0: ["top", "left", "right", "cross", "tail"]\n'
    )
    lost = [record.message.removeprefix("yolo cannot hold ") for record in caplog.records]
    assert lost == [
        "ids of images (2)",
        "joints outside of their image, which become unlabeled (1)",
        "ignored people, who are left out and count as background (1)",
        "scores (2)", "areas (2)", "masks (2)", "limbs of the skeleton (4)",
    ]  # fmt: skip


def test_what_only_some_formats_hold(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Hidden joints in Label Studio, boxes in CVAT, flips and sigmas."""
    odd = dataclasses.replace(KITE, flip_pairs=((0, 1),), oks_sigmas=(0.1,) * 5)
    labels = dataclasses.replace(read_coco(write("a.json", coco())), skeleton=odd)
    convert_labels(labels, "b.json")
    assert json.loads(Path("b.json").read_text())["categories"][0]["oks_sigmas"] == [0.1] * 5
    assert read_coco("b.json").skeleton.oks_sigmas == odd.oks_sigmas
    convert_labels(labels, "a.label-studio.json")
    convert_labels(labels, "a.xml")
    told = "\n".join(record.message for record in caplog.records)
    assert "coco cannot hold pairs of joints that swap" in told
    assert "coco cannot hold OKS" not in told
    assert "label-studio cannot hold joints that are marked as hidden" in told
    assert "label-studio cannot hold boxes" not in told
    assert "cvat cannot hold boxes of people" in told
    assert "cvat cannot hold joints that are marked as hidden" not in told
    assert "cvat cannot hold OKS sigmas of the skeleton (5)" in told


def test_existing_labels_are_kept(place: Path) -> None:
    labels = read_coco(write("a.json", coco()))
    write("set/labels/mine.txt", "1")
    write("b.xml", "mine")
    for name in ("set", "b.xml", "a.json"):
        with pytest.raises(ValueError, match="exists; --overwrite replaces it"):
            convert_labels(labels, name)
    assert Path("b.xml").read_text() == "mine"
    assert Path("set/labels/mine.txt").read_text() == "1"
    convert_labels(labels, "set", overwrite=True)
    assert sorted(path.name for path in Path("set/labels").iterdir()) == ["a.txt", "b"]


def test_no_file_is_written_outside_of_the_set(place: Path) -> None:
    """A file that names an image ``../x`` must not make one beside the set."""
    data = coco()
    data["images"][0]["file_name"] = "../../a.png"
    labels = read_coco(write("a.json", data))
    with pytest.raises(ValueError, match=r"without '\.\.'"):
        convert_labels(labels, "set")
    assert not Path("set").exists()
    assert not list(place.glob(".openpaf-*"))


def test_two_images_of_one_label_file(place: Path) -> None:
    data = coco()
    data["images"][1]["file_name"] = "a.jpg"
    with pytest.raises(ValueError, match=r"labels/a\.txt would be of two images, a\.jpg is the"):
        convert_labels(read_coco(write("a.json", data)), "set")


@pytest.mark.parametrize("format", LABEL_FORMATS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, format: str, data: st.DataObject
) -> None:
    """Any people inside of their image come back to 0.001 px, with any joints."""
    if format == "sleap":
        pytest.importorskip("sleap_io")
    place = tmp_path_factory.mktemp("round")
    height, width = data.draw(st.tuples(st.integers(1, 3000), st.integers(1, 3000)))
    n_joints = data.draw(st.integers(1, 25))
    joints = tuple(f"joint {k}" for k in range(n_joints))
    skeleton = Skeleton(name="any", joints=joints, limbs=(), oks_sigmas=(0.05,) * n_joints)
    has_hidden = "hidden joints" not in LABEL_FORMATS[format].lacks
    share, v = st.floats(0, 1), st.sampled_from([0, 1, 2] if has_hidden else [0, 2])
    people = []
    for _ in range(data.draw(st.integers(1, 3))):
        keypoints = np.array(
            [
                [round(x * (width - 1), 3), round(y * (height - 1), 3), seen]
                for x, y, seen in data.draw(
                    st.lists(st.tuples(share, share, v), min_size=n_joints, max_size=n_joints)
                )
            ]
        )
        keypoints[keypoints[:, 2] == 0] = 0
        keypoints[0, 2] = 2
        person = PersonLabel(
            keypoints=keypoints, joint_scores=(keypoints[:, 2] > 0).astype(float),
            box=(0.0, 0.0, float(width), float(height)), score=1.0, is_doubtful=False,
        )  # fmt: skip
        people.append(person)
    image = LabeledImage(file_name="a.png", image_hw=(height, width), people=tuple(people))
    labels = LabelSet(images=(image,), skeleton=skeleton, model=None, category="thing")
    path = place / ("set" if format == "yolo" else f"a{LABEL_FORMATS[format].suffix}")
    convert_labels(labels, path, format)
    Image.new("L", (width, height)).save(place / "a.png")
    options = ReadOptions(image_dir=place, skeleton=skeleton)
    (again,) = read_labels(path, format, options).images
    assert again.image_hw == (height, width)
    for one, other in zip(again.people, people, strict=True):
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=0.0011)
        if "boxes" not in LABEL_FORMATS[format].lacks:
            np.testing.assert_allclose(one.box, other.box, atol=0.002)


def test_a_table_for_deeplabcut(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of one animal an image, and of two in a project; an image without any has no values."""
    data = coco()
    convert_labels(read_coco(write("a.json", data)), "a.csv")
    assert Path("a.csv").read_text().splitlines() == [
        f"scorer{',openpaf' * 10}",
        "bodyparts,top,top,left,left,right,right,cross,cross,tail,tail",
        f"coords{',x,y' * 5}",
        "a.png,10,4,5,12.5,15.25,12.5,10,12,,",
        f"b/c.png{',' * 10}",
    ]
    lost = [record.message.removeprefix("deeplabcut cannot hold ") for record in caplog.records]
    assert lost == [
        "ids of images (2)",
        "images without people, which count as not labeled yet (1)",
        "joints that are marked as hidden, which become visible ones (1)",
        "boxes of people, which are made anew around their joints (1)",
        "areas (1)", "limbs of the skeleton (4)",
    ]  # fmt: skip
    for image, name in zip(data["images"], "ac", strict=True):
        image["file_name"] = f"labeled-data/run/{name}.png"
    data["annotations"].append({**data["annotations"][0], "id": 2})
    convert_labels(read_coco(write("b.json", data)), "b.csv")
    lines = Path("b.csv").read_text().splitlines()
    assert lines[1] == f"individuals,,{',individual1' * 10}{',individual2' * 10}"
    assert lines[4].startswith("labeled-data,run,a.png,10,4,5,12.5,")
    sio = pytest.importorskip("sleap_io")
    theirs = sio.load_file("b.csv", format="dlc")
    joints = [theirs.skeletons[0].index(name) for name in KITE.joints[:4]]  # it sorts them
    second = theirs[0].instances[1].numpy()[joints]
    np.testing.assert_allclose(second, np.reshape(KEYPOINTS, (5, 3))[:4, :2])


def test_a_file_for_sleap(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Images of two sizes, the second without kites; flips that names do not tell are kept."""
    sio = pytest.importorskip("sleap_io")
    data = coco()
    data["images"][1]["width"] = 60
    odd = dataclasses.replace(KITE, flip_pairs=((0, 4),))
    labels = dataclasses.replace(read_coco(write("a.json", data)), skeleton=odd)
    assert convert_labels(labels, "a.slp") == [Path("a.slp")]
    assert "sleap cannot hold joints that are marked as hidden" in caplog.text
    again = read_labels("a.slp")  # the file has the sizes
    assert [image.file_name for image in again.images] == ["a.png", "b/c.png"]
    assert [image.image_hw for image in again.images] == [(48, 64), (48, 60)]
    assert [len(image.people) for image in again.images] == [1, 0]
    assert (again.category, again.skeleton.joints) == ("kite", KITE.joints)
    assert set(map(frozenset, again.limbs)) == set(map(frozenset, KITE.limbs))
    assert set(map(frozenset, again.skeleton.flip_pairs)) == {frozenset((0, 4))}
    assert sio.load_slp("a.slp")[0].user_instances[0].numpy()[1].tolist() == [5, 12.5]
    with pytest.raises(ValueError, match=r"path: expected a file \.slp for sleap, got b\.json"):
        convert_labels(labels, "b.json", "sleap")
    with pytest.raises(ValueError, match=r"a\.slp exists; --overwrite replaces it"):
        convert_labels(labels, "a.slp")


def test_half_a_pixel(place: Path) -> None:
    """The center of the top-left pixel is 0.5 for tools that draw on a canvas, and 0 for others."""
    keypoints = [0, 0, 2, 63, 47, 2] + [0] * 9
    labels = read_coco(write("a.json", coco(keypoints=keypoints)))
    convert_labels(labels, "a.xml")
    text = Path("a.xml").read_text()
    assert 'points="0.500,0.500"' in text
    assert 'points="63.500,47.500"' in text
    convert_labels(labels, "a.label-studio.json")
    first, second = json.loads(Path("a.label-studio.json").read_text())[0]["annotations"][0][
        "result"
    ][1:]
    assert first["value"]["x"] == pytest.approx(100 * 0.5 / 64, abs=1e-6)
    assert second["value"]["y"] == pytest.approx(100 * 47.5 / 48, abs=1e-6)
    convert_labels(labels, "set")
    words = Path("set/labels/a.txt").read_text().split()
    assert [float(word) for word in words[5:11]] == pytest.approx([0, 0, 2, 63 / 64, 47 / 48, 2])


CSV = """\
scorer,,,me,me,me,me,me,me,me,me,me,me
individuals,,,m1,m1,m1,m1,m2,m2,m2,m2,single,single
bodyparts,,,snout,snout,tail,tail,snout,snout,tail,tail,corner,corner
coords,,,x,y,x,y,x,y,x,y,x,y
labeled-data,run,img1.png,1.5,2,,,3,4,5,6.25,7,8
labeled-data,run,img2.png,,,,,,,,,,
"""


@pytest.fixture
def mice(place: Path) -> Path:
    """A project of DeepLabCut with a table of two mice."""
    folder = place / "labeled-data" / "run"
    folder.mkdir(parents=True)
    for name in ("img1.png", "img2.png", "img001.png", "img002.png"):
        Image.new("RGB", (64, 48)).save(folder / name)
    (folder.parent / "vid").symlink_to(folder, target_is_directory=True)
    write("config.yaml", "skeleton:\n- [tail, snout]\n- [snout, ear]\n")
    return write(folder / "CollectedData_me.csv", CSV)


def test_mice_of_deeplabcut(mice: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = read_labels(mice, options=ReadOptions(category="mouse"))
    assert (labels.category, labels.skeleton.joints) == ("mouse", ("snout", "tail"))
    assert labels.skeleton.limbs == ((1, 0),)
    (first,) = labels.images
    assert (first.file_name, first.image_hw) == ("labeled-data/run/img1.png", HW)
    assert [one.keypoints.tolist() for one in first.people] == [
        [[1.5, 2, 2], [0, 0, 0]], [[3, 4, 2], [5, 6.25, 2]],
    ]  # fmt: skip
    assert "images without any label (1)" in caplog.text
    assert "labels of unique body parts (1)" in caplog.text


def test_one_animal_of_an_old_table(mice: Path) -> None:
    """Paths of Windows in one column, and no individuals."""
    write(
        mice, "scorer,me,me\nbodyparts,snout,snout\ncoords,x,y\nlabeled-data\\run\\img1.png,1,2\n"
    )
    (image,) = read_labels(mice).images
    assert image.people[0].keypoints.tolist() == [[1, 2, 2]]


def test_a_table_that_pandas_wrote(mice: Path) -> None:
    """The HDF5 file was written by pandas 3.1.1 and PyTables, with values 0.25, 1.25 and so on."""
    pytest.importorskip("h5py")
    table = mice.parent / "CollectedData_me.h5"
    table.write_bytes((INPUTS / "deeplabcut-multi.h5").read_bytes())
    labels = read_labels(table, options=ReadOptions(image_dir=mice.parents[2]))
    assert labels.skeleton.joints == ("snout", "leftear", "tail")
    people = [[one.keypoints[:, :2].tolist() for one in image.people] for image in labels.images]
    assert people == [
        [[[0.25, 1.25], [0, 0], [4.25, 5.25]], [[6.25, 7.25], [8.25, 9.25], [10.25, 11.25]]],
        [[[12.25, 13.25], [14.25, 15.25], [16.25, 17.25]]],
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1.5,2,", "1.5,,", "image 'labeled-data/run/img1.png': 'snout' of 'm1': expected x and y "
         "in px, or neither; got"),
        ("1.5,2,", "1.5,2,3,", "line 5: expected 13 values, got 14"),
        ("1.5,2,", "1.5,two,", "line 5: expected numbers: .*two"),
        ("1.5,2,", "1.5,inf,", "expected x and y in px"),
        ("individuals", "animals", "expected header lines scorer"),
        ("img2", "img1", "'labeled-data/run/img1.png' comes twice"),
        ("img1", "img9", "img9.png: no such file"),
        ("x,y,x,y,x,y", "x,y,x,z,x,y", "expected x and y of 'tail'"),
        ("x,y,x,y,x,y", "x,y,x,likelihood,x,y", "predictions of a video"),
    ],
)  # fmt: skip
def test_wrong_tables(mice: Path, old: str, new: str, message: str) -> None:
    write(mice, CSV.replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"CollectedData_me\.csv: .*{message}"):
        read_labels(mice)


def test_another_hdf5_file(place: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File("a.h5", "w") as file:
        file["x"] = [1]
    write("b.h5", "text")
    for name in ("a.h5", "b.h5"):
        with pytest.raises(ValueError, match=rf"{name}: not of DeepLabCut: expected the frame"):
            read_labels(name)


@pytest.fixture
def flies(place: Path) -> Callable[..., Path]:
    """Writes a file with SLEAP's own library."""
    sio = pytest.importorskip("sleap_io")

    def make(name: str, **options: Any) -> Path:
        skeleton = sio.Skeleton(
            nodes=["head", "wing_a", "wing_b"], edges=[("head", "wing_a"), ("head", "wing_b")],
            symmetries=[("wing_a", "wing_b")], name="fly",
        )  # fmt: skip
        video = sio.Video.from_filename([str(place / "a.png"), str(place / "b" / "c.png")])
        points = np.array([[1, 2], [3.25, 4], [np.nan, np.nan]])
        user = sio.Instance.from_numpy(points, skeleton=skeleton)
        user.points["visible"][1] = options.pop("visible", True)
        guess = sio.PredictedInstance.from_numpy(points, skeleton=skeleton, score=0.5)
        frames = [
            sio.LabeledFrame(video=video, frame_idx=1, instances=[user, guess]),
            sio.LabeledFrame(video=video, frame_idx=0, instances=[guess]),
        ]
        sio.Labels(frames).save(str(place / name), verbose=False, **options)
        return place / name

    return make


def test_flies_of_sleap(flies: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    labels = read_labels(flies("a.slp"))
    assert (labels.category, labels.skeleton.joints) == ("fly", ("head", "wing_a", "wing_b"))
    assert labels.skeleton.limbs == ((0, 1), (0, 2))
    assert labels.skeleton.flip_pairs == ((1, 2),)
    (image,) = labels.images
    assert (image.file_name, image.image_hw) == ("b/c.png", HW)
    (fly,) = image.people
    assert fly.keypoints.tolist() == [[1, 2, 2], [3.25, 4, 2], [0, 0, 0]]
    assert "predictions (2)" in caplog.text
    assert "frames without labels (1)" in caplog.text
    hidden = read_labels(flies("b.slp", visible=False))
    assert hidden.images[0].people[0].keypoints[1].tolist() == [0, 0, 0]
    assert "places of nodes that are marked as invisible (1)" in caplog.text


def test_images_inside_of_a_sleap_package(flies: Callable[..., Path], place: Path) -> None:
    for name in ("a.png", "b/c.png"):  # SLEAP takes a video for gray if its first frame is
        Image.new("RGB", HW[::-1], (200, 10, 10)).save(name)
    package = flies("a.pkg.slp", embed="user")
    (place / "b" / "c.png").unlink()
    assert main(["convert", "a.pkg.slp", "a.json", "--extract-images", "images"]) == 0
    (image,) = json.loads(Path("a.json").read_text())["images"]
    with Image.open(Path("images", image["file_name"])) as frame:
        assert frame.size == (64, 48)
        assert frame.convert("RGB").getpixel((5, 5)) == (200, 10, 10)
    package.write_bytes(package.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"a\.pkg\.slp: not of SLEAP"):
        read_labels(package)


def test_sleaps_library_reads_our_files(mice: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Our COCO file and YOLO set, read by another program, and DeepLabCut's table read alike."""
    sio = pytest.importorskip("sleap_io")
    labels = read_labels(mice)
    first = labels.images[0].people[1].keypoints[:, :2]
    convert_labels(labels, "mice.json")
    theirs = sio.load_coco("mice.json", dataset_root=str(mice.parents[2]))
    np.testing.assert_allclose(theirs[0].instances[1].numpy(), first, atol=1e-4)
    table = sio.load_file(str(mice), format="dlc")
    np.testing.assert_allclose(table[0].instances[1].numpy()[1:], first, atol=1e-4)
    convert_labels(labels, "set")
    file = Path("set/labels/labeled-data/run/img1.txt")
    skeleton = sio.Skeleton(nodes=list(labels.skeleton.joints))
    parse = importlib.import_module("sleap_io.io.ultralytics").parse_label_file
    people, _, _ = parse(file, skeleton, HW)
    np.testing.assert_allclose(people[1].numpy(), first, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["a.json", "a.xml", "a.label-studio.json", "set/data.yaml", "set/labels/a.txt",
             "labeled-data/run/CollectedData_me.csv", "a.h5"]
)  # fmt: skip
def test_damaged_files_are_refused_by_name(mice: Path, name: str) -> None:
    """Whatever bytes a file has: it is read, or an error names it."""
    labels = read_labels(write("a.json", coco()))
    convert_labels(labels, "a.xml")
    convert_labels(labels, "a.label-studio.json")
    convert_labels(labels, "set")
    Path("a.h5").write_bytes((INPUTS / "deeplabcut-multi.h5").read_bytes())
    whole, rng = Path(name).read_bytes(), np.random.default_rng(0)
    parts = [b"nan", b"-1", b",", b"\n", b"1e400", b"\xff", b"<", b"null", b"[", b"{}", b"\0", b""]
    messages = []
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(3):
            start = int(rng.integers(len(data)))
            data[start : start + int(rng.integers(4))] = parts[int(rng.integers(len(parts)))]
        Path(name).write_bytes(data)
        folder = Path(name).parts[0]
        options = ReadOptions(image_dir=mice.parents[2])
        try:
            read_labels("set" if folder == "set" else name, options=options)
        except (ValueError, FileNotFoundError) as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert not [text for text in messages if folder not in text and ".png" not in text]


def test_joints_in_the_order_of_a_skeleton(place: Path) -> None:
    turned = dataclasses.replace(
        KITE, joints=KITE.joints[::-1], limbs=((0, 1),), flip_pairs=((2, 3),)
    )
    write("a.json", coco())
    labels = read_labels("a.json", options=ReadOptions(skeleton=turned))
    assert labels.skeleton == turned
    person = labels.images[0].people[0]
    assert person.keypoints.tolist() == np.reshape(KEYPOINTS, (5, 3))[::-1].tolist()
    with pytest.raises(ValueError, match=r"a\.json: joints: only in the labels: top, left, right, "
                       r"cross, tail; only in the skeleton 'coco17': nose, left_eye"):  # fmt: skip
        read_labels("a.json", options=ReadOptions(skeleton=Skeleton.COCO17))


def test_shapes_of_cvat_that_are_no_skeletons(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = read_coco(write("a.json", coco()))
    convert_labels(labels, "a.xml")
    text = Path("a.xml").read_text()
    box = '<box label="sky" xtl="0" ytl="0" xbr="1" ybr="1" occluded="0"/>'
    write("b.xml", text.replace("</skeleton>", f"</skeleton>{box}"))
    (kite,) = read_labels("b.xml").images[0].people
    assert kite.keypoints.ravel().tolist() == KEYPOINTS
    assert "b.xml: left out: <box> of images, which is no skeleton (1)" in caplog.text
    write("c.xml", text.replace("10.500,4.500", "10.5"))
    with pytest.raises(ValueError, match=r"image 'a\.png': skeleton 0: 'top': expected x,y, got "):
        read_labels("c.xml")
    write("d.xml", "<annotations><track/></annotations>")
    with pytest.raises(ValueError, match='it is "CVAT for video"'):
        read_labels("d.xml")


def test_key_points_without_rectangles(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In Label Studio: one person an image; with rectangles, those outside of them are told."""

    def point(x: float, joint: str) -> dict[str, Any]:
        return {"id": f"{x}", "type": "keypointlabels", "original_width": 64,
                "original_height": 48,
                "value": {"x": x, "y": 50, "width": 1, "keypointlabels": [joint]}}  # fmt: skip

    def task(*results: Any) -> list[Any]:
        return [{"data": {"image": "a.png"}, "annotations": [{"result": list(results)}]}]

    write("a.json", task(point(50, "nose"), point(25, "left_eye")))
    labels = read_labels("a.json")
    assert labels.skeleton == Skeleton.COCO17
    assert labels.images[0].people[0].keypoints[:2].tolist() == [[31.5, 23.5, 2], [15.5, 23.5, 2]]
    write("b.json", task(point(50, "nose"), point(25, "nose")))
    with pytest.raises(ValueError, match=r"b\.json: .*task 0: 'nose' comes twice"):
        read_labels("b.json")
    box = {"id": "r", "type": "rectanglelabels", "original_width": 64, "original_height": 48,
           "value": {"x": 40, "y": 40, "width": 20, "height": 20,
                     "rectanglelabels": ["person"]}}  # fmt: skip
    write("c.json", task(point(50, "nose"), point(10, "left_eye"), box))
    (person,) = read_labels("c.json").images[0].people
    assert person.n_labeled == 1
    assert "key points outside of every rectangle (1)" in caplog.text
    flat = {**point(50, "nose"), "original_height": 0}
    write("e.json", task(flat))
    with pytest.raises(
        ValueError, match=r"e\.json: .*task 0: image 'a\.png': expected a size abov"
    ):
        read_labels("e.json")
    write("d.json", task(point("x", "nose")))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"d\.json: .*task 0: expected percentages"):
        read_labels("d.json")


def test_images_that_were_left_without_labels(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In Label Studio: with their folder, as the file has no size; not those of new tasks."""
    convert_labels(read_coco(write("a.json", coco())), "a.label-studio.json")
    tasks = json.loads(Path("a.label-studio.json").read_text())
    skipped = {"data": {"image": "x.png"}, "annotations": [{"was_cancelled": True, "result": []}]}
    write("b.json", [*tasks, {"data": {"image": "new.png"}}, skipped])
    assert len(read_labels("b.json").images) == 1
    assert (
        "left out: images without any label, whose size is not known: --image-dir (1)"
        in caplog.text
    )
    assert "tasks without any label (2)" in caplog.text
    images = read_labels("b.json", options=ReadOptions(image_dir=place)).images
    assert [(one.file_name, len(one.people)) for one in images] == [("a.png", 1), ("b/c.png", 0)]


def test_a_label_format_from_outside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry in a table: its name, its suffix, what it lacks and reading follow."""

    def read(path: Path, options: ReadOptions) -> LabelSet:
        labels = read_coco(write("b.json", coco()))
        return dataclasses.replace(labels, category=path.read_text())

    notes = LabelFormat(description="notes", read=read, reads=(".note",))
    monkeypatch.setitem(LABEL_FORMATS, "notes", notes)
    write("a.note", "bird")
    assert main(["convert", "a.note", "a.json"]) == 0
    assert json.loads(Path("a.json").read_text())["categories"][0]["name"] == "bird"
    assert main(["convert", "a.json", "c.json", "--to", "notes"]) == 2


def test_the_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("a.json", coco())
    assert main(["convert", "a.json", "set"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 images, 1 label of 'kite' with 5 joints, written to set/labels, set/data.yaml",
        "the images belong into set/images, by the same names",
    ]
    Path("set/images").mkdir()
    assert main(["convert", "a.json", "set"]) == 2
    assert "set/labels exists; --overwrite replaces it" in capsys.readouterr().err
    assert main(["convert", "set", "b.json", "--image-dir", "."]) == 0
    person = json.loads(Path("b.json").read_text())["annotations"][0]
    assert person["keypoints"] == KEYPOINTS
    skeleton = {"name": "kite", "joints": KITE.joints, "limbs": KITE.limbs, "oks_sigmas": [1] * 5}
    write("kite.json", skeleton)
    arguments = ["convert", "set", "b.json", "--image-dir", ".", "--skeleton", "kite.json"]
    assert main([*arguments, "--overwrite"]) == 0
    category = json.loads(Path("b.json").read_text())["categories"][0]
    assert category["skeleton"] == [[1, 4], [4, 2], [4, 3], [4, 5]]
    assert main(["convert", "missing.xml", "c.json"]) == 2
    assert "missing.xml: No such file" in capsys.readouterr().err
    assert main(["convert", "a.json", "c.json", "--to", "sleap"]) == 2
    assert main(["convert", "a.json", "no/c.json"]) == 2
    assert not Path("c.json").exists()


def test_extras_are_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.slp", "")
    yolo_set("")
    for module, name, extra in (("sleap_io", "a.slp", "sleap"), ("yaml", "set", "convert")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ValueError, match=rf"pip install '\.\[{extra}\]'"):
            read_labels(name)


@pytest.fixture(autouse=True)
def _every_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "openpaf")
