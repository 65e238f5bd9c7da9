"""``openpaf annotate``: labels, doubtful people, interruptions, and what is never replaced."""

from __future__ import annotations

import doctest
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import openpaf
import openpaf.estimator
from openpaf import DecodeConfig, PoseEstimator, Poses, Skeleton
from openpaf.annotation.files import LABEL_FORMATS, file_formats, write_labels
from openpaf.annotation.label_formats import LabelFormat
from openpaf.annotation.labels import LabelConfig, LabelSet, label_people
from openpaf.annotation.review import draw_review
from openpaf.annotation.run import annotate_images
from openpaf.cli import main
from openpaf.evaluation.annotations import read_annotations
from openpaf.evaluation.coco import detect, evaluate
from openpaf.training.data.dataset import load_photo_set
from openpaf.weights import resolve

Run = Callable[..., tuple[int, str, str]]
K = Skeleton.COCO17.n_joints


def person(x: float, y: float, height: float = 100.0) -> np.ndarray:
    """(K, 2) joints of a person, the first at (x, y), below and right of it."""
    offsets = np.random.default_rng(3).uniform(0, 1, (K, 2)) * (height / 2, height)
    offsets[0] = 0
    return np.array([x, y]) + offsets


def poses(people: list[np.ndarray], scores: list[float], joint_score: float = 0.8) -> Poses:
    keypoints = [np.column_stack([xy, np.full(K, joint_score)]) for xy in people]
    return Poses.from_keypoints(
        np.array(keypoints).reshape(-1, K, 3), Skeleton.COCO17, person_scores=scores
    )


