"""Networks learn the joints of any annotations, and wrong sets are told by file and annotation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from openpaf import Skeleton, write_skeleton
from openpaf.cli import main
from openpaf.networks import LightweightNetwork
from openpaf.networks.fresh import fresh_weights
from openpaf.training.config import TrainConfig
from openpaf.training.config_files import read_config
from openpaf.training.data.dataset import DatasetError, load_photo_set
from openpaf.training.part_affinity import make_batches

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parent.parent / "models" / "recipes"))
from packing import pack
from synthetic_objects import category, write_set

CONFIG = """
output = "run"
name = "kites"
[network.options]
width = 8
trunk_widths = [4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]
n_refinement_stages = 0
[optimizer]
steps = 1
batch_size = 2
validation_size = 64
precision = "float32"
[augment]
crop_px = 64
[data]
workers = 1
{more}
[[data.sets]]
annotations = "kite.json"
images = "images"
{sets}
"""
KITE = Skeleton.from_coco_category(category("kite"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with four images of kites."""
    write_set("kite", tmp_path, 4, size=64)
    return tmp_path


def config_of(folder: Path, more: str = "", sets: str = "") -> TrainConfig:
    (folder / "run.toml").write_text(CONFIG.format(more=more, sets=sets))
    return read_config(folder / "run.toml")


def changed(folder: Path, file: str = "kite.json", **keys: Any) -> dict[str, Any]:
    """The labels, their category changed, in a file of another name."""
    data: dict[str, Any] = json.loads((folder / "kite.json").read_text())
    data["categories"][0].update(keys)
    (folder / file).write_text(json.dumps(data))
    return data


def test_the_category_gives_the_skeleton(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    maker = make_batches(config_of(folder))
    assert maker.labels == maker.skeleton
    assert (maker.labels.joints, maker.labels.limbs) == (KITE.joints, KITE.limbs)
    assert maker.labels.flip_pairs == ((1, 2),)
    assert "kite.json: no OKS sigmas for 'kite': estimated" in caplog.text
    batch = maker.batch(0)
    assert batch.heatmaps.shape[1:] == (6, 8, 8)
    assert batch.pafs.shape[1:] == (2 * KITE.n_limbs, 8, 8)


def test_a_file_gives_some_joints_in_another_order(folder: Path) -> None:
    chosen = Skeleton(
        name="cross", joints=("RIGHT", "left", "top"), limbs=((2, 1), (2, 0)), oks_sigmas=(0.1,) * 3
    )  # fmt: skip
    write_skeleton(chosen, folder / "s.toml")
    maker = make_batches(config_of(folder, 'skeleton = "s.toml"'))
    assert maker.labels == replace_name(chosen)
    whole = make_batches(config_of(folder)).sets[0].photos
    for one, other in zip(maker.sets[0].photos, whole, strict=True):
        assert one.keypoints.tolist() == other.keypoints[:, [2, 1, 0]].tolist()


def replace_name(skeleton: Skeleton) -> Skeleton:
    """With the sides that follow from its names."""
    return Skeleton(**{**skeleton.to_dict(), "flip_pairs": []})


def test_a_category_is_chosen(folder: Path) -> None:
    data = changed(folder)
    data["categories"].append({"id": 2, "name": "plane", "keypoints": ["nose", "tail"]})
    (folder / "kite.json").write_text(json.dumps(data))
    with pytest.raises(DatasetError, match=r"kite\.json: categories: several have joints, choose"):
        make_batches(config_of(folder))
    assert make_batches(config_of(folder, 'category = "kite"')).labels.joints == KITE.joints
    with pytest.raises(DatasetError, match=r"kite\.json: category: none .* is 'bird', it has"):
        make_batches(config_of(folder, 'category = "bird"'))


def test_a_packed_run_takes_its_skeleton_along(folder: Path, tmp_path: Path) -> None:
    write_skeleton(KITE, folder / "s.toml")
    path = pack(config_of(folder, 'skeleton = "s.toml"'), tmp_path / "packed")
    assert make_batches(read_config(path)).labels == KITE


def fails(folder: Path, capsys: pytest.CaptureFixture[str], more: str = "", sets: str = "") -> str:
    """What the command says of a run."""
    config_of(folder, more, sets)
    capsys.readouterr()
    assert main(["train", str(folder / "run.toml")]) == 2
    lines = [s for s in capsys.readouterr().err.splitlines() if s.startswith("openpaf: ")]
    assert len(lines) == 1
    return lines[0]


OTHER = '[[data.sets]]\nannotations = "other.json"\nimages = "images"'
VALIDATION = '[data.validation]\nannotations = "other.json"\nimages = "images"'
RENAMED = ["top", "left", "right", "bottom", "tassel"]


@pytest.mark.parametrize("sets", [OTHER, VALIDATION])
def test_names_of_two_sets_that_do_not_match_are_listed(
    folder: Path, capsys: pytest.CaptureFixture[str], sets: str
) -> None:
    changed(folder, "other.json", keypoints=RENAMED)
    line = fails(folder, capsys, sets=sets)
    assert "other.json: categories: 'kite' has tassel and lacks tail; expected one with the" in line
    assert "joints top, left, right, bottom, tail of 'kite'; got 'kite' (top, left, right" in line


def test_animals_beside_people_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = Skeleton.COCO17
    changed(folder, keypoints=list(people.joints), name="person", skeleton=[[1, 2]])
    data = json.loads((folder / "kite.json").read_text())
    for row in data["annotations"]:
        row["keypoints"] = row["keypoints"] + [0] * 36
    (folder / "kite.json").write_text(json.dumps(data))
    changed(folder, "other.json", **category("animal"))
    line = fails(folder, capsys, sets=OTHER)
    assert "other.json: categories: 'animal' has neck, root_of_tail" in line
    assert "and lacks left_ear, right_ear" in line


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"skeleton": []}, "skeleton 'kite': expected limbs that connect its joints, got none"),
        ({"skeleton": [[1, 6]]}, "kite.json: skeleton of 'kite': (1, 6) is out of range"),
        ({"keypoints": ["a", "a", "b", "c", "d"]}, "kite.json: joints of 'kite': names must be"),
        ({"keypoints": "top"}, "kite.json: keypoints of 'kite': expected a list of names"),
        ({"keypoints": RENAMED[:4], "skeleton": [[1, 2]]},
         "kite.json: an entry is not as COCO's are (annotation 1 has 15 numbers in 'keypoints', "
         "expected 12 for 'kite')"),
        ({"id": 9}, "kite.json: category_id 1 is not one of the file's categories [9]"),
    ],
)  # fmt: skip
def test_wrong_categories(
    folder: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], message: str
) -> None:
    changed(folder, **keys)
    assert message in fails(folder, capsys)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2, 2], "annotation 1 has 3 numbers in 'keypoints', expected 15 for 'kite'"),
        ([1, 2, 2] * 4 + [1, "x", 2], "kite.json: an entry is not as COCO's are"),
        ([1e300, 2, 2] * 5, "kite.json: no people with keypoints in it"),
    ],
)
def test_wrong_annotations(
    folder: Path, capsys: pytest.CaptureFixture[str], values: list[Any], message: str
) -> None:
    data = changed(folder)
    for row in data["annotations"]:
        row["keypoints"] = values
    (folder / "kite.json").write_text(json.dumps(data))
    assert message in fails(folder, capsys)


