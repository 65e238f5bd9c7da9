"""What is written to JSON is read back the same, and what is not JSON of ours is named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import openpaf
from openpaf import Poses, Skeleton
from openpaf.io.coco import poses_from_coco, poses_to_coco
from openpaf.io.json_files import write_json
from openpaf.io.openpose import poses_to_openpose
from openpaf.io.pose_files import (
    read_poses,
    read_poses_by_image,
    write_poses,
)

INPUTS = Path(__file__).parent / "inputs"


def some_poses(skeleton: Skeleton = Skeleton.COCO17, n: int = 3, seed: int = 0) -> Poses:
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 1, (n, skeleton.n_joints)) * (rng.random((n, skeleton.n_joints)) < 0.7)
    xy = rng.uniform(-20, 2000, (n, skeleton.n_joints, 2))
    return Poses(
        xy=np.where(scores[..., None] > 0, xy, np.nan),
        scores=scores,
        person_scores=rng.uniform(0, 1, n),
        skeleton=skeleton,
    )


def assert_same(a: Poses, b: Poses) -> None:
    assert a.skeleton == b.skeleton
    np.testing.assert_array_equal(a.scores > 0, b.scores > 0)
    np.testing.assert_allclose(a.xy, b.xy, atol=6e-4)
    np.testing.assert_allclose(a.scores, b.scores, rtol=1e-5)
    np.testing.assert_allclose(a.person_scores, b.person_scores, rtol=1e-5)
    assert (a.ids is None) == (b.ids is None)
    if a.ids is not None:
        np.testing.assert_array_equal(a.ids, b.ids)


CUSTOM = Skeleton(name="hand", joints=("a", "b", "c"), limbs=((0, 1),), oks_sigmas=(0.1,) * 3)
BUILT_IN = [Skeleton.COCO17, Skeleton.COCO18, Skeleton.BODY25, Skeleton.MPI15]


@pytest.mark.parametrize("format", ["coco", "openpose"])
@pytest.mark.parametrize("skeleton", BUILT_IN, ids=lambda s: s.name)
@pytest.mark.parametrize("with_ids", [False, True])
def test_round_trip(tmp_path: Path, format: str, skeleton: Skeleton, with_ids: bool) -> None:
    poses = some_poses(skeleton)
    if with_ids:
        poses = poses.replace(ids=np.array([5, 0, 9]))
    path = tmp_path / "people.json"
    write_poses(poses, path, format, skeleton=skeleton)
    assert_same(read_poses(path), poses)
    assert_same(read_poses(path, format=format), poses)


def custom(n_joints: int, name: str = "animal") -> Skeleton:
    joints = [f"bone_{k}" for k in range(n_joints)]
    limbs = [(k, k + 1) for k in range(n_joints - 1)]
    return Skeleton(name=name, joints=joints, limbs=limbs, oks_sigmas=[0.05] * n_joints)


@pytest.mark.parametrize("format", ["coco", "openpose"])
@pytest.mark.parametrize(
    "skeleton",
    [CUSTOM, custom(15), custom(17), custom(18), custom(25), custom(17, "coco17")],
    ids=lambda s: f"{s.name}-{s.n_joints}",
)
def test_round_trip_of_another_skeleton(tmp_path: Path, format: str, skeleton: Skeleton) -> None:
    poses = some_poses(skeleton)
    path = tmp_path / "a.json"
    write_poses(poses, path, format, skeleton=skeleton)
    assert_same(read_poses(path), poses)
    assert_same(read_poses(path, skeleton=skeleton), poses)
    with pytest.raises(ValueError, match=r"a\.json: skeleton: the file has .*, not 'body25'"):
        read_poses(path, skeleton=Skeleton.BODY25)
    if format == "coco":
        write_poses(poses, path)
        assert_same(read_poses(path), poses)


def test_a_skeleton_that_a_file_names_and_nobody_knows(tmp_path: Path) -> None:
    entries = poses_to_coco(some_poses(custom(17)), 1)
    for entry in entries:
        entry["skeleton"] = "animal"
    (tmp_path / "a.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=r"a\.json: .*'animal', which is not built in; give skel"):
        read_poses(tmp_path / "a.json")
    assert_same(read_poses(tmp_path / "a.json", skeleton=custom(17)), some_poses(custom(17)))


@pytest.mark.parametrize(
    "said",
    [
        {}, {"name": "a"}, {"name": 3, "joints": ["a"] * 17}, {"name": "a", "joints": 3},
        {"name": "a", "joints": ["b"], "limbs": 7, "oks_sigmas": [0.1]},
        {"name": "a", "joints": ["b"], "limbs": [["x", "y"]], "oks_sigmas": [0.1]},
        {"name": "a", "joints": ["b"], "limbs": [], "oks_sigmas": [0.1], "more": 1},
    ],
)  # fmt: skip
def test_a_skeleton_that_is_none(tmp_path: Path, said: Any) -> None:
    entry = {"image_id": 1, "keypoints": [1.0, 2.0, 0.5], "skeleton": said}
    (tmp_path / "a.json").write_text(json.dumps([entry]))
    with pytest.raises(ValueError, match=r"a\.json: (skeleton|person 0: expected 51)"):
        read_poses(tmp_path / "a.json")


def test_people_of_two_skeletons_in_one_picture(tmp_path: Path) -> None:
    entries = [
        *poses_to_coco(some_poses(custom(17)), 1), *poses_to_coco(some_poses(custom(17, "b")), 1),
    ]  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match="people of one image have different ones"):
        read_poses(tmp_path / "a.json")


def test_openpose_never_writes_zeros_for_joints_that_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match=r"no bone_0, bone_1, bone_2 \.\.\. as 'animal' has"):
        write_poses(some_poses(custom(17)), path, format="openpose")
    with pytest.raises(ValueError, match="'body25' has none of the joints of 'animal'"):
        write_poses(some_poses(custom(17)), path, "openpose", skeleton=Skeleton.BODY25)
    with pytest.raises(ValueError, match="'coco17' has none of the joints of 'animal'"):
        write_poses(some_poses(custom(17)), path, skeleton=Skeleton.COCO17)
    assert not path.exists()
    arm = Skeleton(name="arm", joints=("left_wrist", "left_elbow"), limbs=(), oks_sigmas=(0.1, 0.1))
    write_poses(some_poses(arm), path, format="openpose")
    back = read_poses(path)
    assert back.skeleton == Skeleton.BODY25
    assert_same(back.to(arm), some_poses(arm))


@pytest.mark.parametrize("format", ["coco", "openpose"])
def test_nobody(tmp_path: Path, format: str) -> None:
    write_poses(Poses.empty(Skeleton.COCO17), tmp_path / "a.json", format=format)
    json.loads((tmp_path / "a.json").read_text())
    assert len(read_poses(tmp_path / "a.json")) == 0
    if format == "coco":
        assert read_poses_by_image(tmp_path / "a.json") == {}


def test_public_names(tmp_path: Path) -> None:
    openpaf.write_poses(some_poses(), tmp_path / "a.json", format="coco")
    assert_same(openpaf.read_poses(tmp_path / "a.json"), some_poses())


def test_coco_layout() -> None:
    poses = some_poses(n=2)
    entries = poses_to_coco(poses, 42)
    assert [set(e) for e in entries] == [
        {"image_id", "category_id", "keypoints", "score", "bbox"}
    ] * 2
    for n, entry in enumerate(entries):
        assert entry["image_id"] == 42
        assert entry["category_id"] == 1
        rows = np.array(entry["keypoints"]).reshape(17, 3)
        missing = poses.scores[n] == 0
        assert (rows[missing] == 0).all()
        np.testing.assert_allclose(rows[~missing, :2], poses.xy[n, ~missing], atol=6e-4)
        x, y, width, height = entry["bbox"]
        np.testing.assert_allclose([x, y, x + width, y + height], poses.boxes()[n], atol=2e-3)
    json.dumps(entries, allow_nan=False)


def test_coco_of_a_person_without_joints() -> None:
    poses = Poses.from_keypoints(np.zeros((1, 17, 3)), Skeleton.COCO17)
    (entry,) = poses_to_coco(poses, 1)
    assert entry["bbox"] == [0, 0, 0, 0]
    assert_same(poses_from_coco([entry])[1], poses)


def test_coco_is_what_pycocotools_takes(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    poses = Poses.from_keypoints(
        np.column_stack([np.random.default_rng(1).uniform(0, 200, (17, 2)), np.full(17, 2)])[None],
        Skeleton.COCO17,
    )
    (entry,) = poses_to_coco(poses, 7)
    keypoints = np.array(entry["keypoints"]).reshape(17, 3)
    keypoints[:, 2] = 2
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": 7, "width": 200, "height": 200}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(Skeleton.COCO17.joints)}],
        "annotations": [
            {
                **entry,
                "id": 1,
                "iscrowd": 0,
                "area": 20_000,
                "num_keypoints": 17,
                "keypoints": keypoints.ravel().tolist(),
            }
        ],
    }
    truth.createIndex()
    write_poses(poses, tmp_path / "results.json", image_id=7)
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


@pytest.mark.parametrize("skeleton", [Skeleton.COCO18, Skeleton.BODY25], ids=lambda s: s.name)
def test_coco_is_of_17_joints_where_the_poses_have_them(skeleton: Skeleton) -> None:
    poses = some_poses(skeleton)
    entries = poses_to_coco(poses, 1)
    assert all(len(entry["keypoints"]) == 51 for entry in entries)
    assert_same(poses_from_coco(entries)[1], poses.to(Skeleton.COCO17))


def test_coco_of_other_joints_keeps_them() -> None:
    entries = poses_to_coco(some_poses(Skeleton.MPI15), 1)
    assert {len(entry["keypoints"]) for entry in entries} == {45}
    assert {entry["skeleton"] for entry in entries} == {"mpi15"}


def test_several_pictures_in_one_coco_file(tmp_path: Path) -> None:
    pictures = {
        3: some_poses(seed=1),
        "a.jpg": some_poses(seed=2, n=1),
        8: Poses.empty(Skeleton.COCO17),
    }
    write_poses(pictures, tmp_path / "all.json")
    back = read_poses_by_image(tmp_path / "all.json")
    assert list(back) == [3, "a.jpg"]  # nobody leaves no trace in a list of people
    for key, poses in back.items():
        assert_same(poses, pictures[key])
    assert_same(read_poses(tmp_path / "all.json", image_id="a.jpg"), pictures["a.jpg"])
    with pytest.raises(ValueError, match=r"all\.json: image_id: has 2 images"):
        read_poses(tmp_path / "all.json")
    with pytest.raises(ValueError, match=r"no people of 99; has 3, 'a\.jpg'"):
        read_poses(tmp_path / "all.json", image_id=99)


def test_openpose_layout() -> None:
    poses = some_poses(n=2)
    data = poses_to_openpose(poses)
    assert data["version"] == 1.3
    assert data["skeleton"] == "body25"
    for n, person in enumerate(data["people"]):
        assert person["person_id"] == [-1]
        rows = np.array(person["pose_keypoints_2d"]).reshape(25, 3)
        k, k17 = Skeleton.BODY25.index("left_wrist"), Skeleton.COCO17.index("left_wrist")
        assert rows[k, 2] == pytest.approx(poses.scores[n, k17], rel=1e-5)
        for key in ("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d"):
            assert person[key] == []


def test_openpose_keeps_cocos_joints(tmp_path: Path) -> None:
    poses = some_poses()
    write_poses(poses, tmp_path / "a.json", format="openpose")
    back = read_poses(tmp_path / "a.json")
    assert back.skeleton == Skeleton.BODY25
    assert_same(back.to(Skeleton.COCO17), poses)


def test_a_file_of_openpose_itself(tmp_path: Path) -> None:
    row = np.zeros((18, 3))
    row[0] = 100.5, 50.25, 0.9
    row[1] = 90, 80, 0.7
    data = {"version": 1.1, "people": [{"pose_keypoints_2d": row.ravel().tolist()}]}
    (tmp_path / "a.json").write_text(json.dumps(data))
    poses = read_poses(tmp_path / "a.json")
    assert poses.skeleton == Skeleton.COCO18
    assert poses.person_scores[0] == pytest.approx(0.8)
    assert poses.ids is None
    np.testing.assert_allclose(poses.joint("nose"), [[100.5, 50.25, 0.9]])


def test_a_weak_joint_does_not_go_missing(tmp_path: Path) -> None:
    scores = np.full((1, 17), 1e-9, np.float32)
    poses = Poses(
        xy=np.zeros((1, 17, 2)), scores=scores, person_scores=[1e-9], skeleton=Skeleton.COCO17
    )
    write_poses(poses, tmp_path / "a.json")
    assert_same(read_poses(tmp_path / "a.json"), poses)


# --- writing ------------------------------------------------------------------------------------


def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_poses(some_poses(), path)
    write_poses(some_poses(n=1), path)
    assert os.listdir(tmp_path) == ["a.json"]
    assert len(read_poses(path)) == 1


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.json"
    write_poses(some_poses(), path)

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.json"):
        write_poses(some_poses(n=1), path)
    assert os.listdir(tmp_path) == ["a.json"]
    assert len(read_poses(path)) == 3


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").touch()
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_poses(some_poses(), tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert len(read_poses(tmp_path / "real.json")) == 3


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        write_poses(some_poses(), tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"missing/a\.json"):
        write_poses(some_poses(), tmp_path / "missing" / "a.json")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"file/a\.json"):
        write_poses(some_poses(), tmp_path / "file" / "a.json")
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: Any) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # root may write everywhere, so this pretends
    with pytest.raises(PermissionError, match=r"a\.json"):
        write_poses(some_poses(), tmp_path / "a.json")


def test_wrong_arguments(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match="format: expected one of coco, openpose, got 'yolo'"):
        write_poses(some_poses(), path, format="yolo")
    with pytest.raises(ValueError, match=r"one image; expected Poses, got dict"):
        write_poses({1: some_poses()}, path, format="openpose")
    with pytest.raises(ValueError, match=r"poses: expected Poses, or a dictionary .*, got list"):
        write_poses([some_poses()], path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"image_id: expected .*, got 1\.5"):
        write_poses(some_poses(), path, image_id=1.5)  # type: ignore[arg-type]
    assert not path.exists()
    write_poses(some_poses(), path, image_id=np.int64(4))  # type: ignore[arg-type]
    assert list(read_poses_by_image(path)) == [4]
    with pytest.raises(ValueError, match="format: expected one of"):
        read_poses(path, format="yolo")


# --- reading ------------------------------------------------------------------------------------

ROW = [1.0, 2.0, 0.5] * 17


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\xff\xfe", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("3", "neither COCO's list of results nor OpenPose's 'people'"),
        ('{"a": 1}', "neither"),
        ('{"people": 3}', "neither"),
        ('{"annotations": []}', "a file of COCO annotations"),
        ("[3]", "entry 0: expected a COCO result"),
        ('[{"image_id": 1}]', "entry 0: .*'keypoints'.* missing"),
        (json.dumps([{"image_id": None, "keypoints": ROW}]), "entry 0: image_id"),
        (json.dumps([{"image_id": 1, "keypoints": ROW[:-1]}]), "person 0: expected 51.*got 50"),
        (
            json.dumps([{"image_id": 1, "keypoints": r} for r in (ROW, ROW[3:])]),
            "person 1: expected 51 values, 3 for each of the 17 joints of 'coco17', got 48",
        ),
        (json.dumps([{"image_id": 1, "keypoints": 7}]), "person 0: expected 51"),
        (json.dumps([{"image_id": 1, "keypoints": ["x", *ROW[1:]]}]), "finite numbers"),
        (
            json.dumps([{"image_id": 1, "keypoints": [float("nan"), *ROW[1:]]}]),
            r"NaN is no finite number, near .*keypoints.*\[NaN, 2",
        ),
        ('[{"image_id": 1, "keypoints": [1e999' + ", 1" * 50 + "]}]", "1e999 is no finite .*near"),
        ('[{"image_id": 1, "keypoints": [1e300' + ", 1" * 50 + "]}]", "finite numbers"),
        ('[{"image_id": 1, "keypoints": [' + "9" * 400 + "]}]", "a whole number of 400 digits"),
        ('[{"keypoints": []}, {"image_id": 1, "keypoints": []}]', "entry 0: .*image_id"),
        (
            json.dumps([{"image_id": 1, "keypoints": ROW, "track_id": 2**70}]),
            "ids: expected whole numbers of at most 64 bits",
        ),
        ('{"people": [3]}', "person 0: 'pose_keypoints_2d' missing"),
        ('{"a": {"people": []}, "b": {}}', "neither"),
        ('[{"frame": 1, "people": []}, {"frame": 1, "people": []}]', "frame 1 comes twice"),
        ('{"frame": 0, "people": []}\n{"frame": 1, ', "line 2: not JSON"),
        ('[{"keypoints": [[1, 2, 3]], "keypoint_scores": [1]}]', "person 0: expected pairs"),
        ('[{"keypoints": [[1, 2]], "keypoint_scores": [1, 2]}]', "person 0: expected pairs"),
        (json.dumps([{"image_id": 1, "keypoints": ROW, "score": "high"}]), "score"),
        (json.dumps([{"image_id": 1, "keypoints": ROW, "score": -1}]), "person_scores"),
        ('{"people": [{}]}', "person 0: 'pose_keypoints_2d' missing"),
        ('{"people": [{"pose_keypoints_2d": [1, 2]}]}', r"75 \(body25\) or 54 .*got 2"),
    ],
)
def test_files_of_something_else(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"odd\.json: (.*{message})"):
        read_poses(path)


# --- of other programs ---------------------------------------------------------------------------


def row_of(n_joints: int, start: float = 10.0) -> list[float]:
    return [
        value for k in range(n_joints) for value in (start + k, 2 * start + k, 0.5 + k / 1000)
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["pose_keypoints_2d", "pose_keypoints", "body_parts"])
@pytest.mark.parametrize("skeleton", [Skeleton.COCO18, Skeleton.MPI15, Skeleton.BODY25])
def test_every_version_of_openpose(tmp_path: Path, key: str, skeleton: Skeleton) -> None:
    hand = {key: [], "hand_left_keypoints": row_of(21)}
    people = [{key: row_of(skeleton.n_joints), "face_keypoints": []}, hand]
    (tmp_path / "a.json").write_text(json.dumps({"version": 1.0, "people": people}))
    poses = read_poses(tmp_path / "a.json", format="openpose")
    assert (len(poses), poses.skeleton, poses.ids) == (1, skeleton, None)
    np.testing.assert_allclose(poses.joint("neck"), [[11, 21, 0.501]])


def test_results_of_alphapose(tmp_path: Path) -> None:
    entries = [
        {"image_id": "a.jpg", "category_id": 1, "keypoints": row_of(17), "score": 2.9, "idx": idx}
        for idx in (7, [8.0], [[9.0], [3.0]])
    ]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    poses = read_poses_by_image(tmp_path / "a.json")["a.jpg"]
    assert poses.ids is not None
    assert poses.ids.tolist() == [7, 8, 9]
    np.testing.assert_allclose(poses.person_scores, 2.9)


@pytest.mark.parametrize(
    ("people", "joints"), [("bodies", "joints"), ("people", "pose_keypoints_2d")]
)
def test_cmu_and_open_forms_of_alphapose(tmp_path: Path, people: str, joints: str) -> None:
    one = {"version": "AlphaPose v0.3", people: [{joints: row_of(18)}]}
    (tmp_path / "one.json").write_text(json.dumps(one))
    none = {"version": "AlphaPose v0.3", people: []}
    (tmp_path / "all.json").write_text(json.dumps({"0.jpg": one, "1.jpg": none}))
    alone = read_poses(tmp_path / "one.json")
    by_image = read_poses_by_image(tmp_path / "all.json")
    assert [*map(len, by_image.values())] == [1, 0]
    for poses in (alone, by_image["0.jpg"], read_poses(tmp_path / "all.json", image_id="0.jpg")):
        assert poses.skeleton == Skeleton.COCO18
        np.testing.assert_allclose(poses.joint("left_ear"), [[27, 37, 0.517]])
    with pytest.raises(ValueError, match=r"all\.json: image_id: has 2 images"):
        read_poses(tmp_path / "all.json")
    with pytest.raises(ValueError, match=r"one\.json: a file of one image without an id"):
        read_poses_by_image(tmp_path / "one.json")


def test_openpifpaf(tmp_path: Path) -> None:
    entry = {"keypoints": row_of(17), "bbox": [1, 2, 3, 4], "score": 0.8, "category_id": 1}
    (tmp_path / "a.jpg.predictions.json").write_text(json.dumps([{**entry, "id_": 3}, entry]))
    poses = read_poses(tmp_path / "a.jpg.predictions.json", format="openpifpaf")
    assert (len(poses), poses.skeleton, poses.ids) == (2, Skeleton.COCO17, None)
    np.testing.assert_allclose(poses.joint("left_eye"), [[11, 21, 0.501]] * 2)
    np.testing.assert_allclose(poses.person_scores, 0.8)
    lines = [{"frame": n, "predictions": [{**entry, "id_": 3}] * n} for n in range(1, 4)]
    (tmp_path / "v.mp4.openpifpaf.json").write_text("\n".join(map(json.dumps, lines)) + "\n")
    frames = read_poses_by_image(tmp_path / "v.mp4.openpifpaf.json")
    assert {key: len(found) for key, found in frames.items()} == {1: 1, 2: 2, 3: 3}
    assert frames[1].ids is not None
    assert frames[1].ids.tolist() == [3]


def test_mmpose(tmp_path: Path) -> None:
    points = [[10.0 + k, 20.0 + k] for k in range(17)]
    instance = {
        "keypoints": points, "keypoint_scores": [0.5] * 17, "bbox": [[1, 2, 3, 4]],
        "bbox_score": 0.9,
    }  # fmt: skip
    path = tmp_path / "a.json"
    for data in ([instance], {"meta_info": {}, "instance_info": [instance]}):
        path.write_text(json.dumps(data))
        poses = read_poses(path, format="mmpose")
        assert (len(poses), poses.skeleton) == (1, Skeleton.COCO17)
        np.testing.assert_allclose(poses.joint("left_eye"), [[11, 21, 0.5]])
        np.testing.assert_allclose(poses.person_scores, 0.5)
    names = {str(k): f"bone_{k}" for k in range(17)}
    meta = {"dataset_name": "horse", "keypoint_id2name": names}
    frames = [{"frame_id": n, "instances": [instance] * n} for n in range(3)]
    path.write_text(json.dumps({"meta_info": meta, "instance_info": frames}))
    by_frame = read_poses_by_image(path)
    assert {key: len(found) for key, found in by_frame.items()} == {0: 0, 1: 1, 2: 2}
    assert {poses.skeleton.joints[3] for poses in by_frame.values()} == {"bone_3"}


def test_our_own_video(tmp_path: Path) -> None:
    frames = read_poses_by_image(INPUTS / "own-video.jsonl")
    assert list(frames) == list(range(len(frames)))
    assert frames[0].ids is not None
    assert frames[0].ids.tolist() == [1]
    np.testing.assert_allclose(frames[0].joint("nose"), [[101.876, 57.844, 0.939294]])
    assert_same(read_poses(INPUTS / "own-video.jsonl", image_id=1), frames[1])
    for write in (poses_to_openpose, lambda poses: {"people": poses_to_coco(poses, 4)}):
        line = json.dumps({"frame": 4, "time_s": 0.1, **write(some_poses())})
        (tmp_path / "v_keypoints.jsonl").write_text(line + "\n")
        back = read_poses(tmp_path / "v_keypoints.jsonl", image_id=4)
        assert_same(back.to(Skeleton.COCO17), some_poses())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    text = json.dumps(poses_to_coco(some_poses(), "\N{SNOWMAN}.jpg"), ensure_ascii=False)
    (tmp_path / "a.json").write_bytes(text.encode(encoding))
    assert_same(read_poses_by_image(tmp_path / "a.json")["\N{SNOWMAN}.jpg"], some_poses())


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(ValueError, match=r"a\.json: not JSON: more than the [\d,]+ bytes allowed"):
        read_poses(tmp_path / "a.json")


def test_the_wrong_format(tmp_path: Path) -> None:
    write_poses(some_poses(), tmp_path / "a.json")
    with pytest.raises(ValueError, match=r"expected format 'openpose', got 'coco'"):
        read_poses(tmp_path / "a.json", format="openpose")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        read_poses(tmp_path / "nothing.json")
    with pytest.raises(IsADirectoryError):
        read_poses(tmp_path)


def test_the_wrong_skeleton(tmp_path: Path) -> None:
    write_poses(some_poses(), tmp_path / "a.json")
    with pytest.raises(ValueError, match="expected 9 values, 3 for each of the 3 joints of 'hand'"):
        read_poses(tmp_path / "a.json", skeleton=CUSTOM)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_json_goes_into_a_pipe_that_somebody_reads_and_waits_for_no_other(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"a pipe that no process reads.*pipe"):
        write_json([1], pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_json([1], pipe)
        assert os.read(reader, 100) == b"[1]\n"
    finally:
        os.close(reader)