class FakeEstimator:
    """One sure person, one doubtful and one phantom in every image; counts its calls."""

    skeleton = Skeleton.COCO17
    config = DecodeConfig()
    calls: list[int]
    batches: list[int]
    stop_after: int | None = None

    def __init__(self, model: Any = None, *, size: int = 368, **options: Any) -> None:
        self.source = resolve(model)
        self.spec, self.engine, self.size = self.source.spec, "torch", size
        self.scales, self.flip = tuple(options.get("scales", (1.0,))), options.get("flip", False)

    def __call__(self, image: np.ndarray) -> Poses:
        if self.stop_after is not None and len(self.calls) >= self.stop_after:
            raise KeyboardInterrupt
        color = int(image[0, 0, 0])
        if color == 255:
            raise RuntimeError("no white images")
        self.calls.append(color)
        people = [person(20 + color, 30), person(150, 20), person(100, 70)]
        return poses(people, [0.9, 0.2, 0.05])

    def batch(self, images: list[np.ndarray]) -> list[Poses]:
        self.batches.append(len(images))
        return [self(image) for image in images]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[FakeEstimator]:
    FakeEstimator.calls, FakeEstimator.batches, FakeEstimator.stop_after = [], [], None
    monkeypatch.setattr(openpaf.estimator, "PoseEstimator", FakeEstimator)
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path / "cache"))
    return FakeEstimator


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], fake: object, tmp_path: Path, monkeypatch: Any) -> Run:
    """The command in a folder with ``photos/0.png`` to ``photos/4.png``, in this process."""
    (tmp_path / "photos").mkdir()
    for n in range(5):
        Image.new("RGB", (240, 180), (n, 0, 0)).save(tmp_path / "photos" / f"{n}.png")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, output: str = "labels.json") -> tuple[int, str, str]:
        status = main(["annotate", "photos", "--output", output, *arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def read(path: str = "labels.json") -> Any:
    return json.loads(Path(path).read_text())


def test_labels_in_cocos_format(run: Run) -> None:
    status, out, _ = run()
    assert status == 0
    assert "5 images, 5 people, 5 doubtful, 0 skipped" in out
    data = read()
    assert [image["file_name"] for image in data["images"]] == [f"photos/{n}.png" for n in range(5)]
    assert data["images"][3] == {"id": 3, "file_name": "photos/3.png", "width": 240, "height": 180}
    sure, doubtful = data["annotations"][:2]
    expected = np.column_stack([person(20, 30), np.full(K, 2)])
    np.testing.assert_allclose(np.reshape(sure["keypoints"], (K, 3)), expected, atol=0.001)
    assert (sure["score"], sure["iscrowd"], sure["ignore"], sure["num_keypoints"]) == (0.9, 0, 0, K)
    assert (doubtful["score"], doubtful["iscrowd"], doubtful["ignore"]) == (0.2, 1, 1)
    x, y, width, height = sure["bbox"]
    low, high = expected[:, :2].min(axis=0), expected[:, :2].max(axis=0)
    margin = 0.1 * (high - low).max()
    np.testing.assert_allclose([x, y], low - margin, atol=0.01)
    np.testing.assert_allclose([x + width, y + height], high + margin, atol=0.01)
    assert sure["area"] == pytest.approx(0.53 * width * height, abs=0.01)
    (category,) = data["categories"]
    assert category["keypoints"] == list(Skeleton.COCO17.joints)
    assert category["name"] == "person"
    assert [16, 14] in [sorted(pair, reverse=True) for pair in category["skeleton"]]
    assert len(category["skeleton"]) == 19


def test_joints_that_are_not_sure_are_unlabeled() -> None:
    people = poses([person(20, 30)], [0.9])
    scores = people.scores.copy()
    scores[0, 3:6] = 0.1, 0.199, 0.2
    xy = people.xy.copy()
    xy[0, 7], xy[0, 8] = (-1.5, 20), (-40, 20)  # a little outside, and far
    people = people.replace(scores=scores, xy=xy)
    (label,) = label_people(people, (180, 240), LabelConfig())
    assert [k for k in range(K) if label.keypoints[k, 2] == 0] == [3, 4, 8]
    assert not label.keypoints[[3, 4, 8]].any()
    assert label.keypoints[7].tolist() == [0, 20, 2]
    assert label.n_labeled == K - 3
    (unsure,) = label_people(people, (180, 240), LabelConfig(joint_threshold=0.9))
    assert unsure.is_doubtful
    assert unsure.n_labeled == 0
    assert unsure.box[2] > 10


def test_scores_decide_in_the_order_of_scores() -> None:
    people = poses([person(10, 10), person(50, 10), person(90, 10)], [0.1, 0.5, 0.0999])
    labels = label_people(people, (180, 240), LabelConfig())
    assert [(label.score, label.is_doubtful) for label in labels] == [
        (pytest.approx(0.5), False),
        (pytest.approx(0.1), True),
    ]


@pytest.mark.parametrize("name", ["threshold", "ignore_threshold", "joint_threshold"])
def test_thresholds_are_checked(name: str) -> None:
    for value in (-1, float("nan"), "a"):
        with pytest.raises(ValueError, match=name):
            LabelConfig(**{name: value})
    with pytest.raises(ValueError, match="ignore_threshold: expected at most"):
        LabelConfig(threshold=0.1, ignore_threshold=0.2)


def test_an_interrupted_run_goes_on_where_it_stopped(
    run: Run, fake: type[FakeEstimator], tmp_path: Path
) -> None:
    fake.stop_after = 3
    status, _, err = run()
    assert status == 130
    assert "3 images done; the same command goes on from there" in err
    assert not Path("labels.json").exists()
    fake.stop_after = None
    status, _, err = run()
    assert status == 0
    assert "going on where an earlier run stopped: 3 images are done" in err
    assert fake.calls == [0, 1, 2, 3, 4]
    assert not list((tmp_path / "cache" / "annotate").iterdir())
    resumed = Path("labels.json").read_bytes()
    assert run("--fresh")[0] == 0
    assert Path("labels.json").read_bytes() == resumed


def test_other_thresholds_go_on_and_other_images_do_not(
    run: Run, fake: type[FakeEstimator]
) -> None:
    """What is stored is the people, whatever the thresholds; of a file as it was."""
    fake.stop_after = 3
    run("--threshold", "0.5")
    fake.stop_after = None
    os.utime("photos/1.png", ns=(1, 1))
    assert run("--threshold", "0.15")[0] == 0
    assert fake.calls == [0, 1, 2, 1, 3, 4]
    assert [entry["iscrowd"] for entry in read()["annotations"]] == [0] * 10
    fake.calls = []
    fake.stop_after = 2
    run("--fresh")
    fake.stop_after = None
    assert run("--fresh")[0] == 0
    assert fake.calls == [0, 1, 0, 1, 2, 3, 4]
    fake.calls = []
    assert run("--size", "256", output="other.json")[0] == 0
    assert fake.calls == [0, 1, 2, 3, 4]


def test_labels_are_replaced_only_if_they_are_as_they_were_made(
    run: Run, fake: type[FakeEstimator]
) -> None:
    assert run("--format", "coco,cvat")[0] == 0
    assert run()[0] == 0  # the same settings, unchanged
    made = Path("labels.json").read_bytes()
    status, _, err = run("--threshold", "0.7")
    assert (status, "other settings (threshold: 0.5, now 0.7); --fresh" in err) == (2, True)
    status, _, err = run("--size", "256")
    assert (status, "(size: 368, now 256)" in err) == (2, True)
    Path("labels.json").write_bytes(made + b" ")
    status, _, err = run()
    assert status == 2
    assert err == (
        "openpaf: --output: labels.json has changed since it was made; --fresh replaces it\n"
    )
    Path("labels.settings.json").unlink()
    status, _, err = run("--format", "cvat", output="labels.xml")
    assert (status, "labels.xml exists, and is not known to be" in err) == (2, True)
    assert Path("labels.json").read_bytes() == made + b" "
    assert len(fake.calls) == 10  # nothing was run for any of these
    assert run("--fresh")[0] == 0
    assert Path("labels.json").read_bytes() == made
    assert run()[0] == 0


def test_batches_give_the_same_labels_and_resume(run: Run, fake: type[FakeEstimator]) -> None:
    assert run()[0] == 0
    single = Path("labels.json").read_bytes()
    assert run("--batch-size", "2")[0] == 0
    assert fake.batches == [1] * 5 + [2, 2, 1]
    assert Path("labels.json").read_bytes() == single
    fake.calls, fake.stop_after = [], 3
    assert run("--batch-size", "2")[0] == 130
    fake.stop_after = None
    assert run("--batch-size", "5")[0] == 0
    assert fake.calls == [0, 1, 2, 2, 3, 4]  # the batch that was interrupted is run again
    assert Path("labels.json").read_bytes() == single


def test_a_bad_image_does_not_spoil_its_batch(run: Run) -> None:
    Path("photos/0bad.jpg").write_bytes(b"nothing")
    Image.new("RGB", (99, 60), (255, 255, 255)).save("photos/1white.png")
    status, out, err = run("--batch-size", "4")
    assert status == 1
    assert "5 images, 5 people, 5 doubtful, 2 skipped" in out
    assert "1white.png: RuntimeError: no white images" in err
    assert [image["id"] for image in read()["images"]] == [0, 1, 2, 3, 4]


def test_bad_images_are_told_skipped_and_counted(run: Run, tmp_path: Path) -> None:
    Path("photos/bad.jpg").write_bytes(b"nothing")
    Path("photos/raw.cr2").write_bytes(b"nothing")
    Image.new("RGB", (99, 60), (255, 255, 255)).save("photos/white.png")
    Image.new("RGB", (99, 60)).save("photos/a\nb.png")
    status, out, err = run("--format", "coco,cvat,label-studio")
    assert status == 1
    assert "5 images, 5 people, 5 doubtful, 4 skipped" in out
    lines = err.splitlines()
    assert len(lines) == 4
    assert any("raw.cr2" in line for line in lines)
    assert any("bad.jpg" in line for line in lines)
    assert any("white.png: RuntimeError: no white images" in line for line in lines)
    assert any("a\\nb.png: label files cannot hold its name" in line for line in lines)
    assert [image["id"] for image in read()["images"]] == [0, 1, 2, 3, 4]


def test_no_readable_image_is_an_error_and_writes_nothing(run: Run) -> None:
    shutil.rmtree("photos")
    assert run()[0] == 2
    Path("photos").mkdir()
    assert run()[0] == 2
    Path("photos/bad.jpg").write_bytes(b"nothing")
    status, _, err = run()
    assert status == 2
    assert "none of 1 photos can be read" in err
    assert not Path("labels.json").exists()
    assert not Path("labels.settings.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "0.1", "--ignore-threshold", "0.2"], "--ignore-threshold: expected"),
        (["--format", "coco,yolo"], "cvat, label-studio, deeplabcut, got 'yolo'"),
        (["--format", "cvat"], "--output: expected a file .xml for cvat, got labels.json"),
        (["--images-root", "missing"], "--images-root: no folder missing"),
        (["--images-root", "cache"], "--images-root: photos/0.png is not below cache"),
        (["--review", "photos"], "--review: photos is in a source"),
        (["--recursive", "--review", "photos/deep"], "--review: photos/deep is in a source"),
        (["--review", "photos/0.png"], "is a file, not a folder"),
        (["--size", "0"], "expected a whole number above 0"),
    ],
)
def test_bad_use_is_one_line_and_writes_nothing(
    run: Run, fake: type[FakeEstimator], arguments: list[str], message: str
) -> None:
    Path("cache").mkdir()
    status, _, err = run(*arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert message in err
    assert fake.calls == []
    assert not list(Path().glob("labels*"))


def test_file_names_are_relative_to_the_output_the_images_or_a_folder(run: Run) -> None:
    Path("out").mkdir()
    Path("photos/deep").mkdir()
    Path("photos/4.png").rename("photos/deep/4.png")
    assert main(["annotate", "photos/**/*.png", "--output", "out/labels.json", "--quiet"]) == 0
    names = [image["file_name"] for image in read("out/labels.json")["images"]]
    assert names == ["0.png", "1.png", "2.png", "3.png", "deep/4.png"]
    assert run("--images-root", ".", output="out/b.json")[0] == 0
    assert read("out/b.json")["images"][0]["file_name"] == "photos/0.png"


def test_subfolders_count_where_that_is_asked_for(run: Run) -> None:
    Path("photos/deep").mkdir()
    Path("photos/4.png").rename("photos/deep/4.png")
    assert len(run()[1].splitlines()) == 2
    assert len(read()["images"]) == 4
    assert run("--recursive", "--fresh")[0] == 0
    names = [image["file_name"] for image in read()["images"]]
    assert names[-1] == "photos/deep/4.png"
    assert len(names) == 5


def test_ids_are_numbers_of_file_names_where_all_have_one(run: Run) -> None:
    Path("photos/4.png").rename("photos/000000000139.png")
    run()
    assert [image["id"] for image in read()["images"]] == [0, 1, 2, 3, 139]
    Path("photos/a.png").write_bytes(Path("photos/1.png").read_bytes())
    run("--fresh")
    assert [image["id"] for image in read()["images"]] == [1, 2, 3, 4, 5, 6]


def test_every_format_is_written_with_what_sets_up_its_tool(run: Run) -> None:
    assert run("--format", "label-studio,cvat", "--quiet") == (0, "", "")
    assert sorted(path.name for path in Path().glob("labels*")) == [
        "labels.cvat-labels.json", "labels.json", "labels.label-studio.xml",
        "labels.settings.json", "labels.xml",
    ]  # fmt: skip
    assert isinstance(read(), list)
    settings = read("labels.settings.json")["settings"]
    assert (settings["model"], settings["threshold"]) == ("lightweight-coco17", 0.5)
    assert "date" not in settings
    assert list(file_formats()) == ["coco", "cvat", "label-studio", "deeplabcut"]


def test_a_label_format_from_outside(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry in a table: help, names of files, checks and writing follow."""

    def lines(labels: LabelSet, _prefix: str) -> str:
        return "".join(f"{image.file_name},{len(image.people)}\n" for image in labels.images)

    counts = LabelFormat(description="people of each image", files={".csv": lines})
    monkeypatch.setitem(LABEL_FORMATS, "counts", counts)
    assert run("--format", "coco,counts")[0] == 0
    assert Path("labels.csv").read_text().startswith("photos/0.png,2\n")
    assert run("--format", "counts", output="other.json")[0] == 2
    assert run("--help")[1].count("counts") >= 2


def test_contact_sheets(run: Run, tmp_path: Path) -> None:
    Path("sheets").mkdir()
    Path("sheets/review-0002.jpg").write_bytes(b"of an earlier run")
    Path("sheets/review-notes.jpg").write_bytes(b"not ours")
    assert run("--review", "sheets")[0] == 0
    assert sorted(os.listdir("sheets")) == ["review-0001.jpg", "review-notes.jpg"]
    with Image.open("sheets/review-0001.jpg", formats=("JPEG",)) as page:
        pixels = np.asarray(page).astype(int)
    assert pixels.shape == (2 * 452 + 12, 4 * 412 + 12, 3)
    is_red = (pixels[..., 0] > 180) & (pixels[..., 1:].max(axis=2) < 90)
    cell = is_red[12 : 12 + 400, 12 : 12 + 400]
    assert cell[:98].sum() == 0  # the image is 400 x 300, framed, at the bottom of its cell
    assert cell[100:104, 50:350].mean() > 0.9
    x0, y0 = (person(150, 20).min(axis=0) * 400 / 240).round().astype(int)
    assert cell[100 + y0 - 30 : 100 + y0, x0 + 5 : x0 + 40].any(axis=0).all()  # a doubtful box


def test_contact_sheets_of_no_people_and_of_images_that_are_gone(tmp_path: Path) -> None:
    class Empty(FakeEstimator):
        def __call__(self, image: np.ndarray) -> Poses:
            return Poses.empty(Skeleton.COCO17)

    for n in range(13):
        Image.new("RGB", (30, 500)).save(tmp_path / f"{n}.png")
    labels = annotate_images(tmp_path, Empty(), progress=False)  # type: ignore[arg-type]
    (tmp_path / "3.png").unlink()
    pages = draw_review(labels, tmp_path, tmp_path / "sheets", progress=False)
    assert [page.name for page in pages] == ["review-0001.jpg", "review-0002.jpg"]


class Remembering:
    """An estimator that runs once for each image."""

    def __init__(self, estimator: PoseEstimator) -> None:
        self.skeleton, self.spec = estimator.skeleton, estimator.spec
        self._estimator = estimator
        self._people: dict[bytes, Poses] = {}

    def __call__(self, source: Any) -> Poses:
        image = openpaf.read_image(source)
        if image.tobytes() not in self._people:
            self._people[image.tobytes()] = self._estimator(image)
        return self._people[image.tobytes()]

    def batch(self, images: list[np.ndarray]) -> list[Poses]:
        return [self(image) for image in images]


def test_labels_are_what_evaluation_and_training_read(repo_root: Path, tmp_path: Path) -> None:
    """The model measured on its own labels is right; doubtful people count as nothing."""
    estimator: Any = Remembering(PoseEstimator("fast", engine="torch", size=256))
    photos = repo_root / "data" / "photos"
    chosen = [
        photos / f"{name}.jpg" for name in ("astronaut", "pedestrians_468", "pedestrians_576")
    ]
    every = annotate_images(
        chosen, estimator, config=LabelConfig(threshold=0, ignore_threshold=0), progress=False
    )
    scores = sorted(person.score for image in every.images for person in image.people)
    config = LabelConfig(threshold=scores[1] + 1e-6, ignore_threshold=scores[1] - 1e-6)
    labels = annotate_images(chosen, estimator, config=config, progress=False)
    people = [person for image in labels.images for person in image.people]
    assert sum(person.is_doubtful for person in people) >= 1
    assert sum(not person.is_doubtful for person in people) >= 3
    write_labels(labels, tmp_path / "labels.json")
    annotations = read_annotations(tmp_path / "labels.json")
    results = detect(annotations, photos, estimator, progress=False)
    figures = evaluate(annotations, results)
    assert figures["AP"] > 0.99
    assert figures["AR"] > 0.99
    photo_set = load_photo_set(tmp_path / "labels.json", photos)
    assert photo_set.n_people == sum(not person.is_doubtful for person in people)
    n_ignored = {photo.path.name: len(photo.ignore_boxes) for photo in photo_set.photos}
    for image in labels.images:
        if image.file_name in n_ignored:
            n_doubtful = sum(person.is_doubtful for person in image.people)
            assert n_ignored[image.file_name] == n_doubtful
    first = next(photo for photo in photo_set.photos if photo.path.name == "astronaut.jpg")
    label = next(image for image in labels.images if image.file_name == "astronaut.jpg").people[0]
    np.testing.assert_allclose(first.keypoints[0], label.keypoints, atol=0.01)
    # Training finds the same box where a file has none.
    data = read(str(tmp_path / "labels.json"))
    for annotation in data["annotations"]:
        del annotation["bbox"]
    (tmp_path / "labels.json").write_text(json.dumps(data))
    unboxed = load_photo_set(tmp_path / "labels.json", photos)
    assert isinstance(labels, LabelSet)
    same = next(photo for photo in unboxed.photos if photo.path.name == "astronaut.jpg")
    np.testing.assert_allclose(same.boxes, first.boxes, atol=0.01)


def test_the_example_of_annotate_images(repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo_root)
    docstring = annotate_images.__doc__ or ""
    example = doctest.DocTestParser().get_doctest(docstring, {}, "annotate_images", None, None)
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert example.examples
    assert not report, "".join(report)


def test_the_python_way_raises_what_the_command_counts(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with pytest.raises(openpaf.ImageError, match=r"bad\.png"):
        annotate_images(tmp_path, FakeEstimator(), progress=False)  # type: ignore[arg-type]
    Image.new("RGB", (30, 30)).save(tmp_path / "good.png")
    with pytest.raises(ValueError, match=r"root: .* is not below"):
        annotate_images(
            tmp_path / "good.png",
            FakeEstimator(),  # type: ignore[arg-type]
            root=tmp_path / "x",
            progress=False,
        )
