"""``openpaf evaluate``: figures, files, interruptions, and what is refused."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_data import by_pycocotools, scene, shaken, written
from PIL import ExifTags, Image

import openpaf
import openpaf.estimator
from openpaf import DecodeConfig, Poses, Skeleton
from openpaf.cli import main
from openpaf.evaluation.annotations import read_annotations
from openpaf.evaluation.coco import METRICS, detect, evaluate
from openpaf.evaluation.label_files import load_annotations
from openpaf.evaluation.labels import check_image_size
from openpaf.evaluation.matching import precision_at
from openpaf.evaluation.result_files import read_results
from openpaf.evaluation.run import read_ahead
from openpaf.evaluation.settings import METHODS as METHODS_OF_MODELS
from openpaf.evaluation.settings import default_model
from openpaf.io.coco import poses_to_coco
from openpaf.io.openpose import poses_to_openpose
from openpaf.io.partial_results import PartialResults, settings_key
from openpaf.io.pose_files import read_poses_by_image
from openpaf.training.data.dataset import read_set
from openpaf.weights import resolve

Run = Callable[..., tuple[int, str, str]]
INPUTS = Path(__file__).parent / "inputs"


class FakeEstimator:
    """Finds the people whom the colour of the top-left pixel stands for, a little off."""

    skeleton = Skeleton.COCO17
    config = DecodeConfig()
    truth: dict[int, list[dict[str, Any]]]
    calls: list[int]
    stop_after: int | None = None

    def __init__(self, model: Any = None, *, size: int = 368, **options: Any) -> None:
        self.source = resolve(model)
        self.spec, self.engine = self.source.spec, "torch"
        self.size, self.scales = size, tuple(options.get("scales", (1.0,)))
        self.flip = options.get("flip", False)

    def __call__(self, image: np.ndarray) -> Poses:
        if self.stop_after is not None and len(self.calls) >= self.stop_after:
            raise KeyboardInterrupt
        image_id = int(image[0, 0, 0])
        self.calls.append(image_id)
        rows = shaken(self.truth[image_id], 0.03, seed=image_id + self.size)
        keypoints = np.array([row["keypoints"] for row in rows]).reshape(-1, 17, 3)
        return Poses.from_keypoints(
            keypoints, Skeleton.COCO17, person_scores=[row["score"] for row in rows]
        )


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """Five photos in a folder, each of a colour that names it, and their annotations."""
    data = scene()
    (tmp_path / "photos").mkdir()
    for image in data["images"]:
        picture = Image.new("RGB", (400, 400), (image["id"], 0, 0))
        picture.save(tmp_path / "photos" / image["file_name"], "PNG")  # exact, whatever the name
    return data


@pytest.fixture
def fake(
    monkeypatch: pytest.MonkeyPatch, data: dict[str, Any], tmp_path: Path
) -> type[FakeEstimator]:
    FakeEstimator.truth = {
        image["id"]: [row for row in data["annotations"] if row["image_id"] == image["id"]]
        for image in data["images"]
    }
    FakeEstimator.calls, FakeEstimator.stop_after = [], None
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", FakeEstimator)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return FakeEstimator


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], fake: object, data: dict[str, Any], tmp_path: Path
) -> Run:
    """``openpaf evaluate`` of the five photos, in this process."""

    def call(*arguments: str | Path, truth: Any = None, images: bool = True) -> Any:
        written(data if truth is None else truth, tmp_path / "a.json")
        command = ["evaluate", "--annotations", tmp_path / "a.json", *arguments]
        if images:
            command += ["--images", tmp_path / "photos"]
        status = main([str(argument) for argument in command])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_figures_and_settings_in_json(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("--json", tmp_path / "f.json", "--save-results", tmp_path / "r.json")
    assert status == 0
    report = json.loads((tmp_path / "f.json").read_text())
    results = json.loads((tmp_path / "r.json").read_text())
    assert {"image_id", "category_id", "keypoints", "score"} <= set(results[0])
    figures = evaluate(read_annotations(tmp_path / "a.json"), results)
    assert {name: report[name] for name in METRICS} == figures
    assert 0.5 < figures["AP"] < 1
    assert "   AP  AP50  AP75   APM   APL    AR  AR50  AR75   ARM   ARL" in out
    assert f"{figures['AP']:.3f}" in out
    settings = report["settings"]
    (row,) = [r for r in openpaf.weights.table() if r["name"] == settings["model"]]
    assert settings["model_sha256"] == row["sha256"]
    assert (settings["size"], settings["scales"], settings["flip"]) == (368, [1.0], False)
    assert settings["decode"]["peak_threshold"] == DecodeConfig().peak_threshold
    assert settings["versions"]["openpaf"] == openpaf.__version__
    assert (settings["subset"], settings["missing_photos"]) == ("all", [])


def test_several_sizes_in_one_run(run: Run, tmp_path: Path) -> None:
    files = ("--json", tmp_path / "f.json", "--save-results", tmp_path / "r.json")
    status, out, _ = run("--size", "128", "256", *files)
    assert status == 0
    assert "size 128" in out
    assert "size 256" in out
    report = json.loads((tmp_path / "f.json").read_text())
    assert [one["settings"]["size"] for one in report["runs"]] == [128, 256]
    assert report["AP"] == report["runs"][0]["AP"] != report["runs"][1]["AP"]
    annotations = read_annotations(tmp_path / "a.json")
    for one, size in zip(report["runs"], (128, 256), strict=True):
        rows = json.loads((tmp_path / f"r-{size}.json").read_text())
        assert evaluate(annotations, rows)["AP"] == one["AP"]


def test_another_systems_results_need_no_photos(run: Run, data: Any, tmp_path: Path) -> None:
    results = shaken(data["annotations"], 0.05)
    path = written(results, tmp_path / "theirs.json")
    status, out, _ = run("--results", path, "--json", tmp_path / "f.json", images=False)
    assert status == 0
    assert out.startswith("theirs.json: 5 photos, 15 people")
    report = json.loads((tmp_path / "f.json").read_text())
    wanted = evaluate(read_annotations(tmp_path / "a.json"), results)
    assert {name: report[name] for name in METRICS} == wanted
    assert FakeEstimator.calls == []


@pytest.mark.parametrize(
    ("option", "photos"),
    [
        (["--subset", "2"], [1, 3]),
        (["--image-ids", "5", "2"], [2, 5]),
        (["--complete-only"], [4]),
        (["--subset", "99"], [1, 2, 3, 4, 5]),
    ],
)
def test_a_part_of_the_photos(
    run: Run, data: Any, tmp_path: Path, option: list[str], photos: list[int]
) -> None:
    data["images"][3]["ann_complete"] = True
    status, _, _ = run(*option, "--json", tmp_path / "f.json")
    assert status == 0
    assert FakeEstimator.calls == photos
    assert json.loads((tmp_path / "f.json").read_text())["photos"] == len(photos)


def test_a_gallery_holds_everything_in_one_file(run: Run, data: Any, tmp_path: Path) -> None:
    results = shaken([row for row in data["annotations"] if row["image_id"] != 4], 0.02)
    path = written([{**row, "score": 0.9} for row in results], tmp_path / "theirs.json")
    status, _, err = run(
        "--results", path, "--gallery", tmp_path / "worst.html", "--gallery-photos", "2"
    )
    assert status == 0
    assert "worst.html" in err
    html = (tmp_path / "worst.html").read_text()
    assert html.count("<img") == html.count("data:image/jpeg;base64,") == 4
    assert "1. 004.jpg: error 3.00" in html
    assert "http" not in html


# Interruptions


def test_an_interrupted_run_goes_on_where_it_stopped(
    run: Run, fake: type[FakeEstimator], tmp_path: Path
) -> None:
    fake.stop_after = 3
    status, _, err = run("--json", tmp_path / "f.json")
    assert status == 130
    assert "3 photos done; the same command goes on from there" in err
    assert not (tmp_path / "f.json").exists()
    fake.stop_after = None
    status, _, err = run("--json", tmp_path / "f.json")
    assert status == 0
    assert "going on where an earlier run stopped: 3 of 5 photos are done" in err
    assert fake.calls == [1, 2, 3, 4, 5]  # each once
    fake.calls = []
    assert run("--json", tmp_path / "g.json")[0] == 0
    assert fake.calls == [1, 2, 3, 4, 5]  # a complete run leaves nothing behind
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("f.json", "g.json"))
    assert {name: first[name] for name in METRICS} == {name: second[name] for name in METRICS}


def test_other_settings_do_not_go_on_from_these(run: Run, fake: type[FakeEstimator]) -> None:
    fake.stop_after = 3
    assert run("--size", "256")[0] == 130
    fake.stop_after, fake.calls = None, []
    assert run("--size", "128")[0] == 0
    assert fake.calls == [1, 2, 3, 4, 5]
    fake.calls = []
    assert run("--size", "256", "--fresh")[0] == 0
    assert fake.calls == [1, 2, 3, 4, 5]


def test_a_partial_file_of_ones_own_choice(
    run: Run, fake: type[FakeEstimator], tmp_path: Path
) -> None:
    fake.stop_after = 7
    assert run("--size", "128", "256", "--partial", tmp_path / "p.jsonl")[0] == 130
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 7
    fake.stop_after = None
    assert run("--size", "128", "256", "--partial", tmp_path / "p.jsonl")[0] == 0
    assert len(fake.calls) == 10
    assert not (tmp_path / "p.jsonl").exists()


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "p.jsonl"
    with PartialResults(path, {"size": 1}) as partial:
        partial.add(7, [1])
        partial.add(8, [2])
    raw = path.read_bytes()
    path.write_bytes(raw[:-5])
    with PartialResults(path, {"size": 1}) as partial:
        assert partial.done == {7: [1]}
        partial.add(8, [3])
    with PartialResults(path, {"size": 2}) as partial:
        assert partial.done == {}
    with PartialResults(path, {"size": 1}) as partial:
        assert partial.done == {7: [1], 8: [3]}
    assert settings_key({"a": 1, "b": 2}) == settings_key({"b": 2, "a": 1})


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_a_killed_process_goes_on_where_it_stopped(repo_root: Path, tmp_path: Path) -> None:
    """The real command, killed while it runs; the figures are those of a run in one go."""
    photo = (repo_root / "data" / "photos" / "astronaut.jpg").read_bytes()
    (tmp_path / "photos").mkdir()
    for i in range(1, 25):
        (tmp_path / "photos" / f"{i:03}.jpg").write_bytes(photo)
    data = scene(24, 1)
    for image in data["images"]:
        image["width"], image["height"] = 512, 512
    partial = tmp_path / "p.jsonl"
    command = [
        sys.executable, "-m", "openpaf", "evaluate", "--engine", "torch", "--size", "64",
        "--partial", str(partial),
        "--annotations", str(written(data, tmp_path / "a.json")),
        "--images", str(tmp_path / "photos"), "--save-results",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, str(tmp_path / "r.json")], env=environment)
    for _ in range(12000):  # a slow machine compiles for minutes first
        if partial.exists() and partial.read_bytes().count(b"\n") >= 3:
            break
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = partial.read_bytes().count(b"\n")
    assert 3 <= done < 24
    second = subprocess.run(
        [*command, str(tmp_path / "r.json")], env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert f"going on where an earlier run stopped: {done} of 24 photos are done" in second.stderr
    assert not partial.exists()
    rows = json.loads((tmp_path / "r.json").read_text())
    per_photo = [
        [{**row, "image_id": 0} for row in rows if row["image_id"] == i] for i in range(1, 25)
    ]
    assert all(found == per_photo[0] for found in per_photo)  # before the kill and after it


def test_photos_are_read_ahead_in_order(tmp_path: Path) -> None:
    paths = []
    for i in range(20):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (3, 2), (i, 0, 0)).save(paths[-1])
    for workers in (1, 3):
        pictures = list(read_ahead(paths, workers))
        assert [int(p[0, 0, 0]) for p in pictures if isinstance(p, np.ndarray)] == list(range(20))
    paths[4].write_bytes(b"no picture")
    errors = {i: p for i, p in enumerate(read_ahead(paths, 2)) if not isinstance(p, np.ndarray)}
    assert list(errors) == [4]
    assert isinstance(errors[4], openpaf.ImageError)
    assert "4.png: not an image" in str(errors[4])


# Ids are labels


def _relabelled(data: Any, rows: Any, ids: str, change: Callable[[int], int]) -> tuple[Any, Any]:
    """Annotations and results under other ids of images, annotations or categories."""
    data, rows = copy.deepcopy((data, rows))
    for entry in data[ids]:
        entry["id"] = change(entry["id"])
    key = {"images": "image_id", "categories": "category_id"}.get(ids)
    for entry in [*data["annotations"], *rows] if key else []:
        entry[key] = change(entry[key])
    return data, rows


@pytest.mark.parametrize("ids", ["images", "annotations", "categories"])
@pytest.mark.parametrize(
    "change",
    [lambda i: i - 1, lambda i: -i, lambda i: i + 6, lambda i: 2**53 + i, lambda i: 2**70 - i,
     lambda i: 10**200 + i],
    ids=["from 0", "negative", "from 7", "2^53", "2^70", "200 digits"],
)  # fmt: skip
def test_ids_may_be_any_whole_numbers(
    run: Run, data: Any, tmp_path: Path, ids: str, change: Callable[[int], int]
) -> None:
    perfect = shaken(data["annotations"], 0)
    truth, rows = _relabelled(data, perfect, ids, change)
    path = written(rows, tmp_path / "r.json")
    status, _, err = run(
        "--results", path, "--json", tmp_path / "f.json", truth=truth, images=False
    )
    assert (status, err) == (0, "")
    figures = json.loads((tmp_path / "f.json").read_text())
    assert [figures[name] for name in ("AP", "AR")] == pytest.approx([1, 1])
    assert figures["persons"] == {"oks": 0.5, "min_score": 0.65, **_at_once(data, perfect)}
    assert figures["errors"]["share"]["good"] == 1
    assert figures["pck"]["PCK"] == 1


def _at_once(data: Any, rows: Any) -> dict[str, float]:
    """Precision and recall of people where everyone found is right."""
    return {"precision": 1.0, "recall": sum(row["score"] >= 0.65 for row in rows) / len(rows)}


def test_ids_change_no_figure(run: Run, data: Any, tmp_path: Path) -> None:
    rows = shaken(data["annotations"], 0.06)
    files = []
    for n, change in enumerate((lambda i: i, lambda i: 2 - i, lambda i: 2**60 + i)):
        truth, found = data, rows
        for ids in ("images", "annotations", "categories"):
            truth, found = _relabelled(truth, found, ids, change)
        truth["images"].sort(key=lambda image: image["file_name"])
        run("--results", written(found, tmp_path / "r.json"), "--json", tmp_path / f"{n}.json",
            truth=truth, images=False)  # fmt: skip
        files.append(json.loads((tmp_path / f"{n}.json").read_text()))
    for figures in files[1:]:
        assert {name: figures[name] for name in METRICS} == pytest.approx(
            {name: files[0][name] for name in METRICS}
        )
        assert figures["errors"] == files[0]["errors"]
        assert figures["pck"] == files[0]["pck"]


def test_annotation_0_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(INPUTS / f"ann_id0_only_{kind}.json") for kind in "ar"]
    assert main(["evaluate", "--annotations", files[0], "--results", files[1]]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[0] == "1.000"


@pytest.mark.parametrize("category", [0, 7, -3])
def test_a_category_of_people_is_found_by_its_name(
    data: Any, tmp_path: Path, category: int
) -> None:
    """As training validates, and benchmarks/accuracy.py measures."""
    data["categories"] = [
        {"id": 1, "name": "dog", "keypoints": list(Skeleton.COCO17.joints)},
        {**data["categories"][0], "id": category, "name": "Person"},
    ]
    for row in data["annotations"]:
        row["category_id"] = category
    dog = {**data["annotations"][0], "id": 99, "category_id": 1}
    data["annotations"].append(dog)
    path = written(data, tmp_path / "a.json")
    for truth in (load_annotations(path), read_annotations(path)):
        people = {
            image["file_name"]: [
                row["keypoints"] for row in data["annotations"]
                if row["image_id"] == image["id"] and row is not dog
            ]
            for image in data["images"]
        }  # fmt: skip

        def estimate(path: Path, people: Any = people) -> Poses:
            rows = np.array(people[path.name]).reshape(-1, 17, 3)
            return Poses.from_keypoints(rows, Skeleton.COCO17)

        rows = detect(truth, tmp_path, estimate, progress=False)
        assert {row["category_id"] for row in rows} == {category}
        assert evaluate(truth, rows)["AP"] == pytest.approx(1)
        assert precision_at(truth, rows) == (1, 1)


def test_results_of_cocos_category_fit_where_the_annotations_number_otherwise(
    run: Run, data: Any, tmp_path: Path
) -> None:
    path = written(shaken(data["annotations"], 0), tmp_path / "r.json")
    for row in [*data["annotations"], *data["categories"]]:
        row["category_id" if "category_id" in row else "id"] = 0
    status, out, _ = run("--results", path, images=False)
    assert status == 0
    assert out.splitlines()[2].split()[0] == "1.000"
    data["categories"].append({"id": 1, "name": "dog"})
    refused(run("--results", path, images=False), "category_id: expected 0, people")


def test_other_categories_are_left_out(run: Run, data: Any, tmp_path: Path) -> None:
    data["categories"].append({"id": 2, "name": "dog"})
    data["annotations"].append({"id": 99, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]})
    rows = shaken(data["annotations"][:-1], 0)
    status, out, _ = run("--results", written(rows, tmp_path / "r.json"), images=False)
    assert status == 0
    assert "5 photos, 15 people" in out
    assert out.splitlines()[2].split()[0] == "1.000"


# Labels that do not fit


@pytest.mark.parametrize("read", [read_annotations, load_annotations, read_set])
def test_every_reader_takes_a_byte_order_mark_and_refuses_nan(read: Callable[[Path], Any]) -> None:
    assert read(INPUTS / "bom.json")
    with pytest.raises(
        (ValueError, openpaf.errors.OpenpafError), match=r"kp_nan_nosize\.json: .*NaN"
    ):
        read(INPUTS / "kp_nan_nosize.json")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "posetrack18.json",
            "'person' has head_bottom, head_top and lacks left_eye, right_eye; expected one",
        ),
        ("two_categories.json", None),
    ],
)
def test_people_are_told_from_others_by_name(name: str, message: str | None) -> None:
    if message:
        with pytest.raises(ValueError, match=re.escape(message)):
            read_annotations(INPUTS / name)
        return
    annotations = read_annotations(INPUTS / name)
    assert [row["category_id"] for row in annotations.anns.values()] == [1]


def test_areas_of_0_are_told() -> None:
    files = [str(INPUTS / f"area0_all_noise1px_{kind}.json") for kind in "ar"]
    command = [sys.executable, "-m", "openpaf", "evaluate"]
    done = subprocess.run(
        [*command, "--annotations", files[0], "--results", files[1]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.startswith("openpaf: ")
    assert "area: 0, or not in px^2, in 3 of 3 people" in done.stderr


def test_relative_areas_are_told(data: Any, tmp_path: Path, caplog: Any) -> None:
    path = written(data, tmp_path / "a.json")
    read_annotations(path)
    assert not caplog.records
    for row in data["annotations"][:4]:
        row["area"] /= 400 * 400
    read_annotations(written(data, path))
    assert "a.json: area: 0, or not in px^2, in 4 of 15 people" in caplog.text


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((200, 200), "003.jpg: the image is 200 x 200 px, its labels are for 400 x 300 px (a resi"),
        ((300, 400), "003.jpg: the image is 300 x 400 px, its labels are for 400 x 300 px (turned"),
    ],
)
def test_a_photo_of_another_size_than_its_labels_is_refused(
    run: Run, data: Any, tmp_path: Path, size: tuple[int, int], message: str
) -> None:
    data["images"][2].update(width=400, height=300)
    Image.new("RGB", size, (3, 0, 0)).save(tmp_path / "photos" / "003.jpg", "PNG")
    status, out, err = run()
    assert (status, out) == (2, "")
    assert message in err
    assert 3 not in FakeEstimator.calls


def test_a_photo_that_its_exif_turns_is_refused(run: Run, data: Any, tmp_path: Path) -> None:
    picture = Image.new("RGB", (400, 300), (3, 0, 0))
    exif = picture.getexif()
    exif[ExifTags.Base.Orientation] = 6
    data["images"][2].update(width=400, height=300)
    picture.save(tmp_path / "photos" / "003.jpg", "PNG", exif=exif)
    status, _, err = run()
    assert status == 2
    assert "003.jpg: the image is 300 x 400 px, its labels are for 400 x 300 px" in err


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, None), ({"width": None, "height": None}, None), ({"width": 0, "height": 0}, None),
        ({"width": 400}, None), ({"width": 400.0, "height": 400}, None),
        ({"width": "400", "height": 400}, "for '400' x 400 px, which is no size"),
        ({"width": -400, "height": -400}, "which is no size"),
        ({"width": [4], "height": 400}, "which is no size"),
    ],
)  # fmt: skip
def test_sizes_that_are_not_known_fit(entry: Any, message: str | None) -> None:
    if message is None:
        check_image_size("a.jpg", (400, 400, 3), entry)
        return
    with pytest.raises(ValueError, match=re.escape(message)):
        check_image_size("a.jpg", (400, 400, 3), entry)


def test_photos_that_cannot_be_read_are_told_and_left_out(
    run: Run, data: Any, tmp_path: Path
) -> None:
    (tmp_path / "photos" / "003.jpg").write_bytes(b"no picture")
    status, out, err = run("--size", "368", "256", "--json", tmp_path / "f.json")
    assert status == 1
    assert err.count("skipped") == 1
    assert "003.jpg: not an image" in err
    assert out.count("4 photos (1 skipped), 12 people with labeled joints") == 2
    report = json.loads((tmp_path / "f.json").read_text())
    assert (report["photos"], report["skipped"]) == (4, 1)
    assert report["settings"]["skipped_photos"] == ["003.jpg"]
    others = [str(i) for i in (1, 2, 4, 5)]
    run("--image-ids", *others, "--json", tmp_path / "g.json")
    assert report["AP"] == json.loads((tmp_path / "g.json").read_text())["AP"]


def test_no_photo_that_can_be_read(run: Run, tmp_path: Path) -> None:
    for path in (tmp_path / "photos").iterdir():
        path.write_bytes(b"no picture")
    status, out, err = run()
    assert (status, out) == (2, "")
    assert "none of 5 photos can be read; " in err


# Results of other programs


def _people_of(data: Any, image_id: int, skeleton: Skeleton) -> Poses:
    rows = [row["keypoints"] for row in data["annotations"] if row["image_id"] == image_id]
    return Poses.from_keypoints(np.array(rows).reshape(-1, 17, 3), Skeleton.COCO17).to(skeleton)


def _as_openpose(data: Any, folder: Path) -> Path:
    for image in data["images"]:
        people = poses_to_openpose(_people_of(data, image["id"], Skeleton.BODY25))
        people["people"] = [
            {"pose_keypoints": p["pose_keypoints_2d"]} for p in people["people"]
        ]  # as version 1.0 had it
        written({"version": 1.0, "people": people["people"]},
                folder / f"{Path(image['file_name']).stem}_keypoints.json")  # fmt: skip
    return folder


def _as_alphapose(data: Any, folder: Path) -> Path:
    by_name = {
        image["file_name"]: {
            "version": "AlphaPose v0.3",
            "bodies": [
                {"joints": p["pose_keypoints_2d"]}
                for p in poses_to_openpose(_people_of(data, image["id"], Skeleton.COCO18))["people"]
            ],
        }
        for image in data["images"]
    }
    return written(by_name, folder / "alphapose-results.json")


def _as_alphapose_list(data: Any, folder: Path) -> Path:
    names = {image["id"]: image["file_name"] for image in data["images"]}
    rows = [
        {**row, "image_id": names[row["image_id"]], "score": 2 + row["score"], "idx": [[1.0]]}
        for row in shaken(data["annotations"], 0)
    ]
    return written(rows, folder / "alphapose-results.json")


def _as_openpifpaf(data: Any, folder: Path) -> Path:
    for image in data["images"]:
        people = [
            {"keypoints": row["keypoints"], "bbox": row["bbox"], "score": 0.9, "category_id": 1}
            for row in data["annotations"]
            if row["image_id"] == image["id"]
        ]
        written(people, folder / f"{image['file_name']}.predictions.json")
    return folder


def _as_mmpose(data: Any, folder: Path) -> Path:
    for image in data["images"]:
        people = []
        for row in data["annotations"]:
            if row["image_id"] == image["id"]:
                joints = np.array(row["keypoints"]).reshape(17, 3)
                people.append(
                    {"keypoints": joints[:, :2].tolist(), "keypoint_scores": [0.9] * 17,
                     "bbox": [row["bbox"]], "bbox_score": 0.9}
                )  # fmt: skip
        written(people, folder / f"{Path(image['file_name']).stem}.json")
    return folder


def _as_our_video(data: Any, folder: Path) -> Path:
    lines = [
        {"frame": image["id"], "time_s": 0.04 * image["id"], "size": [400, 400],
         "people": poses_to_coco(_people_of(data, image["id"], Skeleton.COCO17), image["id"])}
        for image in data["images"]
    ]  # fmt: skip
    (folder / "v.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert len(read_poses_by_image(folder / "v.jsonl")) == 5
    return folder / "v.jsonl"


def _as_other_joints(data: Any, folder: Path) -> Path:
    backwards = Skeleton(
        name="backwards", joints=Skeleton.COCO17.joints[:0:-1], limbs=(), oks_sigmas=[0.1] * 16
    )  # without a nose
    return written(
        [
            row
            for image in data["images"]
            for row in poses_to_coco(_people_of(data, image["id"], backwards), image["id"])
        ],
        folder / "r.json",
    )


@pytest.mark.parametrize(
    "write",
    [_as_openpose, _as_alphapose, _as_alphapose_list, _as_openpifpaf, _as_mmpose, _as_our_video,
     _as_other_joints],
)  # fmt: skip
def test_results_of_other_programs(
    run: Run, data: Any, tmp_path: Path, write: Callable[[Any, Path], Path]
) -> None:
    for row in data["annotations"]:
        row["keypoints"][2::3] = [2] * 17
    (tmp_path / "theirs").mkdir()
    status, out, err = run("--results", write(data, tmp_path / "theirs"), images=False)
    assert (status, err) == (0, "")
    assert "5 photos, 15 people" in out
    least = 0.6 if write is _as_other_joints else 0.999
    assert float(out.splitlines()[2].split()[0]) >= least


def test_a_file_of_one_image_that_is_not_in_the_annotations(
    run: Run, data: Any, tmp_path: Path
) -> None:
    path = written({"people": []}, tmp_path / "r_keypoints.json")
    refused(run("--results", path, images=False), "image 'r' is not in the annotations")
    (tmp_path / "empty").mkdir()
    refused(run("--results", tmp_path / "empty", images=False), "or a folder of JSON files")


# Bad input: one line, exit status 2


def _drop(*path: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def _set(*path: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in path[:-2]:
            data = data[key]
        data[path[-2]] = path[-1]

    return change


BAD_ANNOTATIONS = {
    "no images": (_drop("images"), "expected a list 'images' in COCO annotations; it is missing"),
    "no categories": (_drop("categories"), "expected a list 'categories'"),
    "no file name": (
        _drop("images", 3, "file_name"),
        "images: 'file_name' is missing; not so in 1 of 5, first entry 3",
    ),
    "a file name that is none": (
        _set("images", 3, "file_name", None),
        "images: file_name: expected text; not so in 1 of 5",
    ),
    "no keypoints": (
        _drop("annotations", 7, "keypoints"),
        "annotations: 'keypoints' is missing; not so in 1 of 15, first entry 7, image 3",
    ),
    "no area": (_drop("annotations", 0, "area"), "annotations: 'area' is missing"),
    "other joints": (
        _set("categories", 0, "keypoints", ["head", "tail"]),
        "joints nose, left_eye, right_eye, left_ear",
    ),
    "joints that are no list": (
        _set("categories", 0, "keypoints", 3), "expected a list of names, got 3",
    ),
    "an id of a category that is text": (
        _set("categories", 0, "id", "1"), "categories: id: expected a whole number",
    ),
    "two categories of people": (
        lambda data: data["categories"].append({**data["categories"][0], "id": 2}),
        "categories: expected one with the joints nose",
    ),
    "an annotation of another category": (
        _set("annotations", 2, "category_id", 18),
        "category_id: expected one that the file lists: 1; not so in 1 of 15",
    ),
    "other joints of the same number": (
        lambda data: data["categories"][0]["keypoints"].__setitem__(1, "head_bottom"),
        "categories: 'person' has head_bottom and lacks left_eye; expected one",
    ),
    "the same image id": (_set("images", 1, "id", 1), "images: 1 ids come twice: 1"),
    "the same annotation id": (
        _set("annotations", 1, "id", 1), "annotations: 1 ids come twice: 1",
    ),
    "images not in the file": (
        _set("annotations", 4, "image_id", 77),
        "annotations: 1 of 15 are of 1 images that the file does not list: 77",
    ),
    "too few keypoints": (
        _set("annotations", 4, "keypoints", [1, 2, 2]),
        "keypoints: expected 51 values, 3 for each of 17 joints; not so in 1 of 15, first entry 4, "
        "image 2, got 3",
    ),
    "NaN": (
        lambda data: data["annotations"][0]["keypoints"].__setitem__(0, float("nan")),
        "a.json: not JSON: NaN is no finite number, near",
    ),
    "a coordinate that is a text": (
        lambda data: data["annotations"][0]["keypoints"].__setitem__(0, "1"),
        "keypoints: expected finite numbers; not so in 1 of 15, first entry 0, image 1",
    ),
    "a coordinate beyond all bounds": (
        lambda data: data["annotations"][0]["keypoints"].__setitem__(0, 1e300),
        "keypoints: expected finite numbers; not so in 1 of 15",
    ),
    "a number of 400 digits": (
        lambda data: data["annotations"][0]["keypoints"].__setitem__(0, 10**400),
        "a.json: not JSON: a whole number of 401 digits, expected at most 300",
    ),
    "a wrong count": (
        _set("annotations", 0, "num_keypoints", 3),
        "num_keypoints: expected the number of keypoints with v > 0",
    ),
    "ids that are text": (_set("images", 0, "id", "1"), "id: expected a whole number"),
    "rows that are none": (
        _set("annotations", 0, None), "annotations: expected a dictionary; not so in 1 of 15",
    ),
}  # fmt: skip


def refused(result: tuple[int, str, str], message: str) -> None:
    status, out, err = result
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert FakeEstimator.calls == []


@pytest.mark.parametrize("case", BAD_ANNOTATIONS)
def test_annotations_that_are_not_as_they_should_be(run: Run, data: Any, case: str) -> None:
    change, message = BAD_ANNOTATIONS[case]
    change(data)
    result = run()
    refused(result, message)
    assert "a.json: " in result[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a.json: not JSON"),
        ("[]", "a.json: expected COCO annotations, got a list; for a list of results use"),
        ("3", "a.json: expected COCO annotations, got int"),
    ],
)
def test_files_that_hold_no_annotations(
    fake: object, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "a.json").write_text(text)
    status = main(
        ["evaluate", "--annotations", str(tmp_path / "a.json"), "--images", str(tmp_path)]
    )
    refused((status, *capsys.readouterr()), message)


BAD_RESULTS = {
    "NaN keypoints": (
        lambda rows: rows[3]["keypoints"].__setitem__(2, float("nan")),
        "r.json: not JSON: NaN is no finite number",
    ),
    "a text in keypoints": (
        lambda rows: rows[3]["keypoints"].__setitem__(2, "1"),
        "results: keypoints: expected finite numbers; not so in 1 of 15, first entry 3, image 2",
    ),
    "a text for a score": (_set(0, "score", "1"), "results: score: expected a finite number"),
    "names of images that are not there": (
        lambda rows: [row.update(image_id=f"{i}.jpg") for i, row in enumerate(rows[:4])],
        "results: 4 of 4 are of 4 images that the annotations do not list: 0.jpg, 1.jpg, 2.jpg",
    ),
    "joints that COCO has not": (
        lambda rows: rows.__setitem__(slice(None), poses_to_coco(Poses(
            xy=np.ones((1, 2, 2)), scores=np.ones((1, 2)), person_scores=[1],
            skeleton=Skeleton(name="a", joints=["b", "c"], limbs=[], oks_sigmas=[1, 1]),
        ), 1)),
        "r.json: skeleton: 'coco17' has none of the joints of 'a'",
    ),
    "no score": (_drop(0, "score"), "results: 'score' is missing; not so in 1 of 15"),
    "17 numbers": (
        _set(0, "keypoints", [1.0] * 17), "keypoints: expected 51 values, 3 for each of 17 joints",
    ),
    "another category": (_set(0, "category_id", 3), "category_id: expected 1, people"),
    "unknown images": (
        lambda rows: [row.update(image_id=900 + i % 2) for i, row in enumerate(rows[:4])],
        "results: 4 of 15 are of 2 images that the annotations do not list: 900, 901",
    ),
    "some boxes": (_set(1, "bbox", [0, 0, 1, 1]), "or no bbox in any result; not so in 14 of 15"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_RESULTS)
def test_results_that_are_not_as_they_should_be(
    run: Run, data: Any, tmp_path: Path, case: str
) -> None:
    change, message = BAD_RESULTS[case]
    rows = shaken(data["annotations"], 0.05)
    change(rows)
    result = run("--results", written(rows, tmp_path / "r.json"), images=False)
    refused(result, message)
    assert "r.json: " in result[2]


def test_annotations_given_as_results(run: Run, data: Any, tmp_path: Path) -> None:
    path = written(data, tmp_path / "r.json")
    message = "expected a list of COCO results, got annotations"
    refused(run("--results", path, images=False), message)


def test_missing_photos_stop_the_run_before_it_starts(run: Run, tmp_path: Path) -> None:
    for name in ("002.jpg", "005.jpg"):
        (tmp_path / "photos" / name).unlink()
    refused(run(), "2 of 5 photos are missing: 002.jpg, 005.jpg; --allow-missing measures the")
    status, _, err = run("--allow-missing", "--json", tmp_path / "f.json")
    assert status == 0
    assert "2 photos are missing: 002.jpg, 005.jpg" in err
    report = json.loads((tmp_path / "f.json").read_text())
    assert report["photos"] == 3
    assert report["settings"]["missing_photos"] == ["002.jpg", "005.jpg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image-ids", "1", "99"], "image ids: 1 of 2 are not in the annotations: 99"),
        (["--complete-only"], "no image of"),
        (["--pck-reference", "arm"], "--pck-reference: expected one of box, torso, head"),
        (["--pck-alpha", "0"], "--pck-alpha: expected a number > 0, got 0"),
        (["--size", "64", "64"], "--size: one comes twice"),
        (["--json", "nowhere/f.json"], "--json: no folder nowhere"),
        (["--gallery", "."], "--gallery: . is a folder"),
        (["--model", "none-such"], "model 'none-such': neither a file, nor a shipped model"),
        (["--method", "none-such"], "method: expected one of paf, mask-rcnn"),
        (["--subset", "0"], "expected a whole number above 0"),
        (["--model", "a", "--results", "b"], "not allowed with argument"),
    ],
)
def test_bad_use(run: Run, arguments: list[str], message: str) -> None:
    refused(run(*arguments), message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("\x1b[31mred.jpg", r"1 of 5 photos are missing: \x1b[31mred.jpg;"),
        ("\0.jpg", r"file_name: expected text without NUL, got '\x00.jpg'"),
        ("\ud800.jpg", r"1 of 5 photos are missing: \ud800.jpg;"),
        ("x" * 5000, "File name too long"),
    ],
    ids=["escape", "nul", "surrogate", "long"],
)
def test_names_of_a_file_are_printed_so_that_a_terminal_can_take_them(
    run: Run, data: Any, name: str, message: str
) -> None:
    data["images"][0]["file_name"] = name
    result = run()
    refused(result, message)
    assert len(result[2]) < 600


def test_no_photos_to_run_a_model_on(run: Run) -> None:
    refused(run(images=False), "--images: needed to run a model")


def test_a_method_of_which_no_model_ships(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = openpaf.weights.table()
    assert {default_model(method) for method in METHODS_OF_MODELS} == {
        "lightweight-coco17", "mask-rcnn-mobilenet", "topdown",
    }  # fmt: skip
    monkeypatch.setattr(
        openpaf.weights, "table", lambda: [r for r in rows if "rcnn" not in r["name"]]
    )
    refused(run("--method", "mask-rcnn"), "method 'mask-rcnn': no such model ships; has: light")


def test_a_detector_is_evaluated_like_any_other(shared_dir: Path, tmp_path: Path) -> None:
    folder = shared_dir / "data" / "coco_val_dev"
    data = json.loads((folder / "person_keypoints.json").read_text())
    ids = sorted({row["image_id"] for row in data["annotations"] if row["num_keypoints"] > 12})[:3]
    status = main([
        "evaluate", "--annotations", str(folder / "person_keypoints.json"), "--images",
        str(folder / "images"), "--method", "mask-rcnn", "--size", "256", "--image-ids",
        *map(str, ids), "--json", str(tmp_path / "f.json"), "--partial", str(tmp_path / "p.jsonl"),
        "--quiet",
    ])  # fmt: skip
    assert status == 0
    report = json.loads((tmp_path / "f.json").read_text())
    assert report["settings"]["method"] == "mask-rcnn"
    assert report["detections"] > 0


def test_a_real_model_on_real_photos(shared_dir: Path, tmp_path: Path) -> None:
    """The figures are pycocotools' on the saved file, and the file is a submission."""
    folder = shared_dir / "data" / "coco_val_dev"
    data = json.loads((folder / "person_keypoints.json").read_text())
    busy = [row["image_id"] for row in data["annotations"] if row["num_keypoints"] > 12]
    ids = sorted(set(busy))[:4]
    status = main([
        "evaluate", "--annotations", str(folder / "person_keypoints.json"), "--images",
        str(folder / "images"), "--size", "128", "--flip", "--image-ids", *map(str, ids),
        "--json", str(tmp_path / "f.json"), "--save-results", str(tmp_path / "r.json"),
        "--gallery", str(tmp_path / "g.html"), "--partial", str(tmp_path / "p.jsonl"), "--quiet",
    ])  # fmt: skip
    assert status == 0
    report = json.loads((tmp_path / "f.json").read_text())
    wanted = by_pycocotools(folder / "person_keypoints.json", tmp_path / "r.json", ids)
    assert [report[name] for name in METRICS] == wanted
    assert report["AP50"] > 0.1
    annotations = read_annotations(folder / "person_keypoints.json")
    assert len(read_results(tmp_path / "r.json", annotations)) == report["detections"]
