"""The tables of joints and limbs are right, and wrong ones are refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from openpaf import Skeleton

BUILT_IN = [Skeleton.COCO17, Skeleton.COCO18, Skeleton.BODY25, Skeleton.MPI15]
EACH = pytest.mark.parametrize("skeleton", BUILT_IN, ids=lambda s: s.name)
TRIANGLE: dict[str, Any] = {
    "name": "triangle",
    "joints": ["top", "left_foot", "right_foot"],
    "limbs": [[0, 1], [0, 2]],
    "flip_pairs": [[1, 2]],
    "oks_sigmas": [0.1, 0.2, 0.2],
}


@EACH
def test_every_joint_hangs_together(skeleton: Skeleton) -> None:
    reached, edge = {0}, {0}
    while edge:
        edge = {b for a, b in _both_ways(skeleton) if a in edge} - reached
        reached |= edge
    assert reached == set(range(skeleton.n_joints))


def _both_ways(skeleton: Skeleton) -> list[tuple[int, int]]:
    return [*skeleton.limbs, *((b, a) for a, b in skeleton.limbs)]


@EACH
def test_sides_are_mirrored(skeleton: Skeleton) -> None:
    for k, image in enumerate(skeleton.flip_permutation):
        name, mirrored = skeleton.joints[k], skeleton.joints[image]
        swapped = name.replace("left", "#").replace("right", "left").replace("#", "right")
        assert mirrored == swapped
        assert skeleton.flip_permutation[image] == k


@EACH
def test_limbs_are_mirrored(skeleton: Skeleton) -> None:
    swap = skeleton.flip_permutation
    for limb, (image, backwards) in zip(skeleton.limbs, skeleton.flip_limbs, strict=True):
        expected = (swap[limb[0]], swap[limb[1]])
        assert skeleton.limbs[image] == (expected[::-1] if backwards else expected)
    assert sorted(image for image, _ in skeleton.flip_limbs) == list(range(skeleton.n_limbs))


@EACH
def test_mirrored_joints_have_the_same_sigma(skeleton: Skeleton) -> None:
    for a, b in skeleton.flip_pairs:
        assert skeleton.oks_sigmas[a] == skeleton.oks_sigmas[b]


@EACH
def test_as_a_dictionary_and_back(skeleton: Skeleton) -> None:
    assert Skeleton.from_dict(json.loads(json.dumps(skeleton.to_dict()))) == skeleton
    assert hash(Skeleton.from_dict(skeleton.to_dict())) == hash(skeleton)


def test_sizes() -> None:
    assert [(s.n_joints, s.n_limbs) for s in BUILT_IN] == [(17, 28), (18, 19), (25, 26), (15, 14)]


def test_known_places() -> None:
    assert Skeleton.COCO17.joints[0] == "nose"
    assert Skeleton.COCO17.index("right_ankle") == 16
    assert Skeleton.COCO18.joints[1] == "neck"
    assert Skeleton.COCO18.index("left_ear") == 17
    assert Skeleton.BODY25.index("mid_hip") == 8
    assert Skeleton.BODY25.index("right_heel") == 24
    assert Skeleton.MPI15.index("chest") == 14


def test_sigmas_are_those_of_coco() -> None:
    from pycocotools.cocoeval import Params

    assert list(Skeleton.COCO17.oks_sigmas) == pytest.approx(Params("keypoints").kpt_oks_sigmas)
    assert Skeleton.COCO18.oks_sigmas[Skeleton.COCO18.index("left_hip")] == 0.107


def test_the_first_limbs_are_cocos_own() -> None:
    cocos = [
        (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
        (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
    ]  # fmt: skip
    ours = {frozenset(limb) for limb in Skeleton.COCO17.limbs[:19]}
    assert ours == {frozenset((a - 1, b - 1)) for a, b in cocos}


def test_lists_are_kept_as_tuples_and_nothing_can_be_changed() -> None:
    skeleton = Skeleton(**TRIANGLE)
    assert skeleton.limbs == ((0, 1), (0, 2))
    assert skeleton.joints == ("top", "left_foot", "right_foot")
    with pytest.raises(dataclasses.FrozenInstanceError):
        skeleton.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": [], "oks_sigmas": []}, "joints of 'triangle': expected at least one"),
        ({"joints": ["a", "a", "b"]}, r"joints of 'triangle': .*\['a'\] repeat"),
        ({"oks_sigmas": [0.1]}, "oks_sigmas of 'triangle': expected 3, one a joint, got 1"),
        ({"oks_sigmas": [0.1, 0, 0.1]}, "oks_sigmas of 'triangle': expected finite positive"),
        ({"oks_sigmas": [0.1, float("nan"), 0.1]}, "expected finite positive"),
        ({"oks_sigmas": [0.1, float("inf"), 0.1]}, "expected finite positive"),
        ({"limbs": [[0, 3]]}, r"limbs of 'triangle': \(0, 3\) is out of range for 3 joints"),
        ({"limbs": [[-1, 2]]}, "out of range"),
        ({"limbs": [[1, 1]]}, r"\(1, 1\) joins a joint to itself"),
        ({"limbs": [[0, 1], [1, 0]]}, "every pair of joints may appear once"),
        ({"flip_pairs": [[0, 9]]}, r"flip_pairs of 'triangle': \(0, 9\) is out of range"),
        ({"flip_pairs": [[0, 1], [1, 2]]}, "every joint may appear once"),
    ],
)
def test_wrong_tables(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Skeleton(**{**TRIANGLE, **change})


def test_a_joint_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="'tail' is not in skeleton 'mpi15', which has: head"):
        Skeleton.MPI15.index("tail")


def test_a_limb_without_mirror_image() -> None:
    lopsided = Skeleton(**{**TRIANGLE, "limbs": [[0, 1]]})
    with pytest.raises(ValueError, match=r"top-left_foot .* has no mirror image top-right_foot"):
        _ = lopsided.flip_limbs


def test_dictionaries_with_other_keys() -> None:
    with pytest.raises(ValueError, match=r"missing keys \['joints'\], unknown keys \['bones'\]"):
        Skeleton.from_dict({**{k: v for k, v in TRIANGLE.items() if k != "joints"}, "bones": []})
    without_flips = {k: v for k, v in TRIANGLE.items() if k != "flip_pairs"}
    assert Skeleton.from_dict(without_flips).flip_pairs == ()


def test_a_coco_category() -> None:
    category = {
        "name": "dog",
        "keypoints": ["nose", "left_paw", "right_paw", "L_ear", "R_ear"],
        "skeleton": [[1, 2], [1, 3], [2, 1], [4, 1]],
    }
    dog = Skeleton.from_coco_category(category)
    assert dog.name == "dog"
    assert dog.limbs == ((0, 1), (0, 2), (3, 0))
    assert dog.flip_pairs == ((1, 2), (3, 4))
    assert dog.oks_sigmas == (0.05,) * 5
    given = Skeleton.from_coco_category(category, oks_sigmas=[0.1] * 5)
    assert given.oks_sigmas == (0.1,) * 5


def test_cocos_own_category_has_its_sigmas() -> None:
    category = {"name": "person", "keypoints": list(Skeleton.COCO17.joints), "skeleton": [[16, 14]]}
    assert Skeleton.from_coco_category(category).oks_sigmas == Skeleton.COCO17.oks_sigmas


@pytest.mark.parametrize("category", [{}, {"name": "cat", "keypoints": []}])
def test_a_category_without_joints(category: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no 'keypoints' in it"):
        Skeleton.from_coco_category(category)


def test_a_category_with_a_wrong_index() -> None:
    with pytest.raises(ValueError, match="out of range"):
        Skeleton.from_coco_category({"keypoints": ["a", "b"], "skeleton": [[0, 1]]})
