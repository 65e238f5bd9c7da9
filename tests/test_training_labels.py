"""Labels of others: categories, joints by name, sizes, and files that they must not reach."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openpaf import Grid, Skeleton
from openpaf.cli import main
from openpaf.evaluation.labels import person_layout
from openpaf.io.paths import inside_folder
from openpaf.training.config import AugmentConfig
from openpaf.training.data.augmentation import CropPlan, Labels, plan_crop
from openpaf.training.data.batches import BatchMaker, taught_channels
from openpaf.training.data.dataset import DatasetError, PhotoSet, load_photo_set
from openpaf.training.groupings.center_net import CenterNetGrouping

S = Skeleton.COCO17
INPUTS = Path(__file__).with_name("inputs")
AUGMENT = AugmentConfig(crop_px=64, person_px=(50, 60))
AP10K = [
    "left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_shoulder", "left_elbow",
    "left_front_paw", "right_shoulder", "right_elbow", "right_front_paw", "left_hip", "left_knee",
    "left_back_paw", "right_hip", "right_knee", "right_back_paw",
]  # fmt: skip
CONFIG = """\
output = "run"
name = "tiny"
[network.options]
n_refinement_stages = 0
width = 8
trunk_widths = [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]
[optimizer]
steps = 2
batch_size = 2
validation_size = 64
precision = "float32"
{more}
[augment]
crop_px = 64
person_px = [30, 60]
[data]
workers = 1
[[data.sets]]
annotations = "people.json"
images = "images"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder ``images`` with the one photo of the inputs."""
    (tmp_path / "images").mkdir()
    shutil.copy(INPUTS / "1.jpg", tmp_path / "images")
    return tmp_path


def given(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((INPUTS / name).read_text("utf-8-sig"))
    return data


def load(folder: Path, data: Any) -> PhotoSet:
    (folder / "people.json").write_text(json.dumps(data))
    return load_photo_set(folder / "people.json", folder / "images")


def maker_of(*sets: PhotoSet, skeleton: Skeleton = S) -> BatchMaker:
    return BatchMaker(
        sets, batch_size=2, augment=AUGMENT, skeleton=skeleton, heatmap_grid=Grid(8),
        paf_grid=Grid(8),
    )  # fmt: skip


def fails(folder: Path, data: Any, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """What the command says of a run on these labels."""
    (folder / "people.json").write_text(json.dumps(data))
    (folder / "run.toml").write_text(CONFIG.format(more=""))
    capsys.readouterr()
    assert main(["train", str(folder / "run.toml"), *more]) == 2
    lines = [s for s in capsys.readouterr().err.splitlines() if s.startswith("openpaf: ")]
    assert len(lines) == 1
    return lines[0]


# --- categories and joints


def test_joints_of_another_layout_are_taken_by_name(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = given("posetrack18.json")
    photo = load(folder, data).photos[0]
    assert [S.joints[k] for k in photo.unlabeled] == ["left_eye", "right_eye"]
    theirs = np.reshape(data["annotations"][0]["keypoints"], (17, 3))
    wanted = theirs.astype(float)
    wanted[1:3] = 0  # the places of the head's bottom and top are not those of eyes
    assert photo.keypoints[0].tolist() == wanted.tolist()
    assert "its people have no left_eye, right_eye" in caplog.text


def test_another_order_and_spelling_of_joints(folder: Path) -> None:
    data = given("one-photo-missing.json")
    data["images"][0]["file_name"] = "1.jpg"
    plain = load(folder, data).photos[0]
    category, person = data["categories"][0], data["annotations"][0]
    category["keypoints"] = [
        name.replace("left_", "L_").replace("right_", "Right ") for name in S.joints[::-1]
    ]
    person["keypoints"] = np.reshape(person["keypoints"], (17, 3))[::-1].ravel().tolist()
    person["maybe"] = [[16, 5.0, 6.0]]
    photo = load(folder, data).photos[0]
    assert np.array_equal(photo.keypoints, plain.keypoints)
    assert photo.unlabeled == ()
    assert photo.uncertain_joints.tolist() == [
        [0, 5, 6]
    ]  # the nose, which is the last joint in the file


@pytest.mark.parametrize("category", [0, 7, -3, 2**60, "person-7"])
def test_ids_of_categories_are_labels(folder: Path, category: Any) -> None:
    data = given("two_categories.json")
    data["categories"][0]["id"] = data["annotations"][0]["category_id"] = category
    photo = load(folder, data).photos[0]
    wanted = np.reshape(data["annotations"][0]["keypoints"], (1, 17, 3))
    assert photo.keypoints.tolist() == wanted.tolist()  # and the dog is nobody


def test_who_is_a_person() -> None:
    def layout(categories: Any, used: Any = 1) -> Any:
        rows = [{"category_id": used}]
        return person_layout({"categories": categories, "annotations": rows}, S)

    coco = list(S.joints)
    assert layout([{"id": 1, "name": "climber", "keypoints": coco}]).category == 1
    assert layout([{"id": 1, "name": "Person", "keypoints": AP10K[:6]}]).n_joints == 6
    assert layout([{"id": 5}], 5).columns == tuple(range(17))
    assert layout([], 5).category == 5
    both = [{"id": 1, "name": "dog"}, {"id": 3, "name": "person"}]
    assert layout(both).category == 3
    halpe = [*coco, "head", "neck", *(f"toe {i}" for i in range(100))]
    assert layout([{"id": 1, "name": "person", "keypoints": halpe}]).unlabeled == ()
    for categories, message in (
        ([{"id": 1, "name": "antelope", "keypoints": AP10K}],
         "'antelope' has neck, root_of_tail.*got 'antelope'"),
        ([{"id": 1, "name": "person", "keypoints": ["a", "b"]}],
         "'person' has a, b and lacks nose.* got 'person'"),
        ([{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}], "the joints nose.*no joints"),
        ([{"id": 1, "name": "a", "keypoints": coco}, {"id": 2, "name": "b", "keypoints": coco}],
         "got 'a'"),
        ([{"id": 1, "name": "person", "keypoints": ["nose", "Nose"]}], "'nose' is in .* twice"),
        ([{"id": 2, "name": "person"}], "category_id 1 is not one of the file's categories"),
        ({"id": 1}, "categories: expected a list"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            layout(categories)


def test_evaluation_and_training_know_the_same_people() -> None:
    spelled = [name.replace("right_", "r_").replace("left_", "Left ") for name in S.joints]
    spelled[5] = "leftShoulder"
    categories = [{"id": 3, "name": "dog"}, {"id": 7, "name": "Pedestrian", "keypoints": spelled}]
    layout = person_layout({"categories": categories, "annotations": []}, S)
    assert layout.category == 7
    assert layout.columns == tuple(range(17))


@pytest.mark.parametrize("skeleton", [S, Skeleton.COCO18_REDUNDANT])
def test_joints_that_a_set_labels_in_nobody_are_not_background(
    folder: Path, skeleton: Skeleton
) -> None:
    maker = maker_of(load(folder, given("posetrack18.json")), skeleton=skeleton)
    batch = maker.batch(0)
    eyes = {skeleton.index("left_eye"), skeleton.index("right_eye")}
    heatmaps = batch.heatmap_weights.amax(dim=(0, 2, 3))
    assert [k for k, w in enumerate(heatmaps) if not w] == [*sorted(eyes), skeleton.n_joints]
    pafs = batch.paf_weights.amax(dim=(0, 2, 3))[::2]
    with_eyes = [i for i, limb in enumerate(skeleton.limbs) if eyes & set(limb)]
    assert [i for i, w in enumerate(pafs) if not w] == with_eyes
    assert all(row.all() for row in taught_channels(S, skeleton, frozenset()))


# --- what cannot be places


def test_nan_without_a_size_is_refused_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails(folder, given("kp_nan_nosize.json"), capsys)
    assert "people.json: " in line
    assert "NaN is no finite number" in line


@pytest.mark.parametrize("box", [[-1e9, 0, 9, 9], [0, 0, 1e30, 9]])
def test_boxes_that_are_none_are_refused(folder: Path, box: list[float]) -> None:
    data = given("two_categories.json")
    data["annotations"][0]["bbox"] = box
    with pytest.raises(DatasetError, match=r"people.json: .*annotation 1, bbox: expected finite"):
        load(folder, data)


@pytest.mark.parametrize("key", ["images", "annotations"])
@pytest.mark.parametrize("rows", [["text"], {"a": 1}, 3])
def test_rows_that_are_no_dictionaries_are_refused(folder: Path, key: str, rows: Any) -> None:
    file = folder / "people.json"
    file.write_text(json.dumps({"images": [], "annotations": [], key: rows}))
    with pytest.raises(DatasetError, match=rf"people\.json: {key}: expected a list of dict"):
        load_photo_set(file, folder / "images")


@pytest.mark.parametrize("value", [5, [[1, 2, 2]]])
def test_keypoints_that_are_no_list_of_numbers_are_refused(folder: Path, value: Any) -> None:
    data = given("two_categories.json")
    data["annotations"][0]["keypoints"] = value
    with pytest.raises(DatasetError, match=r"annotation 1: keypoints: expected a list of numbers"):
        load(folder, data)


def test_images_of_one_id_are_refused(folder: Path) -> None:
    data = given("two_categories.json")
    data["images"] *= 2
    with pytest.raises(DatasetError, match="images: 1 ids come twice: 1"):
        load(folder, data)


def test_a_byte_order_mark_is_read(folder: Path) -> None:
    shutil.copy(INPUTS / "bom.json", folder / "people.json")
    text = CONFIG.format(more="checkpoint_every = 1")
    (folder / "run.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert main(["train", str(folder / "run.toml")]) == 0
    assert (folder / "run" / "tiny.safetensors").exists()


# --- photos


def test_photos_of_another_size_than_labelled_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = given("train-size-mismatch.json")
    line = fails(folder, data, capsys)
    assert "1.jpg: the image is 640 x 480 px, its labels are for 1280 x 960 px" in line
    assert "resized copy" in line
    with pytest.raises(DatasetError, match=r"1.jpg: the image is 640 x 480"):
        maker_of(load(folder, data)).batch(0)


@pytest.mark.parametrize("as_shown", [True, False])
def test_a_photo_that_exif_turns(folder: Path, as_shown: bool) -> None:
    """Labels are of the photo as it is shown; those of its file as it is stored are refused."""
    path = folder / "images" / "1.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    with Image.open(INPUTS / "1.jpg") as image:
        image.save(path, exif=exif)
    data = given("two_categories.json")
    data["images"][0] |= {"width": 480, "height": 640} if as_shown else {}
    photos = load(folder, data)
    if as_shown:
        assert maker_of(photos).batch(0).images.shape == (2, 3, 64, 64)
    else:
        with pytest.raises(
            DatasetError, match=r"480 x 640 px, its labels are for 640 x 480 px \(turned"
        ):
            maker_of(photos).batch(0)


def test_a_run_of_one_photo_that_is_missing_ends(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails(folder, given("one-photo-missing.json"), capsys)
    assert "1 of 1 photos cannot be read, the last: " in line
    assert "missing.jpg: no such file" in line


def test_sets_of_no_weight_do_not_count_as_readable(folder: Path) -> None:
    missing = load(folder, given("one-photo-missing.json"))
    there = replace(load(folder, given("two_categories.json")), weight=0.0)
    with pytest.raises(DatasetError, match="1 of 1 photos cannot be read"):
        maker_of(missing, there).batch(0)


# --- files that a label file must not reach


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../secret.txt", "a/../../secret.txt", "", ".", "a\0b", 5, None]
)
def test_only_files_inside_the_folder_are_reached(tmp_path: Path, name: Any) -> None:
    with pytest.raises(ValueError, match="file_name: expected"):
        inside_folder(tmp_path, name)


def test_links_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.txt").write_text("a")
    images = tmp_path / "images"
    images.mkdir()
    (images / "out").symlink_to(tmp_path / "secret")
    (images / "one.txt").symlink_to("../secret/a.txt")
    (images / "real.txt").write_text("b")
    (images / "in.txt").symlink_to("real.txt")
    (images / "loop").symlink_to("loop")
    (tmp_path / "alias").symlink_to(images)
    for name in ("out/a.txt", "one.txt"):
        with pytest.raises(ValueError, match=r"is a link out of .*images, to .*secret"):
            inside_folder(images, name)
    assert inside_folder(images, "in.txt").read_text() == "b"
    assert inside_folder(tmp_path / "alias", "./real.txt").read_text() == "b"
    inside_folder(images, "loop")


def test_neither_training_nor_evaluation_reads_outside(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = given("two_categories.json")
    data["images"][0]["file_name"] = "../images/1.jpg"
    assert "file_name: expected a path inside the folder" in fails(folder, data, capsys)
    data["categories"], data["annotations"] = data["categories"][:1], data["annotations"][:1]
    (folder / "people.json").write_text(json.dumps(data))
    arguments = ["--annotations", str(folder / "people.json"), "--images", str(folder / "images")]
    assert main(["evaluate", *arguments]) == 2
    assert "file_name: expected a path inside the folder" in capsys.readouterr().err


# --- labels that miss people


def corner_plan(folder: Path, fully_annotated: bool) -> tuple[PhotoSet, CropPlan]:
    """A person of 8 px near the lower right corner, and an ignore region in the upper right."""
    data = given("one-photo-missing.json")
    data["images"][0]["file_name"] = "1.jpg"
    photos = load(folder, data)
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, :4] = [(44, 44, 2), (52, 44, 2), (44, 52, 2), (52, 52, 2)]
    labels = Labels(
        keypoints=keypoints, uncertain_joints=np.zeros((0, 3), np.float32),
        ignore=(np.array([(56, 0), (64, 0), (64, 8), (56, 8)], np.float32),),
    )  # fmt: skip
    plan = plan_crop(photos.photos[0], AUGMENT, S, np.random.default_rng(0))
    return photos, replace(plan, labels=labels, fully_annotated=fully_annotated)


@pytest.mark.parametrize(
    ("fully_annotated", "is_taught", "counts_far"),
    [(True, False, True), (False, False, False), (False, True, True)],
    ids=["complete", "alone", "taught"],
)
def test_nothing_counts_where_people_may_be_missing(
    folder: Path, fully_annotated: bool, is_taught: bool, counts_far: bool
) -> None:
    photos, plan = corner_plan(folder, fully_annotated)
    targets = replace(maker_of(photos), is_taught=is_taught).encode(plan)
    for name in ("heatmap_weights", "paf_weights"):
        weights = targets[name]
        assert weights[:, 5:7, 5:7].all()
        assert (weights[:, 0, 0] == counts_far).all()
        assert not weights[:, 0, 7].any()  # ignored in all
    fields = targets["heatmaps"][:-1], targets["pafs"]
    for field, name in zip(fields, ("heatmap_weights", "paf_weights"), strict=True):
        assert targets[name][: len(field)][np.abs(field) > 0.1].all()  # no label is lost


@pytest.mark.parametrize("fully_annotated", [True, False])
def test_centers_count_where_heatmaps_do(folder: Path, fully_annotated: bool) -> None:
    photos, plan = corner_plan(folder, fully_annotated)
    grid = Grid(8)
    targets = CenterNetGrouping(S, [[grid]], {grid: maker_of(photos)}).targets(plan)
    for name in ("centers", "heatmaps"):
        assert np.isnan(targets[name][:, 0, 7]).all()  # ignored
        assert np.isnan(targets[name][:, 0, 0]).all() == (not fully_annotated)