def test_a_skeleton_file_of_other_joints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_skeleton(Skeleton.MPI15, folder / "s.toml")
    line = fails(folder, capsys, 'skeleton = "s.toml"')
    assert "kite.json: categories: 'kite' has top, left, right, bottom, tail and lacks head" in line
    (folder / "s.toml").write_text('joints = ["top"]\nlimbs = [["top", "wing"]]')
    line = fails(folder, capsys, 'skeleton = "s.toml"')
    assert "s.toml: limbs of 's': joint 'wing' is none of top" in line


def test_skeletons_of_people_are_not_for_kites(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails(folder, capsys, 'skeleton = "coco18_redundant"')
    assert "data.skeleton: 'coco18_redundant' is of people, expected a file, or none, for" in line


def test_joints_that_no_limb_connects_are_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed(folder, skeleton=[[1, 2], [1, 3]])
    make_batches(config_of(folder))
    assert "skeleton 'kite': no limbs connect bottom, tail to the others" in caplog.text


def test_the_joints_of_labels_are_those_of_a_set(folder: Path) -> None:
    photos = load_photo_set(folder / "kite.json", folder / "images")
    assert photos.skeleton.joints == KITE.joints
    assert photos.photos[0].keypoints.shape[1:] == (5, 3)


@pytest.mark.parametrize("ranks", [None, [4, 4, 0]])
def test_fresh_weights_keep_signals_alive(ranks: list[int] | None) -> None:
    """Images of other colors give other features; with torch's own weights hardly any."""
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def spread(network: LightweightNetwork) -> float:
        with torch.no_grad():
            return float(network.features(images).std(dim=0).mean())

    torch.manual_seed(0)
    network = LightweightNetwork(KITE, width=16, ranks=ranks, trunk_widths=[8] * 12)
    assert spread(network) < 0.02
    fresh_weights(network, images, (6, 12))
    assert 0.2 < spread(network) < 2
    with torch.no_grad():
        stages = network(images)
    assert max(float(part.abs().max()) for stage in stages for part in stage) < 1
