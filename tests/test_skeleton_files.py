"""Skeletons are read from files of names, and what is wrong is told by file, list and joint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openpaf import Skeleton, read_skeleton, write_skeleton
from openpaf.io.categories import choose_category
from openpaf.skeleton.names import flip_pairs_of, plain_name

KITE = """
joints = ["top", "left", "right", "bottom", "tail"]
limbs = [["top", "left"], ["top", "right"], [0, 3], ["bottom", "tail"]]
"""
CATEGORY = {
    "id": 4,
    "name": "kite",
    "keypoints": ["top", "left", "right", "bottom", "tail"],
    "skeleton": [[1, 2], [1, 3], [1, 4], [4, 5]],
}
EXPECTED = Skeleton(
    name="kite",
    joints=("top", "left", "right", "bottom", "tail"),
    limbs=((0, 1), (0, 2), (0, 3), (3, 4)),
    flip_pairs=((1, 2),),
    oks_sigmas=(0.05,) * 5,
)


def test_names_and_numbers_in_toml_and_json(tmp_path: Path) -> None:
    (tmp_path / "kite.toml").write_text(KITE)
    assert read_skeleton(tmp_path / "kite.toml") == EXPECTED
    (tmp_path / "c.json").write_text(json.dumps(CATEGORY))
    assert read_skeleton(tmp_path / "c.json") == EXPECTED
    dog = {"id": 5, "name": "dog", "keypoints": ["nose", "tail"], "oks_sigmas": [0.1, 0.2]}
    (tmp_path / "a.json").write_text(json.dumps({"categories": [CATEGORY, dog]}))
    assert read_skeleton(tmp_path / "a.json", category="kite") == EXPECTED
    assert read_skeleton(tmp_path / "a.json", category="5").oks_sigmas == (0.1, 0.2)


@pytest.mark.parametrize("name", ["s.toml", "s.json"])
@pytest.mark.parametrize("skeleton", [Skeleton.COCO17, Skeleton.MPI15, EXPECTED])
def test_what_is_written_is_read(tmp_path: Path, name: str, skeleton: Skeleton) -> None:
    assert read_skeleton(write_skeleton(skeleton, tmp_path / name)) == skeleton


def test_sigmas_that_a_file_lacks(tmp_path: Path) -> None:
    (tmp_path / "arm.toml").write_text('joints = ["l_shoulder", "l_elbow", "l_wrist"]')
    assert read_skeleton(tmp_path / "arm.toml").oks_sigmas == (0.079, 0.072, 0.062)
    (tmp_path / "kite.toml").write_text(KITE)
    given = read_skeleton(tmp_path / "kite.toml", oks_sigmas=lambda joints: [0.1] * len(joints))
    assert given.oks_sigmas == (0.1,) * 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joints = 3", "joints of 's': expected a list of names, got 3"),
        ("joints = [1, 2]", "joints of 's': expected a list of names"),
        ('joints = ["a", "a"]', r"joints of 's': names must be unique, \['a'\] repeat"),
        ('name = "kite"\njoints = ["a", "b"]\nlimbs = [["a", "c"]]',
         "limbs of 'kite': joint 'c' is none of a, b"),
        ('joints = ["a", "b"]\nlimbs = [["a"]]', r"limbs of 's': expected pairs of joints, got"),
        ('joints = ["a", "b"]\nlimbs = "a-b"', "limbs of 's': expected a list of pairs"),
        ('joints = ["a", "b"]\nlimbs = [[0, 2]]', r"limbs of 's': \(0, 2\) is out of range"),
        ('joints = ["a", "b"]\nflip_pairs = [["a", 0.5]]', "flip_pairs of 's': expected pairs"),
        ('joints = ["a"]\noks_sigmas = [1, 2]', "oks_sigmas of 's': expected 1, one a joint, got"),
        ('joints = ["a"]\nbones = []', r"unknown keys \['bones'\], expected some of name, joints"),
        ("names = []", "category 's': no 'keypoints' in it"),
        ("joints = ", "not TOML"),
    ],
)  # fmt: skip
def test_wrong_files_are_told_by_name_list_and_joint(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(ValueError, match=rf"s\.toml: {message}"):
        read_skeleton(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"skeleton": [[0, 1]]}, r"skeleton of 'kite': \(0, 1\) is out of range, .* from 1 to 5"),
        ({"skeleton": [1, 2]}, "skeleton of 'kite': expected pairs of numbers from 1 to 5"),
        ({"keypoints": "top"}, "keypoints of 'kite': expected a list of names, got 'top'"),
        ({"keypoints": []}, "no 'keypoints' in it"),
    ],
)
def test_wrong_categories(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "c.json").write_text(json.dumps({**CATEGORY, **change}))
    with pytest.raises(ValueError, match=rf"c\.json: .*{message}"):
        read_skeleton(tmp_path / "c.json")


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    for name in ("no.toml", "no.json"):
        with pytest.raises(ValueError, match=rf"{name}: cannot be read"):
            read_skeleton(tmp_path / name)


def test_a_category_is_chosen_by_name() -> None:
    dog = {"id": 2, "name": "dog", "keypoints": ["nose"]}
    person = {"id": 3, "name": "Person", "keypoints": ["nose"]}
    bare = {"id": 9, "name": "cat"}
    assert choose_category([dog, bare]) is dog
    assert choose_category([dog, person]) is person
    assert choose_category([dog, person], "dog") is dog
    assert choose_category([dog, person], "2") is dog
    for categories, name, message in (
        ([dog, CATEGORY], None, r"several have joints, choose one: 'dog' \(nose\); 'kite' \(top, "),
        ([dog], "cow", r"none of the file's categories is 'cow', it has 'dog' \(nose\)"),
        ([bare], None, r"expected one with 'keypoints'.* got 'cat' \(no joints\)"),
        ([], None, "got none"),
        ({"id": 1}, None, "expected a list"),
    ):
        with pytest.raises(ValueError, match=message):
            choose_category(categories, name)


def test_spellings_of_sides() -> None:
    spelled = ["Left Eye", "leftEye", "l_eye", "LEye", "eye-left", "eye_L", "EYE.l", "left_eye"]
    assert {plain_name(name) for name in spelled} == {"left_eye"}
    assert plain_name("front_left_paw") == "front_left_paw"


def test_sides_follow_from_names() -> None:
    names = ["f_l_paw", "f_r_paw", "leftear", "rightear", "hip_r", "hip_l", "bright", "L", "R"]
    assert flip_pairs_of(names) == ((0, 1), (2, 3), (5, 4), (7, 8))
    assert flip_pairs_of(["left_ear", "nose", "tail"]) == ()
    assert flip_pairs_of(Skeleton.COCO17.joints) == Skeleton.COCO17.flip_pairs


def test_some_joints_in_another_order() -> None:
    chosen = EXPECTED.select(["tail", "bottom", "right", "left"])
    assert chosen.limbs == ((1, 0),)
    assert chosen.flip_pairs == ((3, 2),)
    assert EXPECTED.select(EXPECTED.joints) is EXPECTED
    with pytest.raises(ValueError, match="'wing' is not in skeleton 'kite', which has: top"):
        EXPECTED.select(["wing"])
